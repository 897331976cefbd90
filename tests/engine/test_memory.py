import weakref
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from benchbed.engine import distributed
from benchbed.engine.finetune import FineTune, seeded_torch
from benchbed.engine.keeping import Keeping
from benchbed.engine.launch import launch
from benchbed.engine.loop import Execution, train
from benchbed.engine.memory import (
    Halving,
    InHalves,
    MemoryShortError,
    is_memory_short,
    memory_short,
    memory_told,
    with_less,
)
from benchbed.engine.snapshots import Snapshots
from benchbed.errors import RunFailedError
from benchbed.models.backbone import Backbone, PixelConvention
from benchbed.specs.training import Optimiser, Schedule, Training

SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("could not create a primitive"),
]


class Stopped(BaseException):
    """Ends a run from outside."""


class FailsBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise torch.OutOfMemoryError("CUDA out of memory")


class Memory:
    """Holds `fits` pictures a pass from one step on; a pass of more fails at its end."""

    def __init__(self, fits=64, from_step=1, at_pass=0, backward=False, error=SHORTAGES[0]):
        self.fits, self.from_step, self.at_pass = fits, from_step, at_pass
        self.backward, self.error = backward, error
        self.step, self.passes, self.sizes, self.held = 1, 0, [], None

    def loss(self, model, batch):
        # statistics of norms and random states have moved by the time that memory runs out
        embedding = nn.functional.dropout(model.backbone.embedding(batch["images"]), 0.5)
        losses = {"ce": nn.functional.cross_entropy(model.fc(embedding), batch["labels"])}
        self.passes += 1
        short = len(batch["labels"]) > self.fits and self.step >= self.from_step
        if short and self.passes > self.at_pass:
            self.passes, self.held = 0, weakref.ref(embedding)
            if self.backward:
                return {name: FailsBackward.apply(loss) for name, loss in losses.items()}
            raise self.error
        self.sizes.append(len(batch["labels"]))
        return losses

    def told(self, progress):
        self.step, self.passes = progress.step + 1, 0


@pytest.fixture
def go(make_run, make_training):
    """Train a net with batch norms, dropout and EMA on batches of eight."""

    def run_it(memory=None, micro_batch=None, stop=None, keeping=None, workers=0, **changes):
        memory = memory or Memory()
        run = make_run(norm=changes.pop("norm", True))
        object.__setattr__(run, "loss", memory.loss)
        object.__setattr__(run, "aspect_groups", changes.pop("groups", None))
        halved = []

        def told(progress):
            memory.told(progress)
            if progress.step == stop:
                raise Stopped

        def on_halved(halving):
            halved.append((halving, memory.held and memory.held()))

        execution = Execution(torch.device("cpu"), workers=workers, micro_batch=micro_batch)
        with seeded_torch(0):
            training = make_training(ema_decay=0.8, batch_size=8, **changes)
            trained = train(
                run, training, execution, seed=0,
                on_progress=told, keeping=keeping or Keeping(), on_halved=on_halved,
            )  # fmt: skip
        return trained, run.model, halved

    return run_it


def every_step(folder):
    return Keeping(Snapshots(folder, "a run", every_s=None, every_steps=1))


def assert_same(one, other):
    for a, b in ((one[0].model, other[0].model), (one[1], other[1])):
        left, right = a.state_dict(), b.state_dict()
        assert all(torch.equal(left[name], right[name]) for name in left)
    assert one[0].losses == other[0].losses


@pytest.mark.parametrize("step", [1, 3, 6])
@pytest.mark.parametrize(("at_pass", "backward"), [(0, False), (1, False), (1, True)])
def test_a_step_that_memory_does_not_hold_is_made_again_as_if_it_had_not_begun(
    go, tmp_path, step, at_pass, backward
):
    halved = go(Memory(2, step, at_pass, backward), micro_batch=4)
    keeping = every_step(tmp_path)
    if step > 1:
        with pytest.raises(Stopped):
            go(micro_batch=4, stop=step, keeping=keeping)
    assert_same(halved, go(micro_batch=2, keeping=keeping))
    assert halved[0].halvings == (Halving(step, 2),)
    assert halved[0].micro_batch == 2


