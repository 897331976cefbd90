import io

import numpy as np
import pytest
from PIL import Image

from benchbed.data.pictures import decode_rgb, read_label_map, read_rgb
from benchbed.errors import DataError

RAMP = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (8, 1))


def test_rgb_is_read_as_stored(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (read_rgb(tmp_path / "a.png") == pixels).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_other_modes_become_three_channels(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RAMP).convert("RGB").convert(mode).save(path)
    found = read_rgb(path)
    assert found.shape == (8, 32, 3)
    assert found.dtype == np.uint8


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK"])
def test_grey_alpha_and_cmyk_keep_their_brightness(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(RAMP).convert("RGB").convert(mode).save(path)
    assert np.abs(read_rgb(path).astype(int) - RAMP[:, :, None]).max() <= 2


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    deep = RAMP.astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert (read_rgb(tmp_path / "a.png")[:, :, 0] == RAMP).all()


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert read_rgb(tmp_path / "a.jpg").shape == (4, 10, 3)


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.95])
def test_a_truncated_jpeg_is_one_clear_line(tmp_path, keep):
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
        path
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(DataError, match=r"cut.jpg: truncated or broken picture") as caught:
        read_rgb(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "words"), [(b"", "not a picture"), (b"GIF8", "picture")])
def test_what_is_no_picture_is_named(tmp_path, content, words):
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_rgb(path)


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone.jpg: the picture is missing"):
        read_rgb(tmp_path / "gone.jpg")


def test_label_maps_keep_their_indices(tmp_path):
    image = Image.fromarray(RAMP).convert("L")
    image.putpalette([0, 0, 0] * 256)
    image.save(tmp_path / "a.png")
    assert (read_label_map(tmp_path / "a.png") == RAMP).all()


def test_a_colour_label_map_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="palette or grey"):
        read_label_map(tmp_path / "a.png")


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path):
    Image.fromarray(np.array([[0, 100, 200, 514]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png")[0, :, 0].tolist() == [0, 0, 1, 2]


def test_more_than_sixteen_bits_are_refused_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 70000]], dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a.tif: has more than 16 bits"):
        read_rgb(tmp_path / "a.tif")


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a.tif: floating-point pixels"):
        read_rgb(tmp_path / "a.tif")


def test_palette_and_cmyk_become_their_colours(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode=None).convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.save(tmp_path / "p.png", transparency=b"\x00\xff")
    assert read_rgb(tmp_path / "p.png").tolist() == [[[10, 20, 30], [200, 100, 50]]]
    Image.new("CMYK", (1, 1), (255, 0, 0, 0)).save(tmp_path / "c.tif")
    assert read_rgb(tmp_path / "c.tif").tolist() == [[[0, 255, 255]]]


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError, match=r"a.jpg: not a picture \(the file is empty\)"):
        read_rgb(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_every_cut_of_a_picture_reads_or_is_a_data_error(tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    whole, path, refused = buffer.getvalue(), tmp_path / "a", 0
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        try:
            assert read_rgb(path).shape == (20, 30, 3)
        except DataError:
            refused += 1
    assert refused > 0.9 * len(whole) / 13


def test_a_cut_label_map_is_a_data_error(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 21, (30, 30), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a.png: truncated or broken label map"):
        read_label_map(path)


def test_bytes_in_memory_decode_as_the_file_does(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(path)
    assert (decode_rgb(path.read_bytes(), "shard.tar: a.jpg") == read_rgb(path)).all()


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"", r"not a picture \(the file is empty\)"), (b"text", "not a picture;")],
)
def test_bytes_that_are_no_picture_are_named(content, fault):
    with pytest.raises(DataError, match=f"shard.tar: a.jpg: {fault}"):
        decode_rgb(content, "shard.tar: a.jpg")
