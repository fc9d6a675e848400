# SPDX-License-Identifier: Apache-2.0
"""What compiled code has to know of a set: how its memory is laid out. Only values; state/ has the memory.

structure   families         an element's key, as lookups take it
bitmap      port             one i32
hash        ip, ether, ip6   one i32; two i32 (high 16 bits, low 32 bits); four i32, most significant first
ranges      ip, ip6          one i32; four i32
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from offramp.immutable import immutable
from offramp.match.tree import Family

__all__ = ["KEY_WORDS", "Family", "Shape", "Structure"]

Structure: TypeAlias = Literal["bitmap", "hash", "ranges"]

KEY_WORDS: Final[dict[Family, int]] = {"ip": 1, "ip6": 4, "port": 1, "ether": 2}


@immutable
class Shape:
    """The kind of a set and how much it can hold. Together they determine the layout of its memory."""

    structure: Structure
    family: Family
    capacity: int  # elements; for ranges, prefixes
