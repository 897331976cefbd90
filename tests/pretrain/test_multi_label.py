import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from benchbed.errors import DataError
from benchbed.pretrain import multi_label
from benchbed.pretrain.multi_label import (
    CPU_CHUNK,
    flat_labels,
    prior_bias,
    softmax_loss,
    softplus_sums,
    sparse_sigmoid_loss,
)


def _case(pictures, classes, positives, seed=0, dtype=torch.float64, spread=3.0, shift=-2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(pictures, classes, generator=generator, dtype=torch.float64)
    logits = (logits * spread + shift).to(dtype).requires_grad_()
    places = torch.randperm(pictures * classes, generator=generator)[:positives]
    confidences = torch.rand(positives, generator=generator, dtype=torch.float64)
    return logits, places // classes, places % classes, confidences


def _dense(logits, rows, columns, confidences=None, smoothing=0.0, reduction="batch"):
    targets = torch.zeros(logits.shape, dtype=logits.dtype)
    targets[rows, columns] = 1 if confidences is None else confidences.to(logits.dtype)
    targets = targets * (1 - smoothing) + smoothing / 2
    loss = binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return loss / (logits.shape[0] if reduction == "batch" else logits.numel())


def _value_and_gradient(loss_of, logits, *rest, scale=1.0, **options):
    leaf = logits.detach().clone().requires_grad_()
    loss = loss_of(leaf, *rest, **options)
    (loss * scale).backward()
    return loss.detach(), leaf.grad


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["batch", "mean"])
def test_equals_dense_targets_in_value_and_gradient(smoothing, weighted, reduction):
    logits, rows, columns, confidences = _case(13, 37, 40)
    options = {"smoothing": smoothing, "reduction": reduction}
    options["confidences"] = confidences if weighted else None
    expected = _value_and_gradient(_dense, logits, rows, columns, scale=2.5, **options)
    found = _value_and_gradient(sparse_sigmoid_loss, logits, rows, columns, scale=2.5, **options)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_mean_equals_the_default_of_bce_with_logits_loss():
    logits, rows, columns, _ = _case(6, 11, 9)
    targets = torch.zeros_like(logits)
    targets[rows, columns] = 1
    found = sparse_sigmoid_loss(logits, rows, columns, reduction="mean")
    torch.testing.assert_close(found, torch.nn.BCEWithLogitsLoss()(logits, targets))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradient_passes_gradcheck(smoothing):
    logits, rows, columns, confidences = _case(5, 7, 12)

    def loss(leaf):
        return sparse_sigmoid_loss(
            leaf, rows, columns, confidences=confidences, smoothing=smoothing
        )

    assert torch.autograd.gradcheck(loss, (logits,))


