"""Recall, false alarms and speed of the scan for near-duplicates.

Run `python benchmarks/near_duplicates.py [--coco COCO_MINI]` with a folder in the COCO layout with
some photographs; without one, only scenes of the miniature world are looked at. One thread.

The settings were chosen on the first set (COCO's train pictures, scenes of streams 901 to 903) and
are tested on the second (COCO's val pictures, the mini tasks' evaluation pictures, scenes of
streams 904 and 905): no picture is in both. Scenes are the hard case for false alarms: the same few
things before the same few backdrops, in thousands. Parts of one photograph are not independent of
each other, so the bound given for them is of parts of these photographs, not of photographs.
`--thousands --streams 902 903 --scenes 6000` is what the least detail was last raised for.
"""

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import binomtest

from benchbed.data import pictures
from benchbed.data.evaluation_pictures import EvaluationPicture, EvaluationSet, evaluation_set
from benchbed.data.world.spec import SplitSpec
from benchbed.data.world.writing import classification_scene, crowded_scene, people_scene
from benchbed.specs.protocol import find_protocol
from benchbed.study.alterations import (
    ALTERATIONS,
    cut_off,
    recompressed,
)
from benchbed.study.duplicate_report import ScanSettings
from benchbed.study.hash_index import build_index, find_near
from benchbed.study.near_duplicates import build_library, fit, propose, scan
from benchbed.study.perceptual_hash import (
    CROPS,
    MIRROR,
    SHRUNK,
    hash_thumbnails,
    thumbnail,
    thumbnails,
)
from benchbed.world_cache import cached_world

CHOSEN_ON, TESTED_ON = 901, (904, 905)
"""Streams of scenes that are in no set of the world; of the last two, others and evaluated ones."""

MINI = ("imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini")
"""Tasks whose evaluation pictures are the second set's scenes; coco-pose-mini has coco-det's."""

Picture = np.ndarray
Alter = Callable[[Picture, np.random.Generator], Picture]


class Pictures:
    """A corpus in memory."""

    id, single_label = "pictures", False

    def __init__(self, content: Sequence[Picture]) -> None:
        self.content = content

    def __len__(self) -> int:
        return len(self.content)

    def key(self, index: int) -> str:
        return str(index)

    def picture(self, index: int) -> Picture:
        return self.content[index]

    def fingerprint(self) -> str:
        return "0" * 64


def as_set(content: Sequence[Picture]) -> EvaluationSet:
    found = (EvaluationPicture(n, partial(lambda p: p, p)) for n, p in enumerate(content))
    return EvaluationSet("task", "", tuple(found))


def scenes(stream: int, count: int) -> list[Picture]:
    """Pictures as those of the world's sets, three kinds by turns."""
    found = []
    for index in range(count):
        if index % 3 == 0:
            scene = classification_scene(SplitSpec(stream, count, (96, 96)), index)[1]
        elif index % 3 == 1:
            scene = crowded_scene(SplitSpec(stream, count, (104, 136)), index)
        else:
            scene = people_scene(SplitSpec(stream, count, (112, 152)), index)
        found.append(scene.picture)
    return found


def photographs(root: Path, split: str) -> list[Picture]:
    return [pictures.read_rgb(path) for path in sorted((root / split).glob("*.jpg"))]


def parts_of(content: Sequence[Picture], count: int, rng: np.random.Generator) -> list[Picture]:
    """Random parts of 40 to 80 % of the width and of the height."""
    found = []
    for number in range(count):
        picture = content[number % len(content)]
        wide, high = rng.uniform(0.4, 0.8, 2)
        left, upper = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
        found.append(cut_off(picture, left, 1 - left - wide, upper, 1 - upper - high))
    return found


