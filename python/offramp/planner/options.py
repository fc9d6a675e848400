# SPDX-License-Identifier: Apache-2.0
"""What the user may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from offramp.arguments import number, text, truth, whole_number
from offramp.errors import OptionError

__all__ = ["Copying", "LayoutChoice", "Mode", "Options", "Requirement"]

Mode = Literal["auto", "native", "generic"]
Copying = Literal["auto", "copy", "zero-copy"]
Requirement = Literal["native", "zero-copy"]
LayoutChoice = Literal["auto", "hidden-queue", "in-driver", "vf"]

_LEAST_RING, _MOST_RING = 64, 1 << 15
_MOST_FRAMES = 1 << 20  # 2 or 4 GiB a queue, which the kernel pins


@dataclass(frozen=True, slots=True)
class Options:
    """Checked on creation. Errors: OptionError naming the argument."""

    mode: Mode = "auto"  # where XDP runs: in the driver, or (generic) in the stack; auto: in the driver if it can
    copying: Copying | None = None  # who writes packets to the umem: the kernel copies, or the driver (zero-copy)
    require: frozenset[Requirement] = frozenset()  # turns a fallback into an error
    layout: LayoutChoice = "auto"  # how claimed packets get to our sockets; auto: the planner chooses
    queue: int | None = None  # the hidden queue; None: the last to which no rule leads
    vf: int | None = None  # a virtual function that is there, and unused; None: a new one
    queues: tuple[int, ...] | None = None  # receive queues to listen on, in the driver; None: all
    observe: float = 0.5  # seconds, at most, in which it is looked whether the NIC brings the flow; 0: not at all
    probe: bool = False  # ask a peer for a packet of the flow meanwhile
    share: float | None = None  # of all packets, those that match, from 0 to 1; None: not known
    frames: int = 4096  # per queue
    ring: int = 2048  # entries of each of the four rings of a queue
    stall: float | None = 1.0  # seconds without a look for packets after which the kernel gets the flow; None: never
    protect: bool = True  # pass ARP, ND, DHCP and SSH before the match sees them

    def __post_init__(self) -> None:
        _choice("mode", self.mode, get_args(Mode))
        if self.copying is not None:
            _choice("copying", self.copying, get_args(Copying))
        _choice("layout", self.layout, get_args(LayoutChoice))
        for requirement in sorted(self.require, key=str):
            _choice("require", requirement, get_args(Requirement))
        if self.mode == "generic" and "native" in self.require:
            raise OptionError("native required in generic mode", reason="they exclude each other")
        if self.mode == "generic" and self.wants_zero_copy:
            raise OptionError("zero-copy in generic mode", reason="zero-copy is the driver's work")
        if not _LEAST_RING <= whole_number("ring", self.ring) <= _MOST_RING or self.ring & (self.ring - 1):
            raise OptionError(f"ring={self.ring}", reason=f"not a power of two from {_LEAST_RING} to {_MOST_RING}")
        if not self.ring < whole_number("frames", self.frames) <= _MOST_FRAMES:
            raise OptionError(
                f"frames={self.frames}",
                reason=f"not from {self.ring + 1} to {_MOST_FRAMES}",
                hint="the fill ring takes as many as it has entries, and sending needs some, too",
            )
        if self.stall is not None and not 0.01 <= number("stall", self.stall) <= 3600:
            raise OptionError(
                f"stall={self.stall}", reason="not from 0.01 to 3600 seconds", hint="None, or --stall never: no limit"
            )
        if self.queues == ():
            raise OptionError("queues=()", reason="not one queue to listen on")
        for queue in self.queues or ():
            whole_number("queue", queue, least=0)
        self._check_layout()
        truth("protect", self.protect)

    def _check_layout(self) -> None:
        wanted = self.wanted_layout
        for name, given, layout in (("queue", self.queue, "hidden-queue"), ("vf", self.vf, "vf")):
            if given is not None and whole_number(name, given, least=0) >= 0 and wanted != layout:
                raise OptionError(f"{name}={given} in layout {wanted}", reason=f"it is for layout {layout}")
        if self.queues is not None and wanted in ("hidden-queue", "vf"):
            reason = "a hidden queue is one: `queue`" if wanted == "hidden-queue" else "a VF has queues of its own"
            raise OptionError(f"queues={self.queues} in layout {wanted}", reason=reason)
        if not 0 <= number("observe", self.observe) <= 60:
            raise OptionError(f"observe={self.observe}", reason="not from 0 to 60 seconds")
        if truth("probe", self.probe) and not self.observe:
            raise OptionError("a probe without observing", reason="nobody would look where its answer arrives")
        if self.share is not None and not 0 <= number("share", self.share) <= 1:
            raise OptionError(f"share={self.share}", reason="not from 0 to 1")

    @property
    def wanted_layout(self) -> LayoutChoice:
        """A hidden queue or a VF that is named is wanted."""
        if self.layout != "auto":
            return self.layout
        return "hidden-queue" if self.queue is not None else "vf" if self.vf is not None else "auto"

    @property
    def wants_zero_copy(self) -> bool:
        return self.copying == "zero-copy" or "zero-copy" in self.require


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if text(name, value) not in choices:
        raise OptionError(f"{name}={value!r}", reason=f"not one of {', '.join(choices)}")
