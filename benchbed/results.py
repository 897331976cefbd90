"""What a call of `benchbed.evaluate` gives back: its records, also as a table."""

import importlib
from typing import Any

from benchbed.errors import UsageError
from benchbed.records.record import UNDEFINED, Record


class Results(list[Record]):
    """Records in the order in which they were asked for: task by task, seed by seed."""

    def rows(self) -> list[dict[str, Any]]:
        """One flat row a record, of plain values; fractions in [0, 1] at full precision.

        `score` is the primary metric; every metric has a column `metric/NAME` as well. None stands
        for what is undefined or not there, where a record says -1.
        """
        return [_row(record) for record in self]

    def to_pandas(self) -> Any:
        """`rows` as a pandas DataFrame; what is undefined is NaN, so that means leave it out.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise UsageError("to_pandas needs pandas; run: pip install pandas") from error
        return pandas.DataFrame(self.rows())


def _row(record: Record) -> dict[str, Any]:
    backbone, cost = record.backbone, record.cost
    return {
        "task": record.task,
        "protocol": record.protocol.identity,
        "backbone": backbone.id,
        "checkpoint_sha256": backbone.checkpoint_sha256,
        "seed": record.seed,
        "primary_metric": record.primary_metric,
        "score": _defined(record.primary_value),
        "rankable": record.rankable,
        "unrankable_reasons": "; ".join(record.unrankable_reasons),
        **{f"metric/{name}": _defined(value) for name, value in record.metrics.items()},
        "steps": record.training.steps,
        "wall_clock_s": cost.wall_clock_s,
        "device_hours": cost.device_hours,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "train_images_per_s": cost.train_images_per_s,
        "parameters": backbone.parameters,
        "flops": backbone.flops,
        "device": record.device.name,
        "benchbed_commit": record.provenance.commit,
        "started": record.started,
        "ended": record.ended,
    }


def _defined(value: float) -> float | None:
    return None if value == UNDEFINED else value
