"""Seconds a training step: our Faster R-CNN R-50-FPN against torchvision's and detectron2's.

All take two pictures of 320x416, equal numbers of proposals and samples, nothing frozen, and an SGD
step. They are run in turn, so that a busy moment of the machine hits all alike. detectron2 takes
part where it can be imported.

Run `python benchmarks/detector_step_speed.py [--threads 2] [--steps 7] [--profile]`.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from benchbed.finetune.detector import Detector
from benchbed.models.sources import build
from benchbed.specs.detection import DetectionProtocol
from benchbed.specs.strict import parse_spec, read_yaml

TASK = Path(__file__).parents[1] / "tasks" / "coco-det@1.yaml"
HEIGHT, WIDTH, BATCH, CLASSES = 320, 416, 2, 80
BOXES = 5
Step = Callable[[], dict[str, Tensor]]
"""One forward pass in training mode; gives the losses."""


def main() -> None:
    """Print each detector's median, and its ratio to ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--profile", action="store_true", help="print where our step's time goes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    steps: dict[str, Callable[[], None]] = {
        "benchbed": our_step(),
        "torchvision": torchvision_step(),
    }
    other = detectron2_step()
    if other is None:
        print("detectron2: not installed, left out")
    else:
        steps["detectron2"] = other
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(arguments.steps + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    ours = statistics.median(seconds["benchbed"])
    for name, own in seconds.items():
        median = statistics.median(own)
        print(
            f"{name}: {median:.3f} s/step (median of {len(own)}, {min(own):.3f} to {max(own):.3f}),"
            f" {median / ours:.2f} times ours"
        )
    if arguments.profile:
        with torch.profiler.profile() as profile:
            steps["benchbed"]()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))


def pictures() -> Tensor:
    """(BATCH, 3, HEIGHT, WIDTH) in [0, 1]."""
    return torch.rand(BATCH, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def truth() -> list[dict[str, Tensor]]:
    """BOXES boxes a picture, labels from 1."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(BATCH, BOXES, 2, generator=generator) * torch.tensor([250.0, 180.0])
    sides = 30 + 100 * torch.rand(BATCH, BOXES, 2, generator=generator)
    labels = torch.arange(BOXES) * 7 + 1
    return [
        {"boxes": torch.cat([at, at + side], 1), "labels": labels}
        for at, side in zip(corners, sides, strict=True)
    ]


def protocol() -> DetectionProtocol:
    """coco-det's numbers, which are those of the other two as well."""
    return parse_spec(DetectionProtocol, read_yaml(TASK)[0])


def with_sgd(model: torch.nn.Module, losses: Step) -> Callable[[], None]:
    """Losses, their gradients, and an SGD step."""
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses().values())).sum().backward()
        optimiser.step()

    return step


def our_step() -> Callable[[], None]:
    """benchbed's."""
    torch.manual_seed(0)
    backbone = build("random:torchvision:resnet50").backbone
    model = Detector(backbone, protocol(), CLASSES).train()
    images, targets, sizes = pictures(), truth(), [(HEIGHT, WIDTH)] * BATCH
    return with_sgd(model, lambda: model(images, sizes, targets))


def torchvision_step() -> Callable[[], None]:
    """torchvision's, with the protocol's numbers of proposals and samples."""
    torch.manual_seed(0)
    rpn, head = protocol().rpn, protocol().head
    model = fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1,
        rpn_pre_nms_top_n_train=rpn.train_before_nms, rpn_post_nms_top_n_train=rpn.train_after_nms,
        rpn_batch_size_per_image=rpn.samples, box_batch_size_per_image=head.samples,
        _skip_resize=True,
    ).train()  # fmt: skip
    # its default: 2 samples a pooled cell and axis; ours takes as many as the cell has pixels
    model.roi_heads.box_roi_pool.sampling_ratio = head.sampling_ratio
    images, targets = list(pictures()), truth()
    return with_sgd(model, lambda: model(images, targets))


def detectron2_step() -> Callable[[], None] | None:
    """detectron2's, or None where it is not installed. Untested: no copy was at hand."""
    try:
        from detectron2 import model_zoo
        from detectron2.modeling import build_model
        from detectron2.structures import Boxes, Instances
        from detectron2.utils.events import EventStorage
    except ImportError:
        return None
    torch.manual_seed(0)
    config = model_zoo.get_config("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml")
    config.MODEL.DEVICE, config.MODEL.WEIGHTS = "cpu", ""
    config.MODEL.BACKBONE.FREEZE_AT, config.MODEL.RESNETS.NORM = 0, "BN"
    config.MODEL.RESNETS.STRIDE_IN_1X1 = False
    model = build_model(config).train()
    batch = []
    for image, target in zip(pictures(), truth(), strict=True):
        instances = Instances((HEIGHT, WIDTH))
        instances.gt_boxes = Boxes(target["boxes"])
        instances.gt_classes = target["labels"] - 1
        batch.append({"image": image * 255, "instances": instances})

    def losses() -> dict[str, Tensor]:
        with EventStorage():
            return model(batch)

    return with_sgd(model, losses)


if __name__ == "__main__":
    main()
