# SPDX-License-Identifier: Apache-2.0
"""Generated programs in the kernel: each one loads, and says of each packet what the reference says."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import settings

import offramp
from offramp import bpf
from offramp.bpf.syscall import Command
from offramp.bpf.syscall import bpf as bpf_call
from offramp.compile.flow import TAG_ETHERTYPES
from offramp.compile.llvm import bpf_code
from offramp.compile.program import COUNTERS, MapSlot, Spec, xdp
from offramp.compile.tests import All, Any, Base, Const, Expr, Negate, Test, evaluate
from offramp.errors import KernelError, PrivilegeError
from offramp.testing import Lab, Wire
from offramp.verdict import Verdict

EXPRESSIONS = 4 * settings().max_examples  # of which there are 100, or what --hypothesis-profile says
PACKETS = 30
SIZES: tuple[Literal[1, 2, 4], ...] = (1, 2, 4)
QUEUES = 2

LINK, NET, TRANSPORT = Base.LINK, Base.NET, Base.TRANSPORT
IP, IP6, ARP = (Test(LINK, 12, 2, "==", number) for number in (0x0800, 0x86DD, 0x0806))
UDP = Any((All((IP6, Test(NET, 6, 1, "==", 17))), All((IP, Test(NET, 9, 1, "==", 17)))))
FIRST_FRAGMENT = Test(NET, 6, 2, "==", 0, mask=0x1FFF)


def port(number: int, protocol: int = 17) -> Expr:
    """Either port of UDP or another protocol."""
    v6 = All((IP6, Test(NET, 6, 1, "==", protocol), Any((is_port(NET, 40, number), is_port(NET, 42, number)))))
    ports = Any((is_port(TRANSPORT, 0, number), is_port(TRANSPORT, 2, number)))
    return Any((v6, All((IP, Test(NET, 9, 1, "==", protocol), FIRST_FRAGMENT, ports))))


def is_port(base: Base, offset: int, number: int) -> Test:
    return Test(base, offset, 2, "==", number)


def host(number: int) -> Expr:
    return All((IP, Any((Test(NET, 12, 4, "==", number), Test(NET, 16, 4, "==", number)))))


PROTECT = Any((ARP, port(67), port(22, 6)))


def frame(destination: int = 53, *, protocol: int = 17, tags: tuple[int, ...] = (), words: int = 5) -> bytes:
    """UDP or TCP over IPv4 with a header of `words` words, behind VLAN tags."""
    header = struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, 100, 0, 0, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    ports = struct.pack("!HHHH", 1000, destination, 26, 0)
    behind = b"".join(struct.pack("!HH", tag, 5) for tag in tags) + b"\x08\x00"
    return bytes(12) + behind + header + bytes(4 * (words - 5)) + ports + bytes(18)


# -- a program and its maps --------------------------------------------------------------------------------------------


class Maps:
    def __init__(self, queues: int = QUEUES) -> None:
        words = len(COUNTERS)
        self.counters = bpf.Map.create(bpf.MapType.PERCPU_ARRAY, 4, 8 * words, 1, name="counters")
        self.sockets = bpf.Map.create(bpf.MapType.XSKMAP, 4, 4, queues, name="sockets")
        beats = bpf.Map.create(bpf.MapType.ARRAY, 4, 8 * queues, 1, bpf.MapFlag.MMAPABLE, name="heartbeats")
        self.heartbeats = beats
        self.slots = {
            MapSlot.COUNTERS: self.counters,
            MapSlot.SOCKETS: self.sockets,
            MapSlot.HEARTBEATS: self.heartbeats,
        }

    def beat(self, queue: int, when_ns: int) -> None:
        with self.heartbeats.memory() as memory:
            struct.pack_into("Q", memory, 8 * queue, when_ns)

    def read(self) -> Counter[str]:
        return Counter(dict(zip(COUNTERS, self.counters.sum(), strict=True)))

    def load(self, spec: Spec, ifindex: int | None = None) -> bpf.Program:
        return bpf.Program.load(xdp(spec), name="test", maps=self.slots, ifindex=ifindex)


@pytest.fixture
def maps() -> Iterator[Maps]:
    try:
        maps = Maps()
    except PrivilegeError as error:
        pytest.skip(str(error))
    try:
        yield maps
    finally:
        for each in maps.slots.values():
            each.close()


def spec(
    match: Expr,
    protect: Expr | None = None,
    verdict: Verdict = Verdict.DROP,
    stall_ns: int | None = None,
    vlan_metadata: bool = False,
) -> Spec:
    return Spec(match, protect, verdict, QUEUES, stall_ns, vlan_metadata)


def run(maps: Maps, spec: Spec, packet: bytes, ctx: bytes | None = None) -> tuple[str, int]:
    """The counter in which the packet ended, and the verdict."""
    with maps.load(spec) as program:
        before = maps.read()
        verdict = program.test_run(packet, ctx=ctx).retval
    counted = maps.read() - before
    assert counted.pop("seen") == 1
    ((counter, times),) = counted.items()
    assert times == 1
    return counter, verdict


# -- against the reference ---------------------------------------------------------------------------------------------


def random_test(rng: random.Random) -> Test:
    size = rng.choice(SIZES)
    places = (
        [(LINK, 12)] * 4
        + [(LINK, rng.randrange(12)), (LINK, rng.randrange(8, 40))]
        + [(NET, rng.choice([0, 6, 9, 12, 16, 40, rng.randrange(64)]))] * 5
        + [(TRANSPORT, rng.choice([0, 2, 13, rng.randrange(24)]))] * 5
    )
    base, offset = rng.choice(places)
    if (base, offset) == (LINK, 12) and rng.random() < 0.9:
        size = 2
    full = (1 << 8 * size) - 1
    value = rng.choice([rng.randrange(4), rng.randrange(4) * 0x0101 & full, rng.randrange(full + 1)])
    if (base, offset) == (LINK, 12):
        value = rng.choice([0x0800, 0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8]) & full
    mask = rng.choice([0xFFFF_FFFF] * 3 + [full, 0x0F, 0x1FFF & full, rng.randrange(full + 1)])
    return Test(base, offset, size, rng.choice(["==", "==", "==", ">=", "<="]), value, mask)


def random_expr(rng: random.Random, depth: int = 4) -> Expr:
    kind = rng.random()
    if depth == 0 or kind < 0.2:
        return random_test(rng)
    if kind < 0.35:
        return Negate(random_expr(rng, depth - 1))
    if kind < 0.37:
        return Const(rng.random() < 0.5)
    parts = tuple(random_expr(rng, depth - 1) for _ in range(rng.randrange(5)))
    return All(parts) if kind < 0.65 else Any(parts)


def random_packet(rng: random.Random) -> bytes:
    """Bytes of few values, so that tests hold now and then; of any length from the Ethernet header on."""
    tags = b"".join(
        struct.pack("!HH", rng.choice(TAG_ETHERTYPES), rng.randrange(4))
        for _ in range(rng.choice([0] * 6 + [1, 1, 2, 3]))
    )
    ethertype = rng.choice([0x0800] * 5 + [0x86DD, 0x86DD, 0x0806, 0x8100, rng.randrange(1 << 16)])
    first = 0x40 | rng.randrange(5, 16) if ethertype == 0x0800 and rng.random() < 0.9 else rng.randrange(256)
    rest = bytes(rng.choice([0, 0, 1, 2, 3, 6, 17, 58, rng.randrange(256)]) for _ in range(100))
    packet = bytes(rng.randrange(4) for _ in range(12)) + tags + struct.pack("!HB", ethertype, first) + rest
    return packet[: rng.choice([len(packet), rng.randrange(14, len(packet) + 1), rng.randrange(14, 60)])]


def expected(match: Expr, protect: Expr | None, packet: bytes) -> str:
    if protect is not None and evaluate(protect, without_tags(packet)):
        return "protected"
    return "claimed" if evaluate(match, packet) else "passed"


def without_tags(packet: bytes) -> bytes:
    """The frame without the (up to two) whole tags at its head."""
    for _ in range(2):
        if int.from_bytes(packet[12:14], "big") in TAG_ETHERTYPES and len(packet) >= 18:
            packet = packet[:12] + packet[16:]
    return packet


@pytest.mark.fuzz
def test_random_expressions_agree_with_the_reference(maps: Maps) -> None:
    rng = random.Random(os.environ.get("OFFRAMP_SEED", "1"))
    specs = [spec(random_expr(rng), random_expr(rng, 2) if rng.random() < 0.4 else None) for _ in range(EXPRESSIONS)]
    seen: Counter[str] = Counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for each, program in zip(specs, pool.map(xdp, specs), strict=True):
            with bpf.Program.load(program, name="fuzz", maps=maps.slots) as loaded:
                before, ended = maps.read(), Counter[str]()
                for packet in [random_packet(rng) for _ in range(PACKETS)]:
                    end = expected(each.match, each.protect, packet)  # type: ignore[arg-type]
                    verdict = Verdict.DROP if end == "claimed" else Verdict.PASS
                    assert loaded.test_run(packet).retval == verdict, (each, packet.hex())
                    ended[end] += 1
                assert maps.read() - before == ended + Counter(seen=PACKETS), each
                seen += ended
    assert min(seen["claimed"], seen["passed"], seen["protected"]) > EXPRESSIONS, seen


@pytest.mark.parametrize(
    "match",
    [
        Any(tuple(host(0x0A00_0000 + 7 * number) for number in range(500))),
        Any(tuple(port(number) for number in range(53, 353))),
        All((UDP, Any(tuple(is_port(TRANSPORT, 2, number) for number in range(53, 1053))))),
        All(tuple(Negate(host(0x0B00_0000 + number)) for number in range(500))),
    ],
    ids=["500 hosts", "300 ports", "1,000 ports of one protocol", "all but 500 hosts"],
)
def test_large_matches_load(maps: Maps, match: Expr) -> None:
    with maps.load(spec(match, PROTECT)) as program:
        for packet in (frame(53), frame(67), frame(40_000)):
            end = expected(match, PROTECT, packet)
            assert program.test_run(packet).retval == (Verdict.DROP if end == "claimed" else Verdict.PASS)


def test_a_load_farther_away_than_any_packet_is_long(maps: Maps) -> None:
    for test in (Test(NET, 65_535, 4, "==", 0), Test(TRANSPORT, 65_535, 1, "==", 0), Test(LINK, 33_000, 2, "==", 0)):
        assert run(maps, spec(Any((test, Const(True)))), frame()) == ("passed", Verdict.PASS)


# -- the program around the match --------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [Verdict.DROP, Verdict.TX, Verdict.PASS])
def test_verdicts(maps: Maps, verdict: Verdict) -> None:
    assert run(maps, spec(port(53), verdict=verdict), frame(53)) == ("claimed", verdict)
    assert run(maps, spec(port(53), verdict=verdict), frame(54)) == ("passed", Verdict.PASS)


@pytest.mark.parametrize("tags", [(), (0x8100,), (0x88A8,), (0x88A8, 0x8100), (0x8100, 0x8100)])
@pytest.mark.parametrize("words", [5, 15])
def test_protected_packets_are_passed_behind_two_tags_too(maps: Maps, tags: tuple[int, ...], words: int) -> None:
    everything = spec(Const(True), PROTECT)
    assert run(maps, everything, frame(67, tags=tags, words=words)) == ("protected", Verdict.PASS)
    assert run(maps, everything, frame(22, tags=tags, words=words, protocol=6)) == ("protected", Verdict.PASS)
    assert run(maps, everything, frame(22, tags=tags, words=words)) == ("claimed", Verdict.DROP)


def test_three_tags_are_not_looked_behind(maps: Maps) -> None:
    assert run(maps, spec(Const(True), PROTECT), frame(67, tags=(0x8100,) * 3)) == ("claimed", Verdict.DROP)


def test_a_load_across_the_place_of_a_tag_does_not_see_it(maps: Maps) -> None:
    last_of_mac_and_ethertype = Test(LINK, 10, 4, "==", 0x0000_0800)
    for tags in ((), (0x8100,), (0x88A8, 0x8100)):
        assert run(maps, spec(Const(True), last_of_mac_and_ethertype), frame(tags=tags)) == ("protected", Verdict.PASS)


def test_a_tagged_frame_is_no_ip_packet(maps: Maps) -> None:
    tagged = frame(53, tags=(0x8100,))
    assert run(maps, spec(port(53)), tagged) == ("passed", Verdict.PASS)
    assert run(maps, spec(Negate(UDP)), tagged) == ("claimed", Verdict.DROP)


def test_without_a_socket_the_packet_is_passed(maps: Maps) -> None:
    claim = spec(port(53), verdict=Verdict.CLAIM)
    assert run(maps, claim, frame(53)) == ("redirect_failed", Verdict.PASS)
    assert run(maps, claim, frame(54)) == ("passed", Verdict.PASS)


def test_with_a_socket_it_is_redirected(maps: Maps) -> None:
    with socket.socket(socket.AF_XDP if hasattr(socket, "AF_XDP") else 44, socket.SOCK_RAW) as receiver:
        maps.sockets.update(struct.pack("I", 0), struct.pack("I", receiver.fileno()))
        assert run(maps, spec(port(53), verdict=Verdict.CLAIM), frame(53)) == ("claimed", Verdict.CLAIM)
        maps.sockets.delete(struct.pack("I", 0))


SECOND = 10**9


@pytest.mark.parametrize(
    ("age_ns", "stall_ns", "end"),
    [
        (0, SECOND, "redirect_failed"),
        (SECOND // 2, SECOND, "redirect_failed"),
        (2 * SECOND, SECOND, "stalled"),
        (-3600 * SECOND, SECOND, "redirect_failed"),  # from the future
        (2 * SECOND, None, "redirect_failed"),
        (None, SECOND, "stalled"),  # there never was one
    ],
)
def test_a_stale_heartbeat_passes_the_flow(maps: Maps, age_ns: int | None, stall_ns: int | None, end: str) -> None:
    maps.beat(0, 0 if age_ns is None else time.monotonic_ns() - age_ns)
    claim = spec(port(53), PROTECT, Verdict.CLAIM, stall_ns)
    assert run(maps, claim, frame(53)) == (end, Verdict.PASS)
    assert run(maps, claim, frame(54)) == ("passed", Verdict.PASS)
    assert run(maps, claim, frame(67)) == ("protected", Verdict.PASS)


def test_each_queue_has_its_heartbeat_and_queues_beyond_have_no_socket(maps: Maps, lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=4)
    maps.beat(1, time.monotonic_ns())
    claim = spec(port(53), verdict=Verdict.CLAIM, stall_ns=SECOND)
    packet = frame(53)
    with wire.b.host, maps.load(claim) as program, bpf.XdpLink.attach(program, wire.b.ifindex):
        ends = []
        for queue in range(4):
            context = bpf.xdp_context(len(packet), ifindex=wire.b.ifindex, queue=queue)
            ends.append(run(maps, claim, packet, context)[0])
    assert ends == ["stalled", "redirect_failed", "passed", "passed"]


def test_it_loads_with_three_capabilities_only() -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    script = """
from tests.kernel import test_program as t
maps = t.Maps()
assert t.run(maps, t.spec(t.port(53), t.PROTECT, t.Verdict.CLAIM, 10**9), t.frame(53)) == ("stalled", t.Verdict.PASS)
for each in maps.slots.values():
    each.close()
