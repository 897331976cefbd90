"""What timm's modules need to take pictures of any size; facts that timm does not declare."""

from typing import Any

SIZE_OPTIONS: dict[str, dict[str, Any]] = {
    # position embeddings are resized to the picture's grid on every forward pass
    "vision_transformer": {"dynamic_img_size": True},
    "vision_transformer_hybrid": {"dynamic_img_size": True},
    "deit": {"dynamic_img_size": True},
    "eva": {"dynamic_img_size": True},
    # windows are padded, and their masks made, on every forward pass
    "swin_transformer": {"strict_img_size": False},
    "swin_transformer_v2": {"strict_img_size": False},
    "swin_transformer_v2_cr": {"strict_img_size": False},
}
"""Creation options by timm module; a square picture of the network's own size gives the same."""

FREE_THOUGH_FLAGGED = frozenset(
    {
        "vision_transformer_sam",  # resizes positions and relative positions by target size
        "swiftformer",  # additive attention, no positions
        "twins",  # positions from convolutions, padded windows
        "xcit",  # Fourier positions
        "sequencer",  # LSTMs over rows and columns
        "efficientvit_msra",  # padded windows
        "maxxvit",  # windows and grids of a fixed size: multiples of its own picture size
    }
)
"""Modules whose pretrained config says `fixed_input_size`, but which do take other sizes."""

MULTIPLES_OF_OWN_SIZE = frozenset({"maxxvit"})
"""Modules whose networks take multiples of their own picture size; of the module's, CoAtNets take
that size only."""

REFUSED = {
    "crossvit": "it resizes every picture to two fixed squares and has no grid of its own",
}
"""Modules that cannot yield a pyramid, with the reason."""

WINDOWED = frozenset({"davit", "maxxvit", "tiny_vit"})
"""Modules whose windows would cover less of a picture at a finer stride: not dilated."""

UNPADDED_STARTS: dict[str, dict[int, float]] = {
    "inception_v3": {4: 9.5, 8: 13.5, 16: 21.5, 32: 37.5},
    "inception_v4": {4: 5.5, 8: 13.5, 16: 21.5, 32: 37.5},
    "inception_resnet_v2": {4: 9.5, 8: 13.5, 16: 21.5, 32: 37.5},
    "xception": {4: 3.5, 8: 3.5, 16: 3.5, 32: 3.5},
}
"""Pixel coordinate of the first cell's centre by stride, where convolutions are not padded: each
layer of kernel k on cells of j pixels adds (k - 1) / 2 * j to 0.5."""


def unpadded_starts(module: str, trunk: Any) -> dict[int, float]:
    """`UNPADDED_STARTS` of a module; empty where its convolutions are padded.

    PiT's patches overlap and are not padded: the first is centred half a patch in.
    """
    if module == "pit":
        return dict.fromkeys((8, 16, 32), trunk.patch_embed.conv.kernel_size[0] / 2)
    return UNPADDED_STARTS.get(module, {})


def is_fixed(module: str, name: str, config: Any) -> bool:
    """Whether a network takes its own picture size only."""
    if module == "maxxvit" and "coat" in name:
        return True
    flagged = bool(config.get("fixed_input_size", False))
    return flagged and module not in SIZE_OPTIONS and module not in FREE_THOUGH_FLAGGED
