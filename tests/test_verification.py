"""Records checked against their parts: whole ones hold, altered ones fail at the altered place."""

import gzip
import hashlib
import json
import shutil
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchbed import evaluation
from benchbed.data.world import spec, writing
from benchbed.jobs import JobOptions, plan_jobs
from benchbed.models.architectures import initialised
from benchbed.records.resamples import put_resamples
from benchbed.records.store import file_beside, read_record
from benchbed.resampling.drawing import draw_for_record
from benchbed.verification import Parts, Verifier

SETS = ("IMAGENET_TRAIN", "IMAGENET_VAL", "VOC_DET_TRAIN", "VOC_DET_TEST", "VOC_SEG_TRAIN",
        "VOC_SEG_VAL", "COCO_TRAIN", "COCO_VAL")  # fmt: skip
TASKS = ("imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini", "coco-pose-mini")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A miniature world of ten pictures a set."""
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        for name in SETS:
            patch.setattr(writing, name, replace(getattr(spec, name), pictures=10))
        writing.write_layouts(root)
    manifest = writing.WorldManifest(spec.WORLD_VERSION, 80, "0" * 64)
    (root / writing.MANIFEST).write_text(json.dumps(asdict(manifest)))
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(initialised("timm:test_resnet", 7).trunk.state_dict(), path)
    return path


def run(task, world, checkpoint, out):
    """One step of training, its weights kept."""
    (job,) = plan_jobs(
        str(checkpoint), (task,), arch="timm:test_resnet", seeds=(0,), steps=1, overrides=(),
        options=JobOptions(data_root=world, out=out, device="cpu", keep_weights=True),
    )  # fmt: skip
    return evaluation.run_job(job).path


@pytest.fixture(scope="module")
def made(world, checkpoint, tmp_path_factory):
    return run("imagenet-cls-mini", world, checkpoint, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def verifier(world, checkpoint):
    return Verifier(Parts(world, checkpoint, rescore=True))


@pytest.fixture
def path(made, tmp_path):
    """A copy of the record and what lies beside it."""
    shutil.copytree(made.parent, tmp_path / "imagenet-cls-mini")
    return tmp_path / "imagenet-cls-mini" / made.name


def failed(verifier, path):
    return {check.what for check in verifier.checks(path) if check.state == "FAILED"}


def alter(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("task", TASKS)
def test_everything_about_a_whole_record_holds_in_every_family(task, world, checkpoint, tmp_path):
    path = run(task, world, checkpoint, tmp_path)
    checks = list(Verifier(Parts(world, checkpoint, rescore=True, rerun=True)).checks(path))
    assert [check for check in checks if check.state != "ok" and check.what != "commit"] == []
    done = {check.what: check.found for check in checks}
    value = read_record(path).primary_value
    assert repr(value) in done["metrics of the kept predictions"]
    assert "to the last bit" in done["metrics of the kept weights"]


def put(*keys, to):
    """A change of the value at `keys`: to a value, or to what a function makes of the old one."""

    def change(content):
        *parents, last = keys
        for key in parents:
            content = content[key]
        content[last] = to(content[last]) if callable(to) else to

    return change


def other_hash(old):
    return ("0" if old[0] != "0" else "1") + old[1:]


def rename_hash(content):
    protocol = content["protocol"]
    protocol["hash"] = other_hash(protocol["hash"])
    protocol["identity"] = f"{protocol['id']}@{protocol['version']}#{protocol['hash'][:6]}"


def call_rankable(content):
    content["rankable"], content["unrankable_reasons"] = True, []


ALTERED = {
    "a metric": (put("metrics", "top1", to=lambda v: v + 1e-12), "metrics of the kept predictions"),
    "a second metric": (put("metrics", "top5", to=0.123), "metrics of the kept predictions"),
    "a metric taken out": (lambda c: c["metrics"].pop("top5"), "metrics of the kept predictions"),
    "a metric put in": (put("metrics", "top3", to=0.5), "metrics of the kept predictions"),
    "another first metric": (put("primary_metric", to="top5"), "schema"),
    "the protocol's hash": (rename_hash, "protocol hash"),
    "the protocol's identity": (put("protocol", "identity", to="x@1#000000"), "schema"),
    "a learning rate": (
        put("protocol", "content", "training", "optimiser", "lr", to=1.0), "protocol hash"
    ),
    "a key of the protocol": (put("protocol", "content", "more", to=1), "protocol hash"),
    "the task": (put("protocol", "content", "id", to="other"), "identity and primary metric"),
    "rankability": (call_rankable, "published protocol"),
    "a reason": (put("unrankable_reasons", 0, to="because"), "file name"),
    "a limit": (put("arguments", "resolved", "limit", to=5), "rankable"),
    "small passes": (put("arguments", "resolved", "micro_batch", to=1), "rankable"),
    "halved passes": (put("training", "halved_at_steps", to=[1]), "rankable"),
    "the seed": (put("seed", to=1), "seed"),
    "the backbone's name": (put("backbone", "id", to="better"), "file name"),
    "the checkpoint's hash": (put("backbone", "checkpoint_sha256", to=other_hash), "checkpoint"),
    "no checkpoint": (put("backbone", "checkpoint_sha256", to=None), "audit"),
    "a name in the audit": (
        put("backbone", "audit", "matched", to=lambda v: v[:-1]), "audit and network"
    ),
    "the share in the audit": (
        put("backbone", "audit", "filled_share", to=0.999), "audit and network"
    ),
    "a fault in the audit": (put("backbone", "audit", "unexpected", to=["x"]), "audit"),
    "the audit's container": (put("backbone", "audit", "container", to="model"), "audit again"),
    "no audit": (put("backbone", "audit", to=None), "audit again"),
    "a partial load": (put("backbone", "partial", to=True), "audit"),
    "the pixels": (put("backbone", "pixels", "order", to="BGR"), "pixels"),
    "the parameters": (put("backbone", "parameters", to=lambda v: v - 1), "network"),
    "the FLOPs": (put("backbone", "flops", to=lambda v: v // 2), "network"),
    "the size of the FLOPs": (put("backbone", "flops_size", 0, to=8), "network"),
    "all parameters": (put("cost", "parameters_total", to=lambda v: v - 1), "network"),
    "the data's fingerprint": (
        put("dataset", "eval", "fingerprint", to=other_hash), "data eval"
    ),
    "the number of pictures": (put("dataset", "train", "pictures", to=11), "data train"),
    "a third split": (put("dataset", "test", to={"fingerprint": "0" * 64}), "data"),
    "the hash of a file": (put("files", "detail", to=other_hash), "file detail"),
    "a file that no record has": (put("files", "more", to="0" * 64), "file more"),
    "the commit": (put("provenance", "commit", to="0" * 39), "commit"),
    "the times": (put("ended", to="2020-01-01T00:00:00+00:00"), "times"),
    "the schema": (put("schema_version", to=2), "schema"),
}  # fmt: skip


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_record_fails_where_it_was_altered(what, path, verifier):
    change, where = ALTERED[what]
    alter(path, lambda c: c["provenance"].update(dirty=False))
    assert failed(verifier, path) <= {"commit"}
    alter(path, change)
    assert where in failed(verifier, path)


@pytest.mark.parametrize("kind", ["detail", "predictions", "resamples", "weights"])
def test_an_altered_file_is_named(kind, path, verifier):
    file = file_beside(path, kind)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert f"file {kind}" in failed(verifier, path)


def test_rows_altered_together_with_their_hash_fail_by_the_metric(path, verifier):
    file = file_beside(path, "detail")
    rows = json.loads(gzip.decompress(file.read_bytes()))
    for row in rows:
        row["true_class_rank"] = 0
    file.write_bytes(gzip.compress(json.dumps(rows).encode()))
    alter(path, put("files", "detail", to=hashlib.sha256(file.read_bytes()).hexdigest()))
    assert failed(verifier, path) == {
        "metrics of the kept predictions", "scores on drawn pictures",
    }  # fmt: skip


def test_scores_on_drawn_pictures_altered_together_with_their_hash_fail_by_the_draw(path, verifier):
    file = file_beside(path, "resamples")
    content = json.loads(gzip.decompress(file.read_bytes()))
    content["values"][7] = 0.123
    file.write_bytes(gzip.compress(json.dumps(content).encode()))
    alter(path, put("files", "resamples", to=hashlib.sha256(file.read_bytes()).hexdigest()))
    assert failed(verifier, path) == {"scores on drawn pictures: draw 7"}


def test_scores_on_drawn_pictures_of_another_record_are_told(path, verifier):
    record = read_record(path)
    files = {kind: sha for kind, sha in record.files.items() if kind != "resamples"}
    own = record.model_copy(update={"files": files})
    file_beside(path, "resamples").unlink()
    put_resamples(path, own, draw_for_record(path, own, verifier.parts.data_root))
    alter(path, put("files", to=files))
    assert failed(verifier, path) <= {"commit"}
    alter(path, put("cost", "restarts", to=1))
    assert failed(verifier, path) >= {"file resamples", "scores on drawn pictures"}


@pytest.mark.parametrize("content", [b"", b"[1]", b"no gzip", gzip.compress(b'[{"x": 1}]')])
def test_rows_that_cannot_be_scored_fail(content, path, verifier):
    file_beside(path, "detail").write_bytes(content)
    assert {"file detail", "metrics of the kept predictions"} <= failed(verifier, path)


def test_weights_of_another_training_fail_when_they_are_scored(path, world):
    weights = file_beside(path, "weights")
    state = load_file(weights)
    save_file({name: torch.zeros_like(value) for name, value in state.items()}, weights)
    alter(path, put("files", "weights", to=hashlib.sha256(weights.read_bytes()).hexdigest()))
    alter(path, put("metrics", "top1", to=1.0))
    alter(path, put("metrics", "top5", to=1.0))
    assert "metrics of the kept weights" in failed(Verifier(Parts(world, rerun=True)), path)
    weights.write_bytes(b"nothing")
    assert "metrics of the kept weights" in failed(Verifier(Parts(world, rerun=True)), path)


def test_another_checkpoint_is_told_by_both_hashes(path, world, tmp_path):
    other = tmp_path / "other.pth"
    torch.save(initialised("timm:test_resnet", 8).trunk.state_dict(), other)
    checks = list(Verifier(Parts(world, other)).checks(path))
    (check,) = (check for check in checks if check.state == "FAILED")
    assert check.what == "checkpoint"
    assert read_record(path).backbone.checkpoint_sha256[:12] in check.found
    assert hashlib.sha256(other.read_bytes()).hexdigest()[:12] in check.found


def test_what_is_not_at_hand_is_told_apart_from_what_fails(path, world):
    for kind in ("detail", "predictions", "resamples", "weights"):
        file_beside(path, kind).unlink()
    checks = list(Verifier(Parts(world, rescore=True, rerun=True)).checks(path))
    states = {check.what: check.state for check in checks}
    assert "FAILED" not in states.values()
    missing = {what for what, state in states.items() if state == "not checkable"}
    assert missing - {"commit"} == {
        "checkpoint", "file detail", "file predictions", "file resamples",
        "file weights",
        "metrics of the kept predictions", "metrics of the kept weights",
    }  # fmt: skip


def test_data_that_is_not_there_is_not_checkable(path, world, tmp_path):
    shutil.copytree(world, tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken" / "imagenet")
    checks = {c.what: c for c in Verifier(Parts(tmp_path / "broken")).checks(path)}
    assert checks["data"].state == "not checkable"


def test_code_that_a_record_names_is_never_run(path, world, checkpoint, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.chdir(tmp_path)
    alter(path, put("backbone", "notes", "arch", to="trap:make"))
    states = {c.what: c.state for c in Verifier(Parts(world, checkpoint)).checks(path)}
    assert states["audit again"] == states["network"] == "not checkable"
    assert states["data eval"] == "ok"


@pytest.mark.parametrize(
    "change",
    [
        put("protocol", "content", "kind", to={}),
        put("protocol", "content", "training", to=None),
        put("backbone", "audit", "matched", to=[{}]),
        put("backbone", "audit", "unexpected", to=3),
        put("backbone", "pixels", to={"order": 3}),
        put("backbone", "pixels", to={"order": "RGB", "mean": 1, "std": 1, "scale": {}}),
        put("dataset", "eval", to=[]),
        put("arguments", "resolved", to={"device": 5, "gpus": 0}),
    ],
)
def test_what_no_run_writes_fails_and_does_not_end_the_check(change, path, world):
    alter(path, change)
    assert failed(Verifier(Parts(world)), path)
