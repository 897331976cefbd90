from dataclasses import replace

import numpy as np
import pytest

from benchbed.data.world.figures import draw_figure
from benchbed.data.world.scenes import draw_scene
from benchbed.data.world.spec import CLASSIFICATION, DETECTION, THINGS, SplitSpec
from benchbed.data.world.textures import TEXTURES
from benchbed.data.world.writing import (
    IGNORE,
    classification_scene,
    crowded_scene,
    label_map,
    people_scene,
)

SPLIT = SplitSpec(99, 50, (96, 120))


def scenes(count=30):
    return [people_scene(SPLIT, index) for index in range(count)]


def test_an_item_is_a_function_of_its_number_alone():
    forward = [crowded_scene(SPLIT, i).picture for i in range(5)]
    backward = [crowded_scene(SPLIT, i).picture for i in reversed(range(5))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_items_and_splits_differ():
    other = SplitSpec(98, 50, (96, 120))
    pictures = [crowded_scene(SPLIT, 0), crowded_scene(SPLIT, 1), crowded_scene(other, 0)]
    assert len({p.picture.tobytes() for p in pictures}) == 3


def test_another_seed_is_another_world():
    pictures = [
        draw_scene(DETECTION, SPLIT, 0, crowd=(2, 2), main=None, seed=seed).picture.tobytes()
        for seed in (1, 1, 2)
    ]
    assert pictures[0] == pictures[1] != pictures[2]


def test_objects_hide_one_another_at_times():
    shares = [item.visible_share for scene in scenes(60) for item in scene.objects]
    assert 0.1 < np.mean(np.array(shares) < 0.95) < 0.7
    assert max(shares) <= 1


def test_pixels_of_unnamed_objects_are_ignored_in_label_maps():
    scene = crowded_scene(SPLIT, 0)
    unnamed = np.zeros_like(scene.unnamed)
    unnamed[2:4, 2:4] = True
    assert (label_map(replace(scene, unnamed=unnamed))[2:4, 2:4] == IGNORE).all()


def test_the_global_random_state_is_neither_read_nor_moved():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = crowded_scene(SPLIT, 3).picture
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(first, crowded_scene(SPLIT, 3).picture)
    np.random.seed(0)  # noqa: NPY002
    crowded_scene(SPLIT, 3)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    assert before.shape == state.shape


def test_boxes_are_tight_around_the_visible_mask():
    for scene in scenes():
        for item in scene.objects:
            x1, y1, x2, y2 = item.box
            assert item.mask[y1:y2, x1:x2].sum() == item.mask.sum()
            edges = (item.mask[y1, :], item.mask[y2 - 1, :], item.mask[:, x1], item.mask[:, x2 - 1])
            assert all(edge.any() for edge in edges)


def test_every_pixel_belongs_to_one_object_at_most():
    for scene in scenes():
        if scene.objects:
            assert np.stack([item.mask for item in scene.objects]).sum(0).max() <= 1


def test_a_visible_joint_lies_on_its_person_and_a_missing_one_is_outside():
    seen = 0
    for scene in scenes():
        height, width = scene.picture.shape[:2]
        for item in scene.objects:
            if item.keypoints is None:
                continue
            for x, y, visibility in item.keypoints:
                if visibility == 2:
                    seen += 1
                    assert item.mask[int(y), int(x)]
                elif visibility == 0:
                    assert (x, y) == (0, 0)
                else:
                    assert 0 <= x < width
                    assert 0 <= y < height
    assert seen > 200


def test_people_who_show_their_face_have_their_left_at_the_pictures_right():
    figures = [draw_figure(np.random.default_rng(i)) for i in range(200)]
    facing = [f.keypoints for f in figures if not f.self_hidden[:3].any()]
    assert 80 < len(facing) < 200
    assert all(k[1, 0] > k[2, 0] for k in facing)
    assert np.mean([k[5, 0] > k[6, 0] for k in facing]) > 0.95


def test_people_seen_from_behind_are_mirrored_and_hide_their_face():
    figures = [draw_figure(np.random.default_rng(i)) for i in range(400)]
    away = [f for f in figures if f.keypoints[3, 0] < f.keypoints[4, 0] - 0.1]
    assert len(away) > 10
    assert all(f.self_hidden[:3].all() for f in away)
    assert np.mean([f.keypoints[5, 0] < f.keypoints[6, 0] for f in away]) > 0.95


def test_only_people_have_keypoints():
    for scene in scenes():
        assert all((i.keypoints is not None) == (i.name == "person") for i in scene.objects)


def test_the_main_object_is_always_annotated():
    for index in range(20):
        name, scene = classification_scene(SPLIT, index)
        assert scene.objects[-1].name == name


def test_pictures_have_the_size_and_classes_asked_for():
    for scene in scenes():
        assert all(96 <= side <= 120 for side in scene.picture.shape[:2])
        assert {item.name for item in scene.objects} <= set(DETECTION)


def test_hue_says_nothing_about_the_class():
    """Channel means minus the picture's brightness are alike for two classes."""
    casts = {name: [] for name in ("apple", "car")}
    for name, found in casts.items():
        for index in range(60):
            scene = draw_scene((name,), SPLIT, index, crowd=(0, 0), main=name)
            colour = scene.picture[scene.objects[-1].mask].astype(float).mean(0)
            found.append(colour - colour.mean())
    apple, car = (np.array(found) for found in casts.values())
    spread = np.concatenate([apple, car]).std(0)
    assert (spread > 5).all()
    assert (np.abs(apple.mean(0) - car.mean(0)) < 0.5 * spread).all()


@pytest.mark.parametrize("name", sorted(TEXTURES))
def test_textures_stay_in_range(name):
    field = TEXTURES[name](20, 30, 40.0, np.random.default_rng(0))
    assert field.shape == (20, 30)
    assert 0 <= field.min() <= field.max() <= 1


def test_the_hierarchy_reaches_every_class():
    assert all(thing.parents for thing in THINGS.values())
    assert set(CLASSIFICATION) | set(DETECTION) <= set(THINGS)
