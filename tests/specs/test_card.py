import hashlib

import pytest
import yaml

from benchbed.errors import UsageError
from benchbed.models.sources import build
from benchbed.specs.card import Contamination, card_files, load_card, random_twins

CARD = {
    "id": "a-1.b", "arch": "timm:resnet18", "weights": "path", "file": "w.pth",
    "sha256": hashlib.sha256(b"x").hexdigest(), "source": "s", "licence": "l",
    "pixels": {"order": "RGB", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "scale": 1.0},
}  # fmt: skip


def write(folder, **changes):
    content = {key: value for key, value in (CARD | changes).items() if value is not None}
    path = folder / "card.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_every_shipped_card_loads_and_is_named_after_its_id():
    cards = {name: load_card(path) for name, path in card_files().items()}
    assert {name: card.id for name, card in cards.items()} == {name: name for name in cards}
    assert {f"efficientnet-lite{n}-imagenet" for n in (0, 1, 2)} <= set(cards)


def test_a_packages_card_names_the_release_it_was_hashed_from():
    for path in card_files().values():
        card = load_card(path)
        if card.weights == "package":
            assert "==" in card.install


def test_a_twin_is_a_card_of_the_same_architecture_at_random():
    cards = {name: load_card(path) for name, path in card_files().items()}
    twins = random_twins()
    assert twins
    for name, twin in twins.items():
        assert (cards[twin].arch, cards[twin].weights) == (cards[name].arch, "random")
        assert cards[twin].pixels == cards[name].pixels


def test_cards_with_imagenet_weights_say_how_many_pictures_made_them():
    cards = [load_card(path) for path in card_files().values()]
    # 1,281,167 is the training set of ILSVRC 2012
    told = {card.id: card.pictures for card in cards if card.id.endswith("-imagenet")}
    assert set(told.values()) == {1_281_167}
    assert {card.pictures for card in cards if card.weights == "random"} == {None}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pictures": 0}, "pictures"),
        ({"pictures": 5, "weights": "random", "file": None, "sha256": None}, "pictures is for"),
        ({"sha256": None}, "file and sha256 are required"),
        ({"weights": "random"}, "file and sha256 are required"),
        ({"weights": "package"}, "package and install are required"),
        ({"package": "p", "install": "p==1"}, "package and install are required"),
        ({"arch": "mine:build"}, "arch"),
        ({"id": "A b"}, "id"),
        ({"licence": None}, "licence: required key is missing"),
        ({"extra": 1}, "extra: unknown key"),
        ({"pixels": CARD["pixels"] | {"order": "GBR"}}, "pixels.order"),
        ({"pixels": CARD["pixels"] | {"std": [0.5, 0.0, 0.5]}}, "std"),
        ({"pixels": CARD["pixels"] | {"scale": 0.0}}, "scale"),
        ({"pixels": CARD["pixels"] | {"mean": [0.5]}}, "mean"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_by_key(tmp_path, changes, says):
    with pytest.raises(UsageError, match=says) as caught:
        load_card(write(tmp_path, **changes))
    assert f"{tmp_path / 'card.yaml'}:" in str(caught.value)


def test_a_card_whose_file_is_missing_says_which(tmp_path):
    with pytest.raises(Exception, match=r"w\.pth: cannot be read") as caught:
        build(str(write(tmp_path)))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(("state", "count"), [("unknown", None), ("clean", 0), ("contaminated", 3)])
def test_contamination_has_three_states(state, count):
    assert Contamination(state=state, duplicates=count).duplicates == count


@pytest.mark.parametrize(
    ("state", "count"),
    [("unknown", 0), ("clean", None), ("clean", 1), ("contaminated", 0), ("contaminated", None)],
)
def test_a_state_that_its_count_contradicts_is_refused(state, count):
    with pytest.raises(ValueError, match="duplicates"):
        Contamination(state=state, duplicates=count)
