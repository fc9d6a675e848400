# SPDX-License-Identifier: Apache-2.0
"""The live bypass.

    open(interface, match)      matching packets come to user space     Ramp
    attach(interface, match)    matching packets end in the driver      Attachment

Needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, and CAP_NET_RAW for `open`; CAP_IPC_LOCK if the umem exceeds RLIMIT_MEMLOCK.
Linux 6.1 or later. Everything applies to the network namespace of the calling thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from offramp.arguments import several, short, text, whole_number
from offramp.errors import OptionError
from offramp.matcher import Match
from offramp.planner import Options
from offramp.ports.batch import Batch
from offramp.ports.port import Port, Queue
from offramp.ramp import lifetime
from offramp.ramp.attachment import Attachment
from offramp.ramp.wanted import acting
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from typing_extensions import Buffer

    from offramp.planner.options import Copying, LayoutChoice, Mode, Requirement

__all__ = ["Attachment", "Ramp", "attach", "open", "ramps"]


def open(
    interface: str,
    match: str | Match,
    *,
    mode: Mode = "auto",
    copying: Copying | None = None,
    require: Requirement | Iterable[Requirement] = (),
    layout: LayoutChoice = "auto",
    via: Literal["vf"] | None = None,
    queue: int | None = None,
    vf: int | None = None,
    observe: float = 0.5,
    probe: bool = False,
    share: float | None = None,
    queues: Iterable[int] | None = None,
    frames: int = 4096,
    ring: int = 2048,
    stall: float | None = 1.0,
    protect: bool = True,
) -> Ramp:
    """Take the packets that arrive on `interface` and match (a tcpdump expression; "" is every packet) into user space.

    Everything else goes on to the kernel, and so do, in any case, ARP, ND, DHCP, TCP port 22 at either end, and the SSH
    ports and sessions found elsewhere now: `ramp.plan.protected` says which. Options:

    - `mode`: "native" (in the driver), "generic" (in the stack, slow), "auto": native if the driver can
    - `copying`: "copy" (the kernel copies, so that passed packets cost nothing extra), "zero-copy", "auto": zero-copy
      if the driver can; None: auto on a hidden queue, else copy
    - `require`: "native", "zero-copy": an error (NotSupported) rather than a fallback
    - `layout`: "hidden-queue" (RSS leaves a receive queue out, and the NIC brings the flow there), "in-driver" (the
      program and a socket on every queue), "vf" (on a virtual function, made for it), "auto": a hidden queue if the
      NIC is known to bring this flow
    - `via`: "vf" is layout "vf"
    - `queue`: which queue is hidden, None: the last free one
    - `vf`: a virtual function that is there, and that nobody uses; None: a new one. What VFs cost: docs/vf.md
    - `observe`: seconds, at most, in which it is looked whether the NIC brings the flow to its hidden queue, as
      `ramp.plan.observed` says; if it arrives elsewhere, another way is taken; no packet is lost meanwhile; 0: never
    - `probe`: make a peer answer with a packet of the flow meanwhile (a SYN, an echo request): for a flow that is
      silent, and names both addresses and, of TCP or UDP, both ports
    - `share`: of all packets, those that match, from 0 to 1, as far as you know: decides about zero-copy
    - `queues`: receive queues to listen on, in the driver; None: all
    - `frames`: packet memory per queue, in frames of 2048 bytes (4096 for an MTU above 1770), at most 1,048,576
    - `ring`: entries of each ring of a queue, a power of two
    - `stall`: seconds without `rx` after which the kernel gets the flow until the reader is back, None: never
    - `protect`: False diverts ARP, ND, DHCP and SSH too, if they match

    What is changed of the interface for it (`ramp.plan.changes`: offloads, the RSS table, rules, VFs) is written down
    before, and given back on close, by a guardian if this process is killed. Several ramps of a process may share an
    interface, each with receive queues of its own; the first whose match says yes gets a packet. Another process is
    refused.

    Errors: MatchError, OptionError, NoSuchInterface, InterfaceDown, InterfaceBusy, InterfaceError, NotSupported,
    PrivilegeError, KernelError; after any of them the interface is as it was.
    Source: Documentation/networking/af_xdp.rst.
    """
    options = Options(
        mode=mode,
        copying=copying,
        require=_requirements(require),
        layout=_layout(layout, via),
        queue=queue,
        vf=vf,
        observe=observe,
        probe=probe,
        share=share,
        queues=_queues(queues),
        frames=whole_number("frames", frames),
        ring=whole_number("ring", ring),
        stall=stall,
        protect=protect,
    )
    return Ramp(interface, match, Verdict.CLAIM, options)


def attach(
    interface: str,
    match: str | Match,
    verdict: Verdict = Verdict.DROP,
    *,
    mode: Mode = "auto",
    require: Requirement | Iterable[Requirement] = (),
    protect: bool = True,
) -> Attachment:
    """Give matching packets a verdict in the driver, without a socket: DROP, TX (send back as they are), PASS (count).

    Options and errors as for `open`. It has no reader whom anything could be told: while the interface is down nothing
    arrives, and the verdict acts again when it is up.
    """
    acts = acting(verdict)
    options = Options(mode=mode, require=_requirements(require), protect=protect)
    if options.wants_zero_copy:
        raise OptionError("attach with require='zero-copy'", reason="it has no socket to copy to")
    return Attachment(interface, match, acts, options)


def ramps() -> list[Attachment]:
    """What this process holds: the ramps and attachments that are open, in order of opening. In a forked child: none.

    Needs no privileges.
    """
    return lifetime.living()


def _layout(layout: LayoutChoice, via: Literal["vf"] | None) -> LayoutChoice:
    if via is None:
        return layout
    if via != "vf":
        raise OptionError(f"via={short(via)}", reason='not "vf"')
    if layout not in ("auto", "vf"):
        raise OptionError(f"via='vf' in layout {layout}", reason="they exclude each other")
    return "vf"


def _queues(given: Iterable[int] | None) -> tuple[int, ...] | None:
    return None if given is None else tuple(whole_number("queue", queue) for queue in several("queues", given))


def _requirements(given: Requirement | Iterable[Requirement]) -> frozenset[Requirement]:
    wanted = (given,) if isinstance(given, str) else several("require", given)
    for requirement in wanted:
        text("require", requirement)
    return frozenset(wanted)


class Ramp(Attachment):
    """Claimed packets, live. A context manager and an iterable of batches; made by `open`."""

    @property
    def port(self) -> Port:
        """The sockets. Closing the ramp closes them, and not the other way round."""
        sockets = self._execution.live.sockets
        assert sockets is not None
        return sockets.port

    @property
    def queues(self) -> Sequence[Queue]:
        """One per socket, for a thread each: `for batch in ramp.queues[0]`."""
        return self.port.queues

    @property
    def zero_copy(self) -> bool:
        """Whether all sockets are in zero-copy mode, as the kernel reports it."""
        return all(queue.zero_copy for queue in self.queues)

    def rx(self, timeout: float | None = None) -> Batch | None:
        """The next packets of any queue: see `Port.rx`."""
        return self.port.rx(timeout)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of all queues in turn, until the ramp is closed. Errors: see `Port.rx`; Closed if it is already."""
        return self._batches(iter(self.port))

    def _batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        yield from batches  # in a method, as the loop has to keep this ramp alive, too

    def tx(self, batch: Batch, mask: ArrayLike | None = None, timeout: float = 1.0, queue: int | None = None) -> int:
        """Send received packets back out of this interface without a copy: see `Port.tx`."""
        return self.port.tx(batch, mask, timeout, queue)

    def send(self, frames: Buffer | Iterable[Buffer], queue: int = 0, timeout: float = 1.0) -> int:
        """Send frames of bytes: see `Port.send`."""
        return self.port.send(frames, queue, timeout)

    def flush(self, timeout: float = 1.0) -> int:
        """Wait until everything sent has left: see `Port.flush`."""
        return self.port.flush(timeout)
