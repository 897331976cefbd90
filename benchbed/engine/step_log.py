"""TensorBoard events of a run, behind a flag."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchbed.engine.loop import Progress
from benchbed.errors import UsageError


class StepLog:
    """Writes every progress report as scalars; does nothing without a folder.

    Raises:
        UsageError: a folder is given and TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None) -> None:
        self._writer: Any = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                "--tensorboard needs TensorBoard; run: pip install 'benchbed[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, progress: Progress) -> None:
        """Add one step's losses, learning rate and throughput."""
        if self._writer is None:
            return
        for name, value in progress.losses.items():
            self._writer.add_scalar(f"loss/{name}", value, progress.step)
        self._writer.add_scalar("lr", progress.lr, progress.step)
        self._writer.add_scalar("images_per_s", progress.images_per_s, progress.step)
