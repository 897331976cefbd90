"""What a run's user is told where memory ran out or training diverged."""

from benchbed.engine.recipe import ChosenRecipe
from benchbed.jobs import Job


def less(job: Job, micro_batch: int) -> str:
    """What smaller passes mean for a run, in few words."""
    same = len(job.unrankable_reasons(micro_batch)) == len(job.unrankable_reasons())
    meaning = "moves no number" if same else "unrankable (batch norm)"
    return f"{micro_batch} picture{'s' * (micro_batch != 1)} a pass; {meaning}"


def lower_rate(chosen: ChosenRecipe) -> str:
    """What may help a run that diverged."""
    part = "training.recipes.layernorm" if chosen.name == "layernorm" else "training"
    lr = f"{chosen.training.optimiser.lr / 2:g}"
    if "." not in lr:
        # YAML reads 5e-05 as text
        lr = lr.replace("e", ".0e")
    return (
        f"a lower learning rate may help: --set {part}.optimiser.lr={lr} (starts anew, and the"
        " record is not ranked)"
    )
