"""The pose family: crops, loss, flip test, scoring, and a run from end to end."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn

from benchbed.data.annotations import PersonBox, PoseSet
from benchbed.engine.finetune import seeded_torch
from benchbed.errors import DataError
from benchbed.finetune import pose
from benchbed.finetune.person_crop import FLIP_ORDER
from benchbed.specs.pose import PoseProtocol
from benchbed.specs.strict import load_spec, parse_spec

TASKS = Path(__file__).parents[2] / "tasks"


class PerfectModel(nn.Module):
    """Sees a keypoint as the pixel of its own brightness; knows nothing of people."""

    def forward(self, images):
        # keypoint k is drawn as a square of grey level 10 + 12 k on black, 5 pixels wide
        levels = (torch.arange(17) * 12 + 10).view(1, 17, 1, 1)
        hits = (images[:, :1] * 255 - levels).abs() < 5
        pooled = nn.functional.avg_pool2d(nn.functional.pad(hits.float(), (2, 1, 2, 1)), 4, 4)
        return pooled


@pytest.fixture
def mini():
    return load_spec(PoseProtocol, TASKS / "coco-pose-mini@2.yaml")


@pytest.fixture
def full():
    return load_spec(PoseProtocol, TASKS / "coco-pose@2.yaml")


def changed(protocol, **sections):
    content = protocol.model_dump(mode="json", exclude_none=True)
    for name, values in sections.items():
        content[name] |= values
    return parse_spec(PoseProtocol, content)


def write_coco(root, people_per_picture=(1, 2, 0), seed=0):
    """Pictures of 160x120 with people of 60x90 whose keypoints are grey squares."""
    rng = np.random.default_rng(seed)
    (root / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (root / split).mkdir()
        images, annotations = [], []
        for index, people in enumerate(people_per_picture):
            picture = Image.new("RGB", (160, 120))
            draw = ImageDraw.Draw(picture)
            for person in range(people):
                x0, y0 = 8 + 80 * person, 12
                keypoints = np.zeros((17, 3))
                # a 5 x 4 grid of cells keeps the squares apart
                cells = rng.permutation(20)[:17]
                keypoints[:, 0] = x0 + 6 + cells % 4 * 16
                keypoints[:, 1] = y0 + 8 + cells // 4 * 18
                keypoints[:, 2] = 2
                for k, (x, y, _) in enumerate(keypoints):
                    draw.rectangle([x - 3, y - 3, x + 3, y + 3], fill=(10 + 12 * k,) * 3)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index + 1,
                        "category_id": 1,
                        "bbox": [x0, y0, 60, 90],
                        "area": 4000.0,
                        "iscrowd": 0,
                        "segmentation": [[x0, y0, x0 + 60, y0, x0 + 60, y0 + 90]],
                        "keypoints": keypoints.ravel().tolist(),
                        "num_keypoints": 17,
                    }
                )
            name = f"{index + 1:012d}.png"
            picture.save(root / split / name)
            images.append({"id": index + 1, "file_name": name, "width": 160, "height": 120})
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "person"}],
        }
        path = root / "annotations" / f"person_keypoints_{split}.json"
        path.write_text(json.dumps(content))


@pytest.fixture
def coco_root(tmp_path):
    write_coco(tmp_path / "coco")
    return tmp_path


@pytest.fixture
def prepare(small_backbone):
    def make(protocol, root, **options):
        with seeded_torch(0):
            return pose.prepare(protocol, small_backbone, root, seed=0, **options)

    return make


def test_head_gives_heatmaps_at_a_quarter_of_the_input(small_backbone):
    model = pose.PoseModel(small_backbone, (8, 8, 8))
    assert model(torch.rand(2, 3, 96, 64)).shape == (2, 17, 24, 16)


def test_sample_depends_on_index_and_generator_only(prepare, mini, coco_root):
    samples = prepare(mini, coco_root).train_set
    first, again, other = (samples.sample(0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["images"], other["images"])


def test_sample_keypoints_lie_on_their_squares_under_every_augmentation(prepare, full, coco_root):
    protocol = changed(full, augmentation={"half_body": None})
    samples = prepare(protocol, coco_root).train_set
    seen, mirrored = 0, 0
    for seed in range(40):
        sample = samples.sample(1, np.random.default_rng(seed))
        inside = {
            k: int(sample["images"][0, y, x])
            for k, (x, y) in enumerate(sample["keypoints"].round().int().tolist())
            if 1 <= x < 191 and 1 <= y < 255
        }
        # in a mirrored sample the left hand is where the right hand was drawn
        plain = all(abs(level - 10 - 12 * k) <= 2 for k, level in inside.items())
        swapped = all(abs(level - 10 - 12 * FLIP_ORDER[k]) <= 2 for k, level in inside.items())
        assert plain != swapped
        seen, mirrored = seen + len(inside), mirrored + swapped
    assert seen > 300
    assert 10 < mirrored < 30


def test_mirrored_sample_swaps_left_and_right(prepare, mini, coco_root):
    plain = {"scale": None, "rotation": None}
    still = prepare(changed(mini, augmentation={"flip": 0.0, **plain}), coco_root).train_set
    always = prepare(changed(mini, augmentation={"flip": 1.0, **plain}), coco_root).train_set
    first, second = (s.sample(0, np.random.default_rng(0)) for s in (still, always))
    mirrored = first["keypoints"][list(FLIP_ORDER)]
    mirrored[:, 0] = mini.input.width - mirrored[:, 0]
    assert torch.allclose(mirrored, second["keypoints"], atol=1e-4)


def test_loss_is_the_weighted_mean_squared_error(mini):
    heatmaps = torch.rand(2, 17, 24, 16, generator=torch.Generator().manual_seed(0))
    batch = {
        "images": torch.zeros(2, 3, 96, 64, dtype=torch.uint8),
        "keypoints": torch.full((2, 17, 2), 30.0),
        "labelled": torch.zeros(2, 17, dtype=torch.bool),
    }
    constant = nn.Module()
    constant.forward = lambda images: heatmaps
    assert pose.heatmap_loss(constant, batch, mini)["heatmaps"] == 0
    batch["labelled"][0, 3] = True
    y, x = np.mgrid[:24, :16]
    sigma = mini.heatmaps.sigma
    window = (np.abs(x - 7.5) <= 3 * sigma) & (np.abs(y - 7.5) <= 3 * sigma)
    target = np.exp(-((x - 7.5) ** 2 + (y - 7.5) ** 2) / (2 * sigma**2)) * window
    expected = ((heatmaps[0, 3].numpy() - target) ** 2).sum() / heatmaps.numel()
    assert float(pose.heatmap_loss(constant, batch, mini)["heatmaps"]) == pytest.approx(expected)


def test_flip_test_of_a_symmetric_picture_equals_the_plain_one(mini):
    picture = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    symmetric = picture + picture.flip(-1)

    def model(images):
        grey = images.mean(1, keepdim=True)[:, :, ::4, :]
        grey = (grey[..., 0::4] + grey[..., 3::4]) / 2
        return grey.expand(-1, 17, -1, -1) * PARTNER_SYMMETRIC

    unshifted = changed(mini, test={"shift_heatmap": False})
    off = changed(mini, test={"flip": False})
    plain = pose.predict_heatmaps(model, symmetric, off)
    averaged = pose.predict_heatmaps(model, symmetric, unshifted)
    assert torch.allclose(plain, averaged, atol=1e-6)
    shifted = pose.predict_heatmaps(model, symmetric, mini)
    assert not torch.allclose(plain, shifted, atol=1e-3)


PARTNER_SYMMETRIC = torch.tensor([1.0, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]).view(
    1, 17, 1, 1
)


def test_person_score_is_the_mean_of_the_sure_keypoints():
    peaks = np.array([0.1, 0.2, 0.4, 0.8])
    assert pose.person_score(0.5, peaks, 0.2) == pytest.approx(0.3)
    assert pose.person_score(0.5, peaks, 0.9) == 0.0


def test_a_model_that_sees_every_keypoint_scores_one(prepare, mini, coco_root):
    exact = changed(mini, test={"flip": False}, input={"height": 192, "width": 128})
    run = prepare(exact, coco_root)
    evaluation = run.evaluate(PerfectModel(), torch.device("cpu"))
    assert list(evaluation.metrics)[:4] == ["AP", "AP50", "AP75", "AR"]
    assert evaluation.metrics["AP50"] == 1.0
    assert evaluation.metrics["AP"] > 0.9
    assert len(evaluation.predictions) == len(evaluation.detail) == 3
    assert min(row["oks"] for row in evaluation.detail) > 0.9
    assert all(row["kept"] for row in evaluation.detail)
    json.dumps([evaluation.metrics, evaluation.detail, evaluation.predictions])


def test_two_boxes_on_one_person_are_suppressed_to_one(prepare, mini, coco_root):
    run = prepare(mini, coco_root)
    person = run.train_set.people[0]
    path = coco_root / "coco" / "annotations" / "person_keypoints_train2017.json"
    twice = PoseSet((person, person), path)
    evaluation = pose.evaluate_people(PerfectModel(), twice, mini, torch.device("cpu"))
    assert [row["kept"] for row in evaluation.detail] == [True, False]
    assert len(evaluation.predictions) == 1


def test_poses_are_compared_at_the_area_that_the_input_shows(prepare, mini, coco_root):
    run = prepare(mini, coco_root)
    person = replace(run.train_set.people[0], box=(5.0, 7.0, 10.0, 100.0))
    spec = mini.input
    (found,) = pose.estimate(PerfectModel(), (person,), mini, torch.device("cpu"))
    tall = 100 * spec.box_padding
    assert found.area == pytest.approx(tall * tall * spec.width / spec.height)


def test_metrics_count_the_evaluated_pictures_only(prepare, mini, coco_root):
    exact = changed(mini, test={"flip": False}, input={"height": 192, "width": 128})
    run = prepare(exact, coco_root, limit=1)
    evaluation = run.evaluate(PerfectModel(), torch.device("cpu"))
    assert {row["image_id"] for row in evaluation.detail} == {1}
    assert evaluation.metrics["AR"] > 0.9


def test_limit_keeps_the_first_pictures(prepare, mini, coco_root):
    assert len(prepare(mini, coco_root).train_set) == 3
    limited = prepare(mini, coco_root, limit=1)
    assert {person.image_id for person in limited.train_set.people} == {1}


def test_the_loss_falls_on_two_people(prepare, mini, coco_root):
    run = prepare(
        changed(mini, augmentation={"flip": 0.0, "scale": None, "rotation": None}), coco_root
    )
    batch = run.collate([run.train_set.sample(i, np.random.default_rng(0)) for i in range(2)])
    optimiser = torch.optim.Adam(run.model.parameters(), lr=0.002)
    losses = []
    for _ in range(80):
        loss = run.loss(run.model, batch)["heatmaps"]
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]


@pytest.fixture
def detected(mini, coco_root):
    """Two good boxes on the two people of picture 2, none on picture 1, a false one on 3."""

    def write(entries):
        folder = coco_root / "coco" / "person_detection_results"
        folder.mkdir(exist_ok=True)
        path = folder / "COCO_val2017_detections_AP_H_56_person.json"
        path.write_text(json.dumps(entries))
        return changed(
            mini,
            data={"boxes": "file"},
            test={"flip": False},
            input={"height": 192, "width": 128},
        )

    return write


BOXES = [
    {"image_id": 3, "category_id": 1, "bbox": [20, 12, 60, 90], "score": 0.3},
    {"image_id": 2, "category_id": 1, "bbox": [8, 12, 60, 90], "score": 0.9},
    {"image_id": 2, "category_id": 1, "bbox": [88, 12, 60, 90], "score": 0.001},
    {"image_id": 2, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 0.99},
]


def test_detector_boxes_miss_the_people_that_the_detector_missed(prepare, detected, coco_root):
    run = prepare(detected(BOXES), coco_root)
    evaluation = run.evaluate(PerfectModel(), torch.device("cpu"))
    # two of the three people of the split have a box: recall stops at two thirds
    assert evaluation.metrics["AR50"] == pytest.approx(2 / 3)
    assert [row["image_id"] for row in evaluation.detail] == [2, 2, 3]
    assert [row["oks"] for row in evaluation.detail] == [None] * 3
    assert evaluation.predictions[0]["score"] > 100 * evaluation.predictions[1]["score"] > 0


def test_detector_boxes_are_scored_as_pycocotools_does(prepare, detected, coco_root):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    run = prepare(detected(BOXES), coco_root)
    evaluation = run.evaluate(PerfectModel(), torch.device("cpu"))
    path = coco_root / "coco" / "annotations" / "person_keypoints_val2017.json"
    truth = COCO(str(path))
    oracle = COCOeval(truth, truth.loadRes(evaluation.predictions), "keypoints")
    oracle.evaluate()
    oracle.accumulate()
    oracle.summarize()
    assert evaluation.metrics["AP"] == pytest.approx(oracle.stats[0], abs=1e-12)
    assert evaluation.metrics["AR"] == pytest.approx(oracle.stats[5], abs=1e-12)


def test_detector_boxes_leave_training_as_it_is(prepare, mini, detected, coco_root):
    boxes = detected(BOXES)
    assert prepare(boxes, coco_root).train_set.people[0].score == 1.0
    assert len(prepare(boxes, coco_root).train_set) == len(prepare(mini, coco_root).train_set)


def test_the_box_file_is_in_the_facts_and_in_the_fingerprint(prepare, mini, detected, coco_root):
    other = prepare(detected(BOXES[:2]), coco_root).dataset["eval"]
    facts = prepare(detected(BOXES), coco_root).dataset["eval"]
    plain = prepare(mini, coco_root).dataset["eval"]
    path = coco_root / "coco/person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
    assert facts["box_file_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len({facts["fingerprint"], other["fingerprint"], plain["fingerprint"]}) == 3
    assert "box_file_sha256" not in plain


def test_a_limit_counts_pictures_without_a_detected_person_too(prepare, detected, coco_root):
    run = prepare(detected(BOXES), coco_root, limit=2)
    evaluation = run.evaluate(PerfectModel(), torch.device("cpu"))
    assert {row["image_id"] for row in evaluation.detail} == {2}
    assert evaluation.metrics["AR50"] == pytest.approx(2 / 3)


def test_boxes_from_a_file_are_another_protocol(mini):
    assert changed(mini, data={"boxes": "file"}).hash() != mini.hash()


def test_split_without_people_is_refused(prepare, mini, tmp_path):
    write_coco(tmp_path / "coco", people_per_picture=(0, 0))
    with pytest.raises(DataError, match="no person"):
        prepare(mini, tmp_path)


def test_unlabelled_person_has_no_oks(prepare, mini, coco_root):
    run = prepare(mini, coco_root)
    person = run.train_set.people[0]
    unknown = PersonBox(**{**vars(person), "keypoints": np.zeros((17, 3), np.float32)})
    path = coco_root / "coco" / "annotations" / "person_keypoints_train2017.json"
    people = PoseSet((unknown,), path)
    evaluation = pose.evaluate_people(PerfectModel(), people, mini, torch.device("cpu"))
    assert evaluation.detail[0]["oks"] is None
