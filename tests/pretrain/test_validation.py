import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, top_k_accuracy_score
from torch import nn

from benchbed.errors import DataError, RunFailedError, UsageError
from benchbed.pretrain import validation
from benchbed.pretrain.corpus import Taxonomy
from benchbed.pretrain.validation import best_label_ranks, read_labels, score_corpus
from benchbed.specs.classification import TestCrop as CentralCrop

CROP = CentralCrop(resize=8, crop=8)
CPU = torch.device("cpu")


class Pictures:
    """A corpus whose picture `i` is of one colour, made from `i`."""

    id = "colours"

    def __init__(self, labels, classes, broken=()):
        self._labels = [np.array(own, dtype=np.int64) for own in labels]
        self.taxonomy = Taxonomy(tuple(f"c{n}" for n in range(classes)))
        self.single_label = all(len(own) == 1 for own in labels)
        self._broken = broken

    def __len__(self):
        return len(self._labels)

    def labels(self, index):
        return self._labels[index]

    def picture(self, index):
        if index in self._broken:
            raise DataError(f"picture {index} is broken; replace it")
        return np.full((10, 12, 3), (index % 256, index * 7 % 256, index * 31 % 256), np.uint8)


class Colours(nn.Module):
    """Logits from the mean colour; dropout and batch norm tell training from eval mode."""

    def __init__(self, classes, levels=None):
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.weight = nn.Parameter(torch.randn(3, classes, generator=generator))
        self.dropout, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(classes)
        self._levels = levels

    def forward(self, images):
        assert images.dtype == torch.float32
        assert images.max() <= 1
        logits = self.norm(self.dropout(images.mean((2, 3)) @ self.weight))
        return logits if self._levels is None else (logits * self._levels).round()


def _random_labels(pictures, classes, seed=0):
    generator = np.random.default_rng(seed)
    chances = generator.random(classes) ** 5 * 0.5
    return [np.flatnonzero(generator.random(classes) < chances) for _ in range(pictures)]


def _logits(model, corpus, indices):
    model.eval()
    colours = torch.tensor(np.array([corpus.picture(i)[0, 0] for i in indices])).float() / 255
    with torch.inference_mode():
        return model(colours[:, :, None, None].expand(-1, -1, 8, 8)).numpy()


@pytest.mark.parametrize("batch", [7, 64])
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("at_once", [4, 1024])
def test_multi_label_scores_equal_scikit_learn(batch, workers, at_once, monkeypatch):
    monkeypatch.setattr(validation, "CLASSES_AT_ONCE", at_once)
    corpus = Pictures(_random_labels(150, 21), 21)
    model = Colours(21, levels=3)  # rounded logits: many ties
    indices = np.arange(5, 150, 2)
    thirds = (np.arange(0, 7), np.arange(7, 14), np.arange(14, 21))
    found = score_corpus(
        model, corpus, indices, crop=CROP, device=CPU, thirds=thirds, batch=batch, workers=workers
    )
    logits = _logits(model, corpus, indices)
    truth = np.zeros((len(indices), 21), bool)
    for row, index in enumerate(indices):
        truth[row, corpus.labels(index)] = True
    precisions = np.full(21, np.nan)
    for c in np.flatnonzero(truth.any(0)):
        precisions[c] = average_precision_score(truth[:, c], logits[:, c])
    assert np.isnan(precisions).any()
    groups = {"map": np.arange(21)} | dict(
        zip(("map_head", "map_torso", "map_tail"), thirds, strict=True)
    )
    for name, members in groups.items():
        assert found[name] == pytest.approx(np.nanmean(precisions[members]), abs=1e-12)
        assert found[f"{name}_classes"] == np.isfinite(precisions[members]).sum()
    order = np.argsort(-logits, axis=1, kind="stable")
    labelled = truth.any(1)
    assert not labelled.all()
    for k in (1, 5):
        hit = np.take_along_axis(truth, order[:, :k], 1).any(1)[labelled]
        assert found[f"any_top{k}"] == pytest.approx(hit.mean())
    assert "top1" not in found


def test_single_label_top_k_equals_scikit_learn():
    generator = np.random.default_rng(3)
    corpus = Pictures([[label] for label in generator.integers(0, 12, 90)], 12)
    model = Colours(12)
    indices = list(range(1, 90))  # picture 0 is black: all its logits are equal
    found = score_corpus(model, corpus, indices, crop=CROP, device=CPU)
    logits = _logits(model, corpus, indices)
    labels = [int(corpus.labels(i)[0]) for i in indices]
    for k in (1, 5):
        expected = top_k_accuracy_score(labels, logits, k=k, labels=range(12))
        assert found[f"top{k}"] == pytest.approx(expected)
    assert list(found) == ["map", "map_classes", "top1", "top5"]


