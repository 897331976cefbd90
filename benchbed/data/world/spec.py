"""What the miniature world holds: its classes, their hierarchy, and the sizes of its sets."""

from dataclasses import dataclass

WORLD_VERSION = 1
WORLD_SEED = 1707


@dataclass(frozen=True)
class ThingClass:
    """A class is a shape wearing a texture; colour and light say nothing about it."""

    name: str
    shape: str
    texture: str
    parents: tuple[str, ...]
    """Ancestors, most general first."""


THINGS: dict[str, ThingClass] = {
    thing.name: thing
    for thing in (
        ThingClass("person", "person", "cloth", ("animal",)),
        ThingClass("striped-horse", "quadruped", "stripes", ("animal", "quadruped")),
        ThingClass("spotted-cat", "cat", "spots", ("animal", "quadruped")),
        ThingClass("bird", "bird", "feathers", ("animal",)),
        ThingClass("fish", "fish", "scales", ("animal",)),
        ThingClass("car", "car", "metal", ("artefact", "vehicle")),
        ThingClass("chair", "chair", "wood", ("artefact", "furniture")),
        ThingClass("bottle", "bottle", "glass", ("artefact", "vessel")),
        ThingClass("mug", "mug", "glaze", ("artefact", "vessel")),
        ThingClass("apple", "apple", "peel", ("plant", "fruit")),
        ThingClass("mushroom", "mushroom", "spots", ("plant",)),
    )
}
"""Every class of the world by name."""

CLASSIFICATION = (
    "apple",
    "bird",
    "bottle",
    "car",
    "chair",
    "fish",
    "mug",
    "mushroom",
    "spotted-cat",
    "striped-horse",
)
DETECTION = ("person", "striped-horse", "bird", "car", "chair", "apple")
"""Classes of the detection, segmentation and pose pictures, in the order of their ids."""


@dataclass(frozen=True)
class SplitSpec:
    """One set of pictures."""

    number: int
    """Tells sets apart in the random stream."""
    pictures: int
    size: tuple[int, int]
    """Shortest and longest side, in pixels."""


IMAGENET_TRAIN = SplitSpec(1, 600, (96, 96))
IMAGENET_VAL = SplitSpec(2, 200, (96, 96))
VOC_DET_TRAIN = SplitSpec(3, 240, (104, 136))
VOC_DET_TEST = SplitSpec(4, 100, (104, 136))
VOC_SEG_TRAIN = SplitSpec(5, 240, (104, 136))
VOC_SEG_VAL = SplitSpec(6, 100, (104, 136))
COCO_TRAIN = SplitSpec(7, 240, (112, 152))
COCO_VAL = SplitSpec(8, 100, (112, 152))
