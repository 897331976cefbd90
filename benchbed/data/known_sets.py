"""What is known about the real sets, and about the miniature world: sizes and class lists."""

from benchbed.data.world import spec

REAL_PICTURES: dict[str, int] = {
    "imagenet/train": 1_281_167,
    "imagenet/val": 50_000,
    "voc/VOC2007/trainval": 5_011,
    "voc/VOC2007/test": 4_952,
    "voc/VOC2012/trainval": 11_540,
    "voc-seg/VOC2012/train": 1_464,
    "voc-seg/VOC2012/val": 1_449,
    "voc-seg/VOC2012/train_aug": 10_582,
    "coco/train2017": 118_287,
    "coco/val2017": 5_000,
}
"""Pictures of each split of the real sets, as their authors and detectron2, mmsegmentation and
torchvision state them."""

IMAGENET_VAL_PER_CLASS = 50

_COCO = (
    "1 person,2 bicycle,3 car,4 motorcycle,5 airplane,6 bus,7 train,8 truck,9 boat,"
    "10 traffic light,11 fire hydrant,13 stop sign,14 parking meter,15 bench,16 bird,17 cat,18 dog,"
    "19 horse,20 sheep,21 cow,22 elephant,23 bear,24 zebra,25 giraffe,27 backpack,28 umbrella,"
    "31 handbag,32 tie,33 suitcase,34 frisbee,35 skis,36 snowboard,37 sports ball,38 kite,"
    "39 baseball bat,40 baseball glove,41 skateboard,42 surfboard,43 tennis racket,44 bottle,"
    "46 wine glass,47 cup,48 fork,49 knife,50 spoon,51 bowl,52 banana,53 apple,54 sandwich,"
    "55 orange,56 broccoli,57 carrot,58 hot dog,59 pizza,60 donut,61 cake,62 chair,63 couch,"
    "64 potted plant,65 bed,67 dining table,70 toilet,72 tv,73 laptop,74 mouse,75 remote,"
    "76 keyboard,77 cell phone,78 microwave,79 oven,80 toaster,81 sink,82 refrigerator,84 book,"
    "85 clock,86 vase,87 scissors,88 teddy bear,89 hair drier,90 toothbrush"
)
COCO_CATEGORIES: dict[int, str] = {
    int(number): name for number, _, name in (entry.partition(" ") for entry in _COCO.split(","))
}
"""COCO's 80 categories by id; ten ids between 1 and 90 are not used."""


def pictures(split: str, *, world: bool) -> int | None:
    """How many pictures a split such as `voc/VOC2007/test` has; None when that is not known."""
    return (_world_pictures() if world else REAL_PICTURES).get(split)


def imagenet_classes() -> tuple[str, ...]:
    """ImageNet-1k's 1000 wnids in the order of the class indices, from timm's own list."""
    from timm.data.imagenet_info import ImageNetInfo

    names: list[str] = ImageNetInfo("imagenet-1k").label_names()  # type: ignore[no-untyped-call]
    return tuple(names)


def _world_pictures() -> dict[str, int]:
    return {
        "imagenet/train": spec.IMAGENET_TRAIN.pictures,
        "imagenet/val": spec.IMAGENET_VAL.pictures,
        "voc/VOC2007/trainval": spec.VOC_DET_TRAIN.pictures,
        "voc/VOC2007/test": spec.VOC_DET_TEST.pictures,
        "voc-seg/VOC2012/train": spec.VOC_SEG_TRAIN.pictures,
        "voc-seg/VOC2012/val": spec.VOC_SEG_VAL.pictures,
        "coco/train2017": spec.COCO_TRAIN.pictures,
        "coco/val2017": spec.COCO_VAL.pictures,
    }