"""
    bounding = "--bounding-set=-all,+bpf,+net_admin,+perfmon"
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(Path(offramp.__file__).parents[1])])
    command = ["setpriv", bounding, "--inh-caps=-all", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- tags out of band --------------------------------------------------------------------------------------------------

SCHED_CLS, TCX_EGRESS, VLAN_PUSH = 3, 47, 18


@contextmanager
def tagged_out_of_band(wire: Wire, protocol: int) -> Iterator[None]:
    """Frames that leave the wire's end a carry a tag in the socket buffer, as those of a VLAN interface do."""
    code = bpf_code(f"""target triple = "bpfel"
define i32 @push(ptr %skb) {{
  %r = call i64 inttoptr (i64 {VLAN_PUSH} to ptr)(ptr %skb, i64 {socket.htons(protocol)}, i64 5)
  ret i32 0
}}""")
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    addresses = ctypes.addressof(instructions), ctypes.addressof(licence)
    head = struct.pack("IIQQIIQII16sII", SCHED_CLS, len(code) // 8, *addresses, 0, 0, 0, 0, 0, b"push", 0, TCX_EGRESS)
    program = bpf_call(Command.PROG_LOAD, head, "loading the tagger")
    try:
        with wire.a.host:
            attributes = struct.pack("IIII", program, wire.a.ifindex, TCX_EGRESS, 0)
            link = bpf_call(Command.LINK_CREATE, attributes, "attaching the tagger")
    except KernelError as error:
        pytest.skip(f"no tcx here: {error}")
    finally:
        os.close(program)
    try:
        yield
    finally:
        os.close(link)


@pytest.fixture
def count_on_wire(maps: Maps, lab: Lab) -> Callable[[Spec, int | None], Counter[str]]:
    """Ten UDP frames to port 53 over a wire, with a tag out of band or none: where they ended."""
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    wire.a.tx_vlan_offload(True)
    wire.a.host.sysctl("net.ipv6.conf.all.disable_ipv6", 1)  # it would send multicast reports

    def count(spec: Spec, tag: int | None) -> Counter[str]:
        before = maps.read()
        with wire.b.host:
            program = maps.load(spec, ifindex=wire.b.ifindex if spec.vlan_metadata else None)
            with program, bpf.XdpLink.attach(program, wire.b.ifindex):
                if tag is None:
                    send(wire)
                else:
                    with tagged_out_of_band(wire, tag):
                        send(wire)
        return maps.read() - before

    return count


def send(wire: Wire) -> None:
    received = wire.b.stats()["rx_packets"]
    with wire.a.host, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((wire.a.name, 0))
        for _ in range(10):
            sender.send(b"\xff" * 6 + frame(53)[6:])
    deadline = time.monotonic() + 5
    while wire.b.stats()["rx_packets"] < received + 10 and time.monotonic() < deadline:
        time.sleep(0.01)


SENT_TO_ALL = Test(LINK, 0, 4, "==", 0xFFFF_FFFF)
IS_8100 = Test(LINK, 12, 2, "==", 0x8100)


@pytest.mark.parametrize(
    "match",
    [
        port(53),
        Negate(UDP),
        SENT_TO_ALL,
        IS_8100,
        Negate(Any((IS_8100, IP))),
        Any((Test(NET, 0, 1, "==", 0), Const(True))),
    ],
    ids=["udp port 53", "not udp", "mac", "tag", "neither tag nor ip", "unreachable"],
)
@pytest.mark.parametrize("tag", [None, 0x8100, 0x88A8])
def test_a_match_is_about_the_frame_on_the_wire(
    count_on_wire: Callable[[Spec, int | None], Counter[str]], match: Expr, tag: int | None
) -> None:
    on_wire = b"\xff" * 6 + frame(53)[6:]
    end = "claimed" if evaluate(match, on_wire, tag) else "passed"
    counted = count_on_wire(spec(match, PROTECT, vlan_metadata=True), tag)
    assert counted == {"seen": 10, end: 10}


def test_without_the_metadata_the_tag_is_invisible(
    count_on_wire: Callable[[Spec, int | None], Counter[str]],
) -> None:
    assert count_on_wire(spec(port(53)), 0x8100) == {"seen": 10, "claimed": 10}


def test_a_protected_packet_is_protected_with_a_tag_out_of_band(
    count_on_wire: Callable[[Spec, int | None], Counter[str]],
) -> None:
    everything = spec(Const(True), port(53), vlan_metadata=True)
    assert count_on_wire(everything, 0x8100) == {"seen": 10, "protected": 10}
