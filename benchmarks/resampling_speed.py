"""What it costs to score a COCO-sized run on the common draws of its pictures.

python benchmarks/resampling_speed.py > benchmarks/output/resampling_speed.txt

5,000 pictures, 80 classes with very unlike numbers of boxes (36,335 in all), 100 detections a
picture; the official evaluation of the same detections is timed beside it. All parts are seeded.
"""

import time
from typing import Any

import numpy as np

from benchbed.board.bootstrap import RESAMPLES, picture_weights
from benchbed.finetune.metrics import coco as coco_metric
from benchbed.resampling.ranked_coco import ranked_coco
from benchbed.resampling.weighted_ap import coco_ap

PICTURES, CLASSES, BOXES, PER_PICTURE = 5000, 80, 36_335, 100
SIDE = 600
"""Of a picture, pixels."""


def drawn() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations, and detections of which some are the moved boxes and the others anywhere."""
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.full(CLASSES, 0.5))
    labels = rng.choice(CLASSES, BOXES, p=share)
    picture = rng.integers(0, PICTURES, BOXES)
    corners = rng.uniform(0, SIDE - 130, (BOXES, 2))
    boxes = np.concatenate([corners, rng.uniform(8, 120, (BOXES, 2))], axis=1)
    moved = boxes + rng.normal(0, 4, boxes.shape) * (rng.random((BOXES, 1)) < 0.7)
    others = PICTURES * PER_PICTURE - BOXES
    noise = np.concatenate(
        [rng.uniform(0, SIDE - 130, (others, 2)), rng.uniform(8, 120, (others, 2))], axis=1
    )
    found = [
        (int(i) + 1, int(c) + 1, float(s), b)
        for i, c, s, b in zip(
            np.concatenate([picture, rng.integers(0, PICTURES, others)]),
            np.concatenate([labels, rng.choice(CLASSES, others, p=share)]),
            np.concatenate([rng.beta(4, 2, BOXES), rng.beta(1, 6, others)]),
            np.concatenate([moved, noise]).round(2).tolist(),
            strict=True,
        )
    ]
    truth = {
        "images": [{"id": i + 1, "width": SIDE, "height": SIDE} for i in range(PICTURES)],
        "categories": [{"id": c + 1, "name": str(c)} for c in range(CLASSES)],
        "annotations": [
            {"id": n + 1, "image_id": int(picture[n]) + 1, "category_id": int(labels[n]) + 1,
             "bbox": boxes[n].tolist(), "area": float(boxes[n, 2] * boxes[n, 3]), "iscrowd": 0}
            for n in range(BOXES)
        ],
    }  # fmt: skip
    rows = [{"image_id": i, "category_id": c, "score": s, "bbox": b} for i, c, s, b in found]
    return truth, rows


def main() -> None:
    """Time the parts, and check the figure of the whole set."""
    truth, rows = drawn()
    print(f"# {PICTURES} pictures, {CLASSES} classes, {BOXES} boxes, {len(rows)} detections;")
    print("# seconds of one process, of all its threads in brackets")

    def timed(what: str, call: Any) -> Any:
        wall, own = time.perf_counter(), time.process_time()
        found = call()
        print(f"{what:<52} {time.perf_counter() - wall:7.1f} ({time.process_time() - own:.1f})")
        return found

    official = timed(
        "the official evaluation (hotcoco)", lambda: coco_metric.score(truth, rows, "bbox")
    )
    ids = [image["id"] for image in truth["images"]]
    ranked = timed(
        "matching, picture by picture",
        lambda: ranked_coco(truth, rows, "bbox", ids, slice(None)),
    )
    names = [f"coco/{number}" for number in ids]
    weights = timed(f"{RESAMPLES} draws", lambda: picture_weights(names))
    scores = timed(
        f"AP on {RESAMPLES} draws", lambda: np.stack([coco_ap(own, weights) for own in ranked])
    )
    once = np.ones((1, PICTURES), dtype=np.int64)
    whole = float(np.nanmean([coco_ap(own, once)[0] for own in ranked]))
    error = np.nanmean(scores, axis=0).std(ddof=1)
    print(f"AP {official['AP']:.6f}, of every picture once {whole:.6f},")
    print(f"standard error over pictures {error:.6f}")


if __name__ == "__main__":
    main()
