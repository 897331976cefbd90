import pytest
from typer.testing import CliRunner

from benchbed.cli.tasks import app, reference_lines
from benchbed.specs.protocol import find_protocol, task_ids


@pytest.mark.parametrize("name", task_ids("full"))
def test_references_fit_80_columns_and_lose_no_word(name):
    for reference in find_protocol(name).references:
        lines = reference_lines(reference)
        assert max(map(len, lines)) <= 80
        words = " ".join(line.lstrip("# ") for line in lines).split()
        figure = [reference.metric, f"{100 * reference.value:.2f}"]
        assert words == [*figure, *reference.backbone.split(), *reference.source.split()]


def test_show_prints_the_references_before_the_file():
    shown = CliRunner().invoke(app, ["show", "coco-det"]).stdout
    assert shown.index("# AP 37.90    ResNet-50, ImageNet-supervised (MSRA)") < shown.index("id:")
