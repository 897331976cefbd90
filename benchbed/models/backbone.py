"""The Backbone contract that every task family builds on."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from benchbed.models.decay import no_decay_names

PYRAMID_STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class PixelConvention:
    """How a network wants its pixels: it gets ``(rgb_in_0_1 * scale - mean) / std``, reordered."""

    order: str
    """`RGB` or `BGR`; mean and std are given in this order."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 1.0
    """1.0 for networks fed [0, 1], 255.0 for networks fed [0, 255]."""


class Backbone(nn.Module):
    """A trunk that yields a feature pyramid and a pooled embedding; knows nothing of any task.

    Images are float RGB in [0, 1], (N, 3, H, W); the backbone applies its own pixel convention.
    Everything beside the trunk (the layers of `levels`) is randomly initialised and counts as
    head.
    """

    trunk: nn.Module
    """The source's own network; its state dict is what a checkpoint must fill."""
    channels: tuple[int, int, int, int]
    """Channels of the four maps."""
    strides: tuple[int, int, int, int]
    """Strides of the four maps: (4, 8, 16, 32), or (4, 8, 8, 8) at output stride 8."""
    made: tuple[str, ...] = ()
    """Maps that are not the trunk's own: `"4 from 16"` is the stride-4 one, made from the trunk's
    map of 16-pixel cells; `"8 regridded from 7"` is its own, read off at the centres of 8-pixel
    cells. Empty where all four are the trunk's, untouched."""
    embedding_dim: int
    convention: PixelConvention

    @abstractmethod
    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        """The trunk's own maps (N, C, h, w), fine to coarse, as the source computes them."""

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """Four maps (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))."""

    @abstractmethod
    def embedding(self, images: Tensor) -> Tensor:
        """The source's own pooled pre-logits embedding, (N, embedding_dim)."""

    @abstractmethod
    def stages(self) -> list[list[nn.Parameter]]:
        """Five lists of parameters (stem, stage 1 … stage 4), a partition of the trunk's."""

    @abstractmethod
    def stage_modules(self) -> list[list[nn.Module]]:
        """The modules of the five stages, whose batch norms are frozen along with them."""

    @abstractmethod
    def layer_groups(self) -> list[list[nn.Parameter]]:
        """The trunk's parameters from input to output for layer-wise lr decay; a partition."""

    @abstractmethod
    def dilate(self, output_stride: int) -> int:
        """Reduce the output stride to 8 or 16 where it can; returns the stride reached.

        To be called before any head is built on `channels` and `strides`, which may change.
        """

    def no_decay(self) -> set[int]:
        """`id` of the trunk parameters without weight decay besides the 1-D ones."""
        names = no_decay_names(self.trunk)
        return {id(p) for name, p in self.trunk.named_parameters() if name in names}

    def forward(self, images: Tensor) -> list[Tensor]:
        """Same as `features`, so that hooks and DDP work."""
        return self.features(images)

    def normalise(self, images: Tensor) -> Tensor:
        """Apply the pixel convention to RGB images in [0, 1]."""
        convention = self.convention
        if convention.order == "BGR":
            images = images.flip(1)
        mean = per_channel(convention.mean, images)
        std = per_channel(convention.std, images)
        return (images * convention.scale - mean) / std


def per_channel(values: tuple[float, float, float], images: Tensor) -> Tensor:
    """One number a channel, (1, 3, 1, 1), written where the images are.

    A tensor made from a list would be copied there, and the host would wait for a GPU each time.
    """
    made = images.new_empty((1, len(values), 1, 1))
    for channel, value in enumerate(values):
        made[:, channel].fill_(value)
    return made
