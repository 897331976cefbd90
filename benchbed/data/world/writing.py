"""The miniature world on disk, in the ImageNet, VOC and COCO layouts."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchbed.data.world.poses import KEYPOINT_NAMES, SKELETON
from benchbed.data.world.scenes import Mask, Scene, SceneObject, draw_scene
from benchbed.data.world.spec import (
    CLASSIFICATION,
    COCO_TRAIN,
    COCO_VAL,
    DETECTION,
    IMAGENET_TRAIN,
    IMAGENET_VAL,
    VOC_DET_TEST,
    VOC_DET_TRAIN,
    VOC_SEG_TRAIN,
    VOC_SEG_VAL,
    WORLD_VERSION,
    SplitSpec,
)
from benchbed.errors import DataError

MANIFEST = "benchbed-mini.json"
JPEG_QUALITY = 90
IGNORE = 255
DIFFICULT_BELOW = 0.5
"""Visible share below which a VOC object is marked difficult."""


@dataclass(frozen=True)
class WorldManifest:
    """What was written; its presence says that the world is complete."""

    version: int
    pictures: int
    fingerprint: str
    """sha256 over the names and bytes of all files."""


def ensure_world(root: Path, version: int = WORLD_VERSION) -> WorldManifest:
    """Write the miniature world under `root` unless it is there already.

    Written beside `root` and renamed into place, so that it is whole or absent, also when several
    processes call this at once.

    Raises:
        DataError: another version is there, the folder holds something else, or it cannot be
            written.
    """
    if version != WORLD_VERSION:
        raise DataError(f"miniature world {version} is unknown; this benchbed has {WORLD_VERSION}")
    found = read_manifest(root)
    if found is not None:
        return found
    if root.is_dir() and any(root.iterdir()):
        raise DataError(f"{root}: the folder is not empty and holds no miniature world")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
    except OSError as error:
        raise DataError(f"{root}: cannot be written ({error.strerror})") from error
    try:
        pictures = write_layouts(temporary)
        manifest = WorldManifest(version, pictures, _fingerprint(temporary))
        (temporary / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n")
        temporary.chmod(0o755)
        _move_into_place(temporary, root)
        return manifest
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_manifest(root: Path) -> WorldManifest | None:
    """The manifest of a finished world, or None.

    Raises:
        DataError: there is a manifest that cannot be read, or of another version.
    """
    path = root / MANIFEST
    try:
        content = json.loads(path.read_text())
        manifest = WorldManifest(**content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, OSError) as error:
        raise DataError(
            f"{path}: broken manifest ({error}); remove {root} and try again"
        ) from error
    if manifest.version != WORLD_VERSION:
        raise DataError(
            f"{root}: holds miniature world {manifest.version}, this benchbed draws"
            f" {WORLD_VERSION}; use another folder"
        )
    return manifest


def _move_into_place(temporary: Path, root: Path) -> None:
    try:
        os.rename(temporary, root)  # noqa: PTH104
    except OSError:
        if read_manifest(root) is None:
            raise


def write_layouts(root: Path) -> int:
    """Write all three layouts; returns the number of pictures."""
    write_imagenet(root / "imagenet")
    write_voc(root / "VOCdevkit")
    write_coco(root / "coco")
    return sum(1 for path in root.rglob("*") if path.suffix in {".jpg", ".JPEG"})


def classification_scene(split: SplitSpec, index: int) -> tuple[str, Scene]:
    """Item of the classification sets: one main object before up to two others."""
    name = CLASSIFICATION[index % len(CLASSIFICATION)]
    return name, draw_scene(CLASSIFICATION, split, index, crowd=(0, 2), main=name)


def crowded_scene(split: SplitSpec, index: int) -> Scene:
    """Item of the detection, segmentation and pose sets: two to five objects."""
    return draw_scene(DETECTION, split, index, crowd=(2, 5), main=None)


def people_scene(split: SplitSpec, index: int) -> Scene:
    """Item of the COCO sets: as `crowded_scene`, with a person in front in two of three."""
    main = "person" if index % 3 else None
    return draw_scene(DETECTION, split, index, crowd=(1, 4), main=main)


def write_imagenet(root: Path) -> None:
    """`train` and `val`, one folder a class."""
    for split, spec in (("train", IMAGENET_TRAIN), ("val", IMAGENET_VAL)):
        for index in range(spec.pictures):
            name, scene = classification_scene(spec, index)
            _save(root / split / name / f"{name}_{index:05}.JPEG", scene)


def write_voc(root: Path) -> None:
    """VOC2007 for detection (trainval, test), VOC2012 for segmentation (train, val)."""
    sets = (
        ("VOC2007", "Main", "trainval", VOC_DET_TRAIN),
        ("VOC2007", "Main", "test", VOC_DET_TEST),
        ("VOC2012", "Segmentation", "train", VOC_SEG_TRAIN),
        ("VOC2012", "Segmentation", "val", VOC_SEG_VAL),
    )
    for year, kind, split, spec in sets:
        base = root / year
        names = []
        for index in range(spec.pictures):
            name = f"{spec.number:02}{index:04}"
            names.append(name)
            scene = crowded_scene(spec, index)
            _save(base / "JPEGImages" / f"{name}.jpg", scene)
            if kind == "Main":
                _write_text(base / "Annotations" / f"{name}.xml", voc_xml(name, scene))
            else:
                _save_labels(base / "SegmentationClass" / f"{name}.png", label_map(scene))
        _write_text(base / "ImageSets" / kind / f"{split}.txt", "\n".join(names) + "\n")


def write_coco(root: Path) -> None:
    """train2017 and val2017 with instances and person_keypoints."""
    for split, spec in (("train2017", COCO_TRAIN), ("val2017", COCO_VAL)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(spec.pictures):
            scene, image_id = people_scene(spec, index), spec.number * 10000 + index
            name = f"{image_id:012}.jpg"
            height, width = scene.picture.shape[:2]
            images.append({"id": image_id, "file_name": name, "height": height, "width": width})
            for item in scene.objects:
                annotations.append(coco_annotation(item, image_id, len(annotations) + 1))
            _save(root / split / name, scene)
        base: dict[str, Any] = {
            "info": {"description": f"benchbed miniature world {WORLD_VERSION}"}
        }
        people = [item for item in annotations if "keypoints" in item]
        instances = [_without_keypoints(item) for item in annotations]
        for kind, found, categories in (
            ("instances", instances, _categories()),
            ("person_keypoints", people, _categories()[:1]),
        ):
            content = base | {"images": images, "annotations": found, "categories": categories}
            _write_text(root / "annotations" / f"{kind}_{split}.json", json.dumps(content))


def _categories() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"id": number, "name": name, "supercategory": "thing"}
        for number, name in enumerate(DETECTION, 1)
    ]
    skeleton = [[a + 1, b + 1] for a, b in SKELETON]
    found[0] |= {"keypoints": list(KEYPOINT_NAMES), "skeleton": skeleton}
    return found


def coco_annotation(item: SceneObject, image_id: int, number: int) -> dict[str, Any]:
    """One COCO annotation; the mask is uncompressed run lengths, as COCO's crowds are."""
    x1, y1, x2, y2 = item.box
    annotation: dict[str, Any] = {
        "id": number,
        "image_id": image_id,
        "category_id": DETECTION.index(item.name) + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(item.mask.sum()),
        "iscrowd": 0,
        "segmentation": {"counts": run_lengths(item.mask), "size": list(item.mask.shape)},
    }
    if item.keypoints is not None:
        annotation["keypoints"] = [
            value
            for x, y, visibility in item.keypoints.tolist()
            for value in (round(x, 2), round(y, 2), int(visibility))
        ]
        annotation["num_keypoints"] = int((item.keypoints[:, 2] > 0).sum())
    return annotation