def on_the_first_set(shown: list[Picture], others: list[Picture], name: str) -> None:
    """What the settings lie between."""
    library = build_library([as_set(shown)], ScanSettings().radius)
    rng = np.random.default_rng(1)
    farthest, least = 0, 1.0
    for alter in ALTERATIONS.values():
        small = thumbnails(alter(picture, rng) for picture in shown)
        own = [one for one in propose(library, small) if one.place == one.picture]
        best: dict[int, float] = {}
        nearest: dict[int, int] = {}
        for one in own:
            best[one.place] = max(best.get(one.place, -1), fit(library, one, small).detail)
            nearest[one.place] = min(nearest.get(one.place, 99), one.distance)
        if len(best) < len(shown):
            print(f"  {name}: {len(shown) - len(best)} copies are beyond the radius")
        farthest, least = max(farthest, *nearest.values()), min(least, *best.values())
    small = thumbnails(others)
    proposed = list(propose(library, small))
    details = [fit(library, one, small).detail for one in proposed]
    print(
        f"  {name}: copies at most {farthest} of 64 signs apart, detail {least:.2f} or more;"
        f" others: {len(proposed)} of {len(shown) * len(others):,} pairs proposed,"
        f" detail {max(details, default=0):.2f} or less"
    )


def recall(shown: list[Picture], alter: Alter, copies: int, rng: np.random.Generator) -> str:
    found = total = 0
    for _ in range(copies):
        report = scan(Pictures([alter(picture, rng) for picture in shown]), [as_set(shown)])
        pairs = {(m.picture, m.corpus_index) for m in report.tasks["task"].matches}
        found += sum((n, n) in pairs for n in range(len(shown)))
        total += len(shown)
    low = binomtest(found, total).proportion_ci(method="exact").low
    return f"{100 * found / total:6.2f} % ({found}/{total}; 95 %: {100 * low:.1f} or more)"


def false_alarms(shown: list[Picture], others: list[Picture], name: str) -> None:
    report = scan(Pictures(others), [as_set(shown)])
    matches = report.tasks["task"].matches
    print(f"  {name}")
    for what, flagged, total in (
        ("corpus pictures", len({m.corpus_index for m in matches}), len(others)),
        ("evaluation pictures", len({m.picture for m in matches}), len(shown)),
    ):
        high = binomtest(flagged, total).proportion_ci(method="exact").high
        print(f"    {flagged} of {total:,} {what} flagged: at most {100 * high:.3f} % (95 %)")


BEYOND: dict[str, Alter] = {
    "cropped 7.5 % at every side": lambda p, rng: cut_off(p, *[0.075] * 4),
    "cropped 10 % at every side": lambda p, rng: cut_off(p, *[0.1] * 4),
    "cropped 20 % at one side": lambda p, rng: cut_off(p, 0.2, 0, 0, 0),
    "quality 10": lambda p, rng: _jpeg(p, 10),
    "a quarter of the size": lambda p, rng: _scaled(p, 0.25),
    "half as bright": lambda p, rng: p // 2,
    "grey": lambda p, rng: np.asarray(Image.fromarray(p).convert("L").convert("RGB")),
    "turned by 2 degrees": lambda p, rng: _turned(p, 2),
    "turned by 5 degrees": lambda p, rng: _turned(p, 5),
    "a black border of 5 %": lambda p, rng: _bordered(p, 0.05),
    "upside down": lambda p, rng: np.ascontiguousarray(p[::-1]),
}


def _jpeg(picture: Picture, quality: int) -> Picture:
    class Fixed:
        def integers(self, low: int, high: int) -> int:
            return quality

    return recompressed(picture, Fixed())  # type: ignore[arg-type]


