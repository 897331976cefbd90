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
    size: float = 1.0
    """Usual size beside the other classes."""
    gloss: float = 0.0
    """How strongly it mirrors the lamp, 0 to 1."""


THINGS: dict[str, ThingClass] = {
    thing.name: thing
    for thing in (
        ThingClass("person", "person", "cloth", ("animal",), 1.4),
        ThingClass("striped-horse", "quadruped", "stripes", ("animal", "quadruped"), 1.1),
        ThingClass("spotted-cat", "cat", "spots", ("animal", "quadruped"), 0.75),
        ThingClass("bird", "bird", "feathers", ("animal",), 0.75),
        ThingClass("fish", "fish", "scales", ("animal",), 0.75, 0.15),
        ThingClass("car", "car", "metal", ("artefact", "vehicle"), 1.2, 0.35),
        ThingClass("chair", "chair", "wood", ("artefact", "furniture"), 0.95),
        ThingClass("bottle", "bottle", "glass", ("artefact", "vessel"), 0.75, 0.7),
        ThingClass("mug", "mug", "glaze", ("artefact", "vessel"), 0.55, 0.4),
        ThingClass("apple", "apple", "peel", ("plant", "fruit"), 0.55, 0.3),
        ThingClass("mushroom", "mushroom", "spots", ("plant",), 0.65),
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
WORLD_CLASSES = DETECTION


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
