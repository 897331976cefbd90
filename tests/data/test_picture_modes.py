"""Depth, colour and broken content of pictures, against hand-worked pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from benchbed.data.pictures import read_label_map, read_rgb
from benchbed.errors import DataError


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path):
    Image.fromarray(np.array([[0, 100, 200, 514]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png")[0, :, 0].tolist() == [0, 0, 1, 2]


def test_more_than_sixteen_bits_are_refused_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 70000]], dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a.tif: has more than 16 bits"):
        read_rgb(tmp_path / "a.tif")


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a.tif: floating-point pixels"):
        read_rgb(tmp_path / "a.tif")


def test_palette_and_cmyk_become_their_colours(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode=None).convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.save(tmp_path / "p.png", transparency=b"\x00\xff")
    assert read_rgb(tmp_path / "p.png").tolist() == [[[10, 20, 30], [200, 100, 50]]]
    Image.new("CMYK", (1, 1), (255, 0, 0, 0)).save(tmp_path / "c.tif")
    assert read_rgb(tmp_path / "c.tif").tolist() == [[[0, 255, 255]]]


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError, match=r"a.jpg: not a picture \(the file is empty\)"):
        read_rgb(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_every_cut_of_a_picture_reads_or_is_a_data_error(tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    whole, path, refused = buffer.getvalue(), tmp_path / "a", 0
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        try:
            assert read_rgb(path).shape == (20, 30, 3)
        except DataError:
            refused += 1
    assert refused > 0.9 * len(whole) / 13


def test_a_cut_label_map_is_a_data_error(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 21, (30, 30), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a.png: truncated or broken label map"):
        read_label_map(path)
