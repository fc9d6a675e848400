# SPDX-License-Identifier: Apache-2.0
"""What a match costs: in the driver against C by clang -O2, natively against libpcap's interpreter, to compile.

In the driver: BPF_PROG_TEST_RUN, the same program with an empty match subtracted, for our programs and for C's
(reference/filters.c); each on a packet that matches and on one that does not. Natively: a loop in C around each
(reference/interpreter.c). Needs clang and cc: Debian's packages clang and gcc.
"""

from __future__ import annotations

import ctypes
import mmap
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from llvmlite import binding as llvm

from offramp import DROP, Match
from offramp.bpf import Map, MapType, Program, Scope, bind
from offramp.emit.match import MatchBody
from offramp.emit.program import COUNTERS, MapSlot, Spec
from offramp.emit.program import XdpProgram as Compiled
from offramp.gen.packets import eth, icmp, ip, ip6, tcp, udp
from offramp.llvm.programs import native, xdp
from offramp.lower.expression import Const, Lowered
from offramp.lower.meaning import lower
from offramp.match import parse
from tests.oracles import libpcap

REFERENCE = Path(__file__).with_name("reference")
REPEAT = 4_000_000
BURST = 256


@dataclass(frozen=True, slots=True)
class Case:
    """A match, its counterpart in C, a packet that matches and one that does not."""

    match: str
    function: str
    hit: bytes
    miss: bytes


def _whole(frame: bytes) -> bytes:
    return frame.ljust(64, b"\0")


CASES = (
    Case(
        "udp dst port 53",
        "udp_dst_port_53",
        _whole(eth(ip(udp(sport=4096, dport=53), src="10.77.0.1", dst="10.77.0.2"))),
        _whole(eth(ip(udp(sport=4096, dport=54), src="10.77.0.1", dst="10.77.0.2"))),
    ),
    Case(
        "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
        "syn_only",
        _whole(eth(ip(tcp(sport=4096, dport=80, flags=0x02), src="10.77.0.1", dst="10.77.0.2"))),
        _whole(eth(ip(tcp(sport=4096, dport=80, flags=0x12), src="10.77.0.1", dst="10.77.0.2"))),
    ),
    Case(
        "src net 203.0.113.0/24",
        "src_net",
        _whole(eth(ip(icmp(), src="203.0.113.9", dst="10.77.0.2"))),
        _whole(eth(ip(icmp(), src="203.0.114.9", dst="10.77.0.2"))),
    ),
    Case(
        "ip host 10.0.0.1 and tcp port (80 or 443)",
        "web_of_host",
        _whole(eth(ip(tcp(sport=4096, dport=443), src="10.77.0.1", dst="10.0.0.1"))),
        _whole(eth(ip(tcp(sport=4096, dport=444), src="10.77.0.1", dst="10.0.0.1"))),
    ),
    Case(
        "ip and (ip[2:2] > 1000 or ip[6:2] & 0x3fff != 0)",
        "big_or_fragment",
        eth(ip(udp(sport=1, dport=2, payload=bytes(1200)), src="10.77.0.1", dst="10.77.0.2")),
        _whole(eth(ip(udp(sport=1, dport=2), src="10.77.0.1", dst="10.77.0.2"))),
    ),
)
_IP6 = _whole(eth(ip6(udp(sport=4096, dport=53), src="2001:db8::1", dst="2001:db8::2")))
MIXED = (*(frame for case in CASES for frame in (case.hit, case.miss)), _IP6)


@dataclass(frozen=True, slots=True)
class InDriver:
    match: str
    outcome: str
    ours: float  # ns, without the empty program
    theirs: float


