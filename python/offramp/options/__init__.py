# SPDX-License-Identifier: Apache-2.0
"""The options of `offramp.open`, `offramp.attach`, `offramp run` and `offramp plan`. Pure: no I/O.

kinds.py     kinds of values: each checks a value and reads it from a word of the command line
option.py    one option
table.py     all options, each written once: `Options`, which the planner reads
words.py     the text about options in docstrings and docs/options.md
"""

from __future__ import annotations

from .option import Call, Option
from .table import NO_SOCKET, TABLE, Copying, LayoutChoice, Mode, Options, Requirement, asked, gone

__all__ = [
    "NO_SOCKET",
    "TABLE",
    "Call",
    "Copying",
    "LayoutChoice",
    "Mode",
    "Option",
    "Options",
    "Requirement",
    "asked",
    "gone",
]
