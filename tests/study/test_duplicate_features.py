import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from benchbed.study.duplicate_features import align, is_flat

WHOLE = ((0.0, 1.0), (0.0, 1.0))


@pytest.fixture
def picture():
    """(256, 256) grey, with structure at many scales."""
    rng = np.random.default_rng(0)
    field = sum(
        sigma * ndimage.gaussian_filter(rng.normal(size=(256, 256)), sigma, mode="wrap")
        for sigma in (2, 4, 8, 16, 32)
    )
    field -= field.min()
    return (field / field.max() * 255).astype(np.uint8)


def _small(picture, left=0, right=256, upper=0, lower=256):
    part = Image.fromarray(picture[upper:lower, left:right])
    return np.asarray(part.resize((64, 64), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("left", "right", "upper", "lower"),
    [(0, 256, 0, 256), (6, 256, 0, 250), (6, 250, 6, 250), (0, 249, 5, 256)],
)
def test_the_fit_finds_the_crop_that_was_made(picture, left, right, upper, lower):
    found = align(_small(picture), _small(picture, left, right, upper, lower), WHOLE)
    assert found.columns == pytest.approx((left / 256, right / 256), abs=0.003)
    assert found.rows == pytest.approx((upper / 256, lower / 256), abs=0.003)
    assert found.detail > 0.9


def test_the_second_picture_may_show_more(picture):
    found = align(_small(picture, 8, 250, 0, 250), _small(picture), WHOLE)
    assert found.columns == pytest.approx((-8 / 242, 248 / 242), abs=0.004)
    assert found.rows == pytest.approx((0, 256 / 250), abs=0.004)
    assert found.detail > 0.9


def test_a_picture_fits_itself_exactly(picture):
    found = align(_small(picture), _small(picture), WHOLE)
    assert found.correlation == pytest.approx(1)
    assert found.detail == pytest.approx(1)


def test_correlation_is_numpys_where_nothing_has_to_be_moved(picture):
    first = _small(picture)
    second = (first // 3 + 60).astype(np.uint8)
    found = align(first, second, WHOLE)
    expected = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert found.correlation == pytest.approx(expected, abs=1e-3)


def test_the_same_large_shapes_with_other_details_correlate_without_agreeing():
    rng = np.random.default_rng(0)
    sky = np.linspace(250, 30, 64)[:, None]
    first, second = (
        (sky + ndimage.gaussian_filter(rng.normal(0, 20, (64, 64)), 1)).clip(0, 255)
        for _ in range(2)
    )
    found = align(first.astype(np.uint8), second.astype(np.uint8), WHOLE)
    assert found.correlation > 0.95
    assert abs(found.detail) < 0.3


def test_the_negative_does_not_agree(picture):
    first = _small(picture)
    assert align(first, 255 - first, WHOLE).detail < 0


def test_pictures_without_contrast_agree_with_nothing():
    flat = np.full((64, 64), 128, np.uint8)
    assert is_flat(flat)
    assert not is_flat(np.tile(np.arange(64, dtype=np.uint8), (64, 1)))
    assert align(flat, flat, WHOLE).detail == 0
