"""DeepLabV3: atrous spatial pyramid pooling and an auxiliary FCN head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchbed.finetune.padding import Sizes, fill_padding
from benchbed.models.backbone import Backbone
from benchbed.specs.segmentation import AsppHead, AuxiliaryHead


def _conv(inside: int, outside: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


class ImagePooling(nn.Module):
    """ASPP's branch that sees the whole picture.

    Its batch norm works on 1 x 1 maps, where a training batch of one picture has no variance:
    torchvision and mmsegmentation fail there. It then uses its running statistics, as at test
    time, and leaves them unchanged.
    """

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 1, bias=False)
        self.norm = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) to (N, outside, H, W), constant over H and W."""
        pooled = self.conv(x.mean((2, 3), keepdim=True))
        pooled = self.norm(pooled) if pooled.shape[0] > 1 else self._with_running_statistics(pooled)
        return functional.relu(pooled).expand(-1, -1, *x.shape[-2:])

    def _with_running_statistics(self, pooled: Tensor) -> Tensor:
        norm = self.norm
        return functional.batch_norm(
            pooled, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )


class Aspp(nn.Module):
    """1x1, dilated 3x3 and image-pooling branches, concatenated and projected (1706.05587)."""

    def __init__(self, inside: int, channels: int, rates: Sequence[int], dropout: float) -> None:
        super().__init__()
        branches: list[nn.Module] = [_conv(inside, channels, 1)]
        branches += [_conv(inside, channels, 3, rate) for rate in rates]
        self.branches = nn.ModuleList([*branches, ImagePooling(inside, channels)])
        self.project = nn.Sequential(
            _conv(len(self.branches) * channels, channels, 1), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) to (N, channels, H, W)."""
        joined: Tensor = self.project(torch.cat([branch(x) for branch in self.branches], 1))
        return joined


class DeepLabV3(nn.Module):
    """A backbone, ASPP on its last map, and an FCN head on stage 3 for training."""

    def __init__(
        self, backbone: Backbone, classes: int, head: AsppHead, auxiliary: AuxiliaryHead
    ) -> None:
        super().__init__()
        self.backbone = backbone
        width = head.channels
        self.head = nn.Sequential(
            Aspp(backbone.channels[3], width, head.rates, head.dropout),
            _conv(width, width, 3),
            nn.Conv2d(width, classes, 1),
        )
        self.auxiliary = nn.Sequential(
            _conv(backbone.channels[2], auxiliary.channels, 3),
            nn.Dropout(auxiliary.dropout),
            nn.Conv2d(auxiliary.channels, classes, 1),
        )

    def forward(self, images: Tensor, sizes: Sizes | None = None) -> tuple[Tensor, Tensor | None]:
        """Logits (N, classes, H, W) at the images' size, and the auxiliary ones in training.

        Args:
            images: (N, 3, H, W) RGB in [0, 1].
            sizes: of the pictures inside the padding, which gets the backbone's mean colour: it is
                zero after normalisation, as in mmsegmentation. None where nothing is padded.
        """
        size = images.shape[-2:]
        if sizes is not None:
            images = fill_padding(images, sizes, self.backbone.convention)
        maps = self.backbone(images)
        logits = _upsample(self.head(maps[3]), size)
        return logits, _upsample(self.auxiliary(maps[2]), size) if self.training else None


def _upsample(logits: Tensor, size: torch.Size) -> Tensor:
    # in float32 even under autocast: neighbouring classes differ by less than bf16 resolves
    return functional.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
