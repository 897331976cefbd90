"""Write docs/backbones.md: what every architecture family yields, measured.

    python benchmarks/backbone_table.py [--only TEXT]

With `--only`, the rows whose names contain TEXT are printed and nothing is written. Batch 1, eval
mode, random weights, one thread. Parity compares the trunk's maps with a second network, built by
the library alone and given the same weights: timm's `forward_intermediates`, torchvision's own
forward read by hooks.
"""

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from timm.models._registry import _model_to_module
from torch import Tensor

from benchbed.errors import UsageError
from benchbed.models.backbone import Backbone
from benchbed.models.sources import build

PAGE = Path(__file__).parents[1] / "docs" / "backbones.md"
SIZES = ((224, 224), (200, 304), (518, 518))
TOLERANCE = 1e-5
LARGEST = 100e6
"""Parameters above which an architecture is left out."""

# one small member of every timm module that has one of less than LARGEST parameters
TIMM_NAMES = """
beit_base_patch16_224 halonet_h1 regnetz_b16 mobileone_s0 repvgg_a0 cait_xxs24_224 coat_tiny
convit_tiny convmixer_768_32 convmixer_1024_20_ks9_p14 convnext_atto convnextv2_atto cpubone_nano
crossvit_tiny_240 csatv2 cs3darknet_focus_s cspnext_tiny davit_tiny deit_tiny_patch16_224
deit_tiny_distilled_patch16_224 densenet121 dla46x_c dpn48b edgenext_xx_small efficientformer_l1
efficientformerv2_s0 efficientnet_b0 tf_efficientnet_lite0 mobilenetv2_050 efficientvim_m1
efficientvit_b0 efficientvit_m0 vit_tiny_patch16_dinov3_qkvb eva02_tiny_patch14_224 fasternet_t0
fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050 hardcorenas_b hgnetv2_b0 hiera_tiny_224
sam2_hiera_tiny hrnet_w18_small iformer_t inception_next_atto inception_resnet_v2 inception_v3
inception_v4 lcnetv2_small levit_128s lowformer_b0 mambaout_femto coatnet_pico_rw_224
maxvit_rmlp_pico_rw_256 poolformerv2_s12 gmlp_ti16_224 mobilenetv3_small_100 lcnet_035
mobilenetv5_base mobilevit_xxs mobilevitv2_050 mvitv2_tiny naflexvit_base_patch16_parfac_gap
nasnetalarge nest_tiny nextvit_small nfnet_l0 pit_ti_224 pit_b_224 pnasnet5large pvt_v2_b0
qwen3_vit_88m rdnet_tiny regnetx_002 regnety_002 repghostnet_050 repvit_m1 res2next50 resnest14d
resnet18 resnet50d resnetv2_18 rexnet_100 selecsls42 legacy_seresnet18 sequencer2d_s shvit_s1
skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256
swinv2_cr_tiny_224 tiny_vit_5m_224 tnt_s_legacy_patch16_224 tresnet_m twins_svt_small
twins_pcpvt_small vgg11_bn visformer_tiny vit_tiny_patch16_224 vit_small_patch8_224
vit_small_patch14_dinov2 vit_small_patch14_reg4_dinov2 vit_small_patch32_224
vit_tiny_r_s16_p8_224 vit_relpos_small_patch16_224 samvit_base_patch16_224 vitamin_small_224
volo_d1_224 ese_vovnet19b_slim_dw legacy_xception xception41p xcit_nano_12_p8_224
"""

TORCHVISION_NAMES = """
alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3
maxvit_t mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18
resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_0 squeezenet1_1 swin_t swin_v2_t vgg11 vgg11_bn
vit_b_16 vit_b_32 wide_resnet50_2
"""

TIMM, TORCHVISION = TIMM_NAMES.split(), TORCHVISION_NAMES.split()

HEADER = """# Backbones

Written by `python benchmarks/backbone_table.py`; {versions}, CPU, one thread, batch 1, eval mode,
random weights. {count} architectures: one or more small members of every timm module and all
torchvision classification families. Left out: architectures above {largest:.0f} M parameters, and
with them the timm modules that have no smaller one ({missing}).

- **Maps**: which of the strides 4, 8, 16 and 32 are the trunk's own, and which are made and from
  what. `4 from 16` is made from the trunk's map of 16-pixel cells by the parts of ViTDet's simple
  feature pyramid: a 2 x 2 deconvolution for each halving of the stride (halving the channels;
  LayerNorm and GELU between two), max-pooling for a doubling, and a closing LayerNorm over
  channels. A plain transformer has all four made from its last map, as ViTDet has. Made levels are
  randomly initialised and count as head. `16 regridded from 14` is the trunk's own map, read off
  bilinearly at the centres of 16-pixel cells.
- **Parity**: the largest difference of the trunk's maps from the library's own forward on a second
  network with the same weights, divided by the largest value; at the network's own picture size.
- **Sizes**: `ok` when the four maps are (ceil(H / s), ceil(W / s)) exactly and finite. Pictures are
  padded right and below with the mean colour where a network needs multiples of some size; `pad`
  is that size. Position embeddings are resized to the picture's grid.
- **Dilation**: output stride reached when 8 and 16 are asked for. Strided convolutions get stride
  1 and dilate what follows, as torchvision does it; otherwise timm's own `output_stride` is taken.
  Where both exist they are equal (tested), but in MobileViT: timm leaves the fusing 3 x 3
  convolution of a dilated stage undilated.
  Made levels are made at the finer stride: (4, 8, 16, 16) and (4, 8, 8, 8). Pooling, patch merging
  and windows are not dilated: such a network stays at 32 (or reaches 16 only), and its record
  says so.
- Inception, legacy Xception, AlexNet, SqueezeNet and PiT do not pad their convolutions: their maps
  are smaller than the picture. They are read off at the pixels that they show.

| architecture | channels | maps | parity | pad | {sizes} | dilated to 8 | to 16 |
| --- | --- | --- | --: | --: | {rules} | --: | --: |
"""


