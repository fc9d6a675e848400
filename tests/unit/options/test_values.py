# SPDX-License-Identifier: Apache-2.0
"""What the user may ask for: each impossible option is refused in words that name it."""

from __future__ import annotations

from typing import Any

import pytest

from offramp.errors import OptionError
from offramp.options import TABLE, Options

FRAMES_HINT = " (the fill ring takes one for each of its entries, and sending needs some too)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fast"}, "mode='fast': not one of auto, native, generic"),
        ({"copying": "zerocopy"}, "copying='zerocopy': not one of auto, copy, zero-copy (did you mean zero-copy?)"),
        ({"require": frozenset({"speed"})}, "require='speed': not one of native, zero-copy"),
        (
            {"mode": "generic", "require": frozenset({"native"})},
            "native required in generic mode: they exclude each other",
        ),
        ({"mode": "generic", "copying": "zero-copy"}, "zero-copy in generic mode: only a driver can do zero-copy"),
        (
            {"mode": "generic", "require": frozenset({"zero-copy"})},
            "zero-copy in generic mode: only a driver can do zero-copy",
        ),
        ({"ring": 1000}, "ring=1000: not a power of two from 64 to 32768"),
        ({"ring": 32}, "ring=32: not a power of two from 64 to 32768"),
        ({"ring": 1 << 16}, "ring=65536: not a power of two from 64 to 32768"),
        ({"ring": -64}, "ring=-64: not a power of two from 64 to 32768"),
        ({"frames": 1024}, f"frames=1024 with ring=2048: not from 2049 to 1048576{FRAMES_HINT}"),
        (
            {"ring": 8192},
            f"ring=8192: 4096 frames are too few for it: {FRAMES_HINT[2:-1]} (also give frames=16384)",
        ),
        ({"frames": 1 << 31}, "frames=2147483648: not from 65 to 1048576"),
        ({"frames": "4096"}, "frames='4096': not a whole number"),
        ({"frames": True}, "frames=True: not a whole number"),
        ({"ring": 2048.0}, "ring=2048.0: not a whole number"),
        ({"mode": None}, "mode=None: not text"),
        ({"require": frozenset({5})}, "require=5: not text"),
        ({"protect": 5}, "protect=5: not True, False or a match"),
        ({"protect": None}, "protect=None: not True, False or a match"),
        ({"protect": b"arp"}, "protect=b'arp': not True, False or a match"),
        ({"stall": "ever"}, "stall='ever': neither a time nor never (a time is 5, 5s, 500ms, 1m or 1h30m)"),
        ({"stall": 0}, "stall=0: not from 10ms to 1h, or never"),
        ({"stall": -1.0}, "stall=-1.0: not from 10ms to 1h, or never"),
        ({"stall": float("nan")}, "stall=nan: not from 10ms to 1h, or never"),
        ({"stall": 3601}, "stall=3601: not from 10ms to 1h, or never"),
        ({"queues": ()}, "queues=(): at least one number is needed"),
        ({"queues": (0, -1)}, "queues=-1: not 0 or more"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Options(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize("word", ["", "two words", "4 096", "9" * 400, "\x1b[2J", "a\nb", "0x10", "1e3"])
def test_what_was_typed_is_quoted_in_one_short_line(word: str) -> None:
    with pytest.raises(OptionError) as caught:
        TABLE["frames"].typed(word)
    said = str(caught.value)
    assert said.startswith("--frames ")
    assert said.endswith(": not a whole number")
    assert len(said) < 80
    assert said.isprintable()
    assert word in said or repr(word) in said or "..." in said