def in_driver(rounds: int) -> list[InDriver]:
    """Each match on each packet, against C."""
    found = []
    with _references() as references, ExitStack() as stack:
        empty = stack.enter_context(ours(Lowered(Const(False))))
        for case in CASES:
            program = stack.enter_context(ours(Match(case.match)))
            for outcome, frame in (("hit", case.hit), ("miss", case.miss)):
                expected = (DROP if outcome == "hit" else 2,) * 2
                assert (program.test_run(frame).retval, references[case.function].test_run(frame).retval) == expected
                programs = (program, empty, references[case.function], references["empty"])
                # The least of each: whatever else the machine does makes a run longer, never shorter
                costs = [[cost(each, frame) for each in programs] for _ in range(rounds)]
                ours_all, ours_empty, theirs_all, theirs_empty = (min(column) for column in zip(*costs, strict=True))
                found.append(InDriver(case.match, outcome, ours_all - ours_empty, theirs_all - theirs_empty))
    return found


def cost(program: Program, frame: bytes) -> float:
    """ns per run, by the clock, as the kernel's own figure is a whole number. What a call takes besides cancels out; as
    it ends at a tick of 4 ms, there have to be many runs.
    """
    spent = []
    for repeat in (REPEAT, 5 * REPEAT):
        start = time.perf_counter_ns()
        program.test_run(frame, repeat=repeat)
        spent.append(time.perf_counter_ns() - start)
    return (spent[1] - spent[0]) / (4 * REPEAT)


@contextmanager
def ours(match: Match | Lowered) -> Iterator[Program]:
    """The match as a program that drops."""
    lowered = match.lowered() if isinstance(match, Match) else match
    compiled = xdp(Spec(MatchBody(lowered, DROP)))
    with ExitStack() as stack:
        counters = stack.enter_context(Map.create(MapType.PERCPU_ARRAY, 4, 8 * len(COUNTERS), 1))
        slots = {MapSlot.COUNTERS: counters}
        scope = Scope(slots, match.state) if isinstance(match, Match) else Scope(slots)
        maps = stack.enter_context(bind(compiled, scope))
        yield stack.enter_context(Program.load(compiled, name="bench_ours", maps=maps))


@contextmanager
def _references() -> Iterator[dict[str, Program]]:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        object_file = Path(directory, "filters.o")
        command = ["clang", "-O2", "-target", "bpf", "-mcpu=v3", "-c", str(REFERENCE / "filters.c"), "-o"]
        subprocess.run([*command, str(object_file)], check=True)
        sections = llvm.ObjectFileRef.from_data(object_file.read_bytes()).sections()
        codes = {(section.name() or b"").decode(): bytes(section.data()) for section in sections}
        counters = stack.enter_context(Map.create(MapType.PERCPU_ARRAY, 4, 8 * len(COUNTERS), 1))
        maps: dict[int, Map] = {MapSlot.COUNTERS: counters}
        yield {
            name.removeprefix("match."): stack.enter_context(
                Program.load(Compiled(code), name="bench_clang", maps=maps)
            )
            for name, code in codes.items()
            if name.startswith("match.")
        }


@dataclass(frozen=True, slots=True)
class Natively:
    match: str
    packets: str  # of the burst
    ours: float  # ns per packet
    libpcap: float
    ratio: float


def natively(rounds: int) -> list[Natively]:
    """Each match over a mixed burst, against libpcap's interpreter with its optimiser's program."""
    found = []
    loops = _loops()
    mixed = random.Random(1).choices(MIXED, k=BURST)
    for case in CASES:
        for name, frames in (("all match", [case.hit] * BURST), ("mixed", mixed)):
            buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames]
            packets = (ctypes.c_void_p * BURST)(*map(ctypes.addressof, buffers))
            captured = (ctypes.c_uint32 * BURST)(*map(len, frames))
            body = MatchBody(lower(parse(case.match)), DROP)
            with libpcap.Filter(case.match) as oracle, _executable(native(body, body.answers).code) as run:
                costs = [_interleaved(loops, oracle, run, packets, captured) for _ in range(rounds)]
            ours_ns, theirs_ns = (statistics.median(column) for column in zip(*costs, strict=True))
            found.append(Natively(case.match, name, ours_ns, theirs_ns, theirs_ns / ours_ns))
    return found


