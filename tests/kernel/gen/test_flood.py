# SPDX-License-Identifier: Apache-2.0
"""The flood: every frame arrives and is valid, and the flood ends by itself."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from offramp.bpf import Map, MapType, Program, XdpLink
from offramp.emit.program import MapSlot
from offramp.emit.program import XdpProgram as CompiledProgram
from offramp.errors import InterfaceError, OfframpError, OptionError
from offramp.gen import packets
from offramp.gen.packets import eth, icmp6, ip, ip6, tcp, udp
from offramp.gen.variation import FIND_PACKET, Vary
from offramp.llvm.child import bpf_code
from offramp.testing import Flood, Interface, Meter, Wire

pytestmark = pytest.mark.speed

DROP_ALL = 'target triple = "bpfel"\ndefine i32 @drop(ptr %context) { ret i32 1 }'
ALTER = f"""target triple = "bpfel"
declare i64 @llvm.bpf.pseudo(i64, i64)
define i32 @alter(ptr %context) {{
{FIND_PACKET}
  %limit = getelementptr i8, ptr %data, i64 24
  %short = icmp ugt ptr %limit, %end
  br i1 %short, label %drop, label %check
check:
  %first = load i64, ptr %data
  %altered = icmp eq i64 %first, -1
  br i1 %altered, label %count, label %alter
count:
  %address = call i64 @llvm.bpf.pseudo(i64 2, i64 1)
  %counter = inttoptr i64 %address to ptr
  %old = load i64, ptr %counter
  %new = add i64 %old, 1
  store i64 %new, ptr %counter
  br label %drop
alter:
  %second = getelementptr i8, ptr %data, i64 8
  %third = getelementptr i8, ptr %data, i64 16
  store i64 -1, ptr %data
  store i64 -1, ptr %second
  store i64 -1, ptr %third
  br label %drop
drop:
  ret i32 1
}}"""  # counts, by MapSlot.COUNTERS, the frames that it finds altered
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33


@pytest.fixture
def dropping(wire: Wire) -> Iterator[Interface]:
    """The wire's end b, which drops all frames in the driver and counts them in rx_packets."""
    with Program.load(CompiledProgram(bpf_code(DROP_ALL)), name="drop", maps={}) as program:
        with wire.b.host:
            link = XdpLink.attach(program, wire.b.ifindex)
        with link:
            yield wire.b


def datagram(wire: Wire, dport: int = 4321) -> bytes:
    return eth(ip(udp(sport=4096, dport=dport, payload=bytes(18)), src="198.18.0.0", dst=wire.b.ip), dst=wire.b.mac)


def arrived(end: Interface, since: int = 0) -> int:
    return end.stats()["rx_packets"] - since


def test_a_million_frames_arrive(wire: Wire, dropping: Interface) -> None:
    before = arrived(dropping)
    with Flood(wire.a, datagram(wire), count=1_000_000, seconds=30) as flood:
        report = flood.wait()
        assert not flood.running
    assert (report.sent, report.refused, flood.sent) == (1_000_000, 0, 1_000_000)
    assert 0 <= arrived(dropping, before) - 1_000_000 < 10  # the host itself may report multicast groups
    print(f"{report.pps / 1e6:.2f} Mpps offered")


def test_it_ends_by_itself_after_its_seconds(wire: Wire, dropping: Interface) -> None:
    with Flood(wire.a, datagram(wire), seconds=0.3) as flood:
        time.sleep(0.1)
        assert flood.running
        first = flood.sent
        report = flood.wait()
    assert 0 < first < report.sent == flood.sent
    assert 0.3 <= report.seconds < 5


def test_it_stops_when_told_and_on_exit(wire: Wire, dropping: Interface) -> None:
    before = arrived(dropping)
    with Flood(wire.a, datagram(wire), seconds=60) as flood:
        time.sleep(0.05)
        report = flood.stop()
        assert not flood.running
    assert 0 < report.sent == flood.sent
    assert 0 <= arrived(dropping, before) - report.sent < 10
    with Flood(wire.a, datagram(wire), seconds=60) as flood:
        pid = flood.pid
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("rate", [2_000, 100_000, 500_000])
def test_a_rate_is_kept(wire: Wire, dropping: Interface, rate: int) -> None:
    """Within 5 %.  The CPU may be busy with others just then: so it has a few tries."""
    offered = []
    for _ in range(5):
        with Flood(wire.a, datagram(wire), rate=rate, seconds=0.5) as flood:
            report = flood.wait()
        assert report.pps <= 1.05 * rate
        offered.append(report.pps)
        if report.pps >= 0.95 * rate:
            return
    pytest.fail(f"asked for {rate} frames/s, sent {offered}")


def test_a_full_ring_refuses_and_that_is_counted(wire: Wire, dropping: Interface) -> None:
    """With the receiver on the flood's own CPU, in a thread, frames come faster than they are taken."""
    dropping.set_threaded_napi(True, cpu=0)
    before = arrived(dropping)
    with Flood(wire.a, datagram(wire), count=300_000, seconds=30) as flood:
        report = flood.wait()
    time.sleep(0.2)  # for what is in the ring
    assert report.refused > 0
    assert 0 <= arrived(dropping, before) + report.refused - report.sent < 10


def test_the_time_that_it_takes_is_measured(wire: Wire, dropping: Interface) -> None:
    napi = dropping.set_threaded_napi(True)
    with Flood(wire.a, datagram(wire), seconds=20) as flood:
        with Meter(flood=[flood.pid], napi=napi) as meter:
            time.sleep(1)
        used = meter.usage
        with pytest.raises(ProcessLookupError), Meter(flood=[flood.pid]):
            flood.stop()
    assert 0.05 < used.cpu_ns["flood"] / 1e9 <= 1.05 * used.seconds
    assert 0 < used.cpu_ns["napi"] / 1e9 <= 1.05 * used.seconds
    assert 0 <= used.foreign <= 1


