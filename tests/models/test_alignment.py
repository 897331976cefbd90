import pytest
import torch

from benchbed.models.alignment import cells, pad_to_multiple, regrid


def ramp(start: float, jump: int, rows: int, columns: int) -> torch.Tensor:
    """A map that holds, at each cell, its own centre's pixel coordinates (y in 0, x in 1)."""
    y = start + jump * torch.arange(rows, dtype=torch.float32)
    x = start + jump * torch.arange(columns, dtype=torch.float32)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]


def test_patch_14_is_read_off_at_the_centres_of_16_pixel_cells():
    # 70 x 112 pixels: 5 x 8 patches, centred on 7, 21, ... 63 and 7, ... 105
    found = regrid(ramp(7.0, 14, 5, 8), 7.0, 14, 16, (5, 7))
    assert found[0, 0, :, 0].tolist() == pytest.approx([8, 24, 40, 56, 63])
    assert found[0, 1, 0].tolist() == pytest.approx([8, 24, 40, 56, 72, 88, 104])


def test_centres_outside_the_map_take_its_border():
    # unpadded Inception: first centre at 37.5 pixels
    found = regrid(ramp(37.5, 32, 5, 5), 37.5, 32, 32, (7, 7))
    expected = [37.5, 48, 80, 112, 144, 165.5, 165.5]
    assert found[0, 1, 3].tolist() == pytest.approx(expected)


def test_a_map_on_the_same_grid_is_unchanged():
    level = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(regrid(level, 8.0, 16, 16, (4, 5)), level)


def test_a_single_cell_is_repeated():
    found = regrid(torch.full((1, 1, 1, 1), 3.0), 7.0, 14, 8, (2, 2))
    assert found.tolist() == [[[[3.0, 3.0], [3.0, 3.0]]]]


def test_padding_is_zeros_right_and_below_only():
    padded = pad_to_multiple(torch.ones(1, 1, 3, 4), 4)
    assert padded.shape == (1, 1, 4, 4)
    assert padded[0, 0].sum(1).tolist() == [4, 4, 4, 0]


def test_pictures_of_the_right_size_are_not_copied():
    images = torch.ones(1, 1, 8, 4)
    assert pad_to_multiple(images, 4) is images


@pytest.mark.parametrize(("size", "stride", "expected"), [(64, 16, 4), (65, 16, 5), (1, 32, 1)])
def test_cells_are_rounded_up(size, stride, expected):
    assert cells(size, stride) == expected
