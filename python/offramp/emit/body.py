# SPDX-License-Identifier: Apache-2.0
"""What a section of a program does with a packet: a body asks about it, and the packet leaves by one of its exits.

    body ─┬─ Exit("dropped", DROP)     a counter, and a verdict
          ├─ Exit("returned", TX)
          └─ Exit("passed")            no verdict: the next section is asked; after the last one the packet passes

Each target knows what is around a body (xdp.py, burst.py), and nothing of what is in it. A match is the simplest body
(match.py). Bodies are deterministic values that compare and hash: equal bodies write the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from offramp.immutable import immutable
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.emit.emitter import Label
    from offramp.emit.size import Size
    from offramp.emit.values import Values

__all__ = ["Body", "Exit"]


@immutable
class Exit:
    """A way out of a section: the counter that its packets are counted in, and their verdict, if it has one."""

    counter: str
    verdict: Verdict | None = None

    @property
    def final(self) -> Verdict:
        """The verdict if no other section is asked."""
        return Verdict.PASS if self.verdict is None else self.verdict


class Body(Protocol):
    """Something that writes itself, with the emitter, for any target."""

    @property
    def exits(self) -> tuple[Exit, ...]:
        """The exits, each once. The last one also takes packets that cannot be read or redirected: bytes are missing,
        or there is no room for the tag. So its verdict must not be one that lets the packet leave the driver.
        """

    @property
    def size(self) -> Size:
        """How much of a program it takes, as far as this is known before it is written."""

    def write(self, values: Values, labels: Mapping[Exit, Label]) -> None:
        """Write all of it where the emitter is. Every way ends at one of `labels`, which has one for each exit.

        `values` reads the frame as it was on the wire. Memory of state is `values.emit.target.memory(state)`.
        """

    def exit_of_tagged(self, tags: tuple[int, ...]) -> Exit | None:
        """The exit of all frames with a first VLAN tag of one of these ethertypes; None: it depends on the frame."""
