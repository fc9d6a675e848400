# SPDX-License-Identifier: Apache-2.0
"""Generated programs in the kernel: each one loads, and gives the reference's answer for each packet."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import offramp
from offramp import bpf
from offramp.bpf.references import Mapped
from offramp.emit import xdp as xdp_ir
from offramp.emit.match import MatchBody
from offramp.emit.program import COUNTERS, MapSlot, Spec
from offramp.emit.state import State
from offramp.errors import PrivilegeError
from offramp.llvm import child as llvm
from offramp.llvm.programs import xdp
from offramp.lower.evaluate import evaluate
from offramp.lower.expression import (
    All,
    Any,
    Calculation,
    Const,
    Expr,
    Fixed,
    Load,
    Lowered,
    Member,
    Named,
    Negate,
    Number,
    Place,
    TagBytes,
    Test,
    Value,
)
from offramp.lower.shapes import Shape
from offramp.state import HashSet, fixed
from offramp.testing import Lab
from offramp.verdict import Verdict
from tests.generators.lowered import (
    IP,
    IP6,
    KINDS,
    ROUNDS,
    UDP,
    Expressions,
    behind_header,
    equals,
    load,
    packet,
)
from tests.rigs.waiting import eventually

PACKETS = 30
QUEUES = 2
MOST_COUNTERS = 16

ARP = equals(12, 2, 0x0806)


def port(number: int, protocol: int = 17) -> Expr:
    """Either port of UDP or another protocol."""
    v6 = All((IP6, equals(20, 1, protocol), Any((equals(54, 2, number), equals(56, 2, number)))))
    ports = Any((Test(behind_header(0, 2), "==", Number(number)), Test(behind_header(2, 2), "==", Number(number))))
    return Any((v6, All((IP, equals(23, 1, protocol), equals(20, 2, 0, 0x1FFF), ports))))


def host(number: int) -> Expr:
    return All((IP, Any((equals(26, 4, number), equals(30, 4, number)))))


def behind_tags(expr: Expr) -> Expr:
    """The same, of a frame of which any tags are taken away: what `vlan any` before it would do."""
    match expr:
        case All(parts):
            return All(tuple(map(behind_tags, parts)))
        case Any(parts):
            return Any(tuple(map(behind_tags, parts)))
        case Negate(part):
            return Negate(behind_tags(part))
        case Test(left, op, right):
            return Test(_moved(left), op, _moved(right))
    return expr


def _moved(value: Value) -> Value:
    match value:
        case Calculation(op, left, right):
            return Calculation(op, _moved(left), _moved(right))
        case Load(Place(offset, behind), size) if offset >= 12:
            return Load(Place(offset, (TagBytes(12), *map(_moved, behind))), size)
    return value


PROTECT = behind_tags(Any((ARP, port(67), port(22, 6))))


def frame(destination: int = 53, *, protocol: int = 17, tags: tuple[int, ...] = (), words: int = 5) -> bytes:
    """UDP or TCP over IPv4 with a header of `words` words, behind VLAN tags."""
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, 100, 0, 0, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    ports = struct.pack("!HHHH", 1000, destination, 26, 0)
    behind = b"".join(struct.pack("!HH", tag, 5) for tag in tags) + b"\x08\x00"
    return bytes(12) + behind + head + bytes(4 * (words - 5)) + ports + bytes(18)


# -- a program and its maps --------------------------------------------------------------------------------------------


class Maps:
    def __init__(self, queues: int = QUEUES) -> None:
        self.names: tuple[str, ...] = COUNTERS
        self.counters = bpf.Map.create(bpf.MapType.PERCPU_ARRAY, 4, 8 * MOST_COUNTERS, 1, name="counters")
        self.sockets = bpf.Map.create(bpf.MapType.XSKMAP, 4, 4, queues, name="sockets")
        beats = bpf.Map.create(bpf.MapType.ARRAY, 4, 8 * queues, 1, bpf.MapFlag.MMAPABLE, name="heartbeats")
        self.heartbeats = beats
        self.slots: dict[MapSlot, bpf.Map] = {
            MapSlot.COUNTERS: self.counters,
            MapSlot.SOCKETS: self.sockets,
            MapSlot.HEARTBEATS: self.heartbeats,
        }

    def beat(self, queue: int, when_ns: int) -> None:
        with self.heartbeats.memory() as memory:
            struct.pack_into("Q", memory, 8 * queue, when_ns)

    def read(self) -> Counter[str]:
        """What was counted, by the names of the program that was loaded last."""
        return Counter(dict(zip(self.names, self.counters.sum(), strict=False)))

    def load(self, spec: Spec, ifindex: int | None = None, state: Mapping[State, Mapped] = {}) -> bpf.Program:
        compiled, self.names = xdp(spec), spec.counters
        with bpf.bind(compiled, bpf.Scope(self.slots, state.__getitem__)) as maps:
            return bpf.Program.load(compiled, name="test", maps=maps, ifindex=ifindex)


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
    protected = Lowered(protect) if protect else None
    return Spec(MatchBody(Lowered(match), verdict), protected, QUEUES, stall_ns, vlan_metadata)


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


def expected(match: Expr, protect: Expr | None, packet: bytes) -> str:
    if protect is not None and evaluate(protect, packet):
        return "protected"
    return "claimed" if evaluate(match, packet) else "passed"


def check(maps: Maps, match: Expr, protect: Expr | None, packets: list[bytes]) -> Counter[str]:
    """The program loads, with and without metadata, and puts each packet where the reference does."""
    with maps.load(spec(match, protect)) as program:
        before, ended = maps.read(), Counter[str]()
        for each in packets:
            end = expected(match, protect, each)
            verdict = Verdict.DROP if end == "claimed" else Verdict.PASS
            assert program.test_run(each).retval == verdict, (match, protect, each.hex())
            ended[end] += 1
        assert maps.read() - before == ended + Counter(seen=len(packets)), match
    return ended


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_value_and_test(maps: Maps, kind: str) -> None:
    chance = random.Random(kind)
    packets = [packet(chance) for _ in range(40)]
    whole = frame(53, tags=(0x8100,)) + bytes(20)
    check(maps, KINDS[kind], None, packets + [whole[:length] for length in range(14, len(whole) + 1)] + [frame()])


@pytest.mark.fuzz
def test_random_expressions_agree_with_the_reference(maps: Maps) -> None:
    chance = random.Random(os.environ.get("OFFRAMP_SEED", "1"))
    expressions = Expressions(chance)
    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        protect = expressions(1) if chance.random() < 0.4 else None
        seen += check(maps, expressions(), protect, [packet(chance) for _ in range(PACKETS)])
    assert min(seen["claimed"], seen["passed"], seen["protected"]) > ROUNDS, seen


# -- sets --------------------------------------------------------------------------------------------------------------


def test_each_member_is_looked_up_in_its_set(maps: Maps) -> None:
    here = 0x0A00_0001
    hosts = Fixed(Shape("hash", "ip", 8), ((here, here),))
    ports, protected = HashSet([53]), HashSet(family="ip", capacity=8)
    first, second = Member((load(36, 2),), 0), Member((load(26, 4),), 1)
    left_alone, asked = Named("protected", protected.shape), Named("ports", ports.shape)
    protect = Lowered(All((IP, Member((load(26, 4),), 0))), (left_alone,))
    match = Lowered(All((first, second)), (asked, hosts))
    both = Spec(MatchBody(match, Verdict.DROP), protect)
    with maps.load(both, state={asked: ports, hosts: fixed(hosts), left_alone: protected}) as program:
        assert program.test_run(frame(53)).retval == Verdict.DROP
        assert program.test_run(frame(54)).retval == Verdict.PASS
        assert program.test_run(frame(53)[:36]).retval == Verdict.PASS
        protected.add("10.0.0.1")
        assert program.test_run(frame(53)).retval == Verdict.PASS
        protected.clear()
        assert program.test_run(frame(53)).retval == Verdict.DROP
        ports.clear()
        assert program.test_run(frame(53)).retval == Verdict.PASS


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
LONG = 20 * SECOND  # for slow machines; and less than they are up


@pytest.mark.parametrize(
    ("age_ns", "stall_ns", "end"),
    [
        (0, LONG, "redirect_failed"),
        (SECOND // 2, LONG, "redirect_failed"),
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
    claim = spec(port(53), verdict=Verdict.CLAIM, stall_ns=LONG)
    packet = frame(53)
    with wire.b.host, maps.load(claim) as program, bpf.XdpLink.attach(program, wire.b.ifindex):
        ends = []
        for queue in range(4):
            context = bpf.xdp_context(len(packet), ifindex=wire.b.ifindex, queue=queue)
            ends.append(run(maps, claim, packet, context)[0])
    assert ends == ["stalled", "redirect_failed", "redirect_failed", "redirect_failed"]


def test_it_loads_with_three_capabilities_only() -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    script = """
from tests.kernel.emit import test_program as t
maps = t.Maps()
assert t.run(maps, t.spec(t.port(53), t.PROTECT, t.Verdict.CLAIM, 10**9), t.frame(53)) == ("stalled", t.Verdict.PASS)
for each in maps.slots.values():
    each.close()
"""
    bounding = "--bounding-set=-all,+bpf,+net_admin,+perfmon"
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root), str(Path(offramp.__file__).parents[1])])
    command = ["setpriv", bounding, "--inh-caps=-all", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_compilers_child_does_not_stay_in_a_visited_namespace(lab: Lab) -> None:
    host = lab.host("a")
    llvm.stop()
    with host:
        llvm._compile("bpfel", xdp_ir.build([spec(port(53))]).text)
        theirs, ours = f"/proc/{llvm._idle[0].process.pid}/ns/net", os.readlink("/proc/thread-self/ns/net")
        assert eventually(lambda: os.readlink(theirs) != ours)
