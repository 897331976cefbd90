"""What runs were trained on, and the state of their cards, without training any."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from benchbed.engine.batches import ShuffledBatches
from benchbed.errors import UsageError
from benchbed.models.run_folder import read_run_folder, write_run_folder
from benchbed.models.sources import build
from benchbed.pretrain.corpora import open_corpus
from benchbed.pretrain.subsets import Holdout, SubsetSpec, choose
from benchbed.specs.card import Contamination, Pretraining, StartedFrom
from benchbed.specs.pretraining import find_recipe
from benchbed.study.duplicate_report import (
    CorpusScanned,
    DuplicateReport,
    Match,
    ScanSettings,
    TaskMatches,
)
from benchbed.study.trained_pictures import (
    Scanned,
    card_state,
    places_of_all,
    pretraining_of,
    trained_on,
    with_checkpoints,
    write_card_state,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    for number in range(200):
        path = root / "ab"[number % 2] / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(path)
    return open_corpus(str(root))


@pytest.fixture
def left_by(corpus, tmp_path):
    """Leaves a run folder of a run on some pictures; returns it and what was chosen."""

    def leave(name="run", start=None, seen=None, **asked):
        recipe = find_recipe("world-small")
        spec = SubsetSpec(
            asked.get("pictures"), asked.get("fraction"), asked.get("classes"),
            asked.get("noise", 0.0), asked.get("seed", 0),
        )  # fmt: skip
        chosen = choose(corpus, spec, Holdout(recipe.validation.share))
        subset = {
            "pictures": None, "fraction": None, "classes": None, "noise": 0.0, "seed": 0,
        } | asked  # fmt: skip
        run = Pretraining(
            run="1" * 64, corpus=corpus.id, corpus_fingerprint=corpus.fingerprint(),
            pictures=len(chosen.indices), classes=2, noise=subset["noise"], subset=subset,
            list_hash=chosen.list_hash, held_out=1, recipe=recipe.identity(),
            recipe_hash=recipe.hash(), seed=subset["seed"], samples_seen=seen or 400,
            samples_total=400, started_from=start, deviations=(), wall_clock_s=1.0,
            device_hours=0.1, restarts=0, device="cpu", software={}, validation={"mAP": 0.5},
        )  # fmt: skip
        backbone = build("random:timm:test_resnet", seed=len(name)).backbone
        write_run_folder(
            tmp_path / name, backbone, id="run", arch="timm:test_resnet", source="s",
            licence="l", pretraining=run,
        )  # fmt: skip
        return tmp_path / name, sorted(chosen.indices.tolist())

    return leave


def report_of(corpus, *indices, parts=((0, 200),)):
    matches = tuple(
        Match(picture=f"p{index}", corpus_key="k", corpus_index=index, distance=0, correlation=1.0,
              detail=1.0, mirrored=False)
        for index in indices
    )  # fmt: skip
    return DuplicateReport(
        benchbed="0",
        settings=ScanSettings(),
        corpus=CorpusScanned(
            id="c", fingerprint=corpus.fingerprint(), pictures=200, parts=parts, unreadable=0,
            flat=0,
        ),
        tasks={"voc": TaskMatches(fingerprint="d", pictures=5, flat=0, matches=matches)},
    )  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [{}, {"pictures": 30}, {"fraction": 0.3, "seed": 2}, {"pictures": 20, "classes": ["b"]},
     {"pictures": 40, "noise": 0.2}],
)  # fmt: skip
def test_the_places_are_those_that_were_chosen(asked, corpus, left_by):
    folder, expected = left_by(**asked)
    (found,) = trained_on([folder], corpus)
    assert found.places.tolist() == expected
    assert 15 < len(expected) <= 200


def test_runs_together_were_trained_on_what_any_of_them_was(corpus, left_by):
    runs = [left_by("a", pictures=30), left_by("b", pictures=30, seed=1)]
    found = trained_on([folder for folder, _ in runs], corpus)
    expected = sorted({place for _, places in runs for place in places})
    assert places_of_all(found).tolist() == expected
    assert 30 < len(expected) < 60
    assert places_of_all([]).tolist() == []


def test_another_corpus_is_refused(left_by, tmp_path):
    folder, _ = left_by()
    other = tmp_path / "other"
    for name in "ab":
        (other / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(other / name / "x.png")
    with pytest.raises(UsageError, match="is not the run's"):
        trained_on([folder], open_corpus(str(other)))


def test_a_list_that_cannot_be_made_again_is_refused(corpus, left_by):
    folder, _ = left_by(pictures=30)
    card = folder / "card.yaml"
    content = yaml.safe_load(card.read_text())
    content["pretraining"]["subset"]["pictures"] = 29
    card.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match="are not those that the run trained on"):
        trained_on([folder], corpus)


def test_another_recipe_is_refused(corpus, left_by):
    folder, _ = left_by()
    with pytest.raises(UsageError, match="--recipe"):
        trained_on([folder], corpus, "modern")


def test_a_card_counts_duplicates_among_what_was_trained_on(corpus, left_by):
    folder, places = left_by(pictures=30)
    (run,) = trained_on([folder], corpus)
    others = sorted(set(range(200)) - set(places))
    dirty = report_of(corpus, places[0], places[3], others[0])
    state = card_state(Scanned(run, dirty))
    assert state == Contamination(state="contaminated", duplicates=2)
    clean = card_state(Scanned(run, report_of(corpus, *others[:3])))
    assert clean == Contamination(state="clean", duplicates=0)
    part = report_of(corpus, parts=((0, places[-1]),))
    assert card_state(Scanned(run, part)).state == "unknown"


def pictures_drawn(count, batch, steps, seed):
    """Indices that a run's own loader asks for."""
    batches = ShuffledBatches(count, batch, batch, steps, seed)
    return {index for keys in batches for _, index in keys}


