import pytest

from benchbed.records.store import write_record


@pytest.fixture
def records(make_record, tmp_path):
    for name, value in (("alpha", 0.8), ("beta", 0.3)):
        for seed in range(3):
            record = make_record(name, seed=seed, value=value + seed / 1000)
            write_record(tmp_path / f"r/records/cls/{name}-{seed}.record.json", record, [], [])
    return tmp_path / "r"


def test_a_comparison_is_printed_within_80_columns(benchbed, records):
    done = benchbed("compare", "beta", "alpha", "--records", records)
    assert done.returncode == 0, done.stderr
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= 80
    assert "-50.0" in done.stdout
    assert "over seeds alone" in " ".join(done.stdout.split())


def test_an_unknown_backbone_is_one_line_and_a_usage_error(benchbed, records):
    done = benchbed("compare", "alpha", "betta", "--records", records)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Did you mean 'beta'?" in done.stderr
