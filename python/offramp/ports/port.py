# SPDX-License-Identifier: Apache-2.0
"""Ports: frames in and out of user space in batches, whatever the technique.

    port = open_port("loop:a")    # by name; `offramp.open` makes the ports of ramps
    for batch in port:            # all queues in turn; waits for packets; ends when the port is closed or has ended
    for batch in port.queues[1]:  # one queue, in a thread of its own
    port.rx(timeout=0.1)          # a batch, or None
    port.tx(batch)                # send the batch's own frames, without a copy
    port.send([b"..."])           # send bytes
    port.events()                 # what has happened to its interface: carrier, state, name

Receiving and sending release the GIL, so each queue can have a thread of its own. One thread at a time uses a queue; a
second one waits.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

from offramp import process
from offramp.arguments import several, short, text, truth, whole_number
from offramp.errors import Closed, OptionError
from offramp.immutable import immutable
from offramp.ports.batch import Batch, listed
from offramp.ports.events import PortEvent
from offramp.ports.ledger import QueueLedger
from offramp.public import Public, in_numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from typing_extensions import Buffer

    from offramp import _native

__all__ = ["Facts", "Port", "Queue", "open_port"]

_MOST_BYTES: Final = 65536  # of a packet
_PACKETS: Final = "packets, each of them bytes"


@immutable
class Facts:
    """What a port is, and what is really in effect, as the kernel or the port itself reports it."""

    kind: str  # as in its name: "null", "loop", "af_xdp"
    target: str
    modes: tuple[str, ...]  # "zero-copy" or "copy"; "trace", "faults" around it, the outermost first
    timestamps: str  # see `Batch.timestamp_source`
    largest_frame: int  # the largest that it sends, in bytes
    sends: bool  # False: a receive queue of an interface with fewer transmit queues

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"


class _Receiver(Public):
    """What a port and a single queue have in common."""

    _native: _native.Port

    def rx(self, timeout: float | None = None) -> Batch | None:
        """The next packets, up to 256. Waits at most `timeout` seconds; 0: not at all; None: until there are some.

        None if there are none; at once if the stream has ended. Errors: BatchInUse, InterfaceDown, InterfaceGone,
        Closed; of a ramp also Detached. KeyboardInterrupt is raised promptly.
        """
        raise NotImplementedError

    def __iter__(self) -> Iterator[Batch]:
        """Batches until the port is closed or has ended. Errors: as `rx`; Closed only if it was closed before."""
        self._native.check()
        return self._batches()

    def _batches(self) -> Iterator[Batch]:
        while True:
            try:
                batch = self.rx()
            except Closed:
                return
            if batch is None:  # there was no timeout, so this is the end
                return
            yield batch


class Queue(_Receiver):
    """One queue of a port."""

    def __init__(self, native: _native.Port, place: int) -> None:
        self._native = native
        self.place = place

    def rx(self, timeout: float | None = None) -> Batch | None:
        burst = self._native.rx(self.place, timeout)
        return Batch(burst) if burst is not None else None

    def send(self, frames: Buffer | Iterable[Buffer], timeout: float = 1.0) -> int:
        """Copy `frames` (bytes from the Ethernet header on) to the tx ring. Returns how many were accepted.

        If these are fewer than given, the interface took no more in `timeout` seconds; the ledger counts the rest as
        tx_ring_full. Frames have 14 bytes to the interface's MTU + 18 (header and VLAN tag); in memory, 1 byte to what
        a frame holds: see `facts.largest_frame`. Errors: OptionError naming a frame of another length, or if this queue
        can only receive; then none is sent.
        """
        return self._native.send(self.place, listed(frames), timeout)

    def flush(self, timeout: float = 1.0) -> int:
        """Wait until everything sent has left. Returns how many frames have not left after `timeout` seconds."""
        return self._native.flush(self.place, timeout)

    @property
    def zero_copy(self) -> bool:
        """Whether the driver writes packets straight into the umem, as the kernel reports it."""
        self._native.check()
        return "zero-copy" in self.facts.modes

    @property
    def facts(self) -> Facts:
        """What this queue is."""
        return Facts(**self._native.facts(self.place))

    @property
    def ended(self) -> str | None:
        """How its stream of packets ended, once a reader was told so by `rx` or by the end of a loop."""
        return self._native.ended(self.place)

    def ledger(self) -> QueueLedger:
        """This queue's counters; after `close`, their last values. Errors: Closed, in a forked child."""
        return QueueLedger(**self._native.counters(self.place), ended=self.ended)

    def __repr__(self) -> str:
        try:
            self._native.check()
        except Closed:
            return f"<Queue {self.place} of {self.facts}, closed>"
        return f"<Queue {', '.join((f'{self.place} of {self.facts}', *self.facts.modes))}>"


