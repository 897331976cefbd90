"""What a study measures: one score of one pretrained backbone on one task with one seed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """How a backbone was pretrained; one column of every table and one place on every axis."""

    initialisation: str
    """`random` (not pretrained), a corpus (`world`), or corpora in order (`world > imagenet`)."""
    arch: str
    """`timm:NAME` or `torchvision:NAME`: the capacity."""
    pictures: int
    """Size of the pretraining subset; 0 for `random`."""
    classes: int
    """Classes that were labelled; 0 for `random`."""
    noise: float
    """Share of items with a wrong label, 0 to 1."""
    samples_seen: int
    """Pictures that training went through, repeats counted; 0 for `random`."""


@dataclass(frozen=True)
class Point:
    """One score."""

    setting: Setting
    task: str
    """Protocol id, `voc-det-mini`."""
    metric: str
    """Primary metric of the protocol."""
    seed: int
    """Of pretraining and of fine-tuning alike."""
    value: float
    """In [0, 1], full precision."""
    parameters: int
    """Of the backbone: its capacity in numbers."""
    clean_value: float | None = None
    """The score without the evaluation pictures that have a near-duplicate in the corpus, where a
    scan found any."""