@pytest.mark.parametrize("seed", range(5))
def test_best_label_ranks_equal_brute_force_with_ties(seed):
    generator = np.random.default_rng(seed)
    logits = generator.integers(0, 4, (60, 9)).astype(np.float32)
    labels = [np.flatnonzero(generator.random(9) < 0.25) for _ in range(60)]
    rows = np.repeat(np.arange(60), [len(own) for own in labels])
    found = best_label_ranks(
        torch.from_numpy(logits), torch.from_numpy(rows), torch.from_numpy(np.concatenate(labels))
    )
    expected = [
        min(np.argsort(-logits[row], kind="stable").tolist().index(c) for c in own)
        for row, own in enumerate(labels)
        if len(own)
    ]
    assert found.tolist() == expected


def test_a_third_without_a_scored_class_has_no_mean_and_says_so():
    corpus = Pictures([[0], [1], [0, 1]], 3)
    found = score_corpus(
        Colours(3), corpus, [0, 1, 2], crop=CROP, device=CPU,
        thirds=(np.array([0]), np.array([1]), np.array([2])),
    )  # fmt: skip
    assert "map_tail" not in found
    assert found["map_tail_classes"] == 0
    assert found["map_classes"] == 2


def test_a_perfect_classifier_scores_one_and_its_opposite_the_worst():
    corpus = Pictures([[0], [1]] * 8, 2)

    class Oracle(nn.Module):
        sign = 1.0

        def forward(self, images):
            parity = (images[:, 0, 0, 0] * 255).round() % 2
            return self.sign * torch.stack([1 - parity, parity], 1)

    oracle = Oracle()
    found = score_corpus(oracle, corpus, range(16), crop=CROP, device=CPU)
    assert (found["map"], found["top1"]) == (1.0, 1.0)
    oracle.sign = -1.0
    found = score_corpus(oracle, corpus, range(16), crop=CROP, device=CPU)
    assert (found["map"], found["top1"]) == (0.5, 0.0)


def test_modes_and_random_state_are_left_as_they_were():
    corpus = Pictures([[0], [1]] * 4, 2)
    model = Colours(2).train()
    model.norm.eval()  # a frozen norm
    state, before = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    score_corpus(model, corpus, range(8), crop=CROP, device=CPU)
    assert model.training
    assert model.dropout.training
    assert not model.norm.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_central_square_is_cut_after_resizing():
    corpus = Pictures([[0], [1]], 2)
    seen = []

    class Watching(nn.Module):
        def forward(self, images):
            seen.append(images)
            return torch.zeros(len(images), 2)

    score_corpus(Watching(), corpus, [1], crop=CentralCrop(resize=20, crop=16), device=CPU)
    assert seen[0].shape == (1, 3, 16, 16)
    expected = torch.tensor([1, 7, 31]) / 255
    torch.testing.assert_close(seen[0], expected[None, :, None, None].expand(1, 3, 16, 16))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named(workers):
    corpus = Pictures([[0], [1], [0]], 2, broken={1})
    with pytest.raises(DataError, match=r"^picture 1 is broken; replace it$"):
        score_corpus(Colours(2), corpus, [0, 1, 2], crop=CROP, device=CPU, workers=workers)


def test_a_diverged_model_is_told():
    model = Colours(2)
    model.weight.data.fill_(torch.nan)
    with pytest.raises(RunFailedError, match="diverged"):
        score_corpus(model, Pictures([[0]], 2), [0], crop=CROP, device=CPU)


@pytest.mark.parametrize(("labels", "indices"), [([[], []], [0, 1]), ([[0]], [])])
def test_nothing_to_score_is_told(labels, indices):
    with pytest.raises(DataError, match="none of the"):
        score_corpus(Colours(2), Pictures(labels, 2), indices, crop=CROP, device=CPU)


def test_more_scores_than_fit_are_refused_with_the_number_that_fits(monkeypatch):
    monkeypatch.setattr(validation, "SCORES_LIMIT", 40)
    with pytest.raises(UsageError, match="hold out at most 5 pictures"):
        score_corpus(Colours(9), Pictures([[0], [1]] * 3, 9), range(6), crop=CROP, device=CPU)


def test_labels_of_a_stretch_of_pictures():
    labels = read_labels(Pictures([[0], [], [1, 2], [2]], 4), [3, 1, 2, 0])
    assert labels.present().tolist() == [0, 1, 2]
    rows, columns = labels.of(1, 3)
    assert rows.tolist() == [1, 1]
    assert columns.tolist() == [1, 2]


def test_two_processes_score_what_one_does(monkeypatch):
    corpus, model = Pictures(_random_labels(50, 10), 10), Colours(10)
    alone = score_corpus(model, corpus, range(50), crop=CROP, device=CPU, batch=8)
    kept = []

    def half(rank):
        def share(starts):
            return starts[:3] if rank == 0 else starts[3:]

        return share

    monkeypatch.setattr(validation, "gathered", lambda rows: kept.append(rows))
    monkeypatch.setattr(validation, "share_of", half(1))
    assert score_corpus(model, corpus, range(50), crop=CROP, device=CPU, batch=8) == {}
    monkeypatch.setattr(validation, "gathered", lambda rows: rows + kept[0])
    monkeypatch.setattr(validation, "share_of", half(0))
    assert score_corpus(model, corpus, range(50), crop=CROP, device=CPU, batch=8) == alone
