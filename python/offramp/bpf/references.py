# SPDX-License-Identifier: Apache-2.0
"""What a compiled program refers to: find the maps that its placeholders stand for.

with bind(compiled, Scope({MapSlot.COUNTERS: counters}, match.state)) as maps:
    Program.load(compiled, name="example", maps=maps)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, NoReturn, Protocol

from offramp.bpf.maps import Map
from offramp.emit.placeholders import MapSlot
from offramp.emit.program import XdpProgram
from offramp.emit.state import State

__all__ = ["Mapped", "Scope", "bind"]


class Mapped(Protocol):
    """State whose memory is a map, or becomes one."""

    def map(self) -> Map:
        """Errors: PrivilegeError, KernelError, Closed."""


def _nothing(state: State) -> NoReturn:
    raise KeyError(state)


class Scope(NamedTuple):
    """Who has the maps and the state that a section refers to."""

    maps: Mapping[MapSlot, Map]
    state: Callable[[State], Mapped] = _nothing  # finds what a reference means


@contextmanager
def bind(program: XdpProgram, *scopes: Scope) -> Iterator[dict[int, Map]]:
    """The maps of a program's placeholders, for `Program.load`; one scope for each section, in their order.

    Once loaded, the program keeps its maps; state that nobody else holds ends here. Errors: as `Mapped.map`.
    """
    maps, held = {}, []
    for placeholder, (section, what) in enumerate(program.references):
        scope = scopes[section]
        if isinstance(what, MapSlot):
            maps[placeholder] = scope.maps[what]
        else:
            held.append(scope.state(what))
            maps[placeholder] = held[-1].map()
    yield maps
