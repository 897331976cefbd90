"""The losses of pretraining: a sigmoid per class with sparse positives, and softmax."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from benchbed.errors import DataError

Reduction = Literal["batch", "mean"]

CPU_CHUNK = 2**19
"""Logits worked on at once on a CPU, 2 MiB in float32: they stay in the cache, and threads do not
meet too often, which takes long on a busy machine. A multiple of `2**FOLDS`."""
DEVICE_CHUNK = 2**22
"""Logits worked on at once elsewhere: large enough to hide the launch of a kernel."""
FOLDS = 6
"""Halvings of a chunk before its logarithms: 2**6 factors of at most 2 stay below 2**128, the
largest float32."""
SOFTPLUS_IS_IDENTITY = 40.0
"""Above it softplus(x) is x: they differ by less than exp(-40), 4e-18 (torch's default, 20, costs
2e-9)."""


def flat_labels(labels: Sequence[NDArray[np.int64]], classes: int) -> tuple[Tensor, Tensor]:
    """Turn the labels of a batch, a list for each picture, into places in its logits.

    Args:
        labels: class indices of each picture; a picture may have none.
        classes: number of classes.

    Returns:
        rows (K,) and columns (K,), int64: picture `rows[k]` of the batch has class `columns[k]`.

    Raises:
        DataError: a label is not in [0, classes).
    """
    lengths = [len(own) for own in labels]
    columns = np.concatenate([np.zeros(0, np.int64), *labels]).astype(np.int64, copy=False)
    if columns.size and not 0 <= columns.min() <= columns.max() < classes:
        wrong = columns[(columns < 0) | (columns >= classes)][0]
        raise DataError(
            f"a picture has label {wrong}, and the corpus has {classes} classes, 0 to"
            f" {classes - 1}; correct its labels or its list of classes"
        )
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return torch.from_numpy(rows), torch.from_numpy(columns)


def sparse_sigmoid_loss(
    logits: Tensor,
    rows: Tensor,
    columns: Tensor,
    *,
    confidences: Tensor | None = None,
    smoothing: float = 0.0,
    reduction: Reduction = "batch",
    overwrite: bool = False,
) -> Tensor:
    """Binary cross entropy of every class, from the list of positives: no dense target is made.

    Equals `binary_cross_entropy_with_logits` on the dense targets t, which are 0 but for the
    positives' `confidences`, moved to t (1 - smoothing) + smoothing / 2. With
    ``softplus(x) - t x`` for each logit x, the softplus is summed chunk by chunk and only the
    positives are looked up; backward, the gradient sigmoid(x) - t is written chunk by chunk. Beside
    the gradient, memory for one chunk is taken; half-precision logits are summed in float32.

    `batch`, the default, sums over the classes and averages over the batch: what a positive
    contributes to the gradient, and so the learning rate that suits, does not depend on the number
    of classes. It is what big_vision's `sigmoid_xent` does, made for JFT-300M and ImageNet-21k, and
    timm's `sum_classes`. `mean` averages over both, as `BCEWithLogitsLoss` does by default; with
    18,291 classes the gradients of rare classes then fall below the 1e-8 that RMSProp and Adam add
    to their denominators.

    Args:
        logits: (N, C) of any floating type, finite; float64 is computed in float64.
        rows: (K,) int64 in [0, N); K may be 0.
        columns: (K,) int64 in [0, C). A pair that is given twice counts once, with the confidence
            given first.
        confidences: (K,) in [0, 1], the probability that the label is right; 1 by default.
        smoothing: in [0, 1).
        reduction: see above.
        overwrite: write the gradient over the logits, which are then not to be read after
            `backward`. Anything of the graph that still needs them raises, a second `backward` too.

    Returns:
        Scalar, float32 (float64 for float64 logits).

    Raises:
        ValueError: shapes do not fit, there is no logit, `smoothing` is out of range, logits that
            are nobody's output are to be overwritten, or, on a CPU, an index is out of range (on
            a GPU this would wait for the device: `flat_labels` has looked before).
    """
    _check(logits, rows, columns, confidences, smoothing)
    if overwrite and logits.is_leaf and logits.requires_grad:
        raise ValueError("these logits are the caller's own and no layer's output: not overwritten")
    keys, order = torch.sort(rows * logits.shape[1] + columns, stable=True)
    first = torch.searchsorted(keys, keys)
    given = torch.ones_like(keys, dtype=_wide(logits.dtype))
    if confidences is not None:
        given = confidences.to(given.dtype)[order][first]
    targets = given * (1 - smoothing) + smoothing / 2
    once = first == torch.arange(len(keys), device=keys.device)
    items = logits.shape[0] if reduction == "batch" else logits.numel()
    loss: Tensor = _SparseSigmoid.apply(
        logits, keys, targets, once, smoothing / 2, items, overwrite
    )
    return loss


def softmax_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross entropy of single-label pictures, averaged over the batch, in float32.

    Args:
        logits: (N, C) of any floating type.
        labels: (N,) int64 in [0, C).
        smoothing: share of the target that is spread evenly over all classes, in [0, 1).
    """
    wide = logits.to(_wide(logits.dtype))
    return functional.cross_entropy(wide, labels, label_smoothing=smoothing)


