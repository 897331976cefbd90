"""Pictures a second that one core decodes and cuts for training, by several ways side by side.

Run `python benchmarks/crop_speed.py [--size 224] [--picture-size 256 340]`. JPEGs are made as
`noise_pictures.py` makes them; every way gets the same pictures, the same rectangles of
RandomResizedCrop and the same flips, and puts out uint8 (3, size, size). The ways take turns, each
round starts with another one; the median of the rounds counts, in processor time. The difference is
that of the pixels to `benchbed`'s, in levels of 255. Draft is JPEG's own decoding at a half, a
quarter or an eighth of the size, used where the piece stays at least as large as what is wanted.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from noise_pictures import noise_jpeg
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from benchbed.data import augment
from benchbed.data.pictures import decode_rgb
from benchbed.pretrain.samples import cut
from benchbed.specs.pretraining import PretrainCrop

Way = Callable[[bytes, int], Tensor]
"""From a JPEG and the seed of its crop to uint8 (3, size, size)."""
DECODING = "PIL decoding alone"


def main() -> None:
    """Print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--picture-size", type=int, nargs=2, default=(256, 340))
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    jpegs = [noise_jpeg(rng, *options.picture_size) for _ in range(options.pictures)]
    spec = PretrainCrop(
        kind="resized", size=options.size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), flip=0.5
    )
    size = statistics.fmean(map(len, jpegs)) / 1024
    print(f"{len(jpegs)} JPEGs of {options.picture_size}, {size:.0f} KiB each, to {options.size}")
    ways = all_ways(spec)
    speeds = measure(ways, jpegs, options.rounds)
    for name, speed in speeds.items():
        line = f"  {name:34} {speed:7.1f} pictures/s  x{speed / speeds['benchbed']:.2f}"
        if name != DECODING:
            apart = np.mean([difference(ways, name, jpeg, n) for n, jpeg in enumerate(jpegs)])
            line += f"  differs by {apart:.2f}"
        print(line)


def all_ways(spec: PretrainCrop) -> dict[str, Way]:
    def ours(jpeg: bytes, seed: int) -> Tensor:
        return cut(decode_rgb(jpeg, "made"), spec, np.random.default_rng(seed))

    def decoded_only(jpeg: bytes, seed: int) -> Tensor:
        del seed
        return torch.from_numpy(decode_rgb(jpeg, "made"))[: spec.size, : spec.size].permute(2, 0, 1)

    def pil_box(jpeg: bytes, seed: int) -> Tensor:
        with Image.open(io.BytesIO(jpeg)) as picture:
            return by_pil(picture.convert("RGB"), *drawn(picture, spec, seed), spec.size)

    def pil_draft(jpeg: bytes, seed: int) -> Tensor:
        with Image.open(io.BytesIO(jpeg)) as picture:
            box, flip = drawn(picture, spec, seed)
            width, height = picture.size
            factor = spec.size / min(box.height, box.width)
            picture.draft("RGB", (int(width * factor), int(height * factor)))
            share = picture.size[0] / width, picture.size[1] / height
            return by_pil(picture.convert("RGB"), box, flip, spec.size, share)

    def torchvision_io(jpeg: bytes, seed: int) -> Tensor:
        data = torch.frombuffer(bytearray(jpeg), dtype=torch.uint8)
        pixels = decode_jpeg(data, mode=ImageReadMode.RGB)
        rng = np.random.default_rng(seed)
        box = augment.draw_resized_crop(*pixels.shape[1:], spec.scale, spec.ratio, rng)
        whole = augment.resized_crop(pixels, box, spec.size)
        return whole.flip(-1) if augment.draw_flip(spec.flip, rng) else whole

    def timms(jpeg: bytes, seed: int) -> Tensor:
        with Image.open(io.BytesIO(jpeg)) as picture:
            box, flip = drawn(picture, spec, seed)
            # torchvision's resized_crop on a PIL picture, as RandomResizedCropAndInterpolation
            edges = (box.left, box.top, box.left + box.width, box.top + box.height)
            piece = picture.convert("RGB").crop(edges)
            piece = piece.resize((spec.size, spec.size), Image.Resampling.BILINEAR)
            if flip:
                piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(piece).transpose(2, 0, 1))

    return {
        "benchbed": ours,
        DECODING: decoded_only,
        "PIL, resize of a box": pil_box,
        "PIL draft, resize of a box": pil_draft,
        "torchvision.io, resize of a piece": torchvision_io,
        "timm: PIL crop, resize, flip": timms,
    }


def drawn(picture: Image.Image, spec: PretrainCrop, seed: int) -> tuple[augment.Crop, bool]:
    rng = np.random.default_rng(seed)
    width, height = picture.size
    assert spec.scale is not None
    assert spec.ratio is not None
    box = augment.draw_resized_crop(height, width, spec.scale, spec.ratio, rng)
    return box, augment.draw_flip(spec.flip, rng)


def by_pil(
    picture: Image.Image,
    box: augment.Crop,
    flip: bool,
    size: int,
    share: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    edges = (
        box.left * share[0],
        box.top * share[1],
        min(picture.size[0], (box.left + box.width) * share[0]),
        min(picture.size[1], (box.top + box.height) * share[1]),
    )
    piece = np.array(picture.resize((size, size), Image.Resampling.BILINEAR, box=edges))
    return torch.from_numpy(np.ascontiguousarray(piece[:, ::-1] if flip else piece)).permute(
        2, 0, 1
    )


def measure(ways: dict[str, Way], jpegs: list[bytes], rounds: int) -> dict[str, float]:
    """Median pictures/s of each."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = time.process_time()
            for number, jpeg in enumerate(jpegs):
                ways[name](jpeg, number)
            if turn:  # the first round warms up
                speeds[name].append(len(jpegs) / (time.process_time() - start))
    return {name: statistics.median(found) for name, found in speeds.items()}


def difference(ways: dict[str, Way], name: str, jpeg: bytes, seed: int) -> float:
    """Mean absolute difference of pixels to benchbed's."""
    first, other = ways["benchbed"](jpeg, seed), ways[name](jpeg, seed)
    return (first.int() - other.int()).abs().double().mean().item()


if __name__ == "__main__":
    main()