def _without_keypoints(annotation: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in annotation.items() if k not in ("keypoints", "num_keypoints")}


def run_lengths(mask: Mask) -> list[int]:
    """COCO's uncompressed RLE: column-major runs, the first of zeros."""
    flat = mask.flatten(order="F").astype(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else runs


def voc_xml(name: str, scene: Scene) -> str:
    """VOC's XML: 1-based inclusive boxes."""
    height, width = scene.picture.shape[:2]
    lines = [
        "<annotation>",
        f"  <filename>{name}.jpg</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
        "  <segmented>0</segmented>",
    ]
    for item in scene.objects:
        x1, y1, x2, y2 = item.box
        lines += [
            "  <object>",
            f"    <name>{item.name}</name>",
            f"    <difficult>{int(item.visible_share < DIFFICULT_BELOW)}</difficult>",
            f"    <bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def label_map(scene: Scene) -> NDArray[np.uint8]:
    """(H, W) class indices, background 0, with VOC's border of 255 around each object."""
    height, width = scene.picture.shape[:2]
    labels = np.zeros((height, width), dtype=np.uint8)
    owner = np.zeros((height, width), dtype=np.int32)
    for number, item in enumerate(scene.objects, 1):
        labels[item.mask] = DETECTION.index(item.name) + 1
        owner[item.mask] = number
    across, down = owner[:, 1:] != owner[:, :-1], owner[1:] != owner[:-1]
    labels[scene.unnamed] = IGNORE
    labels[:, 1:][across] = IGNORE
    labels[1:][down] = IGNORE
    return labels


def _palette() -> list[int]:
    """VOC's colour map: the index's bits, three at a time, from each channel's top bit down."""
    return [
        sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3))
        for index in range(256)
        for channel in range(3)
    ]


def _save(path: Path, scene: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.picture).save(path, "JPEG", quality=JPEG_QUALITY)


def _save_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels).convert("L")
    image.putpalette(_palette())
    image.save(path, "PNG")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())


def _fingerprint(root: Path) -> str:
    digest = hashlib.sha256()
    for path in _files(root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