def _scaled(picture: Picture, factor: float) -> Picture:
    height, width = (round(side * factor) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _turned(picture: Picture, degrees: float) -> Picture:
    return np.asarray(Image.fromarray(picture).rotate(degrees, Image.Resampling.BICUBIC))


def _bordered(picture: Picture, share: float) -> Picture:
    rows, columns = (round(side * share) for side in picture.shape[:2])
    return np.pad(picture, ((rows, rows), (columns, columns), (0, 0)))


def speed(small_pictures: list[Picture], photos: list[Picture]) -> None:
    for name, content in (("scenes of 96 to 152 pixels", small_pictures), ("photographs", photos)):
        if content:
            seconds = timed(lambda some=content: [thumbnail(picture) for picture in some])
            print(f"  thumbnails of decoded {name}: {len(content) / seconds:,.0f} a second")
    small = thumbnails(small_pictures)
    seconds = timed(lambda: hash_thumbnails(small, SHRUNK))
    print(f"  hashes of three crops: {len(small) / seconds:,.0f} pictures a second")
    rng = np.random.default_rng(0)
    for count in (5_000, 50_000):
        stored = rng.integers(0, 2**64, count * len(CROPS), dtype=np.uint64)
        index = build_index(stored, ScanSettings().radius)
        # three crops and their mirror images a corpus picture
        queries = rng.integers(0, 2**64, (500, len(SHRUNK)), dtype=np.uint64)
        queries = np.concatenate([queries, queries ^ MIRROR], axis=1).ravel()
        seconds = timed(lambda q=queries, i=index: find_near(i, q))
        some = queries[:20]
        plain = timed(lambda q=some, s=stored: np.nonzero(np.bitwise_count(q[:, None] ^ s) <= 10))
        pairs = len(queries) * len(stored)
        print(
            f"  {count:,} evaluation pictures ({len(stored):,} hashes): {500 / seconds:,.0f} corpus"
            f" pictures a second looked up, {pairs / seconds:.1e} pairs of hashes a second"
            f" ({len(some) * len(stored) / plain:.1e} when all are compared)"
        )


def timed(work: Callable[[], object], rounds: int = 3) -> float:
    """Least CPU seconds of a few rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coco", type=Path, help="folder with train2017/ and val2017/")
    parser.add_argument("--scenes", type=int, default=4000, help="other scenes")
    parser.add_argument(
        "--thousands", action="store_true",
        help="only: false alarms of the other scenes against 3,000 scenes",
    )  # fmt: skip
    parser.add_argument("--streams", type=int, nargs=2, default=TESTED_ON)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, numpy {np.__version__}, one thread")
    print(f"settings: {ScanSettings()}")
    if options.thousands:
        others, shown = options.streams
        against_thousands(scenes(others, options.scenes), scenes(shown, 3000))
        return
    photos = photographs(options.coco, "val2017") if options.coco else []
    first_photos = photographs(options.coco, "train2017") if options.coco else []
    both_sets(photos, first_photos, scenes(options.streams[0], options.scenes))


def both_sets(photos: list[Picture], first_photos: list[Picture], others: list[Picture]) -> None:
    rng = np.random.default_rng(0)
    print("\nfirst set: what the settings lie between")
    first = scenes(CHOSEN_ON, 2400)
    on_the_first_set(first[:400], first[400:], "400 scenes, 2,000 others")
    if first_photos:
        parts = parts_of(first_photos[40:], 1000, rng)
        on_the_first_set(first_photos[:40], parts, "40 photographs, 1,000 parts of 40 others")

    sets = [evaluation_set(find_protocol(task), cached_world(1)) for task in MINI]
    shown = [picture.read() for one in sets for picture in one.pictures]
    print(
        f"\nsecond set: recall of altered copies, {len(shown)} scenes and {len(photos)} photographs"
    )
    for name, alter in ALTERATIONS.items():
        print(f"  {name:32} scenes {recall(shown, alter, 1, rng)}")
        if photos:
            print(f"  {'':32} photographs {recall(photos, alter, 2, rng)}")

    print("\nsecond set: false alarms")
    false_alarms(shown, others, f"{len(others):,} other scenes")
    if photos:
        parts = parts_of(first_photos, 4000, rng)
        false_alarms(photos, parts, f"4,000 parts of {len(first_photos)} other photographs")

    print("\nbeyond what is promised: copies that are found")
    for name, alter in BEYOND.items():
        line = f"  {name:32} scenes {recall(shown[::4], alter, 1, rng)}"
        print(line + (f"\n  {'':32} photographs {recall(photos, alter, 1, rng)}" if photos else ""))

    print("\nspeed")
    speed(others[:500], photos)


def against_thousands(others: list[Picture], shown: list[Picture]) -> None:
    """As many evaluation pictures as a full task has, and how near the nearest others come."""
    print(f"\nfalse alarms against {len(shown):,} scenes")
    false_alarms(shown, others, f"{len(others):,} other scenes")
    library = build_library([as_set(shown)], ScanSettings().radius)
    small = thumbnails(others)
    start = time.process_time()
    details = sorted(fit(library, one, small).detail for one in propose(library, small))
    seconds = time.process_time() - start
    print(
        f"  {len(details):,} of {len(shown) * len(others):,} pairs proposed; largest detail"
        f" {', '.join(f'{value:.2f}' for value in details[:-6:-1])};"
        f" hashed, looked up and laid over each other in {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
