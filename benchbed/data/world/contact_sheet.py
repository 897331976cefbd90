"""Contact sheets of the miniature world: pictures with their annotations drawn on them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchbed.data.world.poses import SKELETON
from benchbed.data.world.scenes import Scene
from benchbed.data.world.spec import (
    COCO_TRAIN,
    DETECTION,
    IMAGENET_TRAIN,
    VOC_DET_TRAIN,
    VOC_SEG_TRAIN,
)
from benchbed.data.world.writing import (
    IGNORE,
    classification_scene,
    crowded_scene,
    label_map,
    people_scene,
)

MARGIN = 4
SHEET_COLOURS = 256
"""Colours of the sheet's palette, to keep the file small."""

CLASS_COLOURS = ((235, 60, 60), (60, 190, 75), (70, 130, 255), (245, 200, 30), (200, 70, 230),
                 (30, 210, 210))  # fmt: skip
LEFT, RIGHT, MIDDLE = (60, 150, 255), (255, 140, 40), (240, 240, 240)

Tile = Image.Image


def _enlarged(scene: Scene, factor: int) -> Tile:
    picture = Image.fromarray(scene.picture)
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.BICUBIC)


def _caption(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, fill: object) -> None:
    box = draw.textbbox(at, text)
    draw.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), fill=(0, 0, 0))
    draw.text(at, text, fill=fill)  # type: ignore[arg-type]


def classification_tile(index: int) -> Tile:
    """A training picture with its class's name below."""
    name, scene = classification_scene(IMAGENET_TRAIN, index)
    tile = _enlarged(scene, 1)
    _caption(ImageDraw.Draw(tile), (2, tile.height - 12), name, (255, 255, 255))
    return tile


def _boxes(scene: Scene, factor: int) -> Tile:
    tile = _enlarged(scene, factor)
    draw = ImageDraw.Draw(tile)
    for item in scene.objects:
        colour = CLASS_COLOURS[DETECTION.index(item.name)]
        x1, y1, x2, y2 = (value * factor for value in item.box)
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour)
        _caption(draw, (x1 + 2, y1 + 1), item.name, colour)
    return tile


def voc_box_tile(index: int) -> Tile:
    """A VOC detection picture with its boxes."""
    return _boxes(crowded_scene(VOC_DET_TRAIN, index), 2)


def coco_box_tile(index: int) -> Tile:
    """A COCO picture with its boxes."""
    return _boxes(people_scene(COCO_TRAIN, index), 2)


def segmentation_tile(index: int) -> Tile:
    """A VOC segmentation picture beside itself with its label map laid over it."""
    scene = crowded_scene(VOC_SEG_TRAIN, index)
    labels = label_map(scene)
    table = np.zeros((256, 3), dtype=np.float32)
    table[1 : len(CLASS_COLOURS) + 1] = CLASS_COLOURS
    table[IGNORE] = 255
    mixed: NDArray[np.float32] = scene.picture * np.float32(0.4) + table[labels] * np.float32(0.6)
    plain = scene.picture * np.float32(0.6)
    overlay = np.where((labels > 0)[:, :, None], mixed, plain).astype(np.uint8)
    return Image.fromarray(np.concatenate([scene.picture, overlay], 1))


def pose_tile(index: int) -> Tile:
    """A COCO picture with its people's skeletons.

    Limbs of the person's left are blue, of the right orange; hidden joints are rings.
    """
    factor = 2
    scene = people_scene(COCO_TRAIN, index + index // 2 + 1)
    tile = _enlarged(scene, factor)
    draw = ImageDraw.Draw(tile)
    for item in scene.objects:
        if item.keypoints is None:
            continue
        points = [(x * factor, y * factor, v) for x, y, v in item.keypoints.tolist()]
        for a, b in SKELETON:
            if points[a][2] and points[b][2]:
                draw.line((*points[a][:2], *points[b][:2]), fill=_side(a, b), width=1)
        for number, (x, y, visibility) in enumerate(points):
            if visibility:
                fill = _side(number, number) if visibility == 2 else None
                draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=fill, outline=_side(number, number))
    return tile


def _side(a: int, b: int) -> tuple[int, int, int]:
    """Keypoints of the left side have odd numbers, the nose is 0."""
    if 0 in (a, b) or a % 2 != b % 2:
        return MIDDLE
    return LEFT if a % 2 else RIGHT


def sheet(tiles: Sequence[Tile], columns: int) -> Tile:
    """Tiles in rows, each in a cell of the largest tile's size."""
    width = max(tile.width for tile in tiles) + MARGIN
    height = max(tile.height for tile in tiles) + MARGIN
    rows = -(-len(tiles) // columns)
    page = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), (255, 255, 255))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        page.paste(tile, (MARGIN + column * width, MARGIN + row * height))
    return page


SHEETS: dict[str, tuple[Callable[[int], Tile], int, int]] = {
    "imagenet-cls-mini": (classification_tile, 40, 10),
    "voc-det-mini": (voc_box_tile, 8, 4),
    "voc-seg-mini": (segmentation_tile, 16, 4),
    "coco-det-mini": (coco_box_tile, 8, 4),
    "coco-pose-mini": (pose_tile, 8, 4),
}
"""Task: what draws a tile, tiles, columns."""


def write_sheets(folder: Path) -> list[Path]:
    """Write one PNG per task; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for task, (draw, count, columns) in SHEETS.items():
        path = folder / f"{task}.png"
        page = sheet([draw(index) for index in range(count)], columns)
        page.quantize(SHEET_COLOURS).save(path, optimize=True)
        paths.append(path)
    return paths
