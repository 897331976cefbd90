import pytest
import torch

from benchbed.finetune.padding import fill_padding
from benchbed.models.backbone import PixelConvention


def test_padding_is_the_mean_colour_in_the_backbones_own_order() -> None:
    images = torch.ones(1, 3, 4, 4)
    convention = PixelConvention("BGR", (10.0, 20.0, 30.0), (1.0, 1.0, 1.0), scale=100.0)
    filled = fill_padding(images, [(2, 3)], convention)
    assert filled[0, :, 3, 3].tolist() == pytest.approx([0.3, 0.2, 0.1])
    assert filled[0, :, 1, 3].tolist() == pytest.approx([0.3, 0.2, 0.1])
    assert (filled[0, :, :2, :3] == 1).all()
    assert (images == 1).all()
