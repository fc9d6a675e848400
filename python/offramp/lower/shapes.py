# SPDX-License-Identifier: Apache-2.0
"""What compiled code has to know of a set: how its memory is laid out. Values only; the memory is state/'s.

structure   families         an element's key, as lookups take it
bitmap      port             one i32
hash        ip, ether, ip6   one i32; two i32 (high 16 bits, low 32 bits); four i32, most significant first
ranges      ip, ip6          one i32; four i32
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from offramp.match.tree import Family

__all__ = ["KEY_WORDS", "Family", "Shape", "Structure"]

Structure: TypeAlias = Literal["bitmap", "hash", "ranges"]

KEY_WORDS: Final[dict[Family, int]] = {"ip": 1, "ip6": 4, "port": 1, "ether": 2}


@dataclass(frozen=True, slots=True)
class Shape:
    """Of which kind a set is and how much it can hold. Together they fix the layout of its memory."""

    structure: Structure
    family: Family
    capacity: int  # elements; of ranges, prefixes
