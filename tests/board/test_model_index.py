from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results
from scipy import stats

from benchbed.board.model_index import DATASETS, METRICS, model_index, model_index_yaml
from benchbed.errors import UsageError
from benchbed.records.store import read_all
from benchbed.specs.protocol import load_protocol, task_files, task_ids

PUBLISHED = Path(__file__).parents[2] / "leaderboard"
CONTENT = {"kind": "classification", "tier": "full", "title": "t", "seeds": [0, 1, 2]}


@pytest.fixture
def records(make_record):
    return [
        make_record(task="imagenet-cls", seed=seed, value=value, content=CONTENT, sha="e" * 64)
        for seed, value in enumerate((0.7, 0.72, 0.71))
    ]


def only_metric(records, backbone="a", **options):
    (result,) = model_index(records, backbone, **options)[0]["results"]
    (metric,) = result["metrics"]
    return metric


def test_a_value_is_the_mean_fraction_with_its_protocol_seeds_and_interval(records):
    metric = only_metric(records)
    assert metric["type"] == "accuracy"
    assert metric["value"] == pytest.approx(0.71, abs=1e-15)
    shown = f"{records[0].protocol.identity} on data "
    assert metric["name"].startswith(f"Top-1 accuracy ({shown}")
    assert metric["name"].endswith(", mean of 3 seeds)")
    args = metric["args"]
    assert args["protocol_hash"] == records[0].protocol.hash
    assert (args["seeds"], args["values"]) == ([0, 1, 2], [0.7, 0.72, 0.71])
    low, high = stats.t.interval(0.95, 2, loc=0.71, scale=stats.sem([0.7, 0.72, 0.71]))
    assert args["half_interval_95_over_seeds"] == pytest.approx((high - low) / 2)


def test_too_few_seeds_are_told_and_one_has_no_interval(records):
    assert "mean of 2 of 3 seeds)" in only_metric(records[:2])["name"]
    metric = only_metric(records[:1])
    assert metric["name"].endswith(", 1 of 3 seeds)")
    assert "half_interval_95_over_seeds" not in metric["args"]


def test_a_card_reads_back_what_was_exported():
    records = read_all(PUBLISHED)
    name = "mobilenet-v2-imagenet"
    text = model_index_yaml(model_index(records, name, source_url="https://example.org/board"))
    card = ModelCard(f"---\n{text}---\n# {name}\n", ignore_metadata_errors=False)
    assert card.data.model_name == name
    exported = {(r.dataset_name, r.metric_name.split(" (")[0]): r for r in card.data.eval_results}
    for record in (r for r in records if r.backbone.id == name and r.seed == 0):
        same = [r for r in records if r.backbone.id == name and r.task == record.task]
        for metric in set(record.metrics) & METRICS.keys():
            values = [r.metrics[metric] for r in same]
            if -1 in values:
                continue
            (found,) = [
                r for r in card.data.eval_results
                if r.metric_args["values"] == values and record.task in r.dataset_name
            ][:1]  # fmt: skip
            assert found.metric_value == pytest.approx(sum(values) / len(values))
            assert record.protocol.identity in found.metric_name
    assert {r.task_type for r in exported.values()} == {
        "image-classification", "object-detection", "image-segmentation", "keypoint-detection",
    }  # fmt: skip
    assert all(r.verified is None for r in card.data.eval_results)
    assert all(r.source_url == "https://example.org/board" for r in card.data.eval_results)


def test_the_hubs_own_library_writes_the_same_block():
    index = model_index(read_all(PUBLISHED), "efficientnet-lite0-imagenet")
    name, results = model_index_to_eval_results(index)
    again = ModelCardData(model_name=name, eval_results=results).to_dict()["model-index"]
    assert again == index
    assert yaml.safe_load(model_index_yaml(index)) == {"model-index": index}


def test_mini_scores_never_bear_the_name_of_a_real_data_set():
    index = model_index(read_all(PUBLISHED), "mobilenet-v2-random")
    types = {result["dataset"]["type"] for result in index[0]["results"]}
    assert types == {"benchbed-miniature-world"}


def test_every_full_task_has_a_data_set_and_every_primary_metric_a_type():
    assert set(DATASETS) == set(task_ids("full"))
    for path in task_files().values():
        assert load_protocol(path).primary_metric in METRICS


def test_an_undefined_metric_and_an_unrankable_record_are_left_out(records, make_record):
    odd = make_record(
        task="imagenet-cls", seed=3, value=0.99, content=CONTENT, sha="e" * 64, reasons=["limited"]
    )
    assert only_metric([*records, odd])["args"]["seeds"] == [0, 1, 2]
    partly = [
        record.model_copy(update={"metrics": {**record.metrics, "top5": value}})
        for record, value in zip(records, (0.9, -1.0, 0.9), strict=True)
    ]
    assert only_metric(partly)["type"] == "accuracy"


def test_other_protocols_and_other_data_are_never_averaged(records, make_record):
    given = {"task": "imagenet-cls", "content": CONTENT, "sha": "e" * 64, "value": 0.1}
    others = [make_record(hash_="2" * 64, **given), make_record(data="f" * 64, **given)]
    (result,) = model_index([*records, *others], "a")[0]["results"]
    values = {metric["name"]: metric["args"]["values"] for metric in result["metrics"]}
    assert sorted(values.values()) == [[0.1], [0.1], [0.7, 0.72, 0.71]]
    assert len(values) == 3


def test_a_backbone_that_is_not_there_is_named_with_the_nearest(records):
    with pytest.raises(UsageError, match=r"no record of a backbone 'b'"):
        model_index(records, "b")
    published = read_all(PUBLISHED)
    with pytest.raises(UsageError, match=r"Did you mean 'mobilenet-v2-imagenet'"):
        model_index(published, "mobilenet-v2-imagnet")


def test_a_backbone_whose_records_do_not_count_says_why(make_record):
    record = make_record(content=CONTENT, reasons=["limited to 8 pictures a split"])
    with pytest.raises(UsageError, match=r"a: none of its records .* limited to 8 pictures"):
        model_index([record], "a")


def test_a_shared_id_has_to_be_told_apart(records, make_record):
    twin = make_record(task="imagenet-cls", content=CONTENT, sha="b" * 64)
    with pytest.raises(UsageError, match=r"'a' is the id of 2 backbones; name one: a \(checkpoint"):
        model_index([*records, twin], "a")
    assert only_metric([*records, twin], "a (checkpoint bbbbbbbb)")["args"]["seeds"] == [0]


def test_a_kind_that_the_hub_lacks_is_refused(make_record):
    with pytest.raises(UsageError, match="no task for protocols of kind 'depth'"):
        model_index([make_record(content={"kind": "depth"})], "a")
