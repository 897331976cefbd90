"""A second opinion on near-duplicates: do a backbone's embeddings of the two pictures agree?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchbed.data import augment
from benchbed.data.evaluation_pictures import EvaluationPicture
from benchbed.errors import UsageError
from benchbed.models.backbone import Backbone
from benchbed.models.sources import LoadedBackbone
from benchbed.study.alterations import altered_in_every_way
from benchbed.study.duplicate_report import Embedding

SIDE = 224
"""Pixels of the square that pictures are squeezed into before they are embedded."""

CALIBRATED_ON = 48
"""Evaluation pictures, evenly spread, whose altered copies give the threshold."""

COPIES = 4
"""Altered copies of each."""

Pixels = NDArray[np.uint8]
Embed = Callable[[Pixels], NDArray[np.float64]]


@dataclass(frozen=True)
class EmbeddingCheck:
    """An embedding, and how alike two pictures must be in it."""

    facts: Embedding
    embed: Embed
    """(D,) embedding of an RGB picture (H, W, 3)."""

    def cosine(self, evaluation: Pixels, corpus: Pixels, *, mirrored: bool) -> float:
        """Cosine of the two embeddings, -1 to 1; the corpus picture is mirrored where asked."""
        turned = np.ascontiguousarray(corpus[:, ::-1]) if mirrored else corpus
        return cosine(self.embed(evaluation), self.embed(turned))


def calibrated_check(
    loaded: LoadedBackbone, evaluation: Sequence[EvaluationPicture], *, seed: int = 0
) -> EmbeddingCheck:
    """A check whose threshold is the least cosine of evaluation pictures and altered copies.

    The copies are not the pairs that are looked for, and say nothing of the corpus: the threshold
    keeps what this backbone cannot tell from an altered copy.

    Raises:
        DataError: an evaluation picture cannot be read.
        UsageError: there is none.
    """
    if not evaluation:
        raise UsageError("no evaluation picture to choose the least cosine on; name a task")
    embed = embedding_of(loaded.backbone)
    rng = np.random.default_rng(seed)
    chosen = np.linspace(0, len(evaluation) - 1, min(CALIBRATED_ON, len(evaluation)))
    least = 1.0
    for place in chosen.round().astype(int).tolist():
        picture = evaluation[place].read()
        own = embed(picture)
        for _ in range(COPIES):
            copy = altered_in_every_way(picture, rng)
            turned = np.ascontiguousarray(copy[:, ::-1])
            # whether a copy was mirrored is known of a candidate, and undone
            nearest = max(cosine(own, embed(copy)), cosine(own, embed(turned)))
            least = min(least, nearest)
    return EmbeddingCheck(Embedding(backbone=loaded.id, min_cosine=least), embed)


def embedding_of(backbone: Backbone) -> Embed:
    """The backbone's pooled embedding of one picture, in evaluation mode, on the CPU."""
    backbone.eval()

    def embed(picture: Pixels) -> NDArray[np.float64]:
        square = augment.resize(augment.to_tensor(picture), SIDE, SIDE)
        with torch.inference_mode():
            found = backbone.embedding(augment.to_float(square[None]))
        return found[0].double().numpy()

    return embed


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Cosine of two vectors; 0 where one has no length."""
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b / scale) if scale > 0 else 0.0
