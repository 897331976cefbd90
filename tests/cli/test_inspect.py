import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
import torchvision
from timm.models import create_model, is_model

from benchbed.cli.inspect import report
from benchbed.errors import BenchbedError
from benchbed.models.inspection import inspect_checkpoint
from benchbed.models.shapes import SHORTLIST, known_shapes, likeness, meta_trunk, shapes_of


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("shapes")


@pytest.fixture
def call(tmp_path, cache):
    def run(*arguments):
        env = os.environ | {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        return subprocess.run(
            [sys.executable, "-m", "benchbed", "inspect", *map(str, arguments)],
            capture_output=True, text=True, cwd=tmp_path, env=env, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def seen(tmp_path, cache):
    def look(content, arch=None, name="a.pth"):
        torch.save(content, tmp_path / name)
        return inspect_checkpoint(tmp_path / name, arch, cache=cache)

    return look


def moco():
    state = torchvision.models.resnet18().state_dict()
    return {"state_dict": {f"module.encoder_q.{k}": v for k, v in state.items()}
            | {"module.queue": torch.zeros(4, 9)}}  # fmt: skip


def small_vit(**options):
    return create_model("vit_tiny_patch16_224", num_classes=0, depth=12, **options).state_dict()


def test_the_whole_answer_on_the_command_line(call, tmp_path):
    torch.save(moco(), tmp_path / "moco.pth.tar")
    done = call("moco.pth.tar")
    assert done.returncode == 0, done.stderr
    for text in (
        "torch.save (zip)", "123 tensors", "state_dict", "module.encoder_q.",
        "100.00 %  torchvision:resnet18", "RGB in 0-1", "verdict       loads",
    ):  # fmt: skip
        assert text in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    refused = call("moco.pth.tar", "--arch", "timm:resnet34")
    assert refused.returncode == 4
    assert "refused: only" in refused.stdout
    assert "Traceback" not in refused.stderr


def test_an_unsafe_file_is_one_line_and_exit_4(call, tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(os.system))
    done = call("a.pkl")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error: a.pkl: refused, it wants to run posix.system")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "arch", "code", "words"),
    [
        ({"a": torch.zeros(1)}, "resnet5O", 2, "Did you mean 'resnet50'"),
        ({"epoch": 1}, None, 4, "a.pth: the checkpoint holds no tensors"),
    ],
)
def test_what_cannot_be_inspected_is_said(seen, content, arch, code, words):
    with pytest.raises(BenchbedError, match=words) as caught:
        seen(content, arch)
    assert caught.value.exit_code == code


def test_the_command_imports_no_torch_until_it_is_called():
    code = "import benchbed.cli.inspect, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_best_architecture_goes_first_and_lesser_ones_say_refused(seen):
    found = seen(torchvision.models.resnet18().state_dict())
    assert found.ranked[0].arch == "torchvision:resnet18"
    assert found.loads
    assert [one.fault == "" for one in found.ranked] == sorted(
        (one.fault == "" for one in found.ranked), reverse=True
    )
    assert found.ranked[-1].fault


def test_several_architectures_that_fit_are_said_to_be_indistinguishable(seen):
    fits = "cannot tell those that fit apart"
    several = seen(torchvision.models.resnet50().state_dict())
    assert [one.arch for one in several.ranked if not one.fault] == [
        "torchvision:resnet50", "timm:resnet50"
    ]  # fmt: skip
    assert fits in "\n".join(report(several, asked=False))
    assert fits not in "\n".join(report(several, asked=True))
    one = seen(torchvision.models.resnet18().state_dict())
    assert fits not in "\n".join(report(one, asked=False))


def test_a_vit_is_found_through_hugging_faces_split_attention(seen):
    state = small_vit()
    theirs = {}
    for name, value in state.items():
        name = name.replace("blocks.", "encoder.layer.").replace("norm1", "layernorm_before")
        name = name.replace("norm2", "layernorm_after").replace("attn.proj", "attention.o_proj")
        name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        name = name.replace("pos_embed", "embeddings.position_embeddings")
        name = name.replace("cls_token", "embeddings.cls_token")
        name = "layernorm." + name[5:] if name.startswith("norm.") else name
        if "attn.qkv" in name:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                theirs[name.replace("attn.qkv", f"attention.{part}_proj")] = third.clone()
        else:
            theirs[name] = value
    found = seen(theirs)
    assert (found.ranked[0].arch, found.loads) == ("timm:vit_tiny_patch16_224", True)
    assert found.audit.conversion == "Hugging Face ViT"
    assert found.pixels.mean == (0.5, 0.5, 0.5)


def test_mae_weights_beware_of_an_architecture_with_other_pixels(seen):
    state = small_vit() | {"mask_token": torch.zeros(1, 1, 8), "decoder_norm.bias": torch.zeros(8)}
    found = seen({"model": state}, "timm:vit_tiny_patch16_224")
    assert found.loads
    assert found.pixels.mean == (0.485, 0.456, 0.406)
    assert found.default.mean == (0.5, 0.5, 0.5)
    assert "mask_token" in found.audit.pixels_reason or "decoder_" in found.audit.pixels_reason
    assert any(line.startswith("beware") for line in report(found, asked=True))


def test_a_tag_of_the_same_network_with_the_right_pixels_is_offered(seen):
    trunk, _ = meta_trunk("timm:vit_base_patch16_224")
    state = {name: torch.zeros(1).expand(value.shape).clone() if value.ndim < 2 else
             torch.zeros(value.shape, dtype=torch.float16)
             for name, value in trunk.state_dict().items()}  # fmt: skip
    found = seen({"teacher": {f"backbone.{k}": v for k, v in state.items()}},
                 "timm:vit_base_patch16_224")  # fmt: skip
    assert found.remedy.startswith("--arch timm:vit_base_patch16_224.")


def test_caffe_pixels_are_guessed_for_detectron2s_own_files(seen):
    state = {}
    for name, value in torchvision.models.resnet50().state_dict().items():
        if "num_batches" in name or name.startswith("fc"):
            continue
        name = name if name.startswith("layer") else "stem." + name
        for i in (1, 2, 3, 4):
            name = name.replace(f"layer{i}", f"res{i + 1}")
        name = name.replace("bn", "conv") if "bn" in name else name
        for i in (1, 2, 3):
            for leaf in ("bias", "running_mean", "running_var"):
                name = name.replace(f"conv{i}.{leaf}", f"conv{i}.norm.{leaf}")
            if value.ndim == 1:
                name = name.replace(f"conv{i}.weight", f"conv{i}.norm.weight")
        name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
        state[name] = value
    content = {"model": state, "__author__": "Detectron2 Model Zoo"}
    plain = seen(content, "torchvision:resnet50")
    assert not plain.loads
    assert any("torchvision:resnet50.caffe" in line for line in report(plain, asked=True))
    caffe = seen(content, "torchvision:resnet50.caffe")
    assert caffe.loads
    assert (caffe.pixels.order, caffe.remedy) == ("BGR", "")


def test_no_line_is_longer_than_80_columns_whatever_the_names(seen):
    content = {"state_dict": {f"{'very_long_name.' * 9}{i}": torch.zeros(i + 1) for i in range(9)}}
    lines = report(seen(content, "timm:resnet10t"), asked=False)
    assert max(len(part) for line in lines for part in line.splitlines()) <= 80


def test_every_architecture_of_the_shortlist_exists_and_has_shapes(cache):
    names = set(torchvision.models.list_models())
    for arch in SHORTLIST:
        library, _, name = arch.partition(":")
        assert name in names if library == "torchvision" else is_model(name), arch
    assert known_shapes(SHORTLIST, cache).keys() == set(SHORTLIST)


def test_shapes_without_values_are_those_of_the_built_network(cache):
    built = create_model("convnextv2_tiny", num_classes=0, depths=(3, 3, 9, 3))
    assert known_shapes(["timm:convnextv2_tiny"], cache)["timm:convnextv2_tiny"] == shapes_of(
        built.state_dict().values()
    )


def test_shapes_are_kept_between_calls_and_a_broken_cache_is_no_hindrance(tmp_path):
    told = []
    known_shapes(["timm:resnet10t"], tmp_path, lambda done, total: told.append((done, total)))
    known_shapes(["timm:resnet10t"], tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(0, 1)]
    (kept,) = tmp_path.iterdir()
    assert "timm:resnet10t" in json.loads(kept.read_text())
    kept.write_text("{")
    assert known_shapes(["timm:resnet10t"], tmp_path)["timm:resnet10t"]


def test_likeness_is_one_for_equals_and_zero_without_a_common_shape():
    assert likeness({"3x4": 2}, {"3x4": 2}) == 1.0
    assert likeness({"3x4": 2}, {"4x3": 2}) == 0.0
    assert likeness({"10": 1}, {"10": 1, "30": 1}) == pytest.approx(0.4)
