import re

from benchbed.board.html_names import page_names, shown


def test_plain_names_stay_and_others_get_a_mark():
    names = page_names(["vit-s.1", "a/b", "../../etc/passwd", "", "con", "x" * 300])
    assert names["vit-s.1"] == "vit-s.1.html"
    assert re.fullmatch(r"a-b-[0-9a-f]{12}\.html", names["a/b"])
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*\.html", page) for page in names.values())
    assert max(map(len, names.values())) < 120
    assert names["con"] != "con.html"


def test_names_that_differ_only_in_case_or_marks_get_different_pages():
    names = page_names(["net", "Net", "NET", "a b", "a/b", "a-b", "名前", "なまえ"])
    assert len({page.casefold() for page in names.values()}) == len(names)


def test_no_name_can_take_the_page_of_another_one():
    (stolen,) = page_names(["a/b"]).values()
    names = page_names(["a/b", stolen.removesuffix(".html")])
    assert len(set(names.values())) == 2


def test_what_is_invisible_is_shown():
    assert shown("a\u202eb\u200bc\nd\ud800") == "a\ufffdb\ufffdc\ufffdd\ufffd"
    assert shown("naïve 名前 <b>") == "naïve 名前 <b>"