def frames(kind: str, wire: Wire) -> bytes:
    inside = {
        "udp": udp(sport=4096, dport=4321, payload=b"payload"),
        "tcp": tcp(sport=4096, dport=4321, seq=0x12345678),
        "udp6": udp(sport=4096, dport=4321, payload=b"payload"),
        "tcp6": tcp(sport=4096, dport=4321, payload=bytes(100)),
        "icmp6": icmp6(type=129),
    }[kind]
    if kind.endswith("6"):
        return eth(ip6(inside, src="fd77::198:7", dst=wire.b.ip6), dst=wire.b.mac)
    return eth(ip(inside, src="198.18.7.7", dst=wire.b.ip), dst=wire.b.mac)


@pytest.mark.parametrize(
    ("kind", "vary"),
    [(kind, vary) for kind in ("udp", "tcp", "udp6", "tcp6") for vary in ("none", "src", "sport")] + [("icmp6", "src")],
)
def test_every_frame_is_valid_and_varies(wire: Wire, kind: str, vary: Vary) -> None:
    template = frames(kind, wire)
    wire.b.gro(True)
    with wire.b.host, socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as tap:
        tap.bind((wire.b.name, ETH_P_ALL))
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)  # each live frame counts as a whole page
        tap.settimeout(5)
        with Flood(wire.a, template, vary=vary, count=600, rate=20_000):
            seen: list[bytes] = []
            while len(seen) < 600:
                frame, (_, _, kind_of_packet, *_) = tap.recvfrom(2048)
                if kind_of_packet == socket.PACKET_HOST and frame[:14] == template[:14] and frame[-2:] == template[-2:]:
                    seen.append(frame)
    assert len(set(seen)) == (1 if vary == "none" else 600)
    for frame in seen:
        assert len(frame) == len(template)
        assert frame == without_udp_sum(packets.with_checksums(frame), frame)


def without_udp_sum(frame: bytes, like: bytes) -> bytes:
    """UDP over IPv4 may go without a sum, and does when it varies."""
    found = packets.layers(like)
    assert found is not None
    at = found.transport + packets.CHECKSUM_AT[packets.UDP]
    if found.version == 4 and found.protocol == packets.UDP and like[at : at + 2] == bytes(2):
        return frame[:at] + bytes(2) + frame[at + 2 :]
    return frame


def test_a_kernel_socket_receives_from_many_sources(wire: Wire) -> None:
    wire.b.gro(True)
    with wire.b.host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        sock.bind((wire.b.ip, 4321))
        sock.settimeout(5)
        with Flood(wire.a, datagram(wire), count=1000, rate=5000):
            sources = [sock.recvfrom(2048)[1][0] for _ in range(1000)]
    assert sorted(sources, key=socket.inet_aton) == [f"198.18.{n >> 8}.{n & 255}" for n in range(1000)]


def test_frames_that_a_receiver_altered_are_sent_whole(wire: Wire) -> None:
    """The kernel sends frames again as they come back: this receiver overwrites the beginning of each, and drops it."""
    with (
        Map.create(MapType.ARRAY, 4, 8, 1) as already_altered,
        Program.load(
            CompiledProgram(bpf_code(ALTER)), name="alter", maps={MapSlot.COUNTERS: already_altered}
        ) as program,
    ):
        with wire.b.host:
            link = XdpLink.attach(program, wire.b.ifindex)
        with link, Flood(wire.a, datagram(wire), count=20_000) as flood:
            flood.wait()
        assert already_altered.lookup(bytes(4)) == bytes(8)


def test_a_receiver_that_takes_no_live_frames_is_an_error(wire: Wire) -> None:
    with Flood(wire.a, datagram(wire), count=1000) as flood, pytest.raises(InterfaceError, match=r"gro\(True\)"):
        flood.wait()


def test_bad_orders_are_refused(wire: Wire) -> None:
    for bad in ({"rate": 0}, {"count": 0}, {"seconds": 0}):
        with pytest.raises(OptionError, match="above zero"):
            Flood(wire.a, datagram(wire), **bad)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="Ethernet header"):
        Flood(wire.a, bytes(13))
    with pytest.raises(OptionError, match="no such field"), Flood(wire.a, bytes(64), vary="src"):
        pass
    too_long = eth(ip(udp(sport=1, dport=2, payload=bytes(5000)), src="198.18.0.1", dst=wire.b.ip))
    with Flood(wire.a, too_long, count=1) as flood, pytest.raises(OfframpError, match="EINVAL"):
        flood.wait()


VICTIM = """
import time
from offramp.testing import Flood, Lab
from offramp.testing.packets import eth, ip, udp
lab = Lab()
wire = lab.wire(lab.host("a"), lab.host("b"))
wire.b.gro(True)
template = eth(ip(udp(sport=1, dport=2), src="198.18.0.1", dst=wire.b.ip), dst=wire.b.mac)
with Flood(wire.a, template, rate=1000, seconds=60) as flood:
    print(flood.pid, flush=True)
    time.sleep(60)
"""


def test_a_flood_dies_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        pid = os.pidfd_open(int(victim.stdout.readline()))
        victim.kill()
    try:
        ended, _, _ = select.select([pid], [], [], 5)
        assert ended
    finally:
        os.close(pid)
