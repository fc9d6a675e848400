# SPDX-License-Identifier: Apache-2.0
"""docs/options.md, made of the table of options, and the table in docs/protection.md: `make man` writes them."""

from __future__ import annotations

from pathlib import Path

from offramp.options.words import page
from offramp.protection import ROWS, Row

DOCS = Path(__file__).parents[1] / "docs"
PROTECTION = DOCS / "protection.md"
_BEGIN, _END = "<!-- the table: written by packaging/reference.py -->\n", "<!-- end of the table -->\n"


def protection(text: str) -> str:
    """The page with its table anew."""
    before, _, rest = text.partition(_BEGIN)
    return before + _BEGIN + "\n" + "".join(map(_entry, ROWS)) + _END + rest.partition(_END)[2]


def _entry(row: Row) -> str:
    reach = "anybody" if row.remote else "the segment alone"
    lines = [
        f"without it: {row.why}",
        f"match: `{row.match}`",
        f"protected {row.recognised}; sent by {reach}",
        f"source: {row.source}",
    ]
    return f"**{row.name}**\n" + "".join(_item(line) for line in lines) + "\n"


def _item(line: str) -> str:
    from textwrap import fill

    return fill(line, 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False) + "\n"


if __name__ == "__main__":
    (DOCS / "options.md").write_text(page())
    PROTECTION.write_text(protection(PROTECTION.read_text()))
