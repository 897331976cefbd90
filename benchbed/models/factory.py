"""`module:factory`: a backbone that the user's own Python code makes.

Unlike a checkpoint, which never runs anything, naming a factory imports and runs its module with
all rights of the user, as `python -m module` would: that is the user's own choice.
"""

import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from benchbed.errors import BenchbedError, UsageError, nearest_name_hint
from benchbed.models.backbone import Backbone, PixelConvention
from benchbed.models.factory_trunk import FactoryBackbone
from benchbed.models.seeding import seeded
from benchbed.models.timm_trunk import TimmBackbone

PATTERN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
LIBRARIES = ("timm", "torchvision", "random", "card")
"""Names before a colon that mean something else."""


def is_factory(name: str) -> bool:
    """Whether a name has the form `package.module:factory`."""
    return PATTERN.fullmatch(name) is not None and name.partition(":")[0] not in LIBRARIES


def factory_id(name: str) -> str:
    """`package.module:factory#3fa9c2`, with the hash of the file: edited code is another entry."""
    return f"{name}#{factory_facts(name)['factory_sha256'][:6]}"


def factory_facts(name: str) -> dict[str, str]:
    """The file that defines the factory and its sha256, for the record.

    Code that this file imports is not in the hash.
    """
    factory, module = _find(name)
    try:
        defined_in = inspect.getsourcefile(inspect.unwrap(factory)) or module.__file__
    except TypeError:
        defined_in = module.__file__
    if defined_in is None:
        raise UsageError(f"{name}: its module has no file, so a record could not say what it was")
    content = Path(defined_in).read_bytes()
    return {
        "factory": name,
        "factory_file": defined_in,
        "factory_sha256": hashlib.sha256(content).hexdigest(),
    }


FACTORY_SEED = 0
"""Of the call itself, whatever the run's seed: a factory's weights are one backbone's."""


def run_factory(name: str, seed: int, convention: PixelConvention | None = None) -> Backbone:
    """Call the factory without arguments and make a Backbone of what it returns.

    Args:
        name: `package.module:factory`; the current directory is importable.
        seed: of the levels that are made beside the network.
        convention: in place of the one that the network states.

    Raises:
        UsageError: the module cannot be imported, the factory fails, or what it returns is not
            what `as_backbone` takes; one line.
    """
    factory, _ = _find(name)
    with seeded(FACTORY_SEED):
        made = _guarded(name, "the factory failed", factory)
    if not isinstance(made, nn.Module):
        raise UsageError(f"{name}: returned {type(made).__name__}, not a torch.nn.Module")
    return as_backbone(name, made, seed, convention)


def as_backbone(
    name: str, made: nn.Module, seed: int, convention: PixelConvention | None = None
) -> Backbone:
    """A network of the user's as a Backbone; it is not copied.

    It may be a `benchbed.models.backbone.Backbone`, which is taken as it is, a timm network, which
    loses its classifier, or any network that fits `factory_trunk.FactoryBackbone`.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(made, Backbone):
        if not isinstance(getattr(made, "trunk", None), nn.Module):
            raise UsageError(f"{name}: the Backbone has no `trunk` module")
        return made
    with seeded(seed):
        if is_timm(made):
            return _timm_backbone(name, made, convention)
        return FactoryBackbone(name, made, convention)


def is_timm(made: Any) -> bool:
    """Whether it is one of timm's networks."""
    return all(
        hasattr(made, part) for part in ("feature_info", "forward_intermediates", "pretrained_cfg")
    )


def _timm_backbone(name: str, made: Any, convention: PixelConvention | None) -> Backbone:
    made.reset_classifier(0)
    config: Any = made.pretrained_cfg
    own = PixelConvention("RGB", tuple(config["mean"]), tuple(config["std"]))
    backbone: Backbone = _guarded(
        name, "cannot yield a feature pyramid", lambda: TimmBackbone(name, made, convention or own)
    )
    return backbone


def _find(name: str) -> tuple[Callable[[], Any], ModuleType]:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        # as `python -m` does; kept, since a factory may import more when it is called
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise UsageError(f"{name}: {module_name} needs a missing module ({error})") from error
        hint = nearest_name_hint(module_name, LIBRARIES)
        raise UsageError(
            f"{name}: there is no Python module {error.name!r} here or installed.{hint}"
        ) from error
    except Exception as error:
        raise UsageError(f"{name}: importing {module_name} failed: {_told(error)}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        hint = nearest_name_hint(attribute, [n for n in dir(module) if not n.startswith("_")])
        raise UsageError(f"{name}: {module_name} has no function {attribute!r}.{hint}")
    return factory, module


def _guarded(name: str, what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except BenchbedError:
        raise
    except Exception as error:
        raise UsageError(f"{name}: {what}: {_told(error)}") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
