# SPDX-License-Identifier: Apache-2.0
"""A plan is data: ordered steps, each with its layer, its reason and its undo."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from offramp.verdict import Verdict

__all__ = ["Layer", "Plan", "Step", "shortened"]

Layer = Literal["nic", "xdp", "user"]


_SHOWN = 200  # characters of a match


def shortened(match: str) -> str:
    """A canonical match for people, who do not read ten thousand addresses."""
    if len(match) <= _SHOWN:
        return match or "every packet"
    return f"{match[:_SHOWN]}... ({len(match):,} characters)"


@dataclass(frozen=True, slots=True)
class Step:
    """One change, and how it is taken back."""

    layer: Layer
    what: str
    why: str
    undo: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How a match is put onto an interface. `str(plan)` explains it; `to_dict()` is JSON-ready."""

    interface: str
    ifindex: int
    match: str  # canonical text; "" is every packet
    verdict: Verdict
    mode: Literal["native", "generic"]
    copying: Literal["auto", "copy", "zero-copy"] | None  # None: no socket
    queues: tuple[int, ...]  # with a socket; empty for a verdict in the driver
    all_queues: int  # receive queues in use
    frames: int
    frame_size: int  # bytes
    ring: int
    stall: float | None
    protect: str | None  # the match of what is never diverted
    protected: str  # the same in words
    vlan_metadata: bool  # the driver is asked for VLAN tags out of band
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]

    @property
    def umem_bytes(self) -> int:
        """Packet memory of all queues together."""
        return len(self.queues) * self.frames * self.frame_size

    def to_dict(self) -> dict[str, object]:
        return asdict(self) | {"verdict": self.verdict.name, "umem_bytes": self.umem_bytes}

    def __str__(self) -> str:
        lines = [f"{self.verdict.name} on {self.interface}: {shortened(self.match)}"]
        for number, step in enumerate(self.steps, 1):
            lines.append(f"  {number}. [{step.layer}] {step.what}")
            lines.append(f"       why:  {step.why}")
            lines.append(f"       undo: {step.undo}")
        lines.append(f"  protected: {self.protected}")
        lines += [f"       {self.protect}"] if self.protect is not None else []
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)