def test_weights_on_the_way_were_trained_on_what_the_loader_had_drawn_by_then(corpus, left_by):
    spec = SubsetSpec(30, None, None, 0.0, 5)
    chosen = choose(corpus, spec, Holdout(find_recipe("world-small").validation.share))
    for seen in (8, 24, 32):
        folder, whole = left_by(f"run/samples-{seen:09}", seen=seen, pictures=30, seed=5)
        (run,) = trained_on([folder], corpus)
        drawn = pictures_drawn(30, 8, seen // 8, seed=5)
        assert run.places.tolist() == sorted(chosen.indices[sorted(drawn)].tolist())
        assert (run.places.tolist() == whole) == (seen == 32)


def test_weights_on_the_way_get_a_state_of_their_own(corpus, left_by):
    run, places = left_by("run", pictures=30)
    early, _ = left_by("run/samples-000000008", seen=8, pictures=30)
    late, _ = left_by("run/samples-000000064", seen=64, pictures=30)
    folders = with_checkpoints([run])
    assert folders == [run, early, late]
    final, first, second = trained_on(folders, corpus)
    unseen = sorted(set(places) - set(first.places.tolist()))
    report = report_of(corpus, unseen[0], unseen[1])
    states = [card_state(Scanned(one, report)) for one in (final, first, second)]
    assert [state.state for state in states] == ["contaminated", "clean", "contaminated"]
    assert states[0] == states[2]


def test_weights_that_went_on_from_others_are_unknown(corpus, left_by):
    folder, _ = left_by(start=StartedFrom(id="imagenet", sha256=None))
    (run,) = trained_on([folder], corpus)
    assert card_state(Scanned(run, report_of(corpus))).state == "unknown"


def test_weights_that_went_on_from_scanned_ones_count_the_duplicates_of_both(corpus, left_by):
    first, places = left_by("first", pictures=30)
    start = StartedFrom(id="first", sha256=read_run_folder(first).sha256)
    second, more = left_by("second", pictures=30, seed=1, start=start)
    only_first, only_second = (
        sorted(set(a) - set(b))[0] for a, b in ((places, more), (more, places))
    )
    both = sorted(set(places) & set(more))[0]
    report = report_of(corpus, only_first, only_second, both)
    runs = [Scanned(one, report) for one in trained_on([first, second], corpus)]
    assert card_state(runs[0], runs).duplicates == 2
    assert card_state(runs[1], runs).duplicates == 3
    unscanned = Scanned(runs[0].trained, report_of(corpus, parts=((0, 1),)))
    assert card_state(runs[1], [unscanned, runs[1]]).state == "unknown"


def test_the_state_goes_into_the_card_and_nothing_else_changes(left_by):
    folder, _ = left_by(pictures=30)
    before = read_run_folder(folder)
    write_card_state(folder, Contamination(state="contaminated", duplicates=4))
    after = read_run_folder(folder)
    assert after.pretraining.contamination.duplicates == 4
    plain = after.pretraining.model_copy(update={"contamination": Contamination(state="unknown")})
    assert after.model_copy(update={"pretraining": plain}) == before
    assert build(str(folder)).checkpoint_sha256 == before.sha256


def test_weights_of_others_have_no_pictures_to_look_up(tmp_path):
    backbone = build("random:timm:test_resnet").backbone
    folder = Path(tmp_path / "given")
    write_run_folder(folder, backbone, id="given", arch="timm:test_resnet", source="s", licence="l")
    with pytest.raises(UsageError, match="did not pretrain"):
        pretraining_of(folder)
