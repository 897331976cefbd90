"""Protocols of top-down human pose estimation on COCO keypoints."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from benchbed.specs.base import ProtocolBase
from benchbed.specs.strict import Frozen
from benchbed.specs.training import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt

TRUNK_STRIDE = 32
"""Stride of the map that the head starts from."""

HEATMAP_STRIDE = 4
"""Input pixels a heatmap pixel: three stride-2 deconvolutions on the stride-32 map."""


class PoseData(Frozen):
    """Which people are trained and evaluated on."""

    train_split: str
    """Folder of pictures and suffix of the annotation file, `train2017`."""
    eval_split: str
    boxes: Literal["ground-truth", "file"]
    """Where the person boxes of the evaluation come from: two protocols, never mixed."""
    world: PositiveInt | None = None
    """Version of the miniature world; real COCO when absent."""


class PoseInput(Frozen):
    """How a person's box becomes the network's input."""

    height: PositiveInt
    width: PositiveInt
    box_padding: Annotated[float, Field(ge=1)]
    """The box is scaled by this, then grown to the input's aspect ratio."""

    @model_validator(mode="after")
    def _fits_trunk(self) -> Self:
        if self.height % TRUNK_STRIDE or self.width % TRUNK_STRIDE:
            raise ValueError(f"height and width must be multiples of {TRUNK_STRIDE}")
        return self


class Heatmaps(Frozen):
    """Training targets: one Gaussian a labelled keypoint, a heatmap pixel is 4 input pixels."""

    sigma: Positive
    """Heatmap pixels."""
    centre: Literal["pixel", "exact"]
    """`pixel`: the Gaussian sits on the nearest heatmap pixel, as in SimpleBaseline; `exact`: on
    the keypoint itself."""


class PoseHead(Frozen):
    """Three 4x4 stride-2 deconvolutions with batch norm and ReLU, then a 1x1 convolution."""

    deconv_channels: tuple[PositiveInt, PositiveInt, PositiveInt]


class HalfBody(Frozen):
    """Crops the upper or the lower body of a well annotated person."""

    probability: Fraction
    min_keypoints: NonNegativeInt
    """Fewest labelled keypoints of a person that is cropped."""
    min_upper: NonNegativeInt
    min_lower: NonNegativeInt
    """Fewest labelled keypoints of the half that is kept."""
    upper_probability: Fraction
    """Share of upper bodies where both halves qualify."""
    padding: Annotated[float, Field(ge=1)]
    """The keypoints' bounding box is scaled by this."""


class Shift(Frozen):
    """Moves the box by up to `factor` of its padded size, each axis by itself."""

    factor: NonNegative
    probability: Fraction


class Scale(Frozen):
    """Scales the box by min … max."""

    min: Positive
    max: Positive
    probability: Fraction


class Rotation(Frozen):
    """Rotates the box by up to `degrees` either way."""

    degrees: NonNegative
    probability: Fraction


class PoseAugmentation(Frozen):
    """Training augmentation; shift, scale and rotation draw normals truncated to one sigma."""

    flip: Fraction
    """Probability of a horizontal flip, which swaps left and right keypoints."""
    half_body: HalfBody | None = None
    shift: Shift | None = None
    scale: Scale | None = None
    rotation: Rotation | None = None


class PoseTest(Frozen):
    """Test-time procedure."""

    flip: bool
    """Average the heatmaps of the picture and of its mirror image."""
    shift_heatmap: bool
    """Move the mirror image's heatmaps one pixel to the right before averaging."""
    keypoint_score_threshold: NonNegative
    """A person's score is box score x mean score of the keypoints above this."""
    nms_oks: Fraction
    """People of one picture whose OKS is above this are one person."""


class PoseProtocol(ProtocolBase):
    """Top-down pose estimation with the three-deconvolution heatmap head."""

    kind: Literal["pose"]
    data: PoseData
    input: PoseInput
    heatmaps: Heatmaps
    head: PoseHead
    augmentation: PoseAugmentation
    test: PoseTest

    @property
    def has_batch_statistics(self) -> bool:
        """Always: the head's norms train, whatever the backbone's do."""
        return True

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Metrics of a record, primary first."""
        return ("AP", "AP50", "AP75", "AR")

    @property
    def primary_metric(self) -> str:
        """The metric that entries are ranked by."""
        return self.metric_names[0]
