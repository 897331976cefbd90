import json

import pytest

from benchbed.pretrain.shard_labels import LabelError, label_of_cls, labels_of_json

PLACES = {"ant": 0, "bee": 1, "cat": 2}


@pytest.mark.parametrize(
    ("stated", "labels"),
    [
        ({"label": 2}, {2: 1.0}),
        ({"label": "bee", "confidence": 0.25}, {1: 0.25}),
        ({"labels": []}, {}),
        ({"labels": [0, "cat"], "caption": "x"}, {0: 1.0, 2: 1.0}),
        ({"labels": ["cat", 0], "confidences": [0.5, 1]}, {0: 1.0, 2: 0.5}),
        ({"labels": ["cat", 2], "confidence": [0.5, 0.75]}, {2: 0.75}),
        ({"caption": "x"}, None),
    ],
)
def test_json_labels_are_read(stated, labels):
    assert labels_of_json(json.dumps(stated).encode(), PLACES) == labels


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not valid JSON"),
        ("[1]", "expected an object"),
        ('{"label": 1, "labels": [1]}', "has 'label' and 'labels'"),
        ('{"labels": 1}', "'labels' must be a list"),
        ('{"label": 3}', "class 3 is not among the 3 classes, 0 to 2"),
        ('{"label": -1}', "class -1 is not among"),
        ('{"label": true}', "a class index or name, found True"),
        ('{"label": 1.0}', "a class index or name, found 1.0"),
        ('{"label": "dog"}', "class 'dog' is not in the list of classes"),
        ('{"labels": [0, 1], "confidences": [0.5]}', "1 confidences for 2 labels"),
        ('{"label": 0, "confidence": 1.5}', "from 0 to 1, found 1.5"),
        ('{"label": 0, "confidence": NaN}', "from 0 to 1, found nan"),
        ('{"label": 0, "confidence": "high"}', "from 0 to 1, found 'high'"),
        ('{"label": 0, "confidence": 1, "confidences": [1]}', "keep one of them"),
    ],
)
def test_bad_json_labels_are_explained(text, fault):
    with pytest.raises(LabelError, match=fault):
        labels_of_json(text.encode(), PLACES)


def test_a_cls_member_is_an_integer():
    assert label_of_cls(b"2\n", 3) == {2: 1.0}
    for content in (b"cat", b"1_0", b"1.0", b"-1", b""):
        with pytest.raises(LabelError, match=f"expected a class index, found {content!r}"):
            label_of_cls(content, 3)
    with pytest.raises(LabelError, match="class 3 is not among"):
        label_of_cls(b"3", 3)
