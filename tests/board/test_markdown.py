import pytest

from benchbed.board.markdown import rank_text, render_leaderboard
from benchbed.board.ranking import build_leaderboard, transfer_gaps

GOLDEN = """\
# Leaderboard

2 backbones ranked on 1 tasks. Scores in percent, mean ± half of the 95 % interval over seeds; \
(rank on the task).

| # | backbone | mean rank | cls (top1) | params (M) | GFLOPs | device-hours |
| --: | --- | --: | --: | --: | --: | --: |
| 1 | b\\|x | 1 | 60.0 ± 12.7 (1) | 2.50 | 0.100 | 0.200 |
| 2 | a | 2 | 40.0 (1 seed) (2) | 2.50 | 0.100 | 0.100 |

Protocols: `cls@1#111111`.

## Notes

- Intervals are Student-t over seeds; they hold no evaluation-picture variance.
- Scores of one seed have no interval and cannot be told from noise.
- GFLOPs: one backbone forward pass at the test size of cls, a multiply-add counted as 2; params: \
the backbone's.
"""


def test_the_page_is_as_published(make_record):
    records = [
        make_record("a", value=0.4),
        make_record("b|x", value=0.59),
        make_record("b|x", value=0.61, seed=1),
    ]
    assert render_leaderboard(build_leaderboard(records)) == GOLDEN


def test_unranked_rows_say_why(make_record):
    records = [make_record("a"), make_record("b"), make_record("b", task="det")]
    page = render_leaderboard(build_leaderboard(records))
    assert "- a is unranked: no record of det@1#111111" in page


def test_gaps_show_both_means_spread_and_verdict(make_record):
    records = [make_record(n, value=v + s / 100, seed=s) for n, v in (("p", 0.8), ("r", 0.1))
               for s in (0, 1)]  # fmt: skip
    leaderboard = build_leaderboard(records)
    page = render_leaderboard(leaderboard, transfer_gaps(leaderboard.boards[0], {"p": "r"}))
    assert "| p | cls (top1) | 80.5 | 10.5 | +70.0 | 1.0 | yes |" in page


def test_no_rankable_record_is_said(make_record):
    page = render_leaderboard(build_leaderboard([make_record(reasons=["protocol override x=1"])]))
    assert "No rankable records." in page
    assert "protocol override x=1" in page


@pytest.mark.parametrize(
    ("rank", "text"), [(1.0, "1"), (1.5, "1.5"), (5 / 3, "1.67"), (10.0, "10"), (None, "–")]
)
def test_ranks_have_no_needless_decimals(rank, text):
    assert rank_text(rank) == text
