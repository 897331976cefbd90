"""What gets into a board, and what is told about the rest."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from benchbed.errors import RunFailedError, UsageError
from benchbed.records import store
from benchbed.records.record import Record
from benchbed.records.resamples import Resamples, content_of, put_resamples, read_resamples
from benchbed.records.self_checks import own_path
from benchbed.records.store import (
    SUFFIX,
    file_beside,
    file_sha256,
    read_all,
    read_record,
    record_bytes,
    write_record,
)
from benchbed.records.submission import add_records, require_admissible
from benchbed.specs.protocol import find_protocol

TASK = "imagenet-cls-mini"
PROTOCOL = find_protocol(TASK)
CONTENT = PROTOCOL.model_dump(mode="json", exclude_none=True)


@pytest.fixture
def make(make_record, tmp_path):
    """Files of a backbone's records, one a seed of the protocol, as a finished run leaves them."""

    def files(backbone="a", seeds=PROTOCOL.seeds, folder="runs", change=lambda c: c, **facts):
        paths = []
        for seed in seeds:
            record = make_record(
                backbone, TASK, 0.5 + seed % 10 / 100, seed, PROTOCOL.hash(), content=CONTENT,
                version=PROTOCOL.version, **facts,
            )  # fmt: skip
            content = record.model_dump(mode="json")
            content["provenance"] |= {"commit": "a" * 40, "dirty": False}
            content["metrics"]["top5"] = 0.9
            content = change(content)
            record = Record.model_validate_json(json.dumps(content))
            path = own_path(tmp_path / folder, record)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(record_bytes(record, path))
            paths.append(path)
        return paths

    return files


def faults(paths, board):
    with pytest.raises(UsageError) as caught:
        require_admissible(paths, board)
    return str(caught.value).splitlines()


def test_sound_records_are_copied_as_they_are(make, tmp_path):
    paths, board = make(), tmp_path / "board"
    admission = add_records(paths, board)
    assert len(admission.new) == len(PROTOCOL.seeds)
    assert [p.read_bytes() for p in admission.new] == [p.read_bytes() for p in paths]
    assert all(target.name == path.name for target, path in admission.new.items())
    files = [p.name for p in (board / "records" / TASK).iterdir()]
    assert sorted(files) == sorted(p.name for p in paths)


@pytest.fixture
def make_whole(make):
    """The same with detail, predictions and scores on drawn pictures beside each."""

    def files(*arguments, pictures="a" * 64, later=False, **options):
        paths = make(*arguments, **options)
        for path in paths:
            record = read_record(path)
            path.unlink()
            drawn = Resamples(
                metric="top1", method="m", seed=0, pictures=9, pictures_sha256=pictures,
                values=(0.5, 0.25),
            )  # fmt: skip
            rows = [{"seed": record.seed}]
            record = write_record(
                path, record, rows, rows, resamples=None if later else content_of(drawn)
            )
            if later:
                put_resamples(path, record, drawn)
        return paths

    return files


def beside(path):
    return {kind: file_beside(path, kind) for kind in ("detail", "predictions", "resamples")}


@pytest.mark.parametrize("later", [False, True])
def test_the_files_beside_a_record_go_with_it(later, make_whole, tmp_path):
    paths, board = make_whole(later=later), tmp_path / "board"
    admission = add_records(paths, board)
    for target, path in admission.new.items():
        for kind, file in beside(target).items():
            assert file.read_bytes() == beside(path)[kind].read_bytes()
        assert read_resamples(target, read_record(target)).values == (0.5, 0.25)
    again = require_admissible(list(admission.new), board)
    assert (again.new, again.beside) == ({}, {})


def test_weights_stay_where_they_are(make_whole, tmp_path):
    paths = make_whole()
    for path in paths:
        weights = file_beside(path, "weights")
        weights.write_bytes(b"w")
        content = json.loads(path.read_text())
        content["files"]["weights"] = file_sha256(weights)
        path.write_text(json.dumps(content))
    for target in add_records(paths, tmp_path / "board").new:
        assert not file_beside(target, "weights").exists()


@pytest.mark.parametrize("kind", ["detail", "predictions", "resamples"])
def test_a_file_that_is_missing_or_altered_is_told_and_nothing_is_copied(
    kind, make_whole, tmp_path
):
    paths = make_whole()
    file_beside(paths[0], kind).write_bytes(b"other")
    file_beside(paths[1], kind).unlink()
    told = faults(paths, tmp_path / "board")
    assert any(line.startswith(f"{paths[0]}: file {kind}: the record says") for line in told)
    assert any(line.startswith(f"{paths[1]}: file {kind}: ") for line in told)
    assert not any(line.startswith(str(paths[2])) for line in told)
    assert not (tmp_path / "board").exists()


