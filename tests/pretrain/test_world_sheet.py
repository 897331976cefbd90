import numpy as np
from PIL import Image

from benchbed.data.world.contact_sheet import MARGIN
from benchbed.pretrain.world_corpus import open_world
from benchbed.pretrain.world_sheet import LINE, LINES, WIDEST, tile, write_sheet


def test_a_tile_is_the_corpus_picture_above_a_line_of_text_an_object():
    corpus = open_world("cache=none")
    index = next(i for i in range(20) if len(corpus.leaves(i)) == 2)
    page = np.array(tile(corpus, index))
    left = (WIDEST - 96) // 2
    assert np.array_equal(page[:96, left : left + 96], corpus.picture(index))
    inked = [(page[96 + LINE * n : 96 + LINE * (n + 1)] < 128).any() for n in range(LINES)]
    assert inked == [True, True, False]


def test_the_sheet_has_a_place_for_every_tile(tmp_path):
    write_sheet(open_world("cache=none"), tmp_path / "new" / "sheet.png", tiles=3, columns=2)
    with Image.open(tmp_path / "new" / "sheet.png") as page:
        height = 96 + LINE * LINES + MARGIN
        assert page.size == (2 * (WIDEST + MARGIN) + MARGIN, 2 * height + MARGIN)
