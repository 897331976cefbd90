"""A corpus as training samples: pictures cut and mirrored, with the classes they have."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchbed.data import augment
from benchbed.data.pictures import Pixels
from benchbed.engine.finetune import Batch
from benchbed.pretrain.corpus import Corpus
from benchbed.pretrain.multi_label import flat_labels
from benchbed.specs.pretraining import PretrainCrop

Sample = tuple[Tensor, NDArray[np.int64]]
"""uint8 (3, size, size) picture, and the indices of its classes."""


@dataclass(frozen=True)
class CorpusSamples:
    """Augmented pictures of a corpus; a `TrainSet`."""

    corpus: Corpus
    crop: PretrainCrop

    def __len__(self) -> int:
        return len(self.corpus)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """One sample; equal (index, rng state) give equal samples.

        Raises:
            DataError: the picture cannot be read.
        """
        return cut(self.corpus.picture(index), self.crop, rng), self.corpus.labels(index)


def cut(picture: Pixels, spec: PretrainCrop, rng: np.random.Generator) -> Tensor:
    """Cut, resize and mirror one (H, W, 3) picture: uint8 (3, size, size)."""
    if spec.resize is not None:
        # a copy, as the source may be a read-only view of a cache
        whole = _resized(np.array(picture), spec.resize)
        picture = whole.permute(1, 2, 0).numpy()
    height, width, _ = picture.shape
    if spec.scale is not None and spec.ratio is not None:
        box = augment.draw_resized_crop(height, width, spec.scale, spec.ratio, rng)
    else:
        top = int(rng.integers(0, height - spec.size + 1))
        left = int(rng.integers(0, width - spec.size + 1))
        box = augment.Crop(top, left, spec.size, spec.size)
    # cut before anything is copied or resized
    part = picture[box.top : box.top + box.height, box.left : box.left + box.width]
    if augment.draw_flip(spec.flip, rng):
        part = part[:, ::-1]
    tensor = torch.from_numpy(np.array(part)).permute(2, 0, 1)
    if (box.height, box.width) == (spec.size, spec.size):
        return tensor
    return augment.resize(tensor, spec.size, spec.size)


def _resized(picture: Pixels, short: int) -> Tensor:
    """Bring the short side to `short`, the other as torchvision rounds it: (3, H, W)."""
    height, width, _ = picture.shape
    size = [int(short * side / min(height, width)) for side in (height, width)]
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    return tensor if size == [height, width] else augment.resize(tensor, *size)


@dataclass(frozen=True)
class MultiLabelCollate:
    """Joins samples; importable, so that loader processes can be given it."""

    classes: int

    def __call__(self, samples: list[Sample]) -> Batch:
        """`images` uint8 (N, 3, S, S), `rows` and `columns` int64 (K,)."""
        rows, columns = flat_labels([labels for _, labels in samples], self.classes)
        return {"images": _stacked(samples), "rows": rows, "columns": columns}


def single_label_collate(samples: list[Sample]) -> Batch:
    """`images` uint8 (N, 3, S, S), `labels` int64 (N,): the one class of each picture."""
    labels = torch.from_numpy(np.array([labels[0] for _, labels in samples], dtype=np.int64))
    return {"images": _stacked(samples), "labels": labels}


def _stacked(samples: list[Sample]) -> Tensor:
    """A batch whose colours lie side by side in memory, as convolutions want them."""
    return torch.stack([picture.permute(1, 2, 0) for picture, _ in samples]).permute(0, 3, 1, 2)