@pytest.mark.parametrize("pictures", [1, 9, 60])
def test_twenty_thousand_classes_over_several_chunks_in_float32(pictures):
    logits, rows, columns, _ = _case(pictures, 20_000, 9 * pictures, dtype=torch.float32)
    assert (logits.numel() > CPU_CHUNK) == (pictures > 26)
    value, gradient = _value_and_gradient(_dense, logits.double(), rows, columns)
    found, found_gradient = _value_and_gradient(sparse_sigmoid_loss, logits, rows, columns)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(value.item(), rel=1e-6)
    torch.testing.assert_close(found_gradient.double(), gradient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("dtype", "eps"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_is_summed_in_float32_and_only_the_gradient_is_rounded(dtype, eps):
    logits, rows, columns, _ = _case(30, 20_000, 60, dtype=dtype)
    value, gradient = _value_and_gradient(_dense, logits.double(), rows, columns)
    found, found_gradient = _value_and_gradient(sparse_sigmoid_loss, logits, rows, columns)
    assert found.dtype == torch.float32
    assert found_gradient.dtype == dtype
    assert found.item() == pytest.approx(value.item(), rel=1e-6)
    torch.testing.assert_close(found_gradient.double(), gradient, rtol=eps, atol=1e-7)


def test_a_confident_positive_keeps_the_digits_of_its_gradient():
    logits = torch.full((1, 2), 20.0, requires_grad=True)
    sparse_sigmoid_loss(logits, torch.tensor([0]), torch.tensor([0])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].item() == pytest.approx(-1 / (1 + math.exp(20)), rel=1e-6)


@pytest.mark.parametrize("level", [-90.0, -15.0, 0.0, 15.0, 90.0])
def test_extreme_logits_are_summed_stably(level):
    flat = torch.full((700_003,), level)
    found = torch.stack(softplus_sums(flat)).double().sum().item()
    one = max(level, 0.0) + math.log1p(math.exp(-abs(level)))
    assert found == pytest.approx(700_003 * one, rel=1e-6)


def test_the_largest_product_that_a_chunk_can_carry_is_finite():
    assert torch.stack(softplus_sums(torch.zeros(CPU_CHUNK))).isfinite().all()


def test_softplus_sums_of_other_devices_are_the_same(monkeypatch):
    flat = torch.randn(900_001, generator=torch.Generator().manual_seed(3)) * 8
    expected = torch.stack(softplus_sums(flat)).double().sum().item()
    # takes the branch for GPUs without one
    monkeypatch.setattr(multi_label, "_on_cpu", lambda part: False)
    assert torch.stack(softplus_sums(flat)).double().sum().item() == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_logit_shows_in_the_loss(bad):
    logits = torch.zeros(2, 30)
    logits[1, 7] = bad
    nobody = torch.zeros(0, dtype=torch.int64)
    assert not sparse_sigmoid_loss(logits, nobody, nobody).isfinite()


def test_pictures_without_a_label_have_only_negatives():
    logits = torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)
    nobody = torch.zeros(0, dtype=torch.int64)
    loss = sparse_sigmoid_loss(logits, nobody, nobody)
    loss.backward()
    assert loss.item() == pytest.approx(5 * math.log(2))
    torch.testing.assert_close(logits.grad, torch.full((4, 5), 0.5 / 4, dtype=torch.float64))


def test_a_pair_given_twice_counts_once_with_its_first_confidence():
    logits, *_ = _case(3, 6, 1)
    rows, columns = torch.tensor([2, 0, 2, 1]), torch.tensor([5, 1, 5, 0])
    confidences = torch.tensor([0.9, 0.5, 0.2, 0.4])
    expected = _value_and_gradient(
        _dense, logits, rows[[0, 1, 3]], columns[[0, 1, 3]], confidences=confidences[[0, 1, 3]]
    )
    found = _value_and_gradient(sparse_sigmoid_loss, logits, rows, columns, confidences=confidences)
    # confidences came as float32 and the dense targets hold them as float64
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_the_order_of_the_positives_does_not_matter():
    logits, rows, columns, confidences = _case(7, 9, 20)
    mixed = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    first = _value_and_gradient(sparse_sigmoid_loss, logits, rows, columns, confidences=confidences)
    second = _value_and_gradient(
        sparse_sigmoid_loss, logits, rows[mixed], columns[mixed], confidences=confidences[mixed]
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_logits_that_are_not_contiguous_give_the_same():
    logits, rows, columns, _ = _case(6, 10, 9)
    wide = torch.cat([logits.detach(), logits.detach()], 1).requires_grad_()
    loss = sparse_sigmoid_loss(wide[:, :10], rows, columns)
    loss.backward()
    expected = _value_and_gradient(_dense, logits, rows, columns)
    assert wide.grad is not None
    torch.testing.assert_close((loss.detach(), wide.grad[:, :10]), expected)
    assert not wide.grad[:, 10:].any()


def _through_a_layer(overwrite, dtype=torch.float32):
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 50, dtype=dtype)
    features = torch.randn(8, 6, dtype=dtype)
    logits = layer(features)
    rows, columns = torch.arange(8), torch.arange(8) * 3
    loss = sparse_sigmoid_loss(logits, rows, columns, smoothing=0.1, overwrite=overwrite)
    return layer, logits, loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_overwritten_logits_give_bitwise_the_same_gradients(dtype):
    kept, _, first = _through_a_layer(False, dtype)
    overwritten, logits, second = _through_a_layer(True, dtype)
    address = logits.data_ptr()
    gradients = []
    logits.register_hook(gradients.append)
    first.backward()
    second.backward()
    assert gradients[0].data_ptr() == address
    assert torch.equal(kept.weight.grad, overwritten.weight.grad)
    assert torch.equal(kept.bias.grad, overwritten.bias.grad)


def test_a_second_backward_over_overwritten_logits_raises():
    _, _, loss = _through_a_layer(True)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_another_loss_that_needs_the_overwritten_logits_raises():
    _, logits, loss = _through_a_layer(True)
    other = logits.square().sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        other.backward()


def test_two_backward_passes_of_kept_logits_add_up():
    _, logits, loss = _through_a_layer(False)
    logits.retain_grad()
    loss.backward(retain_graph=True)
    once = logits.grad.clone()
    loss.backward()
    assert torch.equal(logits.grad, 2 * once)


def test_a_leaf_is_not_overwritten():
    with pytest.raises(ValueError, match="not overwritten"):
        sparse_sigmoid_loss(
            torch.zeros(1, 2, requires_grad=True), torch.tensor([0]), torch.tensor([0]),
            overwrite=True,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "columns", "options"),
    [
        ([0], [4], {}),
        ([0], [-1], {}),
        ([3], [0], {}),
        ([-1], [0], {}),
        ([0, 1], [0], {}),
        ([0], [0], {"smoothing": 1.0}),
        ([0], [0], {"confidences": torch.ones(2)}),
    ],
)
def test_what_does_not_fit_is_refused(rows, columns, options):
    with pytest.raises(ValueError):
        sparse_sigmoid_loss(torch.zeros(3, 4), torch.tensor(rows), torch.tensor(columns), **options)


