"""Options that say which corpus, and which part of it, `pretrain` reads."""

from pathlib import Path
from typing import Annotated

import typer

from benchbed.errors import UsageError

Corpus = Annotated[
    str,
    typer.Option(
        "--corpus",
        help="A folder of class folders, tar shards (s-{000..099}.tar; URLs and pipe: commands"
        " are copied into the cache first), or world.",
    ),
]
Pictures = Annotated[
    int | None, typer.Option("--pictures", min=1, help="Size of the subset. Default: all.")
]
Fraction = Annotated[
    float | None, typer.Option("--fraction", help="Its share of the corpus instead.")
]
Classes = Annotated[
    str | None, typer.Option("--classes", help="How many classes, or a file of their names.")
]
Noise = Annotated[
    float, typer.Option("--noise", help="Share of pictures that get a wrong label, 0 to 1.")
]
ClassList = Annotated[Path | None, typer.Option("--class-list", help="Class names of tar shards.")]
MinConfidence = Annotated[
    float, typer.Option("--min-confidence", help="Drop labels of tar shards below it.")
]


def class_choice(text: str) -> int | tuple[str, ...]:
    """A count, or the names that a text file holds, one a line.

    Raises:
        UsageError: it is neither.
    """
    if text.isdecimal():
        return int(text)
    path = Path(text)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--classes {text}: neither a count nor a readable file of class names, one a line"
        ) from error
    return tuple(line.strip() for line in lines if line.strip())