@pytest.mark.parametrize("groups", [None, [index % 3 == 0 for index in range(12)]])
@pytest.mark.parametrize("workers", [0, 1])
def test_memory_that_never_held_a_pass_gives_the_run_that_was_told_so(go, workers, groups):
    told = go(micro_batch=2, groups=groups)
    found = go(Memory(fits=2), workers=workers, groups=groups)
    assert_same(found, told)
    assert found[0].halvings == (Halving(1, 4), Halving(1, 2))


@pytest.mark.parametrize("error", SHORTAGES, ids=str)
def test_a_want_of_memory_is_known_by_every_name_that_it_has(go, error):
    assert go(Memory(fits=2, error=error))[0].micro_batch == 2
    assert is_memory_short(error)
    assert not is_memory_short(RuntimeError("could not create a primitive descriptor iterator"))


def test_without_norms_on_batch_statistics_smaller_passes_move_rounding_only(
    go, make_training, monkeypatch
):
    monkeypatch.setattr(nn.functional, "dropout", lambda value, share: value)
    whole, halved = go(norm=False), go(Memory(fits=1, from_step=3), norm=False)
    assert halved[0].halvings == (Halving(3, 4), Halving(3, 2), Halving(3, 1))
    left, right = whole[0].model.state_dict(), halved[0].model.state_dict()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-5, atol=1e-6)


def test_nothing_of_the_pass_that_failed_is_held_when_the_smaller_one_begins(go):
    halved = go(Memory(fits=4, from_step=2, backward=True))[2]
    assert halved == [(Halving(2, 4), None)]


def test_one_picture_that_does_not_fit_ends_the_run_with_what_is_needed(go):
    words = r"^out of memory with 1 picture a pass; it needs a device with more memory"
    with pytest.raises(MemoryShortError, match=words):
        go(Memory(fits=0), norm=False)


def test_a_norm_that_cannot_train_on_one_picture_is_told(go):
    with pytest.raises(RunFailedError, match="a batch norm of this network cannot train on one"):
        go(Memory(fits=1))


def test_a_run_that_goes_on_remembers_what_fits(go, tmp_path):
    whole = go(Memory(fits=4, from_step=2))
    keeping = every_step(tmp_path)
    with pytest.raises(Stopped):
        go(Memory(fits=4, from_step=2), stop=5, keeping=keeping)
    memory = Memory(fits=4)
    rest = go(memory, keeping=keeping)
    assert_same(rest, whole)
    assert memory.sizes == [4, 4] * 2
    assert rest[0].halvings == (Halving(2, 4),)
    assert [halving for halving, _ in rest[2]] == [Halving(2, 4)]


def test_another_failure_is_no_want_of_memory(go):
    with pytest.raises(RuntimeError, match="shapes differ"):
        go(Memory(fits=2, error=RuntimeError("shapes differ")))


@pytest.fixture
def short_optimiser(monkeypatch):
    """The optimiser's n-th step fails after a part of the weights was updated."""

    def short(number):
        whole, calls = torch.optim.SGD.step, []

        def step(self, closure=None):
            calls.append(1)
            if len(calls) != number:
                return whole(self, closure)
            groups = self.param_groups
            self.param_groups = groups[:1]
            whole(self, closure)
            self.param_groups = groups
            raise SHORTAGES[0]

        monkeypatch.setattr(torch.optim.SGD, "step", step)

    return short


def test_an_optimiser_without_memory_for_its_state_has_not_stepped(go, short_optimiser):
    told = go(micro_batch=4)
    short_optimiser(1)
    found = go()
    assert_same(found, told)
    assert found[0].halvings == (Halving(1, 4),)


def test_an_optimiser_without_memory_later_on_ends_the_run(go, short_optimiser):
    short_optimiser(3)
    with pytest.raises(MemoryShortError, match=r"out of memory in the optimiser's step; the same"):
        go()


def test_a_batch_that_is_scored_is_halved_until_it_fits_and_stays_so():
    seen = []

    def call(part):
        if len(part) > 3:
            raise SHORTAGES[0]
        seen.append(len(part))
        return [part * 2]

    in_halves = InHalves()
    batch = torch.arange(8)
    for _ in range(2):
        assert torch.equal(torch.cat(in_halves(call, batch)), batch * 2)
    assert seen == [2] * 8
    with pytest.raises(MemoryShortError, match="with 1 picture a pass"):
        InHalves()(lambda part: (_ for _ in ()).throw(SHORTAGES[0]), batch)
    with pytest.raises(RuntimeError, match="shapes"):
        InHalves()(lambda part: (_ for _ in ()).throw(RuntimeError("shapes")), batch)


