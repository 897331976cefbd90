import json

import pytest

from benchbed.errors import DataError
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.taxonomy_files import (
    build_taxonomy,
    find_beside,
    read_classes,
    read_parents,
)

PARENTS = {"poodle": ("dog",), "dog": ("pet", "mammal"), "mammal": ()}


def test_yaml_and_json_say_the_same(tmp_path):
    (tmp_path / "t.yaml").write_text("poodle: dog\ndog: [pet, mammal]\nmammal:\n")
    (tmp_path / "t.json").write_text(
        json.dumps({"poodle": "dog", "dog": ["pet", "mammal"], "mammal": None})
    )
    assert read_parents(tmp_path / "t.yaml") == PARENTS
    assert read_parents(tmp_path / "t.json") == PARENTS


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("t.yaml", "a: b\na: c\n", "t.yaml:2: key 'a' is repeated"),
        ("t.json", '{"a": "b", "a": "c"}', "key 'a' is repeated"),
        ("t.yaml", "no: b\n", "class False is not text; put the name in quotes"),
        ("t.yaml", "a: 3\n", "a: expected the name of its parent or a list of names, found 3"),
        ("t.yaml", "a: [b, 3]\n", "a: expected the name of its parent"),
        ("t.yaml", "- a\n", "expected a mapping"),
        ("t.json", "[]", "expected a mapping of classes to their parents"),
        ("t.json", "{", "not valid JSON"),
        ("t.yaml", "a: [\n", "not valid YAML"),
    ],
)
def test_a_broken_taxonomy_is_one_line_that_names_the_file(tmp_path, name, text, fault):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=fault) as caught:
        read_parents(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_classes_keep_their_places_and_the_rest_comes_after_them():
    found = build_taxonomy(["poodle", "cat"], {**PARENTS, "carp": ("fish",)})
    assert found == Taxonomy(("poodle", "cat", "dog", "mammal", "pet"), ((2,), (), (3, 4), (), ()))


def test_a_taxonomy_of_other_classes_is_refused():
    with pytest.raises(DataError, match=r"none of the classes, as 'poodel'.*mean 'poodle'"):
        build_taxonomy(["poodel"], PARENTS)


def test_a_circle_in_a_file_is_named():
    with pytest.raises(DataError, match="circle: a > b > a"):
        build_taxonomy(["a"], {"a": ("b",), "b": ("a",)})


def test_a_text_list_counts_its_lines(tmp_path):
    (tmp_path / "classes.txt").write_bytes(b"ant \r\nbee\r\n\r\n")
    assert read_classes(tmp_path / "classes.txt") == Taxonomy(("ant", "bee"))


def test_a_json_list_may_have_parents(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"names": ["ant", "bee"], "parents": {"bee": "insect"}}))
    assert read_classes(path) == Taxonomy(("ant", "bee", "insect"), ((), (2,), ()))
    path.write_text(json.dumps(["ant", "bee"]))
    assert read_classes(path) == Taxonomy(("ant", "bee"))


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("classes.txt", "", "names no class"),
        ("classes.txt", "a\n\nb\n", "class 1 has no name"),
        ("classes.txt", "a\nb\na\n", "class 'a' is named twice"),
        ("classes.json", '{"name": ["a"]}', "unknown key 'name'"),
        ("classes.json", '{"parents": {}}', "the key 'names' is missing"),
        ("classes.json", '{"names": ["a"], "parents": []}', "parents: expected a mapping"),
        ("classes.json", '["a", 3]', "expected a list of class names"),
        ("classes.json", '{"names": ["a"], "parents": {"a": "a"}}', "circle: a > a"),
        ("classes.json", "nonsense", "not valid JSON"),
    ],
)
def test_a_broken_class_list_is_one_line_that_names_the_file(tmp_path, name, text, fault):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=fault) as caught:
        read_classes(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_a_missing_list_says_what_to_write(tmp_path):
    with pytest.raises(DataError, match=r"classes.txt: no such file; write one class name a line"):
        read_classes(tmp_path / "classes.txt")


def test_two_files_that_could_both_count_are_refused(tmp_path):
    names = ("classes.json", "classes.txt")
    assert find_beside(tmp_path, names) is None
    (tmp_path / "classes.txt").write_text("a")
    assert find_beside(tmp_path, names) == tmp_path / "classes.txt"
    (tmp_path / "classes.json").write_text("[]")
    with pytest.raises(DataError, match="keep one of the two"):
        find_beside(tmp_path, names)
