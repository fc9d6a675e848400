# SPDX-License-Identifier: Apache-2.0
"""Our reference for what a match means: parse, lower, evaluate. libpcap and compiled code are compared with it.

reference = Reference("src host 10.0.0.1 or 10.0.0.2")
reference(packet, length) -> bool
reference.lowered, reference.sets
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Mapping

from offramp.lower.evaluate import evaluate
from offramp.lower.expression import Fixed, Lowered
from offramp.lower.meaning import lower
from offramp.lower.shapes import Shape
from offramp.match import parse

__all__ = ["Ranges", "Reference"]


class Ranges(Container[int]):
    """The members of a set that a match spells out."""

    def __init__(self, ranges: tuple[tuple[int, int], ...]) -> None:
        self.first = [first for first, _ in ranges]
        self.last = [last for _, last in ranges]

    def __contains__(self, key: object) -> bool:
        assert isinstance(key, int)
        at = bisect_right(self.first, key) - 1
        return at >= 0 and key <= self.last[at]


class Reference:
    """The verdicts of an expression. `named`: the sets that it names, with their members as numbers."""

    def __init__(
        self,
        expression: str,
        *,
        netmask: int | None = None,
        named: Mapping[str, tuple[Shape, Container[int]]] | None = None,
    ) -> None:
        named = named or {}
        self.tree = parse(expression)
        self.lowered: Lowered = lower(
            self.tree, netmask=netmask, sets={name: shape for name, (shape, _) in named.items()}
        )
        self.sets = [Ranges(use.ranges) if isinstance(use, Fixed) else named[use.name][1] for use in self.lowered.sets]

    def __call__(self, packet: bytes, length: int | None = None) -> bool:
        return evaluate(self.lowered.expr, packet, length, self.sets)

    @property
    def looks_up_ip6(self) -> bool:
        """Whether the verdict on a packet that is cut off inside an IPv6 address may differ from tcpdump's."""
        return any(use.shape.family == "ip6" for use in self.lowered.sets)
