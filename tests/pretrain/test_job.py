import pytest

from benchbed.models.run_folder import read_run_folder, write_run_folder
from benchbed.models.sources import initialised
from benchbed.pretrain.job import PretrainJob, card_id
from benchbed.specs.pretraining import find_recipe

RUN = "0123456789abcdef" * 4


def id_of(**options):
    job = PretrainJob(corpus="world", recipe=find_recipe("world-small"), seed=7, **options)
    return card_id("world-1", 300, "timm:test_resnet", job, RUN)


def test_a_run_without_a_name_is_called_by_what_it_was_asked_for_and_its_hash():
    assert id_of() == "world-1-300-world-small-test-resnet-s7-01234567"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("world-test-resnet-300", "world-test-resnet-300"),
        ("My_Run.v2", "my-run-v2"),
        ("a_.", "a"),
    ],
)
def test_a_named_run_is_called_by_its_name(tmp_path, name, expected):
    assert id_of(name=name) == expected
    network = initialised("timm:test_resnet", 0)
    write_run_folder(
        tmp_path, network, id=expected, arch="timm:test_resnet", source="s", licence="l"
    )
    assert read_run_folder(tmp_path).id == expected
