from pathlib import Path

import pytest

from benchbed.cli.leaderboard import leaderboard
from benchbed.errors import RunFailedError, UsageError
from benchbed.records.store import record_path, write_record


@pytest.fixture
def board(make_record, tmp_path, monkeypatch):
    for name, value in (("a", 0.5), ("b", 0.25)):
        path = record_path(tmp_path, "cls", name, "1" * 64, 0)
        write_record(path, make_record(name, value=value), [], [])
    monkeypatch.chdir(tmp_path)
    return Path()


def test_html_is_written_and_checked(board, capsys):
    leaderboard(records=board, html=board)
    assert "wrote index.html and 2 pages of backbones" in capsys.readouterr().out
    leaderboard(records=board, html=board, check=True)
    assert capsys.readouterr().out == ".: up to date\n"
    page = board / "pages" / "a.html"
    page.write_text(page.read_text().replace("50.0", "90.0"))
    with pytest.raises(RunFailedError, match=r"^pages/a\.html: stale; run `benchbed .*--html \.`$"):
        leaderboard(records=board, html=board, check=True)


def test_markdown_and_html_are_checked_together(board, capsys):
    out = board / "README.md"
    leaderboard(records=board, out=out, html=board)
    leaderboard(records=board, out=out, html=board, check=True)
    assert capsys.readouterr().out.endswith("README.md: up to date\n.: up to date\n")
    out.write_text("old")
    with pytest.raises(RunFailedError, match=r"README\.md: stale"):
        leaderboard(records=board, out=out, html=board, check=True)


def test_check_without_pages_is_refused():
    with pytest.raises(UsageError, match="--check needs --out or --html"):
        leaderboard(check=True)
