import pytest

from benchbed.data.fingerprint import of_split


@pytest.fixture
def files(tmp_path):
    def make(folder="a", content=b"123", annotation=b"{}"):
        base = tmp_path / folder / "split"
        base.mkdir(parents=True, exist_ok=True)
        (base / "1.jpg").write_bytes(content)
        (tmp_path / folder / "x.json").write_bytes(annotation)
        return of_split([base / "1.jpg"], 4, [tmp_path / folder / "x.json"])

    return make


def test_equal_data_elsewhere_has_the_same_fingerprint(files):
    assert files("a") == files("b")


def test_changed_annotations_or_pictures_change_it(files):
    assert len({files("a").fingerprint, files("b", b"1234").fingerprint,
                files("c", annotation=b"[]").fingerprint}) == 3  # fmt: skip


def test_counts_are_kept(files):
    assert (files().pictures, files().annotations) == (1, 4)
