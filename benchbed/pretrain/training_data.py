"""From a corpus' name to what one run trains and validates on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchbed.errors import DataError, UsageError
from benchbed.models.loaded import Say, silent
from benchbed.pretrain.corpora import open_corpus
from benchbed.pretrain.corpus import Corpus, Taxonomy
from benchbed.pretrain.fetched import fetch_shards
from benchbed.pretrain.job import PretrainJob
from benchbed.pretrain.shard_stream import ShardStream
from benchbed.pretrain.subsets import Holdout, SubsetSpec, choose
from benchbed.pretrain.validation import SCORES_LIMIT, read_labels
from benchbed.pretrain.views import held_out_view, training_view
from benchbed.world_cache import cache_folder


@dataclass(frozen=True)
class TrainingData:
    """The pictures of one run."""

    corpus_id: str
    fingerprint: str
    """sha256 (hex) of the whole corpus."""
    train: Corpus
    held_out: Corpus
    """True labels under the same classes, in a fixed random order."""
    counts: NDArray[np.int64]
    """(classes,) training pictures of each class."""
    list_hash: str
    """sha256 (hex) over the training pictures' keys and labels."""

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that are learnt."""
        return self.train.taxonomy


def open_training_data(
    job: PretrainJob, corpus: Corpus | None = None, say: Say = silent
) -> TrainingData:
    """Open the job's corpus and choose what it trains and validates on.

    Args:
        job: names the corpus and the subset.
        corpus: used in place of the named one.
        say: told what is fetched.

    Raises:
        UsageError: an unknown source or class, a subset larger than the corpus, a softmax loss for
            pictures with several labels, or more held-out scores than fit.
        DataError: the corpus cannot be read, or holds nothing to validate on.
    """
    if corpus is None:
        corpus = _opened(job, say)
    spec = SubsetSpec(job.pictures, job.fraction, job.classes, job.noise, job.seed)
    chosen = choose(corpus, spec, Holdout(job.recipe.validation.share))
    if job.recipe.loss == "softmax" and not chosen.single_label:
        raise UsageError(
            f"recipe {job.recipe.id} has a softmax loss, and pictures of {corpus.id} have several"
            " labels; use a recipe with a sigmoid loss"
        )
    if len(chosen.held_out) == 0:
        raise DataError(
            f"{corpus.id}: no picture with one of the classes is held out of {len(corpus)}; raise"
            f" validation.share of recipe {job.recipe.id}"
        )
    held_out = held_out_view(corpus, chosen)
    _require_room(held_out, job)
    return TrainingData(
        corpus_id=corpus.id,
        fingerprint=corpus.fingerprint(),
        train=training_view(corpus, chosen),
        held_out=held_out,
        counts=chosen.counts,
        list_hash=chosen.list_hash,
    )


def _opened(job: PretrainJob, say: Say) -> Corpus:
    opened = open_corpus(job.corpus, classes=job.class_list, min_confidence=job.min_confidence)
    if isinstance(opened, ShardStream):
        return fetch_shards(opened, cache_folder() / "shards", say)
    return opened


def _require_room(held_out: Corpus, job: PretrainJob) -> None:
    """Refuse what validation would refuse after hours of training."""
    pictures = min(job.recipe.validation.most, len(held_out))
    present = len(read_labels(held_out, range(pictures)).present())
    if pictures * present * 4 > SCORES_LIMIT:
        most = SCORES_LIMIT // 4 // present
        raise UsageError(
            f"{pictures} held-out pictures x {present} classes are more scores than are held at"
            f" once; set validation.most of recipe {job.recipe.id} to {most} or fewer"
        )
