import numpy as np
import pytest
import scipy.fft
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchbed.study.perceptual_hash import (
    BITS,
    CROPS,
    MIRROR,
    SHRUNK,
    SIDE,
    WHOLE,
    distances,
    hash_pictures,
    hash_thumbnails,
    thumbnail,
    thumbnails,
)


@pytest.fixture
def blobs():
    """Smooth random pictures (N, 64, 64), the power falling with frequency as in photographs."""
    rng = np.random.default_rng(0)
    k = np.arange(SIDE)
    power = 1 / (1 + k[:, None] ** 2 + k[None] ** 2)
    waves = rng.normal(size=(40, SIDE, SIDE)) * power
    fields = scipy.fft.idctn(waves, axes=(1, 2), norm="ortho")
    fields -= fields.min(axis=(1, 2), keepdims=True)
    return (fields / fields.max(axis=(1, 2), keepdims=True) * 255).astype(np.uint8)


def test_the_signs_are_those_of_the_64_lowest_dct_coefficients_after_the_mean(blobs):
    coefficients = scipy.fft.dctn(blobs.astype(np.float64), axes=(1, 2))
    radius = np.add.outer(np.arange(10) ** 2, np.arange(10) ** 2)
    lowest = sorted(zip(*np.indices((10, 10)).reshape(2, -1), strict=True),
                    key=lambda at: (radius[at], at))[1:65]  # fmt: skip
    signs = np.array([[c[at] > 0 for at in lowest] for c in coefficients])
    hashes = hash_thumbnails(blobs, [WHOLE])[:, 0]
    bits = (hashes[:, None] >> np.arange(BITS, dtype=np.uint64)) & np.uint64(1)
    places = [place % 4 * 16 + place // 4 for place in range(BITS)]
    assert (bits[:, places].astype(bool) == signs).all()


def test_a_mirrored_thumbnail_has_the_hash_with_the_mirror_signs_turned(blobs):
    for crops in (SHRUNK, [WHOLE]):
        plain = hash_thumbnails(blobs, crops)
        mirrored = hash_thumbnails(blobs[:, :, ::-1], crops)
        assert (mirrored == plain ^ MIRROR).all()
    assert int(np.bitwise_count(MIRROR)) > 20


def test_a_crops_hash_is_that_of_the_picture_cut_there(blobs):
    """Cutting whole pixels: 8 of 160 at a side are 5 %."""
    large = [np.asarray(Image.fromarray(b).resize((160, 160), Image.BICUBIC)) for b in blobs]
    rgb = [np.repeat(p[:, :, None], 3, axis=2) for p in large]
    hashes = hash_thumbnails(thumbnails(rgb), CROPS)
    for number, ((left, right), (upper, lower)) in enumerate(CROPS):
        ends = [round(share * 160) for share in (left, right, upper, lower)]
        cut = [p[ends[2] : ends[3], ends[0] : ends[1]] for p in rgb]
        apart = distances(hashes[:, number], hash_pictures(cut))
        assert apart.mean() < 1
        assert apart.max() <= 4


def test_brightness_and_contrast_leave_the_hash_as_it_is(blobs):
    darker = (blobs // 2 + 40).astype(np.uint8)
    assert distances(*(hash_thumbnails(b, [WHOLE]) for b in (blobs, darker))).max() <= 2


def test_different_pictures_are_about_32_signs_apart(blobs):
    hashes = hash_thumbnails(blobs, [WHOLE])[:, 0]
    apart = distances(hashes[:, None], hashes[None])[np.triu_indices(len(hashes), 1)]
    assert apart.mean() == pytest.approx(32, abs=1)
    assert apart.min() > 12


@given(st.integers(1, 300), st.integers(1, 300))
def test_pictures_of_any_size_have_a_thumbnail(height, width):
    assert thumbnail(np.zeros((height, width, 3), np.uint8)).shape == (SIDE, SIDE)


def test_no_pictures_have_no_hashes():
    assert hash_pictures([]).shape == (0,)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_the_distance_counts_the_signs_that_differ(a, b):
    expected = bin(a ^ b).count("1")
    assert distances(np.array([a], np.uint64), np.array([b], np.uint64))[0] == expected
