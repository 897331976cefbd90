"""Pictures a second that PIL, OpenCV and torchvision.io decode on one core, side by side.

Run `python benchmarks/decoding_speed.py --pictures FOLDER` with a folder of JPEGs (COCO's, say);
without one the miniature world's pictures are taken. Decoders that are not installed are left out.
"decode" is to RGB at full size; "decode + resize" goes on to a short side of 256 with antialias.
Every decoder sees the same pictures in turn, each round starts with another one, and the median of
the rounds counts. The differences of pixels are to PIL's, in levels of 255.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from benchbed.data import augment
from benchbed.world_cache import cached_world

SHORT = 256
Decode = Callable[[bytes], np.ndarray]


def with_pil(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as picture:
        return np.array(picture.convert("RGB"))


def with_torchvision(content: bytes) -> np.ndarray:
    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return np.ascontiguousarray(decode_jpeg(data, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy())


def decoders() -> dict[str, Decode]:
    found: dict[str, Decode] = {"PIL": with_pil, "torchvision.io": with_torchvision}
    try:
        import cv2
    except ImportError:
        print("OpenCV is not installed: left out")
        return found

    def with_opencv(content: bytes) -> np.ndarray:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    cv2.setNumThreads(1)
    return found | {"OpenCV": with_opencv}


def resized(decode: Decode) -> Decode:
    def run(content: bytes) -> np.ndarray:
        picture = augment.to_tensor(decode(content))
        _, height, width = picture.shape
        size = augment.short_side_size(height, width, SHORT, 10 * SHORT)
        return augment.resize(picture, *size).numpy()

    return run


def drafted(content: bytes) -> np.ndarray:
    """Decoded at a half, quarter or eighth of the size where that is still large enough."""
    with Image.open(BytesIO(content)) as picture:
        width, height = picture.size
        size = augment.short_side_size(height, width, SHORT, 10 * SHORT)
        picture.draft("RGB", (size[1], size[0]))
        pixels = np.array(picture.convert("RGB"))
    return augment.resize(augment.to_tensor(pixels), *size).numpy()


def measure(named: dict[str, Decode], contents: list[bytes], rounds: int) -> dict[str, float]:
    """Median pictures/s of each."""
    speeds: dict[str, list[float]] = {name: [] for name in named}
    names = list(named)
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = time.process_time()
            for content in contents:
                named[name](content)
            if turn:  # the first round warms up
                speeds[name].append(len(contents) / (time.process_time() - start))
    return {name: statistics.median(found) for name, found in speeds.items()}


def difference(first: Decode, other: Decode, contents: list[bytes]) -> tuple[int, float]:
    """Largest and mean absolute difference of pixels."""
    largest, means = 0, []
    for content in contents:
        apart = np.abs(first(content).astype(int) - other(content).astype(int))
        largest, means = max(largest, int(apart.max())), [*means, float(apart.mean())]
    return largest, statistics.fmean(means)


def report(title: str, named: dict[str, Decode], contents: list[bytes], rounds: int) -> None:
    print(title)
    speeds = measure(named, contents, rounds)
    for name, speed in speeds.items():
        largest, mean = difference(named["PIL"], named[name], contents)
        print(
            f"  {name:15} {speed:7.1f} pictures/s  x{speed / speeds['PIL']:.2f}"
            f"  differs from PIL by at most {largest}, {mean:.4f} on average"
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, help="folder that holds JPEGs, at any depth")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.pictures or cached_world(1)
    paths = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in (".jpg", ".jpeg")]
    contents = [path.read_bytes() for path in paths[: options.limit]]
    kept = []
    for content in contents:
        with Image.open(BytesIO(content)) as picture:
            if picture.mode == "RGB":
                kept.append(content)
    print(f"{len(kept)} JPEGs, {sum(map(len, kept)) / len(kept) / 1024:.0f} KiB each on average")
    found = decoders()
    report("decode", found, kept, options.rounds)
    scaled = {name: resized(decode) for name, decode in found.items()}
    scaled["PIL draft"] = drafted
    report(f"decode + resize to {SHORT}", scaled, kept, options.rounds)


if __name__ == "__main__":
    main()
