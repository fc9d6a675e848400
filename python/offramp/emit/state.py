# SPDX-License-Identifier: Apache-2.0
"""State that programs refer to: memory that they share with Python. Which kinds there are, by the type of their shape.

    Named("blocked", Shape("ranges", "ip", 65536))      a set

A reference says where the state is to be found (by a name, by its contents), its shape how it lies in memory. Of a
kind no more is known outside of its own file than what KINDS says: a new one is a file that writes accesses to its
memory, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from offramp.emit.sets import layout
from offramp.lower.shapes import Shape

__all__ = ["KINDS", "State", "StateKind", "kind"]


class State(Protocol):
    """A reference to state: a value that compares and hashes."""

    @property
    def shape(self) -> Any:  # of one of KINDS
        """How its memory is laid out."""


@dataclass(frozen=True, slots=True)
class StateKind:
    """What has to be known of a kind of state besides how its accesses are written."""

    name: str
    instructions: Callable[[Any], int]  # how many of eBPF an access needs, about, by shape


KINDS: Final[dict[type, StateKind]] = {Shape: StateKind("set", layout.instructions)}


def kind(state: State) -> StateKind:
    """Of which kind a piece of state is."""
    return KINDS[type(state.shape)]