def tell_once_more(error):
    with memory_told(8, "a"):
        raise error


def test_the_message_counts_pictures_of_each_process():
    with (
        pytest.raises(MemoryShortError, match=r"^a: out of memory with 8 pictures a pass in each"
                      r" process; pass --micro-batch 4 or fewer: the global batch stays$"),
        memory_told(8, "a", processes=2),
    ):  # fmt: skip
        raise SHORTAGES[0]
    with pytest.raises(MemoryShortError, match=r"^a: out of memory with 1 picture a pass;") as told:
        tell_once_more(memory_short(1))
    assert told.value.exit_code == 1


def test_processes_begin_again_with_what_may_fit_as_long_as_it_becomes_less():
    tried, told = [], []

    def attempt(at_most):
        tried.append(at_most)
        if (at_most or 8) > 2:
            error = memory_short(at_most or 8, processes=2)
            error.smaller = (at_most or 8) // 2
            raise error
        return "done"

    assert with_less(attempt, told.append) == "done"
    assert (tried, told) == ([None, 4, 2], [4, 2])

    def stuck(at_most):
        error = memory_short(8)
        error.smaller = 4
        raise error

    with pytest.raises(MemoryShortError):
        with_less(stuck)


class Spot(Backbone):
    """One number a picture, so that new processes have little to do."""

    channels, strides, embedding_dim = (3,) * 4, (4, 8, 16, 32), 3
    convention = PixelConvention("RGB", (0.5,) * 3, (0.5,) * 3)

    def __init__(self):
        super().__init__()
        self.trunk = nn.ModuleList([nn.Linear(3, 3)])

    def embedding(self, images):
        return self.trunk[0](images.mean((2, 3)))

    def stages(self):
        return [list(self.parameters())]

    def stage_modules(self):
        return [[self.trunk[0]]]

    def layer_groups(self):
        return self.stages()


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.fc = Spot(), nn.Linear(3, 2)

    def forward(self, images):
        return self.fc(self.backbone.embedding(images))


class Shades:
    def __len__(self):
        return 12

    def sample(self, index, rng):
        shade = torch.from_numpy(rng.normal(index % 2, 0.1, (3, 4, 4)).astype(np.float32))
        return shade, index % 2


def stacked(samples):
    pictures, labels = zip(*samples, strict=True)
    return {"images": torch.stack(pictures), "labels": torch.tensor(labels)}


def train_in_two(at_most, tell, micro_batch=None):
    """Three steps; the second process has no memory for two pictures."""

    def loss(model, batch):
        if distributed.rank() == 1 and len(batch["labels"]) > 1:
            raise SHORTAGES[0]
        return {"ce": nn.functional.cross_entropy(model(batch["images"]), batch["labels"])}

    with seeded_torch(0):
        run = FineTune(Head(), Shades(), stacked, loss, lambda model, device: None, (4, 4))
        training = Training(
            batch_size=4, precision="float32", freeze_stages=0, batch_norm="frozen",
            optimiser=Optimiser(
                kind="sgd", lr=0.1, weight_decay=0.0, norm_weight_decay=0.0, momentum=0.9
            ),
            schedule=Schedule(
                kind="constant", unit="step", length=3, warmup_steps=0, warmup_factor=0.0
            ),
        )  # fmt: skip
        execution = Execution(torch.device("cpu"), micro_batch=micro_batch, at_most=at_most)
        trained = train(run, training, execution, seed=0)
    return trained.losses, trained.micro_batch, trained.halvings


@pytest.mark.slow
def test_a_process_without_memory_ends_all_and_they_begin_again(monkeypatch, request):
    monkeypatch.syspath_prepend(request.config.rootpath)
    told = []
    found = with_less(lambda at_most: launch(partial(train_in_two, at_most), 2, "cpu"), told.append)
    alone = train_in_two(None, None, micro_batch=1)
    assert told == [1]
    assert found[1:] == (1, (Halving(1, 1),))
    for ours, theirs in zip(found[0], alone[0], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
