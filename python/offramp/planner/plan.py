# SPDX-License-Identifier: Apache-2.0
"""A plan is data: ordered steps, each with its layer, its reason and its undo.

A step that changes the interface carries the knobs with their values (facts/knobs.py). So carrying a plan out is a walk
over data, and so is undoing it:

    for step in plan.steps:
        for change in step.changes:
            transaction.set(change.knob, change.value)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Literal

from offramp.facts.strict import read
from offramp.immutable import immutable
from offramp.planner.cost import Cost
from offramp.protection import Protection
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.facts.knobs import Value

__all__ = ["HEADROOM", "METHODS", "Act", "Change", "Layer", "LayoutName", "Method", "Plan", "Step", "shortened"]

Layer = Literal["nic", "xdp", "user"]
LayoutName = Literal["in-driver", "hidden-queue", "vf"]
Method = Literal["table", "rules", "buckets"]  # ways to steer, which a driver may refuse
METHODS: Final[Mapping[Method, str]] = {
    "table": "entries of the RSS table that leave a queue out",
    "rules": "n-tuple rules",
    "buckets": "entries of the RSS table that lead to a hidden queue",
}

# What a step does: change knobs, attach the program, bind sockets, watch where matching packets arrive, put the
# sockets into the XSKMAP, open the VF's interface (it exists once the VF's driver has changed).
Act = Literal["change", "attach", "bind", "observe", "connect", "open-vf"]

HEADROOM: Final = 256  # XDP_PACKET_HEADROOM, bytes: the kernel keeps it free in each frame

_SHOWN = 200  # characters of a match


def shortened(match: str) -> str:
    """A canonical match, cut for people: they do not read ten thousand addresses."""
    if len(match) <= _SHOWN:
        return match or "every packet"
    return f"{match[:_SHOWN]}... ({len(match):,} characters)"


@immutable
class Change:
    """A knob and its new value, in JSON's form."""

    knob: str
    value: Any

    def __hash__(self) -> int:
        return hash(self.knob)  # the value may be a list; equal changes have equal knobs


@immutable
class Step:
    """One change, and how it is taken back."""

    act: Act
    layer: Layer
    what: str
    why: str
    undo: str
    flap: str = ""  # what may be disturbed for a moment, now and when it is undone
    changes: tuple[Change, ...] = ()  # in this order; undone in reverse
    steers: Method | None = None  # if the driver refuses it, there may be another way


@immutable
class Plan:
    """How a match is put onto an interface. `str(plan)` lists its steps; `to_dict()` is JSON-ready."""

    interface: str
    ifindex: int
    match: str  # canonical text; "" is every packet
    verdict: Verdict
    mode: Literal["native", "generic"]
    copying: Literal["auto", "copy", "zero-copy"] | None  # None: no socket
    queues: tuple[int, ...]  # with a socket; empty for a verdict in the driver, and for a VF that is not open yet
    all_queues: int  # receive queues in use
    frames: int
    frame_size: int  # bytes; 0 without sockets, and for a VF that is not open yet
    ring: int
    stall: float | None
    protection: Protection | None  # what is never diverted
    vlan_metadata: bool  # the program asks the driver for VLAN tags out of band
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    layout: LayoutName = "in-driver"
    why: str = ""  # why this layout
    hidden_queue: int | None = None  # claimed packets arrive there; on the others they are counted as missed_by_nic
    vf: int | None = None  # the virtual function whose interface is read
    pf: str = ""  # once a VF is open: the interface that it is a VF of; `interface` is then the VF's own
    rules: tuple[str, ...] = ()  # the rules for the NIC, in ethtool's words
    buckets: tuple[int, ...] = ()  # entries of the RSS table that lead to the hidden queue
    left_out: tuple[str, ...] = ()  # what the NIC does not compare, and the program does
    cost: Cost | None = None
    observed: str = ""  # once the plan was carried out: where matching packets arrived
    send_queues: tuple[int, ...] = ()  # those of `queues` that can also send
    assumed: tuple[str, ...] = ()  # what was assumed of an interface that is not on this machine
    names: tuple[str, ...] = ()  # names of hosts and networks in the match that were looked up, with all addresses

    @property
    def umem_bytes(self) -> int:
        """Packet memory of all queues together."""
        return len(self.queues) * self.frames * self.frame_size

    @property
    def longest(self) -> int | None:
        """The longest frame that a socket takes, in bytes: the kernel keeps a part of each of ours. None: no socket."""
        return self.frame_size - HEADROOM if self.frame_size else None

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes of all steps, in order."""
        return tuple(change for step in self.steps for change in step.changes)

    def parted(self, act: Act) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """The steps up to the first one that does this, and those after it. Without such a step: all, and none."""
        after = next((number for number, step in enumerate(self.steps, 1) if step.act == act), len(self.steps))
        return self.steps[:after], self.steps[after:]

    @property
    def protect(self) -> str | None:
        """The rows of what is never diverted, as one match."""
        return self.protection.text if self.protection is not None else None

    @property
    def protected(self) -> str:
        """What is protected, in words."""
        return self.protection.words if self.protection is not None else "nothing"

    def steps_in_words(self) -> Iterator[str]:
        """The steps as lines of text."""
        for number, step in enumerate(self.steps, 1):
            yield f"  {number}. [{step.layer}] {step.what}"
            yield f"       why:  {step.why}"
            yield f"       undo: {step.undo}"
            if step.flap:
                yield f"       flap: {step.flap}"

    def to_dict(self) -> dict[str, object]:
        words = {"protect": self.protect, "protected": self.protected, "verdict": self.verdict.name}
        return asdict(self) | words | {"umem_bytes": self.umem_bytes}

    @classmethod
    def from_dict(cls, value: Mapping[str, Value]) -> Plan:
        """A plan from `to_dict`'s form, after JSON. Errors: OptionError naming the part that is wrong."""
        made = ("umem_bytes", "protect", "protected")  # of the others
        found = read(cls, {name: part for name, part in value.items() if name not in made}, "plan")
        assert isinstance(found, Plan)
        return found

    def __str__(self) -> str:
        lines = [f"{self.verdict.name} on {self.interface}: {shortened(self.match)}"]
        lines += [f"  name: {name}" for name in self.names]
        lines += self.steps_in_words()
        lines.append(f"  protected: {self.protected}")
        lines += [f"       {self.protect}"] if self.protect is not None else []
        lines += [f"  observed: {self.observed}"] if self.observed else []
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)
