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
"""Modules whose networks take multiples of their own picture size (CoAtNets only that size)."""

REFUSED = {
    "crossvit": "it resizes every picture to two fixed squares and has no grid of its own",
}
"""Modules that cannot yield a pyramid, with the reason."""

UNPADDED_STARTS: dict[str, tuple[float, float, float, float]] = {
    "inception_v3": (9.5, 13.5, 21.5, 37.5),
    "inception_v4": (5.5, 13.5, 21.5, 37.5),
    "inception_resnet_v2": (9.5, 13.5, 21.5, 37.5),
    "xception": (3.5, 3.5, 3.5, 3.5),
}
"""Pixel coordinate of the first cell's centre at strides 4, 8, 16 and 32, where convolutions are
not padded: each layer of kernel k on cells of j pixels adds (k - 1) / 2 * j to 0.5."""
