"""timm's training step, as its train.py runs it, for timing beside ours."""

import argparse
import io
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import timm
import torch
from noise_pictures import batch_in_memory, labels_of
from PIL import Image
from timm.data import create_loader
from timm.data.loader import PrefetchLoader
from timm.optim import create_optimizer_v2
from timm.task import ClassificationTask, MultiLabelClassificationTask
from timm.utils import AverageMeter
from torch import Tensor, nn
from torch.utils.data import Dataset

Options = argparse.Namespace
"""Of `pretrain_throughput.py`."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def timm_block(
    options: Options, jpegs: list[bytes] | None, *, channels_last: bool
) -> Callable[[], None]:
    """The body of timm's `train_one_epoch`, over a loader that never ends."""
    device = torch.device(options.device)
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(options.arch, num_classes=options.classes).to(device)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    sigmoid = options.loss == "sigmoid"
    task = (
        MultiLabelClassificationTask(model, criterion_kwargs={"bce_sum": True}, device=device)
        if sigmoid
        else ClassificationTask(model, device=device)
    )
    if options.compile:
        task.compile()
    optimizer = create_optimizer_v2(model, opt=options.optimiser, **options.settings)
    task.get_trainable_module().train()
    batches = timm_batches(options, jpegs, device)
    autocast = partial(torch.autocast, device_type=device.type, dtype=torch.bfloat16)
    losses, times = AverageMeter(), AverageMeter()

    def step() -> None:
        start = time.time()
        input, target = next(batches)
        if channels_last:
            input = input.contiguous(memory_format=torch.channels_last)
        with autocast() if options.precision == "bf16" else nullcontext():
            loss = task(input, target)["loss"]
        loss.backward()
        optimizer.step()
        losses.update(loss.item(), input.shape[0])
        optimizer.zero_grad()
        task.update_ema(step=0)
        times.update(time.time() - start)

    def block() -> None:
        for _ in range(options.block):
            step()

    return block


class Pictures(Dataset[Any]):
    """What timm's ImageDataset does, over JPEGs held as bytes."""

    transform: Any = None

    def __init__(self, options: Options, jpegs: list[bytes]) -> None:
        self._options, self._jpegs = options, jpegs

    def __len__(self) -> int:
        return len(self._jpegs)

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        picture = Image.open(io.BytesIO(self._jpegs[number])).convert("RGB")
        return self.transform(picture), timm_target(labels_of(number, self._options), self._options)


def timm_target(labels: list[int], options: Options) -> Any:
    """A class, or dense targets: timm has no others for several labels."""
    if options.loss == "softmax":
        return labels[0]
    dense = torch.zeros(options.classes)
    dense[labels] = 1
    return dense


def timm_batches(
    options: Options, jpegs: list[bytes] | None, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    if jpegs is None:
        pictures, labels = batch_in_memory(options)
        targets = [timm_target(own, options) for own in labels]
        made = torch.stack(targets) if options.loss == "sigmoid" else torch.tensor(targets)
        # batches that the loader has ready; the prefetcher brings and normalises them
        loader: Any = PrefetchLoader(Endless([(pictures, made)]), MEAN, STD, device=device)
    else:
        loader = create_loader(
            Pictures(options, jpegs),
            input_size=(3, options.size, options.size),
            batch_size=options.batch,
            is_training=True,
            color_jitter=None,
            interpolation="bilinear",
            mean=MEAN,
            std=STD,
            num_workers=options.workers,
            pin_memory=device.type == "cuda",
            device=device,
        )
    return iter(Endless(loader))


class Endless:
    """Goes through something again and again."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from self._whole
