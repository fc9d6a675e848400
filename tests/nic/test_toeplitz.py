# SPDX-License-Identifier: Apache-2.0
"""The queue that offramp predicts for a flow is the one on which the device puts it.

Flows are sorted by the queue that is predicted, and sent a group at a time: the counters of other queues stand still.
With a table that spreads at random, a wrong hash shows in every second flow. igb does not tell its key: it is the one
that the kernel has for all drivers that ask it for one (net.core.netdev_rss_key).
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from offramp.gen import packets
from offramp.nic.live import LiveNic, open_nic
from offramp.nic.stats import queue_packets, statistics
from offramp.steering import Rss, queue_of
from offramp.testing import Wire
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.nic("igb")

AT_ONCE = 100  # frames: fewer than a receive ring has room for, so that none is lost
LETTERS = {"tcp4": "sdfn", "udp4": "sdfn", "ip4": "sd", "tcp6": "sdfn", "udp6": "sdfn", "ip6": "sd"}
TRANSPORTS = {"tcp": packets.tcp, "udp": packets.udp}


@pytest.fixture
def spread(wire: Wire) -> Iterator[Rss]:
    """The device with a random table, and ports hashed for UDP, too."""
    key = the_key()  # of the whole machine: hosts do not see it
    with wire.b.host:
        device = open_nic(wire.b.name)
        before = {knob: device.get(knob) for knob in ("rss.table", "rss.fields.udp4", "rss.fields.udp6")}
        table = random.Random(1).choices(sorted(set(before["rss.table"])), k=len(before["rss.table"]))
        for knob, value in (("rss.table", table), ("rss.fields.udp4", "sdfn"), ("rss.fields.udp6", "sdfn")):
            device.set(knob, value)
        yield Rss(tuple(table), key, fields(device))
        for knob, value in before.items():
            device.set(knob, value)


def the_key() -> bytes:
    """The first 40 bytes: that is how much an 82576 has room for."""
    return bytes.fromhex(Path("/proc/sys/net/core/netdev_rss_key").read_text().strip().replace(":", ""))[:40]


def fields(device: LiveNic) -> dict[str, str]:
    found = {flow: device.get(f"rss.fields.{flow}") for flow in LETTERS}
    assert found == LETTERS
    return found


def flow(rng: random.Random, wire: Wire, kind: str) -> bytes:
    """The first packet of a random flow."""
    name, version = kind[:-1], kind[-1]
    src, dst = (address(rng, version) for _ in "sd")
    if name in TRANSPORTS:
        inner = TRANSPORTS[name](sport=rng.randrange(1, 1 << 16), dport=rng.randrange(1, 1 << 16), payload=bytes(20))
    else:
        inner = packets.icmp(id=rng.randrange(1 << 16)) if version == "4" else packets.icmp6(id=rng.randrange(1 << 16))
    around = packets.ip if version == "4" else packets.ip6
    return packets.eth(around(inner, src=src, dst=dst), dst=wire.b.mac, src=wire.a.mac)


def address(rng: random.Random, version: str) -> str:
    if version == "4":
        return f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    return socket.inet_ntop(socket.AF_INET6, b"\xfd" + rng.randbytes(15))


def counted(wire: Wire) -> dict[int, int]:
    with wire.b.host:
        return queue_packets(statistics(wire.b.name))


def arrived(wire: Wire, frames: Sequence[bytes]) -> dict[int, int]:
    """Sends frames, waits for them, and says how many arrived on each queue."""
    before = counted(wire)

    def since() -> dict[int, int]:
        return {queue: count - before[queue] for queue, count in counted(wire).items()}

    with wire.a.host, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((wire.a.name, 0))
        for frame in frames:
            raw.send(frame)
    eventually(lambda: sum(since().values()) >= len(frames), 5.0)
    return since()


def groups(flows: Iterable[bytes], rss: Rss) -> Iterator[tuple[int, list[bytes]]]:
    """Flows by the queue that is predicted for them, at most AT_ONCE of them at a time."""
    by_queue: dict[int, list[bytes]] = {queue: [] for queue in rss.table}
    for frame in flows:
        by_queue[queue_of(frame, rss)].append(frame)  # type: ignore[index]
    for queue, frames in by_queue.items():
        for start in range(0, len(frames), AT_ONCE):
            yield queue, frames[start : start + AT_ONCE]


def compare(wire: Wire, rss: Rss, kind: str, count: int) -> None:
    rng = random.Random(kind)
    sent = seen = 0
    for queue, frames in groups((flow(rng, wire, kind) for _ in range(count)), rss):
        found = arrived(wire, frames)
        sent, seen = sent + len(frames), seen + found.pop(queue)
        assert not any(found.values()), f"{kind}: of {len(frames)} flows for queue {queue}, others arrived on {found}"
    assert sent == count
    assert 0.9 * count < seen < 1.1 * count  # a hub may lose a few, and others say a word


@pytest.mark.parametrize("kind", LETTERS)
def test_the_predicted_queue(wire: Wire, spread: Rss, kind: str) -> None:
    compare(wire, spread, kind, 350)


@pytest.mark.soak
@pytest.mark.parametrize("kind", LETTERS)
def test_the_predicted_queue_of_many(wire: Wire, spread: Rss, kind: str) -> None:
    compare(wire, spread, kind, 10_000)
