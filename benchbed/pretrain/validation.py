"""Scores of a pretrained classifier on the held-out part of its corpus."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchbed.data import augment
from benchbed.engine.distributed import from_first, gathered, share_of, world_size
from benchbed.engine.memory import InHalves
from benchbed.errors import BenchbedError, DataError, RunFailedError, UsageError
from benchbed.finetune.metrics.accuracy import top_k_accuracy, true_class_ranks
from benchbed.finetune.metrics.average_precision import class_average_precisions
from benchbed.pretrain.corpus import Corpus
from benchbed.pretrain.multi_label import flat_labels
from benchbed.specs.classification import TestCrop

SCORES_LIMIT = 4 * 2**30
"""Bytes of scores that are held at once; 10,000 pictures x 18,291 classes take 0.7 GiB."""
CLASSES_AT_ONCE = 1024
"""Classes whose scores of all pictures are joined at a time."""

Thirds = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Classes of the head, the torso and the tail; `benchbed.pretrain.long_tail.thirds` makes them."""


@dataclass(frozen=True)
class HeldOutLabels:
    """The positives among the scored pictures."""

    pictures: int
    classes: int
    rows: NDArray[np.int64]
    """(K,) places among the scored pictures, rising."""
    columns: NDArray[np.int64]
    """(K,) class indices."""

    def present(self) -> NDArray[np.int64]:
        """Classes that at least one picture has, rising."""
        return np.unique(self.columns)

    def of(self, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Rows, counted from `start`, and columns of pictures `start` to `end`."""
        first, last = np.searchsorted(self.rows, [start, end])
        rows, columns = self.rows[first:last] - start, self.columns[first:last]
        return torch.from_numpy(rows), torch.from_numpy(columns)


def score_corpus(
    model: nn.Module,
    corpus: Corpus,
    indices: Sequence[int] | NDArray[np.int64],
    *,
    crop: TestCrop,
    device: torch.device,
    thirds: Thirds | None = None,
    batch: int = 64,
    workers: int = 0,
) -> dict[str, float]:
    """Score a classifier on pictures that it was not trained on, by one central crop each.

    Average precision is that of `class_average_precisions`; means over classes leave out the
    classes that no picture has, where it is undefined, and say how many they are over.

    Of several processes each predicts for its share, and all get the metrics. `model` is put into
    eval mode for the time. Autocast is the caller's. Only the scores of classes that some picture
    has are held, in float32: `SCORES_LIMIT`.

    Args:
        model: logits (N, classes) of RGB pictures (N, 3, H, W) in [0, 1], on `device`.
        corpus: has the pictures and their labels.
        indices: held-out items, each once.
        crop: resize of the short side, and the central square.
        device: where to predict.
        thirds: classes of the head, torso and tail by their number of training pictures.
        batch: pictures a forward pass.
        workers: processes that decode beside this one.

    Returns:
        Fractions in [0, 1] and numbers of classes: `map` and `map_classes`; with `thirds`
        `map_head`, `map_head_classes` and so on, the mean left out where it is over no class.
        `top1` and `top5` where every picture has one label; else `any_top1` and `any_top5`: the
        share of the labelled pictures that have any of their labels among the best 1 or 5 classes.

    Raises:
        DataError: a picture cannot be read, or none of them has a label.
        RunFailedError: a logit is not finite.
        UsageError: there are more scores than fit.
    """
    labels = read_labels(corpus, indices)
    _require_room(labels)
    loader = _loader(corpus, indices, crop, batch, workers, device.type == "cuda")
    with _evaluating(model), torch.inference_mode():
        parts = gathered(list(_predicted(model, loader, labels, device)))
    metrics = {} if parts is None else _metrics(parts, labels, thirds, corpus.single_label)
    return from_first(metrics)


def read_labels(corpus: Corpus, indices: Sequence[int] | NDArray[np.int64]) -> HeldOutLabels:
    """The labels of some items; no picture is decoded.

    Raises:
        DataError: there is no item, or none has a label, or a label is none of the classes.
    """
    classes = len(corpus.taxonomy)
    rows, columns = flat_labels([corpus.labels(int(index)) for index in indices], classes)
    if not len(columns):
        raise DataError(
            f"{corpus.id}: none of the {len(indices)} held-out pictures has a label, so nothing can"
            " be scored; hold out a larger share"
        )
    return HeldOutLabels(len(indices), classes, rows.numpy(), columns.numpy())


def mean_average_precisions(
    precisions: NDArray[np.float64], thirds: Thirds | None
) -> dict[str, float]:
    """Means over classes, and over those of each third; see `score_corpus`.

    Args:
        precisions: (classes,), NaN where undefined.
        thirds: class indices.
    """
    groups = {"map": np.arange(len(precisions))}
    if thirds is not None:
        groups |= dict(zip(("map_head", "map_torso", "map_tail"), thirds, strict=True))
    means: dict[str, float] = {}
    for name, members in groups.items():
        defined = precisions[members][~np.isnan(precisions[members])]
        if len(defined):
            means[name] = float(defined.mean())
        means[f"{name}_classes"] = float(len(defined))
    return means


def best_label_ranks(logits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Rank of the best-placed label of each labelled picture, 0 = best.

    Args:
        logits: (N, C), finite.
        rows: (K,) rising, and
        columns: (K,): the labels.

    Returns:
        int64, one for each picture that has a label, in order. Ties as in `true_class_ranks`.
    """
    own = logits[rows, columns]
    most = torch.full_like(logits[:, 0], -torch.inf).scatter_reduce(0, rows, own, "amax")
    first = torch.where(own == most[rows], columns, logits.shape[1])
    chosen = torch.full_like(most, logits.shape[1], dtype=torch.int64)
    chosen = chosen.scatter_reduce(0, rows, first, "amin")
    labelled = chosen < logits.shape[1]
    return true_class_ranks(logits[labelled], chosen[labelled])


@dataclass(frozen=True)
class _Predicted:
    """One batch."""

    scores: NDArray[np.float32]
    """(N, present classes)."""
    ranks: NDArray[np.int64]


def _predicted(
    model: nn.Module, loader: DataLoader[Any], labels: HeldOutLabels, device: torch.device
) -> Iterator[_Predicted]:
    present = torch.from_numpy(labels.present()).to(device)
    in_halves = InHalves()

    def logits_of(part: Tensor) -> list[Tensor]:
        return [model(augment.to_float(part.to(device, non_blocking=True))).float()]

    # processes that hold parts of one model must call it equally often
    logits_in_parts = partial(in_halves, logits_of) if world_size() == 1 else logits_of
    for start, images in loader:
        if isinstance(images, BenchbedError):
            raise images
        found = logits_in_parts(images)
        logits = found[0] if len(found) == 1 else torch.cat(found)
        if not logits.isfinite().all():
            raise RunFailedError("the model gives logits that are not finite: it diverged")
        rows, columns = (part.to(device) for part in labels.of(start, start + len(images)))
        ranks = best_label_ranks(logits, rows, columns)
        yield _Predicted(logits[:, present].cpu().numpy(), ranks.cpu().numpy())


def _metrics(
    parts: list[_Predicted], labels: HeldOutLabels, thirds: Thirds | None, single_label: bool
) -> dict[str, float]:
    present = labels.present()
    places = np.searchsorted(present, labels.columns)
    precisions = np.full(labels.classes, np.nan)
    for first in range(0, len(present), CLASSES_AT_ONCE):
        block = slice(first, first + CLASSES_AT_ONCE)
        scores = np.concatenate([part.scores[:, block] for part in parts])
        inside = (places >= block.start) & (places < block.stop)
        precisions[present[block]] = class_average_precisions(
            scores, labels.rows[inside], places[inside] - first
        )
    ranks = torch.from_numpy(np.concatenate([part.ranks for part in parts]))
    kind = "" if single_label else "any_"
    hits = {f"{kind}top{k}": top_k_accuracy(ranks, k) for k in (1, 5)}
    return mean_average_precisions(precisions, thirds) | hits


def _require_room(labels: HeldOutLabels) -> None:
    size = labels.pictures * len(labels.present()) * 4
    if size > SCORES_LIMIT:
        raise UsageError(
            f"{labels.pictures:,} held-out pictures x {len(labels.present()):,} classes are"
            f" {size / 2**30:.1f} GiB of scores, more than {SCORES_LIMIT / 2**30:.0f} GiB; hold out"
            f" at most {SCORES_LIMIT // (4 * len(labels.present())):,} pictures"
        )


class _Batches(Dataset[tuple[int, Tensor | BenchbedError]]):
    """Whole batches of crops, each with the place of its first picture."""

    def __init__(
        self, corpus: Corpus, indices: Sequence[int] | NDArray[np.int64], crop: TestCrop, batch: int
    ) -> None:
        self._corpus, self._indices, self._crop, self._batch = corpus, indices, crop, batch
        self._starts = share_of(range(0, len(indices), batch))

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, place: int) -> tuple[int, Tensor | BenchbedError]:
        start = self._starts[place]
        crop = self._crop
        try:
            cuts = [
                augment.centre_crop(
                    augment.to_tensor(self._corpus.picture(int(index))), crop.resize, crop.crop
                )
                for index in self._indices[start : start + self._batch]
            ]
        except BenchbedError as error:  # handed over whole; DataLoader would wrap it in a traceback
            return start, error
        return start, torch.stack(cuts)


def _loader(
    corpus: Corpus,
    indices: Sequence[int] | NDArray[np.int64],
    crop: TestCrop,
    batch: int,
    workers: int,
    pin_memory: bool,
) -> DataLoader[Any]:
    return DataLoader(
        _Batches(corpus, indices, crop, batch),
        batch_size=None,
        num_workers=workers,
        pin_memory=pin_memory,
        # without one of its own the loader draws from torch's, and training would go on elsewhere
        generator=torch.Generator().manual_seed(0),
    )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every module is as it was, frozen norms too."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
