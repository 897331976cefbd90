from benchbed.hooks.callback import (
    Callback,
    TrialCounter,
    metric_scalars,
    run_name,
    step_scalars,
)


def test_a_subclass_hears_only_what_it_asks_for(job, report, make_record):
    class Quiet(Callback):
        pass

    quiet = Quiet()
    assert quiet.on_start(job) is quiet.on_step(report(1)) is quiet.on_record(make_record()) is None


def test_a_run_is_named_by_all_that_tells_it_apart(job):
    assert run_name(job) == f"{job.protocol.identity()}/random:timm:resnet18/seed4"


def test_scalars_of_a_report(report):
    assert step_scalars(report(2, loss=0.25)) == {
        "loss/loss": 0.25, "lr": 0.02, "images_per_s": 100.0,
    }  # fmt: skip


def test_an_undefined_metric_is_left_out(make_record):
    assert metric_scalars(make_record(value=0.0)) == {"metric/top1": 0.0}
    assert metric_scalars(make_record(value=-1.0)) == {}


def test_steps_that_begin_again_are_another_trial(report):
    counter = TrialCounter()
    assert [counter.count(report(step)) for step in (1, 10, 20, 1, 10, 20, 1)] == [
        1, 1, 1, 2, 2, 2, 3,
    ]  # fmt: skip
