"""Writes docs/protocols.md's tables from the protocols' YAML: every value with its comment.

python benchmarks/protocol_tables.py           # rewrites the tables
python benchmarks/protocol_tables.py --check   # fails when they are stale
"""

import re
import sys
from pathlib import Path

from benchbed.specs.protocol import find_protocol, task_files, task_ids

PAGE = Path(__file__).parents[1] / "docs" / "protocols.md"
BEGIN, END = "<!-- tables:begin -->", "<!-- tables:end -->"
LINE = re.compile(r"(?P<indent> *)(?P<key>[a-z0-9_]+):(?: +(?P<value>[^#]*?))?(?: +# (?P<why>.*))?")
SKIPPED = ("id", "version", "kind", "title", "tier", "references", "notes")


def rows(text: str) -> list[tuple[str, str, str]]:
    """(dotted key, value, source) of each line of a protocol's YAML that sets a value.

    A section's comment stands for the lines below it that have none of their own.
    """
    found: list[tuple[str, str, str]] = []
    path: list[tuple[int, str, str]] = []
    for line in joined_lists(text):
        match = LINE.fullmatch(line)
        if match is None:
            continue
        indent = len(match["indent"])
        path = [part for part in path if part[0] < indent]
        why = match["why"] or next((part[2] for part in reversed(path) if part[2]), "")
        keys = [*(part[1] for part in path), match["key"]]
        if not match["value"]:
            path.append((indent, match["key"], why))
        elif keys[0] not in SKIPPED:
            found.append((".".join(keys), match["value"], why))
    return found


def joined_lists(text: str) -> list[str]:
    """Lines, with a list that is broken over several joined to one."""
    lines: list[str] = []
    for line in text.splitlines():
        if lines and lines[-1].count("[") > lines[-1].count("]"):
            lines[-1] += " " + line.strip()
        elif not line.lstrip().startswith(("#", "-")):
            lines.append(line)
    return lines


def section(name: str) -> str:
    """One protocol: where it comes from, its values, its references and what differs."""
    protocol = find_protocol(name)
    text = task_files()[f"{protocol.id}@{protocol.version}"].read_text(encoding="utf-8")
    head = " ".join(line[1:].strip() for line in text.split("\nid:")[0].splitlines())
    parts = [f"## {protocol.id}@{protocol.version}", "", head, ""]
    parts += ["| setting | here | source, and where it differs |", "| --- | --- | --- |"]
    parts += [f"| `{key}` | {value} | {why} |" for key, value, why in rows(text)]
    parts += ["", "| reference | metric | percent | source, and where it differs |"]
    parts += ["| --- | --- | --: | --- |"]
    parts += [
        f"| {item.backbone} | {item.metric} | {100 * item.value:.2f} | {item.source} |"
        for item in protocol.references
    ]
    parts += ["", *(f"- {note.strip()}" for note in protocol.notes), ""]
    return "\n".join(parts)


def page(current: str) -> str:
    """The page with its tables made anew."""
    before, rest = current.split(BEGIN)
    tables = "\n".join(section(name) for name in task_ids("full"))
    return f"{before}{BEGIN}\n{tables}{END}{rest.split(END)[1]}"


def main() -> int:
    """Rewrite the page, or say whether it is what the protocols say."""
    current = PAGE.read_text(encoding="utf-8")
    fresh = page(current)
    if "--check" in sys.argv[1:]:
        print("up to date" if fresh == current else f"{PAGE.name} is stale: run {sys.argv[0]}")
        return int(fresh != current)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