def test_a_record_that_could_have_scores_on_drawn_pictures_must_bring_them(make_whole, tmp_path):
    paths = make_whole(later=True)
    file_beside(paths[0], "resamples").unlink()
    assert faults(paths, tmp_path / "board") == [
        f"{paths[0]}: has no scores on drawn pictures; `benchbed resample` makes them"
    ]


def test_scores_on_other_drawn_pictures_than_the_boards_are_told(make_whole, tmp_path):
    board = tmp_path / "board"
    add_records(make_whole("a"), board)
    told = faults(make_whole("b", pictures="b" * 64), board)
    assert len(told) == len(PROTOCOL.seeds)
    assert all("on other drawn pictures than those of a, seed" in line for line in told)


def test_files_that_a_board_lacks_beside_a_record_are_added(make_whole, tmp_path):
    paths, board = make_whole(), tmp_path / "board"
    target, *_ = add_records(paths, board).new
    file_beside(target, "detail").unlink()
    completed = add_records(paths, board)
    assert completed.new == {}
    assert completed.beside == {target: ("detail",)}
    assert beside(target)["detail"].read_bytes() == beside(paths[0])["detail"].read_bytes()


def test_what_an_interrupted_call_left_beside_a_new_record_is_replaced(make_whole, tmp_path):
    paths, board = make_whole(), tmp_path / "board"
    target, *_ = require_admissible(paths, board).new
    target.parent.mkdir(parents=True)
    file_beside(target, "detail").write_bytes(b"left over")
    add_records(paths, board)
    assert beside(target)["detail"].read_bytes() == beside(paths[0])["detail"].read_bytes()


def test_adding_twice_changes_nothing_and_says_so(make, tmp_path):
    paths, board = make(), tmp_path / "board"
    add_records(paths, board)
    again = add_records(paths, board)
    assert (again.new, len(again.there)) == ({}, len(paths))


def test_a_check_writes_nothing(make, tmp_path):
    admission = require_admissible(make(), tmp_path / "board")
    assert len(admission.new) == len(PROTOCOL.seeds)
    assert not (tmp_path / "board").exists()


def test_another_result_of_a_published_run_is_refused_and_the_first_stays(make, tmp_path):
    board = tmp_path / "board"
    (first, *_) = add_records(make(), board).new
    before = first.read_bytes()
    better = make(folder="later", change=lambda c: c | {"metrics": {"top1": 0.8, "top5": 0.9}})
    told = faults(better, board)
    assert len(told) == len(better)
    assert all("another record of this run is on the board" in line for line in told)
    with pytest.raises(UsageError):
        add_records(better, board)
    assert first.read_bytes() == before


def test_two_results_of_one_run_in_one_call_are_refused(make, tmp_path):
    both = make() + make(folder="later", seeds=(0,), minute=5)
    (line,) = faults(both, tmp_path / "board")
    assert "another record of this run was given" in line


def test_a_copy_of_a_record_counts_once(make, tmp_path):
    admission = add_records(make() + make(folder="copy"), tmp_path / "board")
    assert len(admission.new) == len(PROTOCOL.seeds)


def with_(*keys, value):
    def change(content):
        at = content
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = value
        return content

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_("provenance", "dirty", value=True), "clean commit"),
        (with_("provenance", "commit", value=None), "clean commit"),
        (with_("provenance", "commit", value="abc"), "'abc' is no commit"),
        (lambda c: c | {"rankable": False, "unrankable_reasons": ["short"]}, "unrankable: short"),
        (with_("backbone", "partial", value=True), "filled in part"),
        (with_("metrics", "top1", value=-1.0), "top1 is undefined"),
        (with_("metrics", "top1", value=0.95), "top1 0.95 is above top5 0.9"),
        (lambda c: c | {"ended": "2999-01-01T00:00:00+00:00"}, "in the future"),
        (lambda c: c | {"started": "2026-02-01T00:00:00+00:00"}, "times: started"),
        (with_("protocol", "content", "training", "batch_size", value=1), "protocol hash"),
        (with_("protocol", "content", value={}), "no protocol that this benchbed knows"),
    ],
)
def test_each_fault_is_told(make, tmp_path, change, words):
    told = faults(make(change=change), tmp_path / "board")
    assert len([line for line in told if words in line]) == len(PROTOCOL.seeds)