def reference_maps(name: str, backbone: Any, pixels: Tensor) -> list[Tensor]:
    """The same maps by the library's own forward on a network of its own."""
    library, _, bare = name.partition(":")
    state = backbone.trunk.state_dict()
    with torch.no_grad():
        if library == "timm":
            own = timm.create_model(bare, num_classes=0).eval()
            own.load_state_dict(state)
            maps = own.forward_intermediates(pixels, intermediates_only=True)
            last = {
                entry["reduction"]: level
                for entry, level in zip(own.feature_info, maps, strict=True)
            }
            return [last[entry.jump] for entry in backbone._own]
        return torchvision_maps(bare, backbone, state, pixels)


def torchvision_maps(bare: str, backbone: Any, state: Any, pixels: Tensor) -> list[Tensor]:
    """Outputs of the whole network's modules, heads included, caught by hooks."""
    inception = {"init_weights": False} if bare in ("googlenet", "inception_v3") else {}
    own = torchvision.models.get_model(bare, weights=None, **inception).eval()
    own.load_state_dict(state, strict=False)
    taps = ["encoder.layers"] if bare.startswith("vit") else backbone._taps
    seen: dict[str, Tensor] = {}
    for tap in taps:
        # a copy: what follows may work in place
        own.get_submodule(tap).register_forward_hook(
            lambda module, inputs, output, tap=tap: seen.update({tap: output.clone()})
        )
    own(pixels)
    if bare.startswith("vit"):
        tokens = seen["encoder.layers"][:, 1:]
        side = int(tokens.shape[1] ** 0.5)
        return [tokens.transpose(1, 2).unflatten(2, (side, side))]
    return [seen[t].permute(0, 3, 1, 2) if bare.startswith("swin") else seen[t] for t in taps]


def parity(name: str, backbone: Any) -> float:
    """Largest relative difference from `reference_maps`."""
    side = 224
    if name.startswith("timm:"):
        side = min(backbone.trunk.pretrained_cfg["input_size"][-1], 518)
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = backbone.trunk_maps(images)
        pixels = backbone.prepared(images)
    theirs = reference_maps(name, backbone, pixels)
    return max(
        ((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, theirs, strict=True)
    )


def forward(backbone: Backbone, size: tuple[int, int]) -> str:
    """`ok`, or the reason why not."""
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    try:
        with torch.no_grad():
            maps = backbone.features(images)
    except UsageError as error:
        return str(error).partition(" ")[2].split(", and this")[0].split("; ")[0]
    wanted = [
        (c, -(-size[0] // s), -(-size[1] // s))
        for c, s in zip(backbone.channels, backbone.strides, strict=True)
    ]
    if [tuple(level.shape[1:]) for level in maps] != wanted:
        return f"FAILED: {[tuple(level.shape) for level in maps]}"
    return "ok" if all(level.isfinite().all() for level in maps) else "FAILED: not finite"


def row(name: str) -> str:
    """One line of the table."""
    try:
        backbone: Any = build(f"random:{name}").backbone.eval()
    except UsageError as error:
        reason = str(error).partition("pyramid: ")[2] or str(error)
        return f"| {name} | – | refused: {reason} |" + " – |" * (4 + len(SIZES))
    changed = {entry.split()[0] for entry in backbone.made}
    own = " ".join(str(s) for s in backbone.strides if str(s) not in changed)
    maps = "; ".join([f"own {own}"] * bool(own) + list(backbone.made))
    difference = parity(name, backbone)
    mark = "" if difference <= TOLERANCE else " FAILED"
    sizes = " | ".join(forward(backbone, size) for size in SIZES)
    channels = " ".join(str(c) for c in backbone.channels)
    reached = [copy.deepcopy(backbone).dilate(stride) for stride in (8, 16)]
    pad = backbone._unit if backbone._unit > 1 else "–"
    return (
        f"| {name} | {channels} | {maps} | {difference:.0e}{mark} | {pad} | {sizes}"
        f" | {reached[0]} | {reached[1]} |"
    )


def page(rows: list[str]) -> str:
    """The whole page."""
    covered = {_model_to_module[name] for name in TIMM}
    missing = sorted(set(_model_to_module.values()) - covered)
    return (
        HEADER.format(
            versions=f"torch {torch.__version__.split('+')[0]}, timm {timm.__version__},"
            f" torchvision {torchvision.__version__.split('+')[0]}",
            count=len(rows),
            largest=LARGEST / 1e6,
            missing=", ".join(missing) or "none",
            sizes=" | ".join(f"{h} x {w}" for h, w in SIZES),
            rules=" | ".join("---" for _ in SIZES),
        )
        + "\n".join(rows)
        + "\n"
    )


def main() -> None:
    """Measure all, or those that `--only` picks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only names that contain this; writes nothing")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    names = [f"timm:{name}" for name in TIMM] + [f"torchvision:{name}" for name in TORCHVISION]
    rows, start = [], time.perf_counter()
    for name in names:
        if only in name:
            rows.append(row(name))
            print(f"{time.perf_counter() - start:5.0f} s  {rows[-1]}", flush=True)
    if not only:
        PAGE.write_text(page(rows), encoding="utf-8")
    failed = [line for line in rows if "FAILED" in line]
    raise SystemExit(f"{len(failed)} failed" if failed else 0)


if __name__ == "__main__":
    main()
