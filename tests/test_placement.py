import pytest
import torch

from benchbed import placement
from benchbed.errors import UsageError
from benchbed.placement import choose_workers
from benchbed.pretrain.run import pretrain_backbone
from benchbed.study.cells import RunOptions
from benchbed.study.execute import choose_crew

CPU = torch.device("cpu")


def test_workers_are_those_asked_for_up_to_a_bound_that_grows_with_the_machine(monkeypatch):
    monkeypatch.setattr(placement, "_cores", lambda: 2)
    assert [choose_workers(asked, CPU) for asked in (0, 3, 64)] == [0, 3, 64]
    for asked in (-1, 65):
        with pytest.raises(UsageError, match=rf"--workers {asked}: 0 to 64 loader processes"):
            choose_workers(asked, CPU)
    monkeypatch.setattr(placement, "_cores", lambda: 96)
    assert choose_workers(384, CPU) == 384
    with pytest.raises(UsageError, match="0 to 384"):
        choose_workers(385, CPU)


def test_absurd_workers_end_a_pretraining_and_a_study_before_they_begin(tmp_path):
    with pytest.raises(UsageError, match="--workers -3"):
        pretrain_backbone("nowhere", "world-small", workers=-3, out=tmp_path)
    with pytest.raises(UsageError, match="--workers 100000"):
        choose_crew(RunOptions(tmp_path, device="cpu", workers=100_000), processes=None)
    assert not list(tmp_path.iterdir())
