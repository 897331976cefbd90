"""The leaderboard as static HTML: no server, no requests, the same bytes for the same records."""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchbed.board.comparable import Column, comparable_results
from benchbed.board.html_backbone import RUN_HEADS, SCORE_HEADS, backbone_view
from benchbed.board.html_board import ORDER_HEADS, board_view
from benchbed.board.html_names import page_names, shown
from benchbed.board.ranking import Board, build_leaderboard
from benchbed.board.sources import notes
from benchbed.board.standing import board_standing
from benchbed.records.record import Record
from benchbed.records.resamples import Resamples

INDEX = "index.html"

PAGES = "pages"
"""Folder of the backbones' pages."""

Columns = Mapping[Column, Mapping[str, Mapping[int, Record]]]
"""As `comparable.Results` holds them: column, backbone, seed."""

GENERATOR = '<meta name="generator" content="benchbed leaderboard">'
"""In every page, so that one that is left over can be told from somebody's own file."""


def render_site(
    records: Iterable[Record],
    link: Callable[[Record], str] | None = None,
    resamples: Mapping[str, Resamples] | None = None,
) -> dict[str, str]:
    """Every page by its path from the site's folder, `index.html` and `pages/NAME.html`.

    Args:
        records: what to rank; their order does not matter.
        link: address of a record's file relative to the site's folder; without it, or where it
            returns nothing, the pages name no files.
        resamples: as `build_leaderboard`.
    """
    everything = list(records)
    leaderboard = build_leaderboard(everything, resamples)
    by_column = comparable_results(everything).columns
    members: dict[str, list[Record]] = defaultdict(list)
    for rows in by_column.values():
        for name, by_seed in rows.items():
            members[name] += by_seed.values()
    pages = page_names(sorted(members))
    ranked = [(board, board_standing(board)) for board in leaderboard.boards]
    boards = [
        board_view(
            board,
            standing,
            index,
            _members(board, by_column),
            {name: f"{PAGES}/{page}" for name, page in pages.items()},
        )
        for index, (board, standing) in enumerate(ranked)
    ]
    site = {
        INDEX: _render(
            "index.html.j2",
            boards=boards,
            excluded=leaderboard.excluded,
            order_heads=ORDER_HEADS,
            interval_notes=notes(leaderboard.boards),
        )
    }
    for name, page in pages.items():
        view = backbone_view(name, members[name], ranked, _from_pages(link))
        site[f"{PAGES}/{page}"] = _render(
            "backbone.html.j2",
            view=view,
            score_heads=SCORE_HEADS,
            order_heads=ORDER_HEADS,
            run_heads=RUN_HEADS,
        )
    return site


def _members(board: Board, by_column: Columns) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for column in board.columns:
        for name, by_seed in by_column[column].items():
            found[name] += by_seed.values()
    return found


def _from_pages(link: Callable[[Record], str] | None) -> Callable[[Record], str]:
    def relative(record: Record) -> str:
        address = "" if link is None else link(record)
        return f"../{address}" if address else ""

    return relative


def _render(template: str, **content: object) -> str:
    page = _environment().get_template(template).render(content)
    return "\n".join(line.rstrip() for line in page.splitlines() if line.strip()) + "\n"


@cache
def _environment() -> Environment:
    """Templates that escape everything and refuse unknown names.

    Style and script are in the page itself; its policy names their hashes, so that nothing else
    runs or loads, whatever a record holds.
    """
    environment = Environment(
        loader=PackageLoader("benchbed.board", "site"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _part("board.css"), _part("board.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    environment.globals.update(
        style=Markup(style), script=Markup(script), policy=policy, generator=Markup(GENERATOR)
    )
    return environment


def _visible(value: object) -> object:
    # text that the templates themselves made is of another type, and stays as it is
    return shown(value) if type(value) is str else value


def _part(name: str) -> str:
    """A file of the site, as it will stand in the page (blank lines go, see `_render`)."""
    text = resources.files("benchbed.board").joinpath("site", name).read_text(encoding="utf-8")
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
