# SPDX-License-Identifier: Apache-2.0
"""docs/options.md, made of the table of options, so that it stays true: `make man` writes it."""

from __future__ import annotations

from pathlib import Path

from offramp.options.words import page

PLACE = Path(__file__).parents[1] / "docs/options.md"

if __name__ == "__main__":
    PLACE.write_text(page())
