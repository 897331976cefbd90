"""Pictures a second that the miniature world draws on one core.

Run `python benchmarks/world_speed.py`.
"""

import time
from collections.abc import Callable

from benchbed.data.world.scenes import Scene
from benchbed.data.world.spec import COCO_TRAIN, IMAGENET_TRAIN, VOC_DET_TRAIN
from benchbed.data.world.writing import classification_scene, crowded_scene, people_scene

PICTURES = 200

KINDS: dict[str, Callable[[int], Scene]] = {
    "classification, 96 px": lambda i: classification_scene(IMAGENET_TRAIN, i)[1],
    "VOC, about 120 px": lambda i: crowded_scene(VOC_DET_TRAIN, i),
    "COCO, about 132 px": lambda i: people_scene(COCO_TRAIN, i),
}


def main() -> None:
    """Print items/s of CPU time for each kind of picture."""
    for name, draw in KINDS.items():
        start = time.process_time()
        for index in range(PICTURES):
            draw(index)
        print(f"{name}: {PICTURES / (time.process_time() - start):.0f} items/s")


if __name__ == "__main__":
    main()
