# SPDX-License-Identifier: Apache-2.0
"""How objects of the public API look to somebody who explores: `dir` lists what is public, and counts read well."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Public", "in_numbers"]


class Public:
    """`dir()` and completion show the public names."""

    __slots__ = ()

    def __dir__(self) -> Iterable[str]:
        return [name for name in object.__dir__(self) if not name.startswith("_") or name.endswith("__")]


def in_numbers(count: int, word: str) -> str:
    """1 packet, 2 packets."""
    return f"{count:,} {word}{'s' * (count != 1)}"
