"""benchbed ranks pretrained vision backbones by fine-tuning them under fixed protocols."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from benchbed.api import evaluate as evaluate
    from benchbed.pretrain.run import pretrain_backbone as pretrain_backbone
    from benchbed.results import Results as Results

__all__ = ["Results", "__version__", "evaluate", "pretrain_backbone"]


def __getattr__(name: str) -> Any:
    """Import the Python API on first use, so that `benchbed --help` never waits for torch."""
    if name == "evaluate":
        from benchbed.api import evaluate

        return evaluate
    if name == "pretrain_backbone":
        from benchbed.pretrain.run import pretrain_backbone

        return pretrain_backbone
    if name == "Results":
        from benchbed.results import Results

        return Results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
