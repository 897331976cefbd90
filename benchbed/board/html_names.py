"""Names on the HTML board: backbone ids are anybody's text, and page names come from them."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

LONGEST = 80
"""Characters of a page's name; file systems allow 255 bytes."""

MARK = 12
"""Digits of the hash that a changed name carries."""

SPECIAL = rf"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*-[0-9a-f]{{{MARK}}}"
"""Names that Windows keeps for itself, and those that look as if they carried a mark."""


def shown(text: str) -> str:
    """Text with what is invisible made visible.

    Control and format characters (line ends, direction overrides, zero-width ones) become `\ufffd`,
    so that no name can pass for another one or turn its surroundings around. Escaping for HTML is
    the templates' work.
    """
    return "".join("\ufffd" if unicodedata.category(c) in _INVISIBLE else c for c in text)


_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def page_names(names: Iterable[str]) -> dict[str, str]:
    """File name, without folder, of each backbone's page: distinct on any file system.

    Lower-case letters, digits, `.`, `_` and `-`; names that had to change for that, or are no good
    file names, carry a mark of the original.
    """
    return {name: f"{_slug(name)}.html" for name in names}


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:LONGEST]
    if slug and slug == name and not re.fullmatch(SPECIAL, slug):
        return slug
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:MARK]
    return f"{slug or 'backbone'}-{mark}"
