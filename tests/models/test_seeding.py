import torch

from benchbed.models.seeding import seeded


def test_equal_seeds_draw_alike_and_the_callers_stream_goes_on_as_if_nothing_was_drawn():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    drawn = []
    for seed in (7, 7, 8):
        with seeded(seed):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.rand(2), expected)


def test_only_the_current_gpu_is_touched(monkeypatch):
    asked = []

    class Fork:
        def __init__(self, devices):
            asked.append(devices)

        def __enter__(self):
            return None

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(torch.random, "fork_rng", Fork)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch, "manual_seed", lambda seed: None)
    with seeded(0):
        pass
    assert asked == [[3]]
