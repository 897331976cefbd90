import numpy as np
from PIL import Image

from benchbed.data.world.contact_sheet import MARGIN, SHEETS, sheet, write_sheets


def test_every_task_gets_a_sheet_of_bounded_size(tmp_path, monkeypatch):
    for task, (draw, _, _) in list(SHEETS.items()):
        monkeypatch.setitem(SHEETS, task, (draw, 2, 2))
    paths = write_sheets(tmp_path)
    assert {path.stem for path in paths} == {
        "imagenet-cls-mini", "voc-det-mini", "voc-seg-mini", "coco-det-mini", "coco-pose-mini",
    }  # fmt: skip
    for path in paths:
        with Image.open(path) as image:
            assert len(np.unique(np.array(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_tiles_of_unequal_size_do_not_overlap():
    tiles = [Image.new("RGB", size, colour) for size, colour in (
        ((10, 4), (255, 0, 0)), ((6, 8), (0, 255, 0)), ((3, 3), (0, 0, 255)))]  # fmt: skip
    page = np.array(sheet(tiles, 2))
    counts = [
        int((page == colour).all(2).sum()) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    ]
    assert counts == [40, 48, 9]
    assert page.shape[:2] == (2 * (8 + MARGIN) + MARGIN, 2 * (10 + MARGIN) + MARGIN)
