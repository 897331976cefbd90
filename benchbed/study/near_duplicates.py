"""Which evaluation pictures of the tasks does a pretraining corpus hold, or nearly hold?

The evaluation pictures are few and stay in memory as thumbnails and hashes; the corpus streams by
in chunks. A pair is a near-duplicate when two hashes of theirs, of the wholes or of crops, mirrored
or not, are within the radius, and when the aligned thumbnails then agree in detail.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchbed import __version__
from benchbed.data.evaluation_pictures import EvaluationPicture, EvaluationSet
from benchbed.pretrain.corpus import Corpus
from benchbed.study.duplicate_features import Alignment, align, is_flat
from benchbed.study.duplicate_report import (
    CorpusScanned,
    DuplicateReport,
    Match,
    ScanSettings,
    TaskMatches,
)
from benchbed.study.hash_index import HashIndex, build_index, find_near
from benchbed.study.perceptual_hash import (
    CROPS,
    MIRROR,
    SHRUNK,
    SIDE,
    Crop,
    Thumbnails,
    hash_thumbnails,
    thumbnail,
)
from benchbed.study.thumbnail_reading import read_chunks

if TYPE_CHECKING:
    from benchbed.study.embedding_check import EmbeddingCheck

CHUNK = 1024
"""Corpus pictures whose thumbnails are held at once."""

OnProgress = Callable[[int, int], None]
"""Called with the pictures compared so far, and all."""


@dataclass(frozen=True)
class Library:
    """The evaluation pictures of all tasks, one after another, ready to be looked up."""

    owners: tuple[tuple[str, EvaluationPicture], ...]
    """Task and picture of each thumbnail."""
    thumbnails: Thumbnails
    flat: NDArray[np.bool_]
    """(P,) pictures without contrast: in no look-up."""
    index: HashIndex
    """Of the 25 crops of every picture that is not flat."""
    pictures: NDArray[np.int64]
    """(P - flat,) which picture each 25 entries of the index belong to."""


@dataclass(frozen=True)
class Candidate:
    """A pair that the hashes propose, at its nearest crops."""

    place: int
    """Of the corpus picture in its chunk."""
    picture: int
    """Of the evaluation picture in the library."""
    mirrored: bool
    distance: int
    start: Crop
    """The columns and rows of the evaluation picture that the corpus picture shows."""


def scan(
    corpus: Corpus,
    evaluation: Sequence[EvaluationSet],
    settings: ScanSettings | None = None,
    *,
    places: Collection[int] | None = None,
    check: "EmbeddingCheck | None" = None,
    workers: int = 0,
    on_progress: OnProgress = lambda done, total: None,
) -> DuplicateReport:
    """Compare the pictures of a corpus with every evaluation picture of the tasks.

    Takes memory for the evaluation pictures (some 5 kB each) and one chunk of the corpus.

    Args:
        corpus: is read once, in order.
        evaluation: the tasks' sets; see `evaluation_pictures.evaluation_set`.
        settings: what counts as a near-duplicate.
        places: of the corpus pictures to compare; None: all.
        check: a backbone whose embeddings must agree too.
        workers: processes that decode pictures; 0 decodes in this one. Nothing depends on them.
        on_progress: told after every chunk.

    Raises:
        DataError: an evaluation picture cannot be read. Corpus pictures that cannot be read are
            counted in the report: no pretraining can have used them.
        RunFailedError: a worker was ended.
    """
    settings = settings or ScanSettings()
    wanted = range(len(corpus)) if places is None else sorted(frozenset(map(int, places)))
    library = build_library(evaluation, settings.radius)
    found: list[tuple[int, Match]] = []
    unreadable = flat = 0
    chunks = [wanted[first : first + CHUNK] for first in range(0, len(wanted), CHUNK)]
    done = 0
    for chunk, (indices, small) in zip(chunks, read_chunks(corpus, chunks, workers), strict=True):
        unreadable += len(chunk) - len(indices)
        textured = [place for place, picture in enumerate(small) if not is_flat(picture)]
        flat += len(indices) - len(textured)
        indices, small = [indices[place] for place in textured], small[textured]
        for candidate in propose(library, small):
            match = _judge(library, candidate, small, corpus, indices, settings, check)
            if match is not None:
                found.append((candidate.picture, match))
        done += len(chunk)
        on_progress(done, len(wanted))
    return DuplicateReport(
        benchbed=__version__,
        settings=settings,
        embedding=None if check is None else check.facts,
        corpus=CorpusScanned(
            id=corpus.id,
            fingerprint=corpus.fingerprint(),
            pictures=len(corpus),
            parts=_parts(wanted),
            unreadable=unreadable,
            flat=flat,
        ),
        tasks=_by_task(library, evaluation, found),
    )


def build_library(evaluation: Sequence[EvaluationSet], radius: int) -> Library:
    """Read, reduce and hash the evaluation pictures.

    Raises:
        DataError: one cannot be read.
    """
    owners = [(one.task, picture) for one in evaluation for picture in one.pictures]
    small = np.empty((len(owners), SIDE, SIDE), dtype=np.uint8)
    for place, (_, picture) in enumerate(owners):
        small[place] = thumbnail(picture.read())
    flat = np.array([is_flat(picture) for picture in small], dtype=np.bool_)
    hashes = hash_thumbnails(small[~flat], CROPS)
    return Library(
        tuple(owners), small, flat, build_index(hashes.ravel(), radius), np.flatnonzero(~flat)
    )


def propose(library: Library, small: Thumbnails) -> Iterator[Candidate]:
    """Pairs of corpus thumbnails (N, 64, 64) and evaluation pictures with near hashes.

    A pair is proposed once as it is and once mirrored, where both are near.
    """
    hashes = hash_thumbnails(small, SHRUNK)
    near = find_near(library.index, np.stack([hashes, hashes ^ MIRROR], axis=1).ravel())
    turned, shrunk = np.divmod(near.query, len(SHRUNK))
    picture, crop = np.divmod(near.entry, len(CROPS))
    # nearest first, so that the first of each pair is its nearest
    order = np.lexsort((shrunk, crop, near.distance, picture, turned))
    _, chosen = np.unique(turned[order] * len(library.owners) + picture[order], return_index=True)
    for at in order[chosen].tolist():
        place, mirrored = divmod(int(turned[at]), 2)
        yield Candidate(
            place=place,
            picture=int(library.pictures[picture[at]]),
            mirrored=bool(mirrored),
            distance=int(near.distance[at]),
            start=_shown(CROPS[crop[at]], SHRUNK[shrunk[at]]),
        )


def fit(library: Library, candidate: Candidate, small: Thumbnails) -> Alignment:
    """Lay a candidate's corpus thumbnail over its evaluation picture."""
    picture = small[candidate.place]
    if candidate.mirrored:
        picture = picture[:, ::-1]
    return align(library.thumbnails[candidate.picture], picture, candidate.start)