class Port(_Receiver):
    """Queues of one interface, or of none. A context manager."""

    def __init__(self, native: _native.Port) -> None:
        self._native = native
        self.queues: Sequence[Queue] = tuple(Queue(native, place) for place in range(native.queues))
        self._closed = False
        _open_here.add(self)

    @classmethod
    def null(
        cls,
        packets: Iterable[Buffer] = (),
        *,
        repeat: bool | None = None,
        queues: int | None = None,
        frames: int | None = None,
        frame_size: int | None = None,
        ring: int | None = None,
    ) -> Self:
        """`null:` a port in memory, without a kernel or privileges. It measures the cost of the framework, and tests
        applications anywhere.

        `packets` arrive in turn, for ever, as fast as they are read; what is sent is gone. So a loop over the port does
        not end by itself: call `rx` as often as you need, or pass `repeat=False`, and each packet arrives once. The
        rest is as `offramp ports` says of `null:`.
        """
        from offramp import _native

        sizes = {"queues": queues, "frames": frames, "frame_size": frame_size, "ring": ring}
        options: dict[str, object] = {
            name: whole_number(name, size) for name, size in sizes.items() if size is not None
        }
        if repeat is not None:
            options["repeat"] = truth("repeat", repeat)
        return cls(_native.Port.open("null:", packets=_templates(packets), **options))

    @property
    def facts(self) -> Facts:
        """What the port is; the facts of its first queue, which hold for all."""
        return self.queues[0].facts

    @property
    def ended(self) -> str | None:
        """How the stream of packets ended, once a reader was told on each queue; None while some may still arrive."""
        endings = [queue.ended for queue in self.queues]
        return endings[0] if all(endings) else None

    def rx(self, timeout: float | None = None) -> Batch | None:
        burst = self._native.rx(None, timeout)
        return Batch(burst) if burst is not None else None

    def tx(self, batch: Batch, mask: ArrayLike | None = None, timeout: float = 1.0, queue: int | None = None) -> int:
        """Send the packets of `batch`, or those that `mask` selects, out of the queue they came in on.

        If that queue can only receive, and for packets of other ports, it is the first queue that can send; `queue`
        names another one for either. Frames of that queue are moved, not copied: the batch no longer has them. Packets
        with live views, and packets of other queues and ports, are copied. Returns how many were accepted, in order; a
        `timeout` of 0 takes what has room at once, so a reader is never held up. Errors: OptionError for packets that
        were already sent or cannot be, as `Queue.send` has it; then none is sent.
        """
        if not isinstance(batch, Batch):
            raise OptionError(f"batch={short(batch)}", reason="not a Batch", hint="send() takes bytes")
        chosen = batch if mask is None else batch.select(mask)
        place = None if queue is None else _place(queue)
        return self._native.tx(place, chosen._burst, timeout)

    def send(self, frames: Buffer | Iterable[Buffer], queue: int = 0, timeout: float = 1.0) -> int:
        """Copy `frames` (bytes from the Ethernet header on) to the tx ring of `queue`: see `Queue.send`."""
        return self._native.send(_place(queue), listed(frames), timeout)

    def flush(self, timeout: float = 1.0) -> int:
        """Wait until everything sent has left, `timeout` seconds altogether. Returns how many frames have not."""
        start = time.monotonic()
        left = self.queues[0].flush(timeout)
        return left + sum(queue.flush(max(timeout - (time.monotonic() - start), 0)) for queue in self.queues[1:])

    def discard(self, seconds: float) -> int:
        """Receive and drop for `seconds` in native code alone: the fastest reader there is. Returns the number."""
        return self._native.discard(seconds)

    def ledgers(self) -> tuple[QueueLedger, ...]:
        """The counters of each queue: see `Queue.ledger`."""
        return tuple(queue.ledger() for queue in self.queues)

    def events(self) -> list[PortEvent]:
        """What has happened to the interface since the last call, the oldest first: see docs/events.md. Never waits.

        Each event is told once. The newest 256 are kept. Of the port of a ramp, `ramp.events` has them. Ports without
        an interface have none.
        """
        return [PortEvent.of(event) for event in self._native.events()]

    def close(self) -> None:
        """Close the sockets. Batches and views that are still alive stay readable. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._native.close()

    def _abandon(self) -> None:
        """In a forked child: make the parent's descriptor numbers lead nowhere. Nothing is called any more."""
        if not self._closed:
            self._closed = True
            self._native.abandon()

    def __repr__(self) -> str:
        count = in_numbers(len(self.queues), "queue")
        state = "closed" if self._closed else ", ".join((count, *self.facts.modes))
        return f"<Port {self.facts}, {state}>"

    def __enter__(self) -> Self:
        self._native.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_port(uri: str, **options: object) -> Port:
    """The port of that name: `[WRAPPER[,KEY=VALUE...]+]KIND:TARGET[,KEY=VALUE...]`.

        open_port("null:", packets=[b"..."], repeat=False)    packets from memory, once
        open_port("loop:")                                    what is sent comes back
        open_port("loop:a")                                   what is sent comes to the other end, the second to open it
        open_port("af_xdp:eth0,queue=1")                      a bare socket, for your own XDP programs
        open_port("faults,drop=0.1,seed=7+loop:a")            a wrapper that loses a tenth of what arrives

    `options` are more keys for the kind; a list is a key given several times. All kinds in memory have `frames`,
    `frame_size` and `ring`. Ports in memory need no privileges; af_xdp needs CAP_NET_RAW. To receive packets that an
    expression picks, use `offramp.open`.
        Errors: OptionError, NoSuchInterface, PrivilegeError, KernelError.
    """
    from offramp import _native

    if "packets" in options:
        options["packets"] = _templates(options["packets"])
    return Port(_native.Port.open(text("uri", uri), **options))


def _place(queue: int) -> int:
    """The number of a queue, for native code, which knows how many there are."""
    return max(-1, min(whole_number("queue", queue), 1 << 62))


def _templates(packets: object) -> list[bytes]:
    listed = several("packets", cast("Iterable[Buffer]", packets), _PACKETS)
    try:
        return [_template(memoryview(packet)) for packet in listed]
    except TypeError:
        raise OptionError(f"packets={short(packets)}", reason=f"not a list of {_PACKETS}") from None


def _template(packet: memoryview) -> bytes:
    if packet.nbytes > _MOST_BYTES:  # a buffer may say that it has any length, and have no memory for it
        raise OptionError(f"a packet of {packet.nbytes} bytes", reason=f"longer than {_MOST_BYTES}")
    return bytes(packet)


_open_here: weakref.WeakSet[Port] = weakref.WeakSet()


def _in_child() -> None:
    for port in tuple(_open_here):
        port._abandon()
    _open_here.clear()


process.holds("ports", in_child=_in_child)  # at the end of the process there is nothing to give back