def test_every_fault_of_every_record_is_told_at_once(make, tmp_path):
    good = make()
    dirty = make("b", change=with_("provenance", "dirty", value=True))
    short = make("c", seeds=PROTOCOL.seeds[:-1])
    broken = tmp_path / f"x{SUFFIX}"
    broken.write_text("{")
    told = faults([*good, *dirty, *short, broken], tmp_path / "board")
    assert len(told) == len(dirty) + 1 + 1
    assert "not a readable record" in told[len(dirty)]
    assert f"c on {PROTOCOL.identity()}: seed {PROTOCOL.seeds[-1]} is missing" in told[-1]
    with pytest.raises(UsageError):
        add_records([*good, broken], tmp_path / "board")
    assert read_all(tmp_path / "board") == []


def test_seeds_on_the_board_complete_the_given_ones(make, tmp_path):
    board = tmp_path / "board"
    first, *rest = make()
    target = board / "records" / TASK / first.name
    target.parent.mkdir(parents=True)
    target.write_bytes(first.read_bytes())
    assert len(add_records(rest, board).new) == len(rest)


def test_a_seed_outside_the_protocols_is_refused(make, tmp_path):
    (line,) = faults(make(seeds=(*PROTOCOL.seeds, 77)), tmp_path / "board")
    assert "seed 77 is not one of the protocol's" in line


def test_a_renamed_file_is_refused(make, tmp_path):
    first, *rest = make()
    other = first.rename(first.with_name(f"better{SUFFIX}"))
    (line,) = faults([other, *rest], tmp_path / "board")
    assert f"its content says {first.name}" in line


def test_other_data_than_the_boards_is_refused(make, tmp_path):
    board = tmp_path / "board"
    add_records(make(), board)
    told = faults(make("b", data="e" * 64), board)
    assert len(told) == len(PROTOCOL.seeds)
    assert all("another fingerprint than a, seed" in line for line in told)


def test_other_data_within_one_call_is_refused(make, tmp_path):
    told = faults(make() + make("b", data="e" * 64), tmp_path / "board")
    assert len(told) == len(PROTOCOL.seeds)


def test_a_metric_that_only_some_have_is_refused(make, tmp_path):
    board = tmp_path / "board"
    add_records(make(), board)
    told = faults(make("b", change=lambda c: c | {"metrics": {"top1": 0.5}}), board)
    assert all("metrics top5: only some" in line for line in told)


def test_one_result_under_two_names_is_refused(make, tmp_path):
    board = tmp_path / "board"
    add_records(make(sha="c" * 64), board)
    told = faults(make("b", sha="c" * 64), board)
    assert len(told) == len(PROTOCOL.seeds)
    assert all("the checkpoint and all metrics of a-cccccccc" in line for line in told)


def test_one_name_for_two_networks_is_refused(make, tmp_path):
    board = tmp_path / "board"
    add_records(make(sha="c" * 64, change=with_("backbone", "source", value="card:a")), board)
    told = faults(
        make(sha="d" * 64, folder="b", change=with_("backbone", "source", value="card:a")), board
    )
    assert sum("is another checkpoint" in line for line in told) == len(PROTOCOL.seeds)


def test_a_full_disk_leaves_whole_records_and_the_same_call_goes_on(make, tmp_path, monkeypatch):
    paths, board = make(), tmp_path / "board"
    real, calls = store.os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(RunFailedError, match="No space left"):
        add_records(paths, board)
    (only,) = (board / "records" / TASK).iterdir()
    assert read_record(only).backbone.id == "a"
    admission = add_records(paths, board)
    assert (len(admission.new), len(admission.there)) == (len(paths) - 1, 1)


def test_keys_given_twice_do_not_reach_the_board(make, tmp_path):
    first, *rest = make()
    text = first.read_text()
    first.write_text(text.replace('"seed": 0', '"seed": 7,\n "seed": 0'))
    (target, *_) = add_records([first, *rest], tmp_path / "board").new
    assert target.read_text() == text


def add_one(paths, board):
    return len(add_records(paths, board).new)


def test_eight_processes_that_add_at_once_lose_nothing(make, tmp_path):
    """Seven backbones of their own, and one that two processes bring."""
    board = tmp_path / "board"
    names = [*"abcdefg", "a"]
    given = [make(name, folder=f"runs{i}") for i, name in enumerate(names)]
    with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as pool:
        done = [pool.submit(add_one, paths, board) for paths in given]
        added = sum(future.result() for future in done)
    seeds = len(PROTOCOL.seeds)
    assert added == 7 * seeds
    found = {(record.backbone.id, record.seed) for record in read_all(board)}
    assert found == {(name, seed) for name in "abcdefg" for seed in PROTOCOL.seeds}
    assert len(list((board / "records" / TASK).iterdir())) == 7 * seeds
