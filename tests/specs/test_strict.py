from typing import Literal

import pytest

from benchbed.errors import UsageError
from benchbed.specs.strict import Frozen, load_spec, read_yaml


class Inner(Frozen):
    rate: float
    sizes: tuple[int, ...]


class Spec(Frozen):
    name: str
    mode: Literal["off", "full"]
    inner: Inner
    extra: float | None = None


GOOD = "name: a\nmode: full\ninner:\n  rate: 3\n  sizes: [1, 2]\n"


@pytest.fixture
def write(tmp_path):
    def make(text):
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        return path

    return make


def mistakes(path):
    with pytest.raises(UsageError) as caught:
        load_spec(Spec, path)
    return str(caught.value).splitlines()


def test_a_good_file_loads(write):
    spec = load_spec(Spec, write(GOOD))
    assert spec.inner == Inner(rate=3.0, sizes=(1, 2))


def test_every_mistake_is_named_with_file_and_line_at_once(write):
    path = write("name: 1\nmode: fulll\ninner:\n  rat: 3.0\n  sizes: [1, x]\n")
    found = mistakes(path)
    assert [line.split(": ")[0] for line in found] == [
        f"{path}:1", f"{path}:2", f"{path}:3", f"{path}:5", f"{path}:4",
    ]  # fmt: skip
    text = "\n".join(found)
    assert "inner.rate: required key is missing" in text
    assert "inner.rat: unknown key" in text


def test_a_number_that_yaml_reads_as_text_is_explained(write):
    (line,) = mistakes(write(GOOD.replace("rate: 3", "rate: 3e-4")))
    assert "write 0.0003" in line


def test_yaml_off_is_explained(write):
    (line,) = mistakes(write(GOOD.replace("mode: full", "mode: off")))
    assert "put it in quotes" in line


@pytest.mark.parametrize("value", [".nan", ".inf", "2026-01-01", "'3'", "true"])
def test_values_of_another_type_are_refused(write, value):
    with pytest.raises(UsageError):
        load_spec(Spec, write(GOOD.replace("rate: 3", f"rate: {value}")))


def test_a_repeated_key_is_refused_with_its_line(write):
    with pytest.raises(UsageError, match=r"spec.yaml:6: key 'name' is repeated"):
        read_yaml(write(GOOD + "name: b\n"))


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [1\n", "just text\n"])
def test_what_is_no_mapping_is_refused(write, text):
    with pytest.raises(UsageError, match=r"spec.yaml"):
        read_yaml(write(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nothing.yaml: cannot be read"):
        read_yaml(tmp_path / "nothing.yaml")
