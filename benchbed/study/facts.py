"""What a report says of how its scores were made: hashes, software, devices, hours."""

from collections.abc import Iterable

from benchbed.study import ledger
from benchbed.study.collect import Found, ends


def study_facts(found: Found) -> dict[str, str]:
    """Facts of the runs that are there, by name, in the order shown."""
    study, records = found.plan.study, list(found.records.values())
    plan = found.plan
    runs = [item for _, item in ends(found)]
    facts = {
        "study": f"{study.id}@{study.version}, content {study.hash()[:12]}",
        "pretraining runs": f"{len(runs)} of {len(plan.pretrainings)}",
        "fine-tuning runs": f"{len(records)} of {len(plan.finetunings)}",
        "seeds": _listed(str(cell.seed) for cell in plan.finetunings),
        "recipe": f"{study.recipe}, content {_listed(item.recipe_hash[:12] for item in runs)}",
    }
    for source in study.sources:
        prints = [item.fingerprint[:12] for run, item in ends(found) if run.source == source]
        if prints:
            facts[f"corpus {source}"] = (
                f"{study.sources[source].corpus}, fingerprint {_listed(prints)}"
            )
    facts["protocols"] = _listed(record.protocol.identity for record in records)
    facts["software"] = _listed(
        _software(record.provenance.commit, record.provenance.dirty) for record in records
    )
    facts["packages"] = _listed(
        f"{name} {record.provenance.packages[name]}"
        for record in records
        for name in ("torch", "torchvision", "timm")
        if name in record.provenance.packages
    )
    facts["device"] = _listed(
        f"{record.device.name}, {record.device.threads} thread" + "s" * (record.device.threads > 1)
        for record in records
    )
    return {name: value for name, value in (facts | _hours(found)).items() if value}


def _hours(found: Found) -> dict[str, str]:
    tuned = sum(record.cost.device_hours for record in found.records.values())
    trained = sum(item.device_hours for _, item in ends(found))
    by_crew = _listed(e.where for e in ledger.read(found.out) if e.error is None)
    crews = f", run as {by_crew}" if by_crew else ""
    return {
        "device-hours": f"{trained:.2f} of pretraining, {tuned:.2f} of fine-tuning{crews}",
    }


def _software(commit: str | None, dirty: bool | None) -> str:
    if commit is None:
        return "installed package"
    return f"commit {commit[:12]}{' with local changes' if dirty else ''}"


def _listed(values: Iterable[str]) -> str:
    """Each once, in the order found."""
    return ", ".join(dict.fromkeys(values))
