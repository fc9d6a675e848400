# SPDX-License-Identifier: Apache-2.0
"""All that a plan is made from: what is wanted, what the interface is and can do, and what was tried on it before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from offramp.facts.capabilities import Capabilities
from offramp.immutable import field, immutable
from offramp.match import Node
from offramp.options import Options
from offramp.planner.plan import Method
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.facts.link import Link
    from offramp.protection import Protection

__all__ = ["ALONE", "Beside", "Situation", "is_virtual"]


@immutable
class Beside:
    """The other ramps of this process on the interface."""

    queues: frozenset[int] = frozenset()  # queues that they read
    base: tuple[int, ...] = ()  # the RSS table as it was before the first of them; (): as it is
    hidden: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # their hidden queues; entries that lead there
    mode: Literal["native", "generic"] | None = None  # of the program that they share


ALONE: Final = Beside()


@immutable
class Situation:
    """The planner's only argument. The same situation gives the same plan, to the byte."""

    match: Node
    verdict: Verdict
    link: Link  # what the interface is now
    options: Options = field(default_factory=Options)
    protection: Protection | None = None  # what is never diverted; None: nothing is protected, not even ARP
    able: Capabilities | None = None  # None: not known; then nothing changes but what a file descriptor holds
    beside: Beside = ALONE
    native_refused: bool = False  # the driver was asked for native XDP, and refused
    native_reason: str = ""  # why; "": it has none
    refused: Mapping[Method, str] = field(default_factory=dict)  # what was tried, and the result: "had no effect"
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # in the match, and their addresses
    can_match: bool = True  # whether any packet can match; False is certain
    assumed: tuple[str, ...] = ()  # of an interface that is not on this machine: see assume.py

    @property
    def claim(self) -> bool:
        """Whether packets come to user space, through sockets."""
        return self.verdict is Verdict.CLAIM

    @property
    def nic(self) -> Capabilities | None:
        """What a real NIC can do; None for a virtual interface, or if it is not known."""
        return None if self.able is None or is_virtual(self.able) else self.able


def is_virtual(able: Capabilities) -> bool:
    return able.kind is not None or able.bus == ""
