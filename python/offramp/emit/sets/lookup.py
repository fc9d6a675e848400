# SPDX-License-Identifier: Apache-2.0
"""Look-ups in sets, as LLVM IR. The layouts, and why a reader is never wrong, are in crates/offramp-state.

    snapshot   the word that says what is current; look-ups that share it are all before a replace(), or all after it
    member     by the structure of the set: bitmap, hash (hashes.py), ranges (ranges.py)

Whatever changes meanwhile, what a look-up loads is consistent: it follows addresses from the snapshot on, and loads
each word once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llvmlite import ir

from offramp.emit.emitter import Emitter, Label
from offramp.emit.sets.hashes import Bitmap, Hash, WideHash
from offramp.emit.sets.ranges import Ranges
from offramp.emit.sets.shared import Lookup
from offramp.emit.target import I64
from offramp.lower.shapes import Shape, Structure

__all__ = ["member", "snapshot"]

_LOOKUPS: Final[dict[Structure, type[Lookup]]] = {"bitmap": Bitmap, "hash": Hash, "ranges": Ranges}


def snapshot(emit: Emitter, shape: Shape, base: ir.Value) -> ir.Value:
    """What is current in the set at address `base` (i64), for `member`: i64. Single changes are still seen."""
    return Lookup(emit, shape, base).load(base)


def member(
    emit: Emitter,
    shape: Shape,
    base: ir.Value,
    key: Sequence[ir.Value],
    yes: Label,
    no: Label,
    current: ir.Value | None = None,
) -> None:
    """Branch to `yes` if the set at address `base` (i64) contains `key`, else to `no`. Leaves the current place.

    `key`: i32 words, the most significant first (shapes.py). `current`: a `snapshot` made on every path to here.
    """
    is_wide_hash = shape.structure == "hash" and shape.family == "ip6"
    lookup = (WideHash if is_wide_hash else _LOOKUPS[shape.structure])(emit, shape, base)
    if current is None:
        current = lookup.load(base)
    lookup.run(current, [emit.builder.zext(word, I64) for word in key])
    lookup.leave(yes, no)
