"""Reading files: every format, nothing run, nothing larger than the file."""

import argparse
import io
import json
import os
import pickle
import struct
import time
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchbed.errors import CheckpointError
from benchbed.models.audit import load_into
from benchbed.models.checkpoint import containers, file_kind, read_checkpoint

SUFFIXES = (".pth", ".pt", ".pth.tar", ".ckpt", ".bin")


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


class Subclass(torch.Tensor):
    """A tensor that is saved through `_rebuild_from_type_v2`."""


def line(path):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert caught.value.exit_code == 4
    return message


def weights():
    return OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.ones(3, dtype=torch.float16))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("new", [True, False])
def test_torch_files_of_both_forms_are_read(tmp_path, suffix, new):
    path = tmp_path / f"a{suffix}"
    torch.save({"state_dict": weights()}, path, _use_new_zipfile_serialization=new)
    read = read_checkpoint(path)["state_dict"]
    assert torch.equal(read["a"], weights()["a"])
    assert read["b"].dtype == torch.float16


def test_safetensors_are_read_whatever_their_suffix(tmp_path):
    for name in ("a.safetensors", "model.bin"):
        save_file(weights(), tmp_path / name)
        assert torch.equal(read_checkpoint(tmp_path / name)["a"], weights()["a"])


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_pickles_of_arrays_are_read(tmp_path, protocol):
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3),
              "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
              "big": np.arange(3, dtype=">f4"), "n": np.int64(3)}  # fmt: skip
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": arrays}, protocol=protocol))
    read = read_checkpoint(tmp_path / "a.pkl")["model"]
    for name in ("w", "f", "big"):
        assert torch.equal(read[name], torch.from_numpy(arrays[name].astype(arrays[name].dtype
                                                        .newbyteorder("="))))  # fmt: skip
    assert read["n"] == 3


def test_python_2_pickles_of_caffe2_are_read(tmp_path):
    data = np.array([1.5, -2.0], dtype="<f4").tobytes()
    (tmp_path / "a.pkl").write_bytes(
        b"\x80\x02}q\x00U\x05blobsq\x01}q\x02U\x14res2_0_branch2a_bn_sq\x03"
        b"cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85q\x06"
        b"U\x01bq\x07\x87q\x08Rq\x09(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08" + data + b"tbss."
    )
    read = read_checkpoint(tmp_path / "a.pkl")
    assert read["blobs"]["res2_0_branch2a_bn_s"].tolist() == [1.5, -2.0]


def test_what_training_scripts_leave_beside_the_weights_is_no_hindrance(tmp_path):
    trunk = torch.nn.Linear(2, 2)
    content = {
        "state_dict": trunk.state_dict(),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2, 2)}}, "param_groups": [{"lr": 0.1}]},
        "args": argparse.Namespace(lr=np.float64(0.1), sizes=[1, 2], nested=argparse.Namespace()),
        "best": np.float32(3.5), "history": np.arange(4), "flag": np.bool_(True),
        "parameter": torch.nn.Parameter(torch.ones(2)), "shape": torch.Size([1, 2]),
        "dtype": torch.float32, "device": torch.device("cpu"), "seen": {1, 2}, "none": None,
    }  # fmt: skip
    torch.save(content, tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth")
    assert read["args"].sizes == [1, 2]
    assert read["best"] == np.float32(3.5)
    assert list(containers(read)) == ["", "state_dict"]


def payloads(target):
    payload = Payload(target)
    with_attribute = torch.zeros(2).as_subclass(Subclass)
    with_attribute.payload = payload
    objects = np.empty(1, dtype=object)
    objects[0] = payload
    return {
        "top": payload,
        "nested": {"state_dict": {"a": torch.zeros(1), "deep": {"deeper": [payload]}}},
        "subclass": {"a": with_attribute},
        "object array": {"a": objects},
        "namespace": argparse.Namespace(a=payload),
        "key": OrderedDict([("a", torch.zeros(1)), ("b", (payload,))]),
    }


PLACES = ("top", "nested", "subclass", "object array", "namespace", "key")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", ["zip.pth", "zip.ckpt", "zip.bin", "legacy.pth", "legacy.pt"])
def test_a_payload_in_a_torch_file_is_refused_by_name_and_does_not_run(tmp_path, place, form):
    target = tmp_path / "owned"
    content = payloads(target)[place]
    path = tmp_path / form
    torch.save(content, path, _use_new_zipfile_serialization=form.startswith("zip"))
    message = line(path)
    assert "nothing was run" in message
    if place not in ("subclass", "object array"):
        assert f"{os.system.__module__}.system" in message
    assert not target.exists()


@pytest.mark.parametrize("place", ["top", "object array", "namespace"])
@pytest.mark.parametrize("name", ["a.pkl", "a.pth", "a.bin", "a.ckpt"])
@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_payload_in_a_plain_pickle_is_refused(tmp_path, place, name, protocol):
    target = tmp_path / "owned"
    content = payloads(target)[place]
    (tmp_path / name).write_bytes(pickle.dumps(content, protocol=protocol))
    assert "nothing was run" in line(tmp_path / name)
    assert not target.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x02cposix\nsystem\nU{n}{cmd}\x85R.",
        b"\x80\x02(U{n}{cmd}iposix\nsystem\n.",
        b"\x80\x02(cposix\nsystem\nU{n}{cmd}o.",
        b"\x80\x02cposix\nsystem\nU{n}{cmd}\x85\x81.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93U{n}{cmd}\x85R.",
        b"\x80\x02cbuiltins\neval\nU{n}{cmd}\x85R.",
        b"\x80\x02cnumpy\ndtype.__class__\nU{n}{cmd}\x85R.",
        b"\x80\x02cargparse\nNamespace\n)R}U\x08__dict__cposix\nsystem\nsb.",
    ],
)
def test_hand_written_operations_reach_nothing(tmp_path, code):
    command = f"touch {tmp_path}/owned".encode()
    code = code.replace(b"{n}", bytes([len(command)])).replace(b"{cmd}", command)
    (tmp_path / "a.pkl").write_bytes(code)
    line(tmp_path / "a.pkl")
    archive = rezipped(tmp_path, {"data.pkl": code})
    line(archive)
    assert not (tmp_path / "owned").exists()


