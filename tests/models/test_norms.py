import pytest
from torch import nn

from benchbed.models.architectures import initialised
from benchbed.models.norms import norm_kind

KINDS = {
    "timm:test_resnet": "batchnorm",
    "timm:tf_efficientnet_lite0": "batchnorm",
    "torchvision:mobilenet_v2": "batchnorm",
    "timm:test_vit": "layernorm",
    "timm:test_convnext": "layernorm",
    "torchvision:swin_t": "layernorm",
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_the_kind_is_that_of_most_norms(name, kind):
    assert norm_kind(initialised(name, 0).trunk) == kind


@pytest.mark.parametrize(
    ("norms", "kind"),
    [
        ([], "batchnorm"),
        ([nn.GroupNorm(2, 4)], "batchnorm"),
        ([nn.GroupNorm(1, 4)], "layernorm"),
        ([nn.RMSNorm(4)], "layernorm"),
        ([nn.LayerNorm(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4)], "batchnorm"),
        ([nn.LayerNorm(4), nn.BatchNorm2d(4)], "batchnorm"),
        ([nn.LayerNorm(4), nn.LayerNorm(4), nn.SyncBatchNorm(4)], "layernorm"),
    ],
)
def test_mixed_and_unusual_norms_are_counted_each_on_its_side(norms, kind):
    assert norm_kind(nn.Sequential(*norms)) == kind
