import pytest

from benchbed.board.html_files import stale_pages, write_site
from benchbed.errors import UsageError
from benchbed.records.store import read_all, record_path, write_record


@pytest.fixture
def records(make_record):
    return [make_record(name, value=value) for name, value in (("a", 0.5), ("b", 0.25))]


def test_the_written_site_is_fresh_until_the_records_change(records, tmp_path, make_record):
    written = write_site(records, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "index.html",
        "pages/a.html",
        "pages/b.html",
    ]
    assert stale_pages(records, tmp_path) == []
    changed = [records[0], make_record("b", value=0.75)]
    assert tmp_path / "index.html" in stale_pages(changed, tmp_path)


def test_pages_of_backbones_that_left_are_stale_and_removed_and_others_kept(records, tmp_path):
    write_site(records, tmp_path)
    own = tmp_path / "pages" / "mine.html"
    own.write_text("<p>mine</p>")
    assert tmp_path / "pages" / "b.html" in stale_pages(records[:1], tmp_path)
    write_site(records[:1], tmp_path)
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["a.html", "mine.html"]


def test_a_page_that_was_edited_or_is_no_text_is_stale(records, tmp_path):
    write_site(records, tmp_path)
    index, page = tmp_path / "index.html", tmp_path / "pages" / "a.html"
    index.write_text(index.read_text().replace("50.0", "60.0"))
    page.write_bytes(b"\xff")
    assert stale_pages(records, tmp_path) == [index, page]


def test_pages_link_to_the_records_beside_them(records, tmp_path):
    folder = tmp_path / "my board #1"
    for record in records:
        name = record.backbone.id
        write_record(record_path(folder, "cls", name, "1" * 64, 0), record, [], [])
    write_site(read_all(folder), folder, folder)
    page = (folder / "pages" / "a.html").read_text()
    assert 'href="../records/cls/a--111111111111--seed0.record.json"' in page


def test_records_elsewhere_are_not_linked_as_their_place_is_this_machines(records, tmp_path):
    source = tmp_path / "runs"
    write_record(record_path(source, "cls", "a", "1" * 64, 0), records[0], [], [])
    write_site(read_all(source), tmp_path / "site", source)
    page = (tmp_path / "site" / "pages" / "a.html").read_text()
    assert ".record.json" not in page
    assert str(tmp_path) not in page


def test_a_folder_that_cannot_be_written_is_named(records, tmp_path):
    (tmp_path / "site").write_text("a file")
    with pytest.raises(UsageError, match="site"):
        write_site(records, tmp_path / "site")