def rezipped(folder, changes, name="z.pth"):
    """A torch file with some of its parts replaced."""
    buffer = io.BytesIO()
    torch.save(weights(), buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(folder / name, "w") as new:
        for entry in old.infolist():
            inner = entry.filename.split("/", 1)[1]
            new.writestr(entry.filename, changes.get(inner, old.read(entry)))
    return folder / name


def tensor_pickle(storage_numel, size, stride):
    """A data.pkl with one float tensor that claims what it is told to."""

    class Claim:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (
                Storage(), 0, size, stride, False, OrderedDict())  # fmt: skip

    class Storage:
        pass

    class Writer(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", storage_numel)
            return None

    buffer = io.BytesIO()
    Writer(buffer, protocol=2).dump({"a": Claim()})
    return buffer.getvalue()


def claims(folder):
    """Files that claim or unfold to far more than they hold."""
    huge = 10**12
    doubling = b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"}h\x00K\x01s."
    text = b"\x80\x02X" + struct.pack("<I", 50_000) + b"x" * 50_000 + b"q\x000"
    repeated = b"c_codecs\nencode\nq\x01X\x06\x00\x00\x00latin1q\x020]q\x03(" + (
        b"h\x01h\x00h\x02\x86R" * 20_000) + b"e."  # fmt: skip
    numbers = b"".join(b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") + b"N"
                       for i in range(1, 20_000))  # fmt: skip
    files = {
        "storage.pth": rezipped(folder, {"data.pkl": tensor_pickle(huge, (huge,), (1,))}, "s.pth"),
        "view.pth": rezipped(folder, {"data.pkl": tensor_pickle(6, (huge,), (1,))}, "v.pth"),
        "expanded.pth": rezipped(folder, {"data.pkl": tensor_pickle(6, (huge,), (0,))}, "e.pth"),
        "bytearray.pth": rezipped(
            folder, {"data.pkl": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06"
                     + huge.to_bytes(6, "little") + b"\x85R."}, "b.pth"),
    }  # fmt: skip
    raw = {
        "exabytes.safetensors": struct.pack("<Q", 2**60) + b"{}",
        "shape.safetensors": safetensors_of({"dtype": "F32", "shape": [huge],
                                             "data_offsets": [0, 4 * huge]}),
        "tuples.pkl": doubling,
        "hashes.pkl": b"\x80\x02}(" + numbers + b"u.",
        "encode.pkl": text + repeated,
        "bytes.pkl": b"\x80\x04\x8e" + struct.pack("<Q", huge) + b"x.",
        "bytearray.pkl": b"\x80\x05\x96" + struct.pack("<Q", huge) + b"x.",
        "frame.pkl": b"\x80\x04\x95" + struct.pack("<Q", huge) + b"N.",
        "bytearraycall.pkl": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06"
        + huge.to_bytes(6, "little") + b"\x85R.",
        "reconstruct.pkl": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"\x8a\x06" + huge.to_bytes(6, "little") + b"\x85U\x01b\x87R.",
        "memo.pkl": b"\x80\x02Nr\xff\xff\xff\xff0]j\xfe\xff\xff\xffa.",
    }  # fmt: skip
    for name, content in raw.items():
        files[name] = folder / name
        files[name].write_bytes(content)
    files["bomb.pth"] = folder / "bomb.pth"
    with zipfile.ZipFile(folder / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(80_000_000))
    return files


def safetensors_of(entry):
    header = json.dumps({"a": entry}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(24)


CLAIMS = (
    "storage.pth", "view.pth", "expanded.pth", "bytearray.pth", "bomb.pth", "exabytes.safetensors",
    "shape.safetensors", "tuples.pkl", "hashes.pkl", "encode.pkl", "bytes.pkl", "bytearray.pkl",
    "frame.pkl", "bytearraycall.pkl", "reconstruct.pkl", "memo.pkl",
)  # fmt: skip


@pytest.fixture(scope="module")
def claim_files(tmp_path_factory):
    return claims(tmp_path_factory.mktemp("claims"))


@pytest.mark.parametrize("name", CLAIMS)
def test_a_file_that_claims_more_than_it_holds_is_refused_at_once(claim_files, name):
    tracemalloc.start()
    start = time.monotonic()
    try:
        line(claim_files[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 10
    assert peak < 30_000_000


def test_parts_of_a_zip_that_lie_over_each_other_are_refused(tmp_path):
    path = rezipped(tmp_path, {})
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    with zipfile.ZipFile(path) as archive:
        size = archive.infolist()[0].file_size
    content[at + 20 : at + 28] = struct.pack("<II", size + 100_000, size + 100_000)
    path.write_bytes(content)
    assert "larger than the file" in line(path)


@pytest.mark.parametrize("keep", [0, 1, 10, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("form", ["zip.pth", "legacy.pth", "a.safetensors", "a.pkl"])
def test_a_cut_file_is_one_line(tmp_path, keep, form):
    path = tmp_path / form
    if form == "a.safetensors":
        save_file(weights(), path)
    elif form == "a.pkl":
        path.write_bytes(pickle.dumps({k: v.numpy() for k, v in weights().items()}))
    else:
        torch.save(weights(), path, _use_new_zipfile_serialization=form == "zip.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    assert "download or copy it again" in line(path) or "safetensors" in line(path)


def test_a_missing_file_a_pointer_and_a_script_module_are_named(tmp_path):
    assert "no such checkpoint file" in line(tmp_path / "none.pth")
    (tmp_path / "p.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "git lfs pull" in line(tmp_path / "p.pth")
    (tmp_path / "t.pth").write_text("<html>404</html>")
    assert "not a checkpoint" in line(tmp_path / "t.pth")


UNFIT = {
    "sparse": lambda: torch.sparse_coo_tensor(torch.tensor([[0]]), torch.tensor([1.0]), (3,)),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "meta": lambda: torch.ones(3, device="meta"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("new", [True, False])
def test_tensors_that_hold_no_plain_values_are_refused(tmp_path, kind, new):
    path = tmp_path / "a.pth"
    torch.save({"a": UNFIT[kind]()}, path, _use_new_zipfile_serialization=new)
    assert kind in line(path)


@pytest.mark.parametrize(
    "dtype", [torch.complex64, torch.bool, torch.int64, torch.uint8, torch.float8_e4m3fn]
)
def test_weights_of_another_type_are_refused_by_the_audit(tmp_path, dtype):
    torch.save({"weight": torch.ones(2, 2).to(dtype), "bias": torch.ones(2)}, tmp_path / "a.pth")
    trunk = torch.nn.Linear(2, 2)
    audit = load_into(trunk, containers(read_checkpoint(tmp_path / "a.pth")))
    assert audit.wrong_type == (f"weight: {str(dtype).removeprefix('torch.')}",)
    assert any("floating point" in fault for fault in audit.faults())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_cast(tmp_path, dtype):
    torch.save({"weight": torch.full((2, 2), 0.5, dtype=dtype), "bias": torch.ones(2)},
               tmp_path / "a.pth")  # fmt: skip
    trunk = torch.nn.Linear(2, 2)
    assert load_into(trunk, containers(read_checkpoint(tmp_path / "a.pth"))).faults() == []
    assert trunk.weight.dtype == torch.float32
    assert trunk.weight.eq(0.5).all()


def test_a_storage_that_is_never_stored_is_refused(tmp_path):
    torch.save({"a": torch.ones(4)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "a.pth").read_bytes()
    start = whole.rindex(b"\x80\x02]q\x00")
    end = whole.index(b".", start)
    (tmp_path / "b.pth").write_bytes(whole[:start] + b"\x80\x02]q\x00." + whole[end + 1 :])
    assert "not stored" in line(tmp_path / "b.pth")


def test_containers_that_refer_to_each_other_are_visited_once():
    shared = {"a": torch.ones(1)}
    wide = {str(i): shared for i in range(1000)}
    deep = {str(i): wide for i in range(1000)}
    assert list(containers(deep)) == ["0.0"]


def test_the_kind_is_seen_in_the_bytes_and_not_in_the_name(tmp_path):
    torch.save(weights(), tmp_path / "a.pkl")
    assert file_kind(tmp_path / "a.pkl") == "torch zip"
    torch.save(weights(), tmp_path / "b.pkl", _use_new_zipfile_serialization=False)
    assert file_kind(tmp_path / "b.pkl") == "torch legacy"


def test_detectron2s_author_is_kept():
    found = containers({"model": {"a": torch.ones(1)}, "__author__": "torchvision",
                        "matching_heuristics": True})  # fmt: skip
    assert found.author == "torchvision"
    assert containers({"blobs": {"res2_0_branch2a_w": torch.ones(1)}}).author == "Caffe2"
    assert containers({"a": torch.ones(1)}).author is None
