# SPDX-License-Identifier: Apache-2.0
"""What every port must do when packets and calls meet faults: only what the fault took is lost, in every account.

Each case opens the rig's port inside a fault injector, reads all that arrives, and sends a third of it back. Whatever
the fault is, each frame is always in one place, none is missing in the end, an error is an `OfframpError`, and closing
works. What arrives is what was sent, in order, except for what the fault did.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from offramp.errors import KernelError, OfframpError
from offramp.ports import Batch, Port, QueueLedger
from tests.rigs.port_views import everywhere, ledger, lost
from tests.rigs.ports import DEADLINE, Rig, frame, numbers

__all__ = ["FAULTS"]

_ARRIVING = [frame(number, 60 + number % 200) for number in range(300)]
_FRAMES = 512


@dataclass
class _Met:
    """The results."""

    seen: list[bytes] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)  # on the wire
    errors: list[OfframpError] = field(default_factory=list)
    offered: int = 0  # packets to be sent
    last: QueueLedger = field(default_factory=QueueLedger)


def _meet(rig: Rig, fault: str) -> _Met:
    met = _Met()
    with rig.open(_ARRIVING, around=f"faults,seed=7,{fault}+", frames=_FRAMES, ring=128) as port:
        accepted, deadline = 0, time.monotonic() + DEADLINE
        while not _all_came(port) and time.monotonic() < deadline:
            time.sleep(0.005)  # so that a batch has several packets
            try:
                batch = port.rx(timeout=0.05)
                accepted += _use(port, batch, met) if batch is not None else 0
            except OfframpError as error:
                met.errors.append(error.with_traceback(None))  # which would hold the batch
            batch = None
        assert _all_came(port)
        assert port.flush(DEADLINE) == 0
        met.last = ledger(port)
        assert everywhere(met.last) == _FRAMES
        assert (met.last.sent, met.last.completed) == (accepted, accepted)
        assert (met.last.application, met.last.strays) == (0, 0)
        rig.close(port)
        assert ledger(port) == met.last
    assert not rig.lossless or met.last.received == len(_ARRIVING)
    return met


def _all_came(port: Port) -> bool:
    return ledger(port).received + lost(port) >= len(_ARRIVING)


def _use(port: Port, batch: Batch, met: _Met) -> int:
    """Keeps what arrived, and sends a third of it back: what has an Ethernet header. Returns how many were accepted."""
    came = [bytes(view) for view in batch]
    met.seen += came
    met.lengths += batch.length.tolist()
    some = np.array([row % 3 == 0 and len(packet) >= 14 for row, packet in enumerate(came)])
    met.offered += int(some.sum())
    assert everywhere(ledger(port)) == _FRAMES
    accepted = port.tx(batch, some)
    assert everywhere(ledger(port)) == _FRAMES
    return accepted


def _in_order(seen: list[bytes], same: Callable[[bytes, bytes], bool] = bytes.__eq__, *, again: bool = False) -> bool:
    """Whether the packets are some of those that arrived, in their order; `again`: each perhaps more than once."""
    place = 0
    for packet in seen:
        while place < len(_ARRIVING) and not same(packet, _ARRIVING[place]):
            place += 1
        if place == len(_ARRIVING):
            return False
        place += not again
    return True


def packets_dropped(rig: Rig) -> None:
    met = _meet(rig, "drop=0.2")
    assert 0 < len(met.seen) < met.last.received
    assert _in_order(met.seen)
    assert not met.errors


def packets_duplicated(rig: Rig) -> None:
    met = _meet(rig, "duplicate=0.2")
    assert len(met.seen) > met.last.received
    assert len(set(met.seen)) == met.last.received
    assert _in_order(met.seen, again=True)
    assert not met.errors


def packets_corrupted(rig: Rig) -> None:
    """One bit of each packet is changed, and no byte of another packet."""

    def alike(one: bytes, other: bytes) -> bool:
        bits = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
        return len(one) == len(other) and bits.bit_count() <= 1

    met = _meet(rig, "corrupt=0.2")
    assert len(met.seen) == met.last.received
    assert not set(met.seen) <= set(_ARRIVING)
    assert _in_order(met.seen, alike)
    assert not met.errors


def packets_truncated(rig: Rig) -> None:
    """They tell how long they were."""
    met = _meet(rig, "truncate=0.2")
    assert len(met.seen) == met.last.received
    assert sum(map(len, met.seen)) < sum(met.lengths)
    assert _in_order(met.seen, lambda packet, whole: whole.startswith(packet))
    assert set(met.lengths) <= set(map(len, _ARRIVING))
    assert not met.errors


def packets_reordered(rig: Rig) -> None:
    met = _meet(rig, "reorder=0.2")
    assert len(set(met.seen)) == len(met.seen) == met.last.received
    assert numbers(met.seen) != sorted(numbers(met.seen))
    assert set(met.seen) <= set(_ARRIVING)
    assert not met.errors


def less_sent_than_offered(rig: Rig) -> None:
    met = _meet(rig, "short=0.9")
    assert met.last.sent < met.offered
    assert _in_order(met.seen)
    assert not met.errors


def calls_that_fail(rig: Rig) -> None:
    """One call fails, whether it receives or sends. The calls after it go on as if nothing had happened."""
    for number in (1, 2, 3, 4):
        met = _meet(rig, f"error={number}")
        (error,) = met.errors
        assert isinstance(error, KernelError)
        assert error.errno == errno.EIO
        assert len(met.seen) == met.last.received
        assert _in_order(met.seen)


def all_at_once(rig: Rig) -> None:
    met = _meet(rig, "drop=0.1,duplicate=0.1,corrupt=0.1,truncate=0.1,reorder=0.1,short=0.5,error=3")
    assert met.seen
    assert len(met.errors) == 1


FAULTS: tuple[Callable[[Rig], None], ...] = (
    packets_dropped,
    packets_duplicated,
    packets_corrupted,
    packets_truncated,
    packets_reordered,
    less_sent_than_offered,
    calls_that_fail,
    all_at_once,
)
