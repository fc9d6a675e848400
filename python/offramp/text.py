# SPDX-License-Identifier: Apache-2.0
"""Text that comes from outside: names of interfaces and processes, what /proc and drivers say.

Anybody may choose such bytes. The kernel takes nearly all of them: in the name of an interface any but `/`, `:`, NUL
and white space, in the name of a process any but NUL. So they are never decoded strictly, and never printed as they
are: a terminal would obey them.

    decoded, encoded    bytes <-> text, without loss, as Python does with arguments and file names (PEP 383)
    printable           the text for people: what cannot be printed stands as \\x1b, \\xff, \\u202e
"""

from __future__ import annotations

import os

__all__ = ["decoded", "encoded", "printable", "terminated"]

_ESCAPED = range(0xDC80, 0xDD00)  # the bytes 0x80 to 0xff, as lone surrogates

decoded = os.fsdecode
encoded = os.fsencode


def terminated(raw: bytes) -> str:
    """The text up to the first NUL: a string of C, in memory of its own size."""
    return decoded(raw.split(b"\0")[0])


def printable(text: str) -> str:
    """The text as it may be printed, in one line. A text that is printable stays as it is."""
    return text if text.isprintable() else "".join(map(_letter, text))


def _letter(letter: str) -> str:
    if letter.isprintable():
        return letter
    number = ord(letter)
    if number in _ESCAPED:
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
