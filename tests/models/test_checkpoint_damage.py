"""Damaged files of every format load or are refused in one line; `benchmarks/fuzz_checkpoints.py`
does the same thousands of times under bounds of time and memory."""

import io
import pickle
import warnings
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from benchbed.errors import CheckpointError
from benchbed.models.audit import load_into
from benchbed.models.checkpoint import containers, read_checkpoint


def network():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


STATE = network().state_dict()
ARRAYS = {name: value.numpy() for name, value in STATE.items()}


def saved(new):
    buffer = io.BytesIO()
    torch.save({"state_dict": STATE, "epoch": 3}, buffer, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


FORMATS = {
    "zip.pth": saved(True), "inner.pth": saved(True), "legacy.pt": saved(False),
    "a.safetensors": save(STATE), "detectron2.pkl": pickle.dumps({"model": ARRAYS}, protocol=2),
    "caffe2.pkl": pickle.dumps({"blobs": ARRAYS}, protocol=4),
    "five.bin": pickle.dumps(ARRAYS, protocol=5),
}  # fmt: skip

CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from([b"\xff" * 8, bytes(8), b"R", b"b", b"\x81", b"c", b"2", b"0", b"."]),
        ),
        st.sampled_from(["write", "insert", "cut", "drop"]),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def changed(data, changes):
    whole = bytearray(data)
    for place, text, how in changes:
        at = int(place * len(whole))
        if how == "write":
            whole[at : at + len(text)] = text
        elif how == "insert":
            whole[at:at] = text
        elif how == "cut":
            del whole[at:]
        else:
            del whole[at : at + len(text)]
    return bytes(whole)


def with_inner_pickle(data, changes):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            part = old.read(entry)
            new.writestr(entry.filename, changed(part, changes)
                         if entry.filename.endswith("data.pkl") else part)  # fmt: skip
    return buffer.getvalue()


def outcome(path):
    """The refusal, or an empty text where the file loads or its audit refuses it."""
    try:
        audit = load_into(network(), containers(read_checkpoint(path)))
    except CheckpointError as error:
        return str(error)
    return "" if audit.filled_share == 1.0 or audit.faults() else "half loaded\n"


@pytest.mark.parametrize("name", FORMATS)
@settings(
    max_examples=60, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=CHANGES)
def test_a_damaged_file_loads_or_is_refused_in_one_line(tmp_path, name, changes):
    change = with_inner_pickle if name == "inner.pth" else changed
    path = tmp_path / name
    path.write_bytes(change(FORMATS[name], changes))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = outcome(path)
    assert "\n" not in message
    assert message.startswith(str(path)) or message in ("", "the checkpoint holds no tensors")
