"""Fine-tuned weights kept beside a record, so that anyone can score them again."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from benchbed.errors import UsageError
from benchbed.records.disk import disk_errno
from benchbed.records.store import WriteFile


def weights_writer(model: nn.Module) -> WriteFile:
    """What writes a model's whole state (backbone, head and statistics) as safetensors.

    Tensors keep their types; those that share memory are written each on its own.
    """

    def write(path: Path) -> None:
        state = {
            name: value.detach().cpu().clone().contiguous()
            for name, value in model.state_dict().items()
        }
        try:
            save_file(state, path)
        except SafetensorError as error:
            raise OSError(disk_errno(error) or 0, str(error)) from error

    return write


def load_weights(path: Path, model: nn.Module) -> None:
    """Fill a model with kept weights; every name and shape must agree.

    Raises:
        UsageError: the file cannot be read, or is of another network.
    """
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise UsageError(f"{path}: is of another network ({first})") from error
