# SPDX-License-Identifier: Apache-2.0
"""State that programs refer to: memory that they share with Python. The type of a shape tells the kind of state.

    Named("blocked", Shape("ranges", "ip", 65536))      a set

A reference says how the state is found (by a name, by its contents); its shape says how it lies in memory. Outside of
its own file, only what KINDS says is known of a kind. A new kind is a file that writes accesses to its memory, and a
line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from offramp.emit.sets import layout
from offramp.immutable import immutable
from offramp.lower.shapes import Shape

__all__ = ["KINDS", "State", "StateKind", "kind"]


class State(Protocol):
    """A reference to state: a value that compares and hashes."""

    @property
    def shape(self) -> Any:  # one of KINDS
        """How its memory is laid out."""


@immutable
class StateKind:
    """What has to be known of a kind of state, besides how its accesses are written."""

    name: str
    instructions: Callable[[Any], int]  # about how many eBPF instructions an access needs, by shape


KINDS: Final[dict[type, StateKind]] = {Shape: StateKind("set", layout.instructions)}


def kind(state: State) -> StateKind:
    """The kind of a piece of state."""
    return KINDS[type(state.shape)]
