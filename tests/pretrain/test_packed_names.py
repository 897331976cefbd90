from hypothesis import given
from hypothesis import strategies as st

from benchbed.pretrain.packed_names import PackedNames


@given(st.lists(st.text()))
def test_texts_come_out_as_they_went_in(names):
    packed = PackedNames.of(iter(names))
    assert [packed[i] for i in range(len(packed))] == names


def test_file_names_that_are_no_text_survive():
    assert PackedNames.of(["caf\udce9.jpg"])[0] == "caf\udce9.jpg"
