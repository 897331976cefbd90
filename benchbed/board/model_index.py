"""Results of one backbone as a Hugging Face `model-index`, the block of a model card's metadata.

Field names are those of `huggingface_hub.EvalResult`. Data sets that the Hub holds under one agreed
id have it; the others have their usual name. What is exported is never called verified: that word
is for results of the Hub's own evaluation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from benchbed.board.cell import Cell
from benchbed.board.comparable import Column, comparable_results
from benchbed.errors import UsageError, nearest_name_hint
from benchbed.records.record import UNDEFINED, Record

MINI = "benchbed-miniature-world"

HUB_TASKS: dict[str, tuple[str, str]] = {
    "classification": ("image-classification", "Image classification"),
    "detection": ("object-detection", "Object detection"),
    "segmentation": ("image-segmentation", "Semantic segmentation"),
    "pose": ("keypoint-detection", "Human keypoint detection"),
}
"""The Hub's task type, and a name, of each protocol kind."""


@dataclass(frozen=True)
class HubDataset:
    """An evaluation set as a model card names it."""

    type: str
    """Id on the Hub where there is one agreed copy; the set's usual name elsewhere."""
    name: str
    split: str
    config: str | None = None
    """What tells two tasks on one set apart."""


DATASETS: dict[str, HubDataset] = {
    "imagenet-cls": HubDataset("ILSVRC/imagenet-1k", "ImageNet-1k", "validation"),
    "voc-det": HubDataset("pascal-voc-2007", "PASCAL VOC 2007", "test"),
    "voc-seg": HubDataset("pascal-voc-2012", "PASCAL VOC 2012", "validation"),
    "coco-det": HubDataset("coco-2017", "COCO 2017", "validation"),
    "coco-pose": HubDataset("coco-2017", "COCO 2017 keypoints", "validation"),
    "coco-pose-detbox": HubDataset(
        "coco-2017", "COCO 2017 keypoints, detected boxes", "validation", "detected-boxes"
    ),
}
"""By task. Mini tasks are of the miniature world whatever their names recall."""

METRICS: dict[str, tuple[str, str]] = {
    "top1": ("accuracy", "Top-1 accuracy"),
    "top5": ("accuracy", "Top-5 accuracy"),
    "mIoU": ("mean_iou", "mIoU"),
    "AP": ("mean_average_precision", "AP"),
    "AP50": ("mean_average_precision", "AP50"),
    "AP75": ("mean_average_precision", "AP75"),
    "AP50_area": ("mean_average_precision", "AP50 (area under the curve)"),
    "APs": ("mean_average_precision", "AP, small"),
    "APm": ("mean_average_precision", "AP, medium"),
    "APl": ("mean_average_precision", "AP, large"),
    "AR": ("mean_average_recall", "AR"),
}
"""The metric's type and name; a record's other metrics are left out."""


def model_index(
    records: Iterable[Record],
    backbone: str,
    *,
    model_name: str | None = None,
    source_url: str | None = None,
) -> list[dict[str, Any]]:
    """The `model-index` value: one model, one result a data set, its metrics by protocol.

    A value is the mean over seeds, a fraction in [0, 1] at full precision; its `args` hold the
    protocol's identity and full hash, the data's fingerprint, the seeds, each seed's value and half
    of the 95 % interval over seeds.

    Args:
        records: of any backbones; those that may not be ranked are left out.
        backbone: its id, or its name on the board where several share the id.
        model_name: the card's name of the model; the backbone's without it.
        source_url: where the results are published.

    Raises:
        UsageError: no such backbone, none of its records counts, or its id is shared.
    """
    records = list(records)
    results = comparable_results(records)
    name = _board_name(backbone, results.columns)
    rows = {column: by_name[name] for column, by_name in results.columns.items() if name in by_name}
    if not rows:
        raise _not_there(backbone, records, results.excluded)
    merged: dict[tuple[str | None, ...], dict[str, Any]] = {}
    for column in sorted(rows, key=lambda column: (column.label, column.metric)):
        result = _result(column, rows[column], source_url)
        dataset = result["dataset"]
        key = (result["task"]["type"], dataset["type"], dataset.get("config"), dataset["split"])
        # the Hub's library takes results of one task and data set for one result
        merged.setdefault(key, {**result, "metrics": []})["metrics"] += result["metrics"]
    return [{"name": model_name or backbone, "results": list(merged.values())}]


