import io

from rich.console import Console

from benchbed.board.order_section import HEADS, alone_sentence, order_rows, order_view, tau_sentence
from benchbed.board.ranking import build_leaderboard
from benchbed.board.standing import board_standing


def standing_of(make_record, scores):
    records = [
        make_record(name, seed=s, value=value)
        for name, values in scores.items()
        for s, value in enumerate(values)
    ]
    return board_standing(build_leaderboard(records).boards[0])


def test_each_row_has_its_group_interval_and_aggregates(make_record):
    found = standing_of(
        make_record, {"a": (0.90, 0.91, 0.92), "b": (0.50, 0.51, 0.52), "c": (0.51, 0.52, 0.50)}
    )
    cells = {row.backbone: dict(zip(HEADS, own, strict=True)) for row, own in order_rows(found)}
    assert cells["a"] == {
        "tie group": "1", "95 % ranks": "1", "mean rank": "1", "mean z": "+1.41",
        "wins (%)": "100", "a task left out": "1",
    }  # fmt: skip
    assert cells["b"]["tie group"] == cells["c"]["tie group"] == "2-3"


def test_a_backbone_of_one_seed_is_named(make_record):
    found = standing_of(make_record, {"a": (0.9, 0.8), "only": (0.5,)})
    assert alone_sentence(found).endswith("as a score is of one seed: only.")
    assert alone_sentence(standing_of(make_record, {"a": (0.9, 0.8)})) is None


def test_tau_is_said_where_there_is_an_order(make_record):
    ordered = standing_of(make_record, {"a": (0.9, 0.8), "b": (0.1, 0.2)})
    assert "mean rank and mean z-score 1.00" in tau_sentence(ordered)
    tied = standing_of(make_record, {"a": (0.9, 0.8), "b": (0.8, 0.9)})
    assert "tie" in tau_sentence(tied)


def test_long_names_fit_80_columns(make_record):
    names = [f"efficientnet-lite0-imagenet-{word * 3}" for word in ("first-", "[second]-")]
    found = standing_of(make_record, dict.fromkeys(names, (0.5, 0.6)))
    stream = io.StringIO()
    Console(file=stream, width=80, color_system=None).print(order_view(found, 20))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "[second]" in text
    assert "…" not in text
