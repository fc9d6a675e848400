# SPDX-License-Identifier: Apache-2.0
"""Ports: frames in and out of user space in batches, whatever the technique.

    for batch in port:            # all queues in turn; waits for packets, ends when the port is closed
    for batch in port.queues[1]:  # one queue, in a thread of its own
    port.rx(timeout=0.1)          # a batch, or None
    port.tx(batch)                # send the batch's own frames, without a copy
    port.send([b"..."])           # send bytes

Receiving and sending release the GIL, so that each queue can have a thread. A queue is used by one thread at a time; a
second one waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from offramp.arguments import several, short, whole_number
from offramp.errors import Closed, OptionError
from offramp.ports.batch import Batch
from offramp.ports.ledger import QueueLedger

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from typing_extensions import Buffer

    from offramp import _native

__all__ = ["Port", "Queue"]

# A port in memory has the limits that its fields and sense give it.
_LARGEST, _MOST_FRAMES, _MOST_QUEUES = 1 << 16, 1 << 20, 1 << 10


class _Receiver:
    """What a port and a single queue of it have in common."""

    _native: _native.Port

    def rx(self, timeout: float | None = None) -> Batch | None:
        """The next packets, up to 256. Waits `timeout` seconds at most, 0: not at all, None: until there are some.

        None if there are none. Errors: BatchInUse, InterfaceDown, InterfaceGone, Closed; KeyboardInterrupt is prompt.
        """
        raise NotImplementedError

    def __iter__(self) -> Iterator[Batch]:
        """Batches until the port is closed. Errors as for `rx`; Closed only if it is closed already."""
        self._native.check()
        return self._batches()

    def _batches(self) -> Iterator[Batch]:
        while True:
            try:
                batch = self.rx()
            except Closed:
                return
            if batch is not None:
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

        Fewer than given means that the interface took no more in `timeout` seconds.
        """
        return self._native.send(self.place, _listed(frames), timeout)

    def flush(self, timeout: float = 1.0) -> int:
        """Wait until everything sent has left. Returns how many frames have not, after `timeout` seconds."""
        return self._native.flush(self.place, timeout)

    @property
    def zero_copy(self) -> bool:
        """Whether the driver writes packets straight to the umem, as the kernel reports it."""
        return self._native.zero_copy(self.place)

    def ledger(self) -> QueueLedger:
        """This queue's counters."""
        return QueueLedger(**self._native.counters(self.place))

    def __repr__(self) -> str:
        return f"<queue {self.place}>"


class Port(_Receiver):
    """Queues of one endpoint. A context manager."""

    def __init__(self, native: _native.Port) -> None:
        self._native = native
        self.queues: Sequence[Queue] = tuple(Queue(native, place) for place in range(native.queues))
        self._closed = False

    @classmethod
    def null(
        cls,
        packets: Iterable[Buffer] = (),
        *,
        queues: int = 1,
        frames: int = 4096,
        frame_size: int = 2048,
        ring: int = 2048,
    ) -> Self:
        """`null:` a port in memory, without a kernel or privileges. `packets` arrive in turn, again and again, for ever
        and as fast as they are read; what is sent is gone. A loop over it does not end by itself: call `rx` as often
        as you need. It measures the cost of the framework, and tests applications anywhere.
        """
        from offramp import _native

        for name, size in (("ring", ring), ("frame_size", frame_size)):
            if whole_number(name, size) < 1 or size > _LARGEST or size & (size - 1):
                raise OptionError(f"{name}={size}", reason=f"not a power of two up to {_LARGEST}")
        whole_number("queues", queues, 1, _MOST_QUEUES)
        whole_number("frames", frames, 1, _MOST_FRAMES)
        try:
            templates = [bytes(memoryview(packet)) for packet in packets]
        except TypeError:
            reason = "not a list of packets, each of them bytes"
            raise OptionError(f"packets={short(packets)}", reason=reason) from None
        return cls(_native.Port.null(templates, queues=queues, frames=frames, frame_size=frame_size, ring=ring))

    def rx(self, timeout: float | None = None) -> Batch | None:
        burst = self._native.rx(None, timeout)
        return Batch(burst) if burst is not None else None

    def tx(self, batch: Batch, mask: ArrayLike | None = None, timeout: float = 1.0) -> int:
        """Send the packets of `batch`, or those that `mask` selects, out of the queue they came in on.

        Frames of this port are moved, not copied: the batch no longer has them. Packets with live views, and packets
        of other ports, are copied. Returns how many were accepted, in order.
        Errors: OptionError for packets that were sent before.
        """
        if not isinstance(batch, Batch):
            raise OptionError(f"batch={short(batch)}", reason="not a Batch", hint="send() takes bytes")
        chosen = batch if mask is None else batch.select(mask)
        return self._native.tx(chosen.queue % len(self.queues), chosen._burst, timeout)

    def send(self, frames: Buffer | Iterable[Buffer], queue: int = 0, timeout: float = 1.0) -> int:
        """`Queue.send` on queue number `queue` of the port."""
        if not 0 <= whole_number("queue", queue) < len(self.queues):
            raise OptionError(f"queue {queue}: the port has queues 0 to {len(self.queues) - 1}")
        return self.queues[queue].send(frames, timeout)

    def flush(self, timeout: float = 1.0) -> int:
        """`Queue.flush` on each queue."""
        return sum(queue.flush(timeout) for queue in self.queues)

    def discard(self, seconds: float) -> int:
        """Receive and drop for `seconds`, in native code alone: the fastest reader there is. Returns the number."""
        return self._native.discard(seconds)

    def ledgers(self) -> tuple[QueueLedger, ...]:
        """The counters of each queue."""
        return tuple(queue.ledger() for queue in self.queues)

    def close(self) -> None:
        """Close the sockets. Batches and views that are still alive stay readable. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._native.close()

    def _abandon(self) -> None:
        """In a forked child: the numbers of the parent's descriptors lead nowhere, and nothing is called any more."""
        if self._closed:
            return
        self._closed = True
        nowhere = os.eventfd(0, os.EFD_CLOEXEC)
        for fd in self._native.fds():
            os.dup2(nowhere, fd, inheritable=False)
        os.close(nowhere)
        self._native.abandon()

    def __enter__(self) -> Self:
        self._native.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _listed(frames: Buffer | Iterable[Buffer]) -> list[Buffer]:
    """One frame or many. A matrix, which is both a buffer and an iterable, has a frame in each row."""
    try:
        is_one = memoryview(frames).ndim == 1  # type: ignore[arg-type]  # that is what we want to know
    except TypeError:
        is_one = False
    return [frames] if is_one else list(several("frames", frames))  # type: ignore[list-item, arg-type]
