"""Reads thousands of damaged checkpoint files; each must load or be refused in one line.

Run `python benchmarks/fuzz_checkpoints.py [--cases 12000] [--seed 0]`. Every case is a small valid
file of one format with one to four seeded changes, read in a worker process that has 1 GiB of
memory to spare and 20 s. Prints a tally by format; a traceback, a hang or a dead worker is a
failure (exit 1), and its seed is printed so that `--only SEED` repeats it.
"""

import argparse
import io
import multiprocessing
import os
import pickle
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from benchbed.errors import CheckpointError
from benchbed.models.audit import load_into
from benchbed.models.checkpoint import containers, read_checkpoint

SPARE_MEMORY = 1 << 30
SECONDS = 20.0
OPCODES = bytes(
    getattr(pickle, name)[0] for name in dir(pickle)
    if name.isupper() and isinstance(getattr(pickle, name), bytes)
    and len(getattr(pickle, name)) == 1
)  # fmt: skip
LENGTHS = (0, 1, 127, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**60, 2**63 - 1, 2**64 - 1)


def trunk() -> torch.nn.Module:
    """A small network with a batch norm."""
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def content() -> dict[str, object]:
    """A checkpoint with what training scripts leave behind."""
    torch.manual_seed(0)
    state = {f"module.{name}": value for name, value in trunk().state_dict().items()}
    return {"state_dict": state, "args": argparse.Namespace(lr=np.float64(0.1)), "epoch": 3}


def torch_bytes(new: bool) -> bytes:
    """`torch.save` of the content."""
    buffer = io.BytesIO()
    torch.save(content(), buffer, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


def arrays() -> dict[str, object]:
    """The weights as numpy arrays."""
    return {name: value.numpy() for name, value in trunk().state_dict().items()}


def detectron2() -> dict[str, object]:
    """A detectron2 model-zoo file."""
    return {"model": arrays(), "__author__": "x", "matching_heuristics": True}


FORMATS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "torch zip": (".pth", lambda: torch_bytes(True)),
    "torch zip, inner pickle": (".ckpt", lambda: torch_bytes(True)),
    "torch legacy": (".pt", lambda: torch_bytes(False)),
    "safetensors": (".safetensors", lambda: save(trunk().state_dict())),
    "detectron2 pkl": (".pkl", lambda: pickle.dumps(detectron2(), protocol=2)),
    "Caffe2 pkl": (".pkl", lambda: pickle.dumps({"blobs": arrays()}, protocol=4)),
    "pickle protocol 5": (".bin", lambda: pickle.dumps(arrays(), protocol=5)),
}


def mutated(data: bytes, draw: random.Random, other: bytes) -> bytes:
    """One to four changes."""
    whole = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(max(1, len(whole)))
        span = draw.randint(1, 64)
        kind = draw.choice(("flip", "set", "cut", "drop", "splice", "repeat", "length", "opcode"))
        if kind == "flip":
            whole[at : at + 1] = bytes([(whole[at] if whole else 0) ^ (1 << draw.randrange(8))])
        elif kind == "set":
            whole[at : at + span] = draw.randbytes(span)
        elif kind == "cut":
            del whole[at:]
        elif kind == "drop":
            del whole[at : at + span]
        elif kind == "splice":
            start = draw.randrange(len(other))
            whole[at:at] = other[start : start + span]
        elif kind == "repeat":
            whole[at:at] = whole[at : at + span] * draw.choice((1, 2, 100))
        elif kind == "length":
            value = draw.choice(LENGTHS)
            packed = struct.pack("<Q", value)[: draw.choice((1, 2, 4, 8))]
            whole[at : at + len(packed)] = packed
        else:
            whole[at : at + 1] = bytes([draw.choice(OPCODES)])
    return bytes(whole)


def rezipped(data: bytes, draw: random.Random, other: bytes) -> bytes:
    """A zip whose pickle alone is changed, with a right checksum."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            part = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                part = mutated(part, draw, other)
            new.writestr(entry.filename, part)
    return buffer.getvalue()


def outcome(path: Path) -> str:
    """`loaded`, `refused: …`, or a traceback."""
    try:
        audit = load_into(trunk(), containers(read_checkpoint(path)))
        return "loaded" if not audit.faults() else "refused: audit"
    except CheckpointError as error:
        message = str(error)
        if "\n" in message:
            return f"traceback: more than one line {message!r}"
        for kind in ("nothing was run", "truncated", "no tensors", "empty", "safetensors"):
            if kind in message:
                return f"refused: {kind}"
        return "refused: other"
    except BaseException:
        return "traceback: " + traceback.format_exc()


def work(pipe: Connection, folder: str) -> None:
    """Answer (format, seed) with an outcome until the pipe closes."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    originals = {name: make() for name, (_, make) in FORMATS.items()}
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        name, seed = pipe.recv()
        draw = random.Random(seed)
        other = originals[draw.choice(list(originals))]
        change = rezipped if "inner" in name else mutated
        path = Path(folder) / f"case{FORMATS[name][0]}"
        path.write_bytes(change(originals[name], draw, other))
        pipe.send(outcome(path))


class Worker:
    """A reader process that is replaced when it dies or hangs."""

    def __init__(self, folder: str) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=work, args=(theirs, folder), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, name: str, seed: int) -> str:
        """The outcome of one case, or how the worker ended."""
        try:
            self.pipe.send((name, seed))
            if self.pipe.poll(SECONDS):
                return str(self.pipe.recv())
        except (EOFError, OSError):
            self.process.join()
            return f"death: exit code {self.process.exitcode}"
        self.process.kill()
        self.process.join()
        return f"hang: over {SECONDS:.0f} s"


def main() -> int:
    """Run the cases and print the tally."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    seeds = [options.only] if options.only is not None else [
        options.seed * 1_000_000 + i for i in range(options.cases)]  # fmt: skip
    tally: Counter[tuple[str, str]] = Counter()
    slowest, start = (0.0, 0), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(folder)
        for seed in seeds:
            name = list(FORMATS)[seed % len(FORMATS)]
            before = time.monotonic()
            result = worker.ask(name, seed)
            slowest = max(slowest, (time.monotonic() - before, seed))
            kind = result.split("\n")[0]
            if not result.startswith(("loaded", "refused")):
                print(f"seed {seed} ({name}): {result}", file=sys.stderr)
                kind = result.split(":")[0].upper()
            if not worker.process.is_alive():
                worker = Worker(folder)
            tally[name, kind] += 1
        worker.process.kill()
    for (name, kind), count in sorted(tally.items()):
        print(f"{name:26} {kind:30} {count}")
    bad = sum(n for (_, kind), n in tally.items() if not kind.startswith(("loaded", "refused")))
    print(f"{len(seeds)} cases in {time.monotonic() - start:.0f} s, {bad} failures;"
          f" slowest {slowest[0]:.2f} s (seed {slowest[1]})")  # fmt: skip
    return 1 if bad else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