def prior_bias(counts: Tensor, pictures: int) -> Tensor:
    """Bias that makes a sigmoid head predict each class's frequency before it has learnt anything.

    From a bias of 0 the loss starts at C log 2, 12,678 for 18,291 classes, nearly all of it to be
    unlearnt. Half a picture is added to each side, as a class may have none.

    Args:
        counts: (C,) training pictures of each class.
        pictures: training pictures in all.

    Returns:
        (C,) float32.
    """
    having = counts.double() + 0.5
    return torch.log(having / (pictures + 1 - having)).float()


class _SparseSigmoid(torch.autograd.Function):
    """See `sparse_sigmoid_loss`; the keys are places in the flattened logits."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        keys: Tensor,
        targets: Tensor,
        once: Tensor,
        floor: float,
        items: int,
        overwrite: bool,
    ) -> Tensor:
        logits = logits.contiguous()
        ctx.save_for_backward(logits, keys, targets)
        ctx.floor, ctx.items, ctx.overwrite = floor, items, overwrite
        flat = logits.view(-1)
        sums = softplus_sums(flat)
        if floor:
            wide = _wide(flat.dtype)
            sums += [-floor * part.sum(dtype=wide) for part in _chunks(flat)]
        at_positives = flat[keys].to(targets.dtype) * (targets - floor) * once
        total = torch.stack(sums).sum(dtype=torch.float64) - at_positives.sum(dtype=torch.float64)
        return (total / items).to(targets.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        logits, keys, targets = ctx.saved_tensors
        scale = grad / ctx.items
        flat = logits.view(-1)
        # (1 - t) - sigmoid(-x) keeps its digits where sigmoid(x) - 1 has none left
        at_positives = (1 - targets - torch.sigmoid(-flat[keys].to(targets.dtype))) * scale
        gradient = logits.detach() if ctx.overwrite else torch.empty_like(logits)
        _write_gradient(flat, gradient.view(-1), ctx.floor, scale)
        gradient.view(-1)[keys] = at_positives.to(gradient.dtype)
        return gradient, None, None, None, None, None, None


def softplus_sums(flat: Tensor) -> list[Tensor]:
    """Sums of log(1 + exp(x)) over chunks of a flat tensor, in float32 or better.

    A CPU spends nine tenths of softplus on log1p. Logarithms of factors add up to that of their
    product, so there each chunk is folded in halves first and log1p sees 1 of 64 values. What is
    carried is the product less 1: (1 + a)(1 + b) = 1 + (a + b + ab) has positive terms only, and
    the tiny exp(x) of a class that is out of the question keeps its digits.
    """
    if not _on_cpu(flat):
        return [
            functional.softplus(part.to(_wide(part.dtype)), threshold=SOFTPLUS_IS_IDENTITY).sum()
            for part in _chunks(flat)
        ]
    sums = []
    folds = 2**FOLDS
    whole = torch.empty(min(CPU_CHUNK, -(-len(flat) // folds) * folds), dtype=_wide(flat.dtype))
    for part in _chunks(flat):
        used = whole[: len(part)]
        sums.append(used.copy_(part).clamp_min_(0).sum())
        used.copy_(part).abs_().neg_().exp_()
        whole[len(part) :] = 0
        sums.append(_folded(whole).log1p_().sum())
    return sums


def _folded(values: Tensor) -> Tensor:
    for _ in range(FOLDS):
        low, high = values.chunk(2)
        values = low.addcmul_(low, high).add_(high)
    return values


def _write_gradient(flat: Tensor, out: Tensor, floor: float, scale: Tensor) -> None:
    """Write (sigmoid(x) - floor) * scale; `out` may be the logits themselves."""
    wide = _wide(flat.dtype)
    for part, own in zip(_chunks(flat), _chunks(out), strict=True):
        values = torch.sigmoid(part, out=own) if part.dtype == wide else part.to(wide).sigmoid_()
        if floor:
            values.sub_(floor)
        values.mul_(scale)
        if part.dtype != wide:
            own.copy_(values)


def _chunks(flat: Tensor) -> Iterator[Tensor]:
    yield from torch.split(flat.detach(), CPU_CHUNK if _on_cpu(flat) else DEVICE_CHUNK)


def _on_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _check(
    logits: Tensor, rows: Tensor, columns: Tensor, confidences: Tensor | None, smoothing: float
) -> None:
    if logits.ndim != 2 or logits.numel() == 0 or not logits.is_floating_point():
        raise ValueError(f"logits are floating (N, C), not {logits.dtype} {tuple(logits.shape)}")
    given = [rows, columns] if confidences is None else [rows, columns, confidences]
    if any(part.shape != rows.shape or part.ndim != 1 for part in given):
        raise ValueError(f"one number for each positive: {[tuple(part.shape) for part in given]}")
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is at least 0 and below 1, not {smoothing}")
    if not _on_cpu(logits):
        return
    for name, places, size in (
        ("row", rows, logits.shape[0]),
        ("column", columns, logits.shape[1]),
    ):
        if len(places) and not 0 <= int(places.min()) <= int(places.max()) < size:
            raise ValueError(f"a {name} is out of range: there are {size}")