def model_index_yaml(index: list[dict[str, Any]]) -> str:
    """The block, to be pasted between the `---` lines at the head of a model card."""
    return yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True, width=1000)


def _board_name(backbone: str, columns: Mapping[Column, Mapping[str, Mapping[int, Record]]]) -> str:
    """The one name on the board that is meant; the backbone's own where there is none.

    Raises:
        UsageError: several entries have that id.
    """
    ids = {
        name: next(iter(seeds.values())).backbone.id
        for by_name in columns.values()
        for name, seeds in by_name.items()
    }
    if backbone in ids:
        return backbone
    names = sorted(name for name, own in ids.items() if own == backbone)
    if len(names) > 1:
        raise UsageError(
            f"{backbone!r} is the id of {len(names)} backbones; name one: {', '.join(names)}"
        )
    return names[0] if names else backbone


def _not_there(backbone: str, records: list[Record], excluded: tuple[str, ...]) -> UsageError:
    ids = {record.backbone.id for record in records}
    if backbone in ids:
        why = [line for line in excluded if f" · {backbone} · " in line]
        return UsageError(f"{backbone}: none of its records may be published: {'; '.join(why)}")
    hint = nearest_name_hint(backbone, ids)
    return UsageError(f"no record of a backbone {backbone!r} here.{hint}")


def _result(
    column: Column, by_seed: Mapping[int, Record], source_url: str | None
) -> dict[str, Any]:
    seeds = sorted(by_seed)
    records = [by_seed[seed] for seed in seeds]
    first = records[0]
    kind = first.protocol.content.get("kind", "")
    if kind not in HUB_TASKS:
        raise UsageError(f"{column.identity}: the Hub has no task for protocols of kind {kind!r}")
    task_type, task_name = HUB_TASKS[kind]
    dataset = _dataset(first)
    where = {"name": dataset.name, "type": dataset.type, "split": dataset.split}
    if dataset.config is not None:
        where["config"] = dataset.config
    result: dict[str, Any] = {
        "task": {"type": task_type, "name": task_name},
        "dataset": where,
        "metrics": [
            _metric(name, records, column)
            for name in first.metrics
            if name in METRICS and all(_has(record, name) for record in records)
        ],
    }
    if source_url is not None:
        result["source"] = {"name": "benchbed", "url": source_url}
    return result


def _has(record: Record, metric: str) -> bool:
    return record.metrics.get(metric, UNDEFINED) != UNDEFINED


def _dataset(record: Record) -> HubDataset:
    task, content = record.task, record.protocol.content
    if content.get("tier") == "mini":
        return HubDataset(MINI, f"benchbed miniature world ({task})", "eval", task)
    return DATASETS.get(task, HubDataset(task, str(content.get("title", task)), "eval"))


def _metric(name: str, records: list[Record], column: Column) -> dict[str, Any]:
    type_, shown = METRICS[name]
    if records[0].protocol.content["kind"] == "pose":
        shown = f"OKS {shown}"
    cell = Cell(tuple(r.metrics[name] for r in records), tuple(r.seed for r in records))
    args: dict[str, Any] = {
        "protocol": column.identity,
        "protocol_hash": column.protocol_hash,
        "data_fingerprint": column.data_fingerprint,
        "checkpoint_sha256": records[0].backbone.checkpoint_sha256 or "random initialisation",
        "seeds": list(cell.seeds),
        "values": list(cell.values),
    }
    if cell.half_interval is not None:
        args["half_interval_95_over_seeds"] = cell.half_interval
    return {
        "type": type_,
        "value": cell.mean,
        "name": f"{shown} ({column.label}, {_seeds_text(records)})",
        "args": args,
    }


def _seeds_text(records: list[Record]) -> str:
    """`mean of 3 seeds`, `1 seed`, and the protocol's number where it is not that."""
    count, wanted = len(records), len(records[0].protocol.content.get("seeds", ()))
    shown = f"{count} of {wanted}" if wanted > count else str(count)
    if count > 1:
        return f"mean of {shown} seeds"
    return f"{shown} seed{'s' * (wanted > 1)}"
