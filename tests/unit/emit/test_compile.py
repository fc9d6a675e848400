# SPDX-License-Identifier: Apache-2.0
"""The compiler up to the bytes: what goes in, what comes out; native code gives the reference's answers."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from offramp.emit import burst
from offramp.emit import xdp as xdp_ir
from offramp.emit.emitter import Address, Known
from offramp.emit.match import MatchBody
from offramp.emit.program import KFUNC_BASE, KfuncSlot, MapSlot, Reference, Spec, XdpProgram
from offramp.emit.sets import layout
from offramp.emit.target import I64, const
from offramp.errors import NotSupported, OptionError
from offramp.llvm import child as llvm
from offramp.llvm.programs import native, xdp
from offramp.lower.evaluate import evaluate
from offramp.lower.expression import (
    All,
    Any,
    Calculation,
    Const,
    Expr,
    Fixed,
    Lowered,
    Member,
    Named,
    Negate,
    Number,
    Test,
    Value,
)
from offramp.lower.shapes import KEY_WORDS, Shape
from offramp.matcher import Match
from offramp.state import HashSet, PrefixSet, fixed
from offramp.verdict import Verdict
from tests.generators.lowered import (
    DNS,
    IP,
    KINDS,
    ROUNDS,
    UDP,
    Code,
    Expressions,
    behind_header,
    equals,
    load,
    packet,
    with_tag,
)

PACKETS = 30
TAGS = (0x8100_0005, 0x88A8_FFFF)
ARP = equals(12, 2, 0x0806)


def spec(
    match: Expr = DNS,
    protect: Expr | None = ARP,
    verdict: Verdict = Verdict.CLAIM,
    queues: int = 4,
    stall_ns: int | None = 10**9,
    vlan_metadata: bool = False,
) -> Spec:
    protected = Lowered(protect) if protect else None
    return Spec(MatchBody(Lowered(match), verdict), protected, queues, stall_ns, vlan_metadata)


def body(match: Expr) -> MatchBody:
    return MatchBody(Lowered(match), Verdict.DROP)


# -- native code against the reference ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_value_and_test(kind: str) -> None:
    expr = KINDS[kind]
    chance = random.Random(kind)
    whole = [packet(chance) for _ in range(100)] + [frame + bytes(range(200)) for frame in map(bytes, FRAMES)]
    check_native(expr, whole + [whole[0][:length] for length in range(len(whole[0]))], chance)


FRAMES = [
    bytes(12) + b"\x08\x00" + bytes.fromhex("46000000000000000011") + bytes(14) + b"\x04\x00\x00\x35" + bytes(20),
    bytes(12) + b"\x81\x00\x00\x05\x08\x00" + bytes.fromhex("45000000000000000011") + bytes(12) + b"\x00\x35" * 9,
    bytes(12) + b"\x88\xa8\x00\x05\x81\x00\x00\x06\x08\x00\x45" + bytes(19) + b"\x00\x35" * 9,
]


@pytest.mark.fuzz
def test_random_expressions_agree_with_the_reference() -> None:
    chance = random.Random(os.environ.get("OFFRAMP_SEED", "1"))
    expressions = Expressions(chance)
    said: Counter[bool] = Counter()
    for _ in range(ROUNDS):
        said += check_native(expressions(), [packet(chance) for _ in range(PACKETS)], chance)
    assert min(said[True], said[False]) > ROUNDS, said


def check_native(expr: Expr, packets: list[bytes], chance: random.Random) -> Counter[bool]:
    """Of whole packets, of packets cut off anywhere, and of packets with a tag out of band."""
    expected = [evaluate(expr, frame) for frame in packets]
    with Code(native(body(expr)).code) as code:
        assert code(packets) == expected, expr
        cut = [frame[: chance.randrange(len(frame) + 1)] for frame in packets]
        lengths = [len(frame) for frame in packets]
        assert code(cut, lengths) == [evaluate(expr, frame, length) for frame, length in zip(cut, lengths, strict=True)]
    for tag in TAGS:
        long_enough = [frame for frame in packets if len(frame) >= 14]
        with Code(llvm.native_code(burst.build(body(expr), tag=tag).text)) as code:
            assert code(long_enough) == [evaluate(expr, with_tag(frame, tag)) for frame in long_enough], (expr, tag)
    return Counter(expected)


def test_a_burst_of_none_and_of_many() -> None:
    with Code(native(body(DNS)).code) as code:
        assert code([]) == []
        assert code([FRAMES[0], b""] * 1000) == [True, False] * 1000


def test_what_is_far_away_in_a_long_packet() -> None:
    """Longer than XDP can have them."""
    long = bytes(200_000) + b"\x01\x02"
    far = Test(
        load(100_000, 2, Calculation("+", Calculation("*", load(0, 1), Number(5)), Number(100_000))),
        "==",
        Number(0x0102),
    )
    with Code(native(body(Any((far, equals(200_001, 1, 9))))).code) as code:
        assert code([long, long[:-1], long + bytes(1)]) == [True, False, True]


# -- sets --------------------------------------------------------------------------------------------------------------

KEY = int.from_bytes(FRAMES[0][:12]) << 32 | 7
PORTS, HOSTS = Named("ports", Shape("bitmap", "port", 65536)), Fixed(Shape("hash", "ip6", 8), ((KEY, KEY),))
IN_SECOND = Member((load(0, 4), load(4, 4), load(8, 4), load(26, 4)), 1)
IN_BOTH = All((Member((load(36, 2),), 0), IN_SECOND))


def test_each_member_is_looked_up_in_its_set() -> None:
    program = native(MatchBody(Lowered(IN_BOTH, (PORTS, HOSTS)), Verdict.DROP))
    assert program.state == (PORTS, HOSTS)
    frame = bytearray(FRAMES[0])
    frame[26:30], frame[36:38] = struct.pack("!I", 7), struct.pack("!H", 53)
    others = [bytes(frame), bytes(frame[:36]), bytes(frame).replace(b"\x00\x35", b"\x00\x36")]
    ports, hosts = HashSet([53]), fixed(HOSTS)
    with Code(program.code) as code, ports.core.read() as first, hosts.core.read() as second:
        assert code(others, sets=[first, second]) == [True, False, False]


def test_a_program_says_what_it_refers_to() -> None:
    port = Member((load(36, 2),), 1)
    program = xdp(
        Spec(MatchBody(Lowered(IN_SECOND, (PORTS, HOSTS)), Verdict.DROP), Lowered(port, (HOSTS, PORTS))),
        Spec(MatchBody(Lowered(IN_SECOND, (PORTS, HOSTS)), Verdict.DROP)),
    )
    assert referred(program) == {
        *((1, Reference(0, MapSlot.COUNTERS)), (2, Reference(0, PORTS)), (2, Reference(0, HOSTS))),
        *((1, Reference(1, MapSlot.COUNTERS)), (2, Reference(1, HOSTS))),
    }
    assert len(program.references) == 5


# -- IR --------------------------------------------------------------------------------------------------------------


def test_facts_meet_at_the_smaller_length_and_the_same_register() -> None:
    here, there, one, other = (const(number, I64) for number in range(4))
    what, else_ = (Address(here), 1), (Address(here), 2)
    left = Known({here: 20, there: 4}, {what: one, else_: one}, {"a": one})
    right = Known({here: 14}, {what: one, else_: other}, {"a": one})
    assert Known.join([left, right]) == Known({here: 14}, {what: one}, {"a": one})
    assert Known.join([left]) is left
    assert Known.join([]) == Known()


def test_where_a_crowd_meets_loads_are_forgotten() -> None:
    here, one = const(1, I64), const(2, I64)
    facts = Known({here: 20}, {(Address(here), 1): one}, {"a": one})
    assert Known.join([facts] * 100) == Known({here: 20}, {}, {"a": one})


def test_a_register_that_reaches_less_far_on_one_way_is_forgotten() -> None:
    register = const(1, I64)
    near, far = Known({register: 4}, {}, {"a": register}), Known({register: 8}, {}, {"a": register})
    assert Known.join([near, far]).registers == {}


def test_the_oldest_facts_are_forgotten() -> None:
    facts = Known()
    for number in range(100):
        register = const(number, I64)
        facts = facts.computed(number, register).reaching(register, 4).loaded((Address(register), 4), register)
    assert len(facts.reach) == len(facts.registers) <= len(facts.loads) < 20
    assert 99 in facts.registers


def test_addresses_add_offsets() -> None:
    register = const(1)
    assert Address(register, 4) + 10 == Address(register, 14)


def test_each_length_is_checked_once_and_each_value_loaded_once() -> None:
    hosts = Any(tuple(equals(30, 4, number) for number in range(100)))
    text = xdp_ir.build([spec(All((IP, hosts)), None)]).text
    assert text.count("icmp ugt") == 2  # 14 bytes, then 34
    assert text.count('load i32, ptr %".') - text.count("load i64") <= 4  # the address and three fields of the context


# -- code ------------------------------------------------------------------------------------------------------------


def instructions(program: XdpProgram) -> Iterator[tuple[int, int, int]]:
    """Opcode, source register, immediate."""
    skip = False
    for opcode, registers, _, immediate in struct.iter_unpack("BBhi", program.code):
        if not skip:
            yield opcode, registers >> 4, immediate
        skip = opcode == 0x18 and not skip


def referred(program: XdpProgram) -> set[tuple[int, Reference]]:
    """What its code refers to, by source register: 1, the map; 2, its value."""
    found = {(source, value) for opcode, source, value in instructions(program) if opcode == 0x18 and source}
    return {(source, program.references[value]) for source, value in found}


def maps(program: XdpProgram) -> set[tuple[int, object]]:
    """Those of its only section."""
    assert {section for _, (section, _) in referred(program)} == {0}
    return {(source, what) for source, (_, what) in referred(program)}


def calls(program: XdpProgram) -> list[int]:
    return [value for opcode, _, value in instructions(program) if opcode == 0x85]


def test_the_same_spec_gives_the_same_bytes() -> None:
    first = llvm.bpf_code(xdp_ir.build([spec()]).text)
    llvm.forget()
    llvm.stop()
    assert llvm.bpf_code(xdp_ir.build([spec()]).text) == first == xdp(spec()).code
    assert xdp(spec(match=Negate(DNS))).code != first
    first = llvm.native_code(burst.build(body(DNS)).text)
    llvm.forget()
    assert llvm.native_code(burst.build(body(DNS)).text) == first == native(body(DNS)).code


def test_a_program_is_remembered_if_it_takes_no_memory() -> None:
    assert xdp(spec(match=DNS)) is xdp(spec(match=DNS)) is not xdp(spec(match=Negate(DNS)))
    many = Any(tuple(equals(0, 2, number) for number in range(300)))
    assert xdp(spec(match=many)) is not xdp(spec(match=many))
    deep: Expr = equals(0, 1, 1)
    for _ in range(600):
        deep = Negate(deep)
    assert xdp(spec(match=deep)).code == xdp(spec(match=deep)).code, "too deep to compare, not to compile"
    with_set = Spec(MatchBody(Match("src host in @some", some=HashSet(family="ip")).lowered(), Verdict.DROP))
    assert xdp(with_set) is not xdp(with_set)


def test_a_claiming_program_refers_to_all_maps() -> None:
    program = xdp(spec())
    assert maps(program) == {(1, MapSlot.COUNTERS), (1, MapSlot.SOCKETS), (2, MapSlot.HEARTBEATS)}
    assert set(calls(program)) == {1, 51, 160}


def test_no_heartbeat_without_a_limit() -> None:
    program = xdp(spec(stall_ns=None))
    assert maps(program) == {(1, MapSlot.COUNTERS), (1, MapSlot.SOCKETS)}
    assert set(calls(program)) == {1, 51}


@pytest.mark.parametrize("verdict", [Verdict.DROP, Verdict.PASS, Verdict.TX])
def test_other_verdicts_only_count(verdict: Verdict) -> None:
    program = xdp(spec(verdict=verdict))
    assert maps(program) == {(1, MapSlot.COUNTERS)}
    assert calls(program) == [1]


@pytest.mark.parametrize(
    ("match", "claimed", "dropped"),
    [(DNS, 1, 1), (Negate(DNS), 2, 1), (equals(12, 4, 0x8100_0005), 2, 1), (Const(True), 1, 0)],
)
def test_the_tag_is_asked_for_only_where_it_matters(match: Expr, claimed: int, dropped: int) -> None:
    """To decide, and to put it back."""
    kfunc = KFUNC_BASE + KfuncSlot.RX_VLAN_TAG
    assert kfunc not in calls(xdp(spec(match)))
    assert calls(xdp(spec(match, vlan_metadata=True))).count(kfunc) == claimed
    assert calls(xdp(spec(match, verdict=Verdict.DROP, vlan_metadata=True))).count(kfunc) == dropped


@pytest.mark.parametrize("wrong", [{"queues": 0}, {"stall_ns": 0}, {"stall_ns": 1 << 63}, {"verdict": Verdict.ABORTED}])
def test_a_spec_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        spec(**wrong)  # type: ignore[arg-type]


def quotient(index: int) -> Value:
    return Calculation("/", load(index % 40, 4), load(index * 7 % 43, 4))


def nested(depth: int) -> Expr:
    value: Value = load(0, 1)
    for _ in range(depth):
        value = Calculation("-", load(1, 1), value)
    return Test(value, "==", Number(0))


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        (Any((UDP,) * 4500), "18000 tests"),
        (All(tuple(Negate(equals(26 + 4 * (i & 1), 4, 7 * i)) for i in range(8192))), "8192 branches in a row"),
        (All(tuple(Negate(Test(quotient(i), "==", Number(i))) for i in range(4000))), "over more than 32767"),
        (Any(tuple(Test(load(i % 50, 2, load(i % 47, 1)), "==", Number(i)) for i in range(5000))), "5000 tests"),
        (nested(5000), "nested too deeply"),
    ],
    ids=["tests", "branches", "divisions", "places", "depth"],
)
def test_a_match_that_is_too_large_is_the_users_error(match: Expr, reason: str) -> None:
    with pytest.raises(OptionError, match=f"too large for one program.*{reason}"):
        xdp(spec(match, None))


@pytest.mark.parametrize(
    ("make", "words", "count", "reason"),
    [
        (PrefixSet, "host", 40, "look-ups in 40 sets need about 48,000 instructions, and at most 32,767 fit"),
        (HashSet, "ip6 host", 60, "look-ups in 60 sets need about 90,000 instructions"),
        (HashSet, "udp port", 61, "it looks into 61 sets, and at most 60 fit"),
    ],
)
def test_a_match_with_too_many_sets_is_refused_at_once(
    make: type[HashSet | PrefixSet], words: str, count: int, reason: str
) -> None:
    family = "port" if "port" in words else "ip6" if "ip6" in words else "ip"
    sets = {f"s{number}": make(family=family) for number in range(count)}  # type: ignore[arg-type]  # one of Family
    text = " or ".join(f"{words} in @{name}" for name in sets)
    begin = time.perf_counter()
    with pytest.raises(OptionError, match=f"too large for one program: .*{reason}.* .put the members"):
        Match(text, **sets)
    assert time.perf_counter() - begin < 2
    few = dict(list(sets.items())[:5])
    assert native(
        MatchBody(Match(" or ".join(f"{words} in @{name}" for name in few), **few).lowered(), Verdict.DROP)
    ).code


def test_how_many_instructions_a_look_up_needs_is_known_about() -> None:
    shapes = [Shape("bitmap", "port", 65536), Shape("hash", "ip", 65536), Shape("hash", "ip6", 65536)]
    shapes += [Shape("ranges", "ip", 100), Shape("ranges", "ip", 1_000_000), Shape("ranges", "ip6", 65536)]
    for shape in shapes:
        sets = [Named(f"s{number}", shape) for number in range(9)]
        key = tuple(load(26 + 4 * word, 2 if shape.family == "port" else 4) for word in range(KEY_WORDS[shape.family]))
        sizes = []
        for count in (3, 9):
            match = Lowered(Any(tuple(Member(key, number) for number in range(count))), tuple(sets[:count]))
            sizes.append(len(xdp(Spec(MatchBody(match, Verdict.DROP))).code) // 8)
        assert (sizes[1] - sizes[0]) / 6 == pytest.approx(layout.instructions(shape), rel=0.35), shape


def test_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="riscv64"))
    with pytest.raises(NotSupported, match="code for riscv64"):
        native(body(equals(3, 1, 3)))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_each_machine_can_be_compiled_for(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    llvm.forget()
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine=machine))
    for expr in (DNS, *KINDS.values(), Any(tuple(Test(behind_header(2, 2), "==", Number(7 * i)) for i in range(300)))):
        assert llvm.native_code(burst.build(body(expr)).text)


def test_the_room_is_light_and_pure() -> None:
    script = """
import sys, offramp.llvm.programs
loaded = {"llvmlite", "numpy", "pyroute2", "offramp.bpf", "offramp.nic", "subprocess"} & set(sys.modules)
import offramp.emit.xdp, offramp.emit.burst
loaded |= {"llvmlite.binding", "numpy", "pyroute2", "offramp.bpf", "offramp.nic"} & set(sys.modules)
sys.exit(" ".join(loaded) or 0)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(llvm.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
