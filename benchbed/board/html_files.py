"""The site on disk: written, cleared of pages that are gone, and checked for being fresh."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from benchbed.board.html import GENERATOR, PAGES, render_site
from benchbed.records.disk import not_writable
from benchbed.records.durable import write_durably
from benchbed.records.record import Record
from benchbed.records.resamples import resamples_under
from benchbed.records.store import SUFFIX, read_record


def write_site(
    records: Iterable[Record], folder: Path, records_root: Path | None = None
) -> list[Path]:
    """Write `index.html` and a page for each backbone; pages of backbones that left are removed.

    Other files of the folder, and pages that benchbed did not make, are left alone.

    Args:
        records: what to rank.
        folder: made where it is missing.
        records_root: where the records lie; pages link to those of their files that
            are inside `folder`.

    Returns:
        the files written, the index first.

    Raises:
        UsageError: the folder cannot be written.
        RunFailedError: the disk is full; pages that were there are still whole.
    """
    site = site_pages(records, folder, records_root)
    try:
        for path, text in site.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, text)
        for path in _left_over(folder, site):
            path.unlink()
    except OSError as error:
        raise not_writable(folder, error) from error
    return list(site)


def stale_pages(
    records: Iterable[Record], folder: Path, records_root: Path | None = None
) -> list[Path]:
    """Pages that are missing, are not what the records say, or belong to no backbone any more."""
    site = site_pages(records, folder, records_root)
    wrong = [path for path, text in site.items() if _text(path) != text]
    return wrong + _left_over(folder, site)


def site_pages(
    records: Iterable[Record], folder: Path, records_root: Path | None = None
) -> dict[Path, str]:
    """Every page by its file; see `write_site`."""
    files = {} if records_root is None else _record_files(records_root)
    resamples = {} if records_root is None else resamples_under(records_root)

    def link(record: Record) -> str:
        path = files.get(record.model_dump_json())
        # a link out of the folder would break, and tell of this machine, where it is published
        if path is None or not path.is_relative_to(folder.resolve()):
            return ""
        return quote(path.relative_to(folder.resolve()).as_posix())

    return {folder / name: text for name, text in render_site(records, link, resamples).items()}


def _record_files(root: Path) -> dict[str, Path]:
    """File of each record by its content, as a file's name does not follow from the record."""
    paths = sorted(root.resolve().rglob(f"*{SUFFIX}"), reverse=True)
    return {read_record(path).model_dump_json(): path for path in paths}


def _left_over(folder: Path, site: dict[Path, str]) -> list[Path]:
    others = sorted(path for path in (folder / PAGES).glob("*.html") if path not in site)
    return [path for path in others if GENERATOR in (_text(path) or "")]


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