def test_an_empty_batch_is_refused():
    nobody = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="logits are floating"):
        sparse_sigmoid_loss(torch.zeros(0, 4), nobody, nobody)


def test_ragged_labels_become_places():
    rows, columns = flat_labels([np.array([2, 5]), np.array([], np.int64), np.array([0])], 6)
    assert rows.tolist() == [0, 0, 2]
    assert columns.tolist() == [2, 5, 0]
    assert rows.dtype == columns.dtype == torch.int64


def test_a_batch_without_any_label_has_no_places():
    rows, columns = flat_labels([np.array([], np.int64)] * 3, 6)
    assert rows.shape == columns.shape == (0,)


@pytest.mark.parametrize("label", [6, -1])
def test_a_label_outside_of_the_classes_is_named(label):
    with pytest.raises(DataError, match=f"label {label}, and the corpus has 6 classes"):
        flat_labels([np.array([1]), np.array([2, label])], 6)


def test_softmax_equals_torch_and_widens_half_precision():
    logits, *_ = _case(9, 5, 1, dtype=torch.bfloat16)
    labels = torch.arange(9) % 5
    found = softmax_loss(logits, labels, smoothing=0.1)
    assert found.dtype == torch.float32
    expected = cross_entropy(logits.double(), labels, label_smoothing=0.1)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_head_with_the_prior_bias_predicts_the_frequencies():
    counts = torch.tensor([50, 500, 999_000])
    chances = torch.sigmoid(prior_bias(counts, 1_000_000).double())
    torch.testing.assert_close(chances, counts / 1e6, rtol=0.02, atol=0, check_dtype=False)


def test_the_prior_bias_of_an_absent_and_an_ever_present_class_is_finite():
    assert prior_bias(torch.tensor([0, 10]), 10).isfinite().all()
