# SPDX-License-Identifier: Apache-2.0
"""The live bypass.

    open(interface, match)      matching packets come to user space     Ramp
    attach(interface, match)    matching packets end in the driver      Attachment

Needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, and CAP_NET_RAW for `open`; CAP_IPC_LOCK if the umem exceeds RLIMIT_MEMLOCK.
Linux 6.1 or later. Everything applies to the network namespace of the calling thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Never

from offramp.matcher import Match
from offramp.options import asked
from offramp.ports.batch import Batch
from offramp.ports.port import Port, Queue
from offramp.ramp import lifetime
from offramp.ramp.attachment import Attachment
from offramp.ramp.wanted import acting
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from typing_extensions import Buffer

    from offramp.options import Copying, LayoutChoice, Mode, Requirement

__all__ = ["Attachment", "Ramp", "attach", "open", "ramps"]


def open(
    interface: str,
    match: str | Match,
    *,
    mode: Mode = "auto",
    copying: Copying | None = None,
    require: Requirement | Iterable[Requirement] = (),
    layout: LayoutChoice = "auto",
    hidden_queue: int | None = None,
    queues: Iterable[int] | None = None,
    vf: int | None = None,
    observe: float | str = 0.5,
    probe: bool = False,
    share: float | None = None,
    frames: int = 4096,
    ring: int = 2048,
    stall: float | str | None = 1.0,
    protect: bool | str | Match = True,
    resolve: bool = False,
    **unknown: Never,
) -> Ramp:
    """Take the packets that arrive on `interface` and match (a tcpdump expression; "" is every packet) into user space.

    Everything else goes on to the kernel. Unless `protect` is False, so do protected packets, with SSH and routing
    protocols that are found now: `ramp.plan.protected` says which. docs/options.md lists the options' values. A time is
    a number of seconds or text ("500ms", "1m30s"):

    - `mode`: where XDP runs: in the driver (native) or, slowly, in the stack (generic); auto: native if the driver can
    - `copying`: who writes packets to our memory: the kernel (copy, where passing packets on costs nothing extra) or
      the NIC (zero-copy); auto: the NIC if its driver supports it; None: auto on a hidden queue, else as the plan says
    - `require`: modes that must not fall back; NotSupported is raised if one is not available
    - `layout`: how the flow gets to user space: the NIC brings it to a queue of its own (hidden-queue), the program
      takes it from every queue (in-driver), or it arrives on a virtual function (vf); auto: a hidden queue if the NIC
      is known to bring the flow
    - `hidden_queue`: the receive queue to hide; None: the last free one
    - `queues`: the receive queues to listen on; None: all
    - `vf`: the virtual function to use: one that exists and that nobody uses; None: a new one
    - `observe`: how long to watch whether the NIC delivers the flow to its hidden queue; 0: do not watch; if it does
      not, another layout is tried, and nothing is lost
    - `probe`: make a peer answer with a packet of the flow meanwhile (a SYN, an echo request): for a silent flow whose
      match names both addresses and, for TCP or UDP, both ports
    - `share`: your estimate of the part of all packets that matches, from 0 to 1: decides between copy and zero-copy;
      None: not known
    - `frames`: the packet memory of each queue, in frames of 2048 bytes (4096 for an MTU above 1770)
    - `ring`: the entries of each ring of a queue, a power of two
    - `stall`: how long the reader may go without looking for packets; then the kernel gets the flow until it looks
      again; None: never
    - `protect`: what keeps a link, a route or a login alive (ARP, STP, LACP, DHCP, ICMP errors, SSH and more:
      docs/protection.md) stays with the kernel, even if it matches; False: it does not; a match: its packets stay
      there, too
    - `resolve`: look up names of hosts and networks in the match, now and once: all addresses of a host are meant; on
      the command line this is so unless -n is given

    What is changed of the interface for this (`ramp.plan.changes`: offloads, the RSS table, rules, VFs) is first
    written to a journal. It is given back on close; if this process is killed, a guardian gives it back. Several ramps
    of a process may share an interface, each with its own receive queues; a packet goes to the first one that it
    matches. Another process is refused.

    Errors: MatchError, OptionError, NoSuchInterface, InterfaceDown, InterfaceBusy, InterfaceError, NotSupported,
    PrivilegeError, KernelError; after any of them the interface is as it was.
    Source: Documentation/networking/af_xdp.rst.
    """
    return Ramp(interface, match, Verdict.CLAIM, asked("open", locals()))


def attach(
    interface: str,
    match: str | Match,
    verdict: Verdict = Verdict.DROP,
    *,
    mode: Mode = "auto",
    require: Requirement | Iterable[Requirement] = (),
    protect: bool | str | Match = True,
    resolve: bool = False,
    **unknown: Never,
) -> Attachment:
    """Give matching packets a verdict in the driver, without a socket: DROP, TX (send back as they are), PASS (count).

    Options and errors as for `open`:

    - `mode`: where XDP runs: in the driver (native) or, slowly, in the stack (generic); auto: native if the driver can
    - `require`: modes that must not fall back; NotSupported is raised if one is not available
    - `protect`: what keeps a link, a route or a login alive (ARP, STP, LACP, DHCP, ICMP errors, SSH and more:
      docs/protection.md) stays with the kernel, even if it matches; False: it does not; a match: its packets stay
      there, too
    - `resolve`: look up names of hosts and networks in the match, now and once: all addresses of a host are meant; on
      the command line this is so unless -n is given

    Nobody reads an attachment, so it raises nothing while the interface is down; the verdict acts again when it is up.
    `check()` raises what a reader would be told.
    """
    options = asked("attach", locals())
    return Attachment(interface, match, acting(verdict), options)


def ramps() -> list[Attachment]:
    """The ramps and attachments that this process has open, in order of opening. In a forked child: none.

    Needs no privileges.
    """
    return lifetime.living()


class Ramp(Attachment):
    """Claimed packets, live. A context manager and an iterable of batches; made by `open`."""

    @property
    def port(self) -> Port:
        """The sockets. Closing the ramp closes them; closing the port does not close the ramp."""
        sockets = self._execution.live.sockets
        assert sockets is not None
        return sockets.port

    @property
    def queues(self) -> Sequence[Queue]:
        """One for each socket, to read in threads of their own: `for batch in ramp.queues[0]`."""
        return self.port.queues

    @property
    def zero_copy(self) -> bool:
        """Whether all sockets are in zero-copy mode, as the kernel reports it."""
        return all(queue.zero_copy for queue in self.queues)

    def rx(self, timeout: float | None = None) -> Batch | None:
        """The next packets of any queue, up to 256. Waits at most `timeout` seconds; 0: not at all; None: for ever.

        Returns None if none came. Errors: BatchInUse, InterfaceDown, InterfaceGone, Closed.
        """
        return self.port.rx(timeout)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of all queues in turn, until the ramp is closed. Errors: see `Port.rx`; Closed if it was closed
        before.
        """
        return self._batches(iter(self.port))

    def _batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        yield from batches  # in a method, because the loop also has to keep this ramp alive

    def tx(self, batch: Batch, mask: ArrayLike | None = None, timeout: float = 1.0, queue: int | None = None) -> int:
        """Send the packets of `batch`, or those that `mask` selects, back out of this interface without a copy.

        They go out of the queue they came in on; `queue` names another. Packets with live views are copied. Returns how
        many were accepted, in order. Errors: OptionError for packets that were already sent.
        """
        return self.port.tx(batch, mask, timeout, queue)

    def send(self, frames: Buffer | Iterable[Buffer], queue: int = 0, timeout: float = 1.0) -> int:
        """Copy `frames` (bytes from the Ethernet header on) to the tx ring of `queue`. Returns how many were accepted.

        If these are fewer than given, the interface took no more in `timeout` seconds. Errors: OptionError.
        """
        return self.port.send(frames, queue, timeout)

    def flush(self, timeout: float = 1.0) -> int:
        """Wait until everything sent has left, `timeout` seconds on each queue. Returns how many frames have not."""
        return self.port.flush(timeout)