def _interleaved(
    loops: ctypes.CDLL, oracle: libpcap.Filter, run: int, packets: ctypes.Array[ctypes.c_void_p], captured: object
) -> tuple[float, float]:
    verdicts = ctypes.create_string_buffer(BURST)
    seen, agreed = ctypes.c_uint64(), ctypes.c_uint64()
    count, times = ctypes.c_uint64(BURST), ctypes.c_uint64(4000)
    ours = loops.native(ctypes.c_void_p(run), packets, captured, count, times, verdicts, ctypes.byref(seen))
    interpret = libpcap._library().bpf_filter
    program = ctypes.c_void_p(oracle._program.instructions)
    theirs = loops.interpreter(interpret, program, packets, captured, count, times, ctypes.byref(agreed))
    assert seen.value == agreed.value > 0
    return ours, theirs


def _loops() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as directory:
        library = str(Path(directory, "loops.so"))
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(REFERENCE / "interpreter.c"), "-o", library], check=True)
        loops = ctypes.CDLL(library)
    for function in (loops.native, loops.interpreter):
        function.restype = ctypes.c_double
    return loops


@contextmanager
def _executable(code: bytes) -> Iterator[int]:
    with mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as memory:
        memory.write(code)
        held = ctypes.c_char.from_buffer(memory)
        try:
            yield ctypes.addressof(held)
        finally:
            del held


def to_compile() -> list[tuple[str, float, float, float, int]]:
    """Match; ms in a fresh process to import what compiles, then from the text to a program in the kernel, then for
    another one; and the program's instructions. Medians.
    """
    unions = {
        "10,000 hosts": " or ".join(f"src host 10.{n >> 8 & 255}.{n & 255}.{n % 251}" for n in range(10_000)),
        "1,000 ports": " or ".join(f"dst port {2 * n + 1}" for n in range(1_000)),
        "100,000 prefixes": " or ".join(
            f"src net {1 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24" for n in range(100_000)
        ),
    }
    texts = {f"`{case.match}`": case.match for case in CASES} | unions
    return [(name, *_timed(text)) for name, text in texts.items()]


TIMED = """
import sys, time
text = sys.stdin.read()
start = time.perf_counter()
from offramp import DROP, Match
from offramp.bpf import Map, MapType, Program, Scope, bind
from offramp.emit.match import MatchBody
from offramp.emit.program import COUNTERS, MapSlot, Spec
from offramp.llvm import child as llvm
from offramp.llvm.programs import xdp
import offramp.lower.meaning, offramp.state

def load(text):
    llvm.start()
    match = Match(text)
    program = xdp(Spec(MatchBody(match.lowered(), DROP)))
    with (
        Map.create(MapType.PERCPU_ARRAY, 4, 8 * len(COUNTERS), 1, name="bench") as counters,
        bind(program, Scope({MapSlot.COUNTERS: counters}, match.state)) as maps,
        Program.load(program, name="bench", maps=maps) as loaded,
    ):
        return loaded.instructions

moments = [start, time.perf_counter()]
instructions = load(text)
moments.append(time.perf_counter())
load(f"({text}) and not arp")
moments.append(time.perf_counter())
print(*((end - begin) * 1e3 for begin, end in zip(moments, moments[1:])), instructions)
"""


def _timed(text: str, runs: int = 5) -> tuple[float, float, float, int]:
    printed = [
        subprocess.run([sys.executable, "-c", TIMED], input=text, check=True, capture_output=True, text=True).stdout
        for _ in range(runs)
    ]
    columns = zip(*(map(float, line.split()) for line in printed), strict=True)
    imports, cold, warm, instructions = map(statistics.median, columns)
    return imports, cold, warm, int(instructions)