def _shown(evaluation: Crop, corpus: Crop) -> Crop:
    """The part of the evaluation picture that the corpus picture shows when the crops agree."""
    columns, rows = (
        _extended(*ends, *inner) for ends, inner in zip(evaluation, corpus, strict=True)
    )
    return columns, rows


def _extended(
    start: float, end: float, inner_start: float, inner_end: float
) -> tuple[float, float]:
    scale = (end - start) / (inner_end - inner_start)
    return start - inner_start * scale, end + (1 - inner_end) * scale


def _judge(
    library: Library,
    candidate: Candidate,
    small: Thumbnails,
    corpus: Corpus,
    indices: Sequence[int],
    settings: ScanSettings,
    check: "EmbeddingCheck | None",
) -> Match | None:
    aligned = fit(library, candidate, small)
    if aligned.detail < settings.min_detail:
        return None
    index, (_, picture) = indices[candidate.place], library.owners[candidate.picture]
    cosine = None
    if check is not None:
        cosine = check.cosine(picture.read(), corpus.picture(index), mirrored=candidate.mirrored)
        if cosine < check.facts.min_cosine:
            return None
    return Match(
        picture=picture.id,
        corpus_key=corpus.key(index),
        corpus_index=index,
        distance=candidate.distance,
        correlation=aligned.correlation,
        detail=aligned.detail,
        mirrored=candidate.mirrored,
        cosine=cosine,
    )


def _parts(places: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Rising places as ranges, ends exclusive."""
    if isinstance(places, range):
        return ((places.start, places.stop),) if len(places) else ()
    rising = np.array(places, dtype=np.int64)
    gaps = np.flatnonzero(np.diff(rising) > 1)
    starts = rising[np.concatenate([[0], gaps + 1])] if len(rising) else rising
    ends = rising[np.concatenate([gaps, [-1]])] + 1 if len(rising) else rising
    return tuple(zip(starts.tolist(), ends.tolist(), strict=True))


def _by_task(
    library: Library, evaluation: Sequence[EvaluationSet], found: Sequence[tuple[int, Match]]
) -> dict[str, TaskMatches]:
    best: dict[tuple[int, int], Match] = {}
    for place, match in found:
        # a symmetric picture is near as it is and mirrored
        known = best.get((place, match.corpus_index))
        if known is None or match.detail > known.detail:
            best[place, match.corpus_index] = match
    tasks: dict[str, TaskMatches] = {}
    first = 0
    for one in evaluation:
        after = first + len(one.pictures)
        tasks[one.task] = TaskMatches(
            fingerprint=one.fingerprint,
            pictures=len(one.pictures),
            flat=int(library.flat[first:after].sum()),
            matches=tuple(best[key] for key in sorted(best) if first <= key[0] < after),
        )
        first = after
    return tasks
