"""A contact sheet of the pretraining corpus: pictures with the names of what they show."""

from pathlib import Path

from PIL import Image, ImageDraw

from benchbed.data.world.contact_sheet import SHEET_COLOURS, sheet
from benchbed.pretrain.world_corpus import WorldCorpus

LINE = 11
"""Height of a line of text, in pixels."""
LINES = 3
"""One an object."""
WIDEST = 132
"""Width of a tile: that of the longest usual name."""


def tile(corpus: WorldCorpus, index: int) -> Image.Image:
    """A picture with the names of its leaf classes below it."""
    side = corpus.options.side
    page = Image.new("RGB", (max(side, WIDEST), side + LINE * LINES), (255, 255, 255))
    page.paste(Image.fromarray(corpus.draw(index)[0]), ((page.width - side) // 2, 0))
    draw = ImageDraw.Draw(page)
    for line, leaf in enumerate(corpus.leaves(index).tolist()):
        draw.text((2, side + LINE * line), corpus.taxonomy.names[leaf], fill=(0, 0, 0))
    return page


def write_sheet(corpus: WorldCorpus, path: Path, *, tiles: int = 24, columns: int = 6) -> None:
    """Write the first items as one PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = sheet([tile(corpus, index) for index in range(tiles)], columns)
    page.quantize(SHEET_COLOURS).save(path, optimize=True)
