# SPDX-License-Identifier: Apache-2.0
"""The compiler up to the bytes: what goes in, what comes out, and what becomes of its child process. No kernel."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from offramp.compile import flow, llvm
from offramp.compile.emit import Address, Facts
from offramp.compile.program import KFUNC_BASE, KfuncSlot, MapSlot, Program, Spec, xdp
from offramp.compile.target import I64, const
from offramp.compile.tests import All, Any, Base, Const, Expr, Negate, Test, evaluate
from offramp.errors import CompileError, OptionError
from offramp.verdict import Verdict

IP = Test(Base.LINK, 12, 2, "==", 0x0800)
UDP = All((IP, Test(Base.NET, 9, 1, "==", 17)))
DNS = All((UDP, Test(Base.NET, 6, 2, "==", 0, mask=0x1FFF), Test(Base.TRANSPORT, 2, 2, "==", 53)))
ARP = Test(Base.LINK, 12, 2, "==", 0x0806)

FRAME = bytes(12) + b"\x08\x00" + bytes.fromhex("46000000000000000011") + bytes(14) + b"\x04\x00\x00\x35"


def spec(
    match: Expr = DNS,
    protect: Expr | None = ARP,
    verdict: Verdict = Verdict.CLAIM,
    queues: int = 4,
    stall_ns: int | None = 10**9,
    vlan_metadata: bool = False,
) -> Spec:
    return Spec(match, protect, verdict, queues, stall_ns, vlan_metadata)


# -- the lowered form ------------------------------------------------------------------------------------------------


def test_evaluate_follows_the_header_length() -> None:
    assert evaluate(DNS, FRAME)
    assert not evaluate(DNS, FRAME[:14] + b"\x45" + FRAME[15:])


@pytest.mark.parametrize("expr", [DNS, Negate(DNS), Any((DNS, Const(True))), Negate(All((DNS, Const(False))))])
def test_a_load_beyond_the_end_rejects_whatever_is_around_it(expr: Expr) -> None:
    assert not evaluate(expr, FRAME[:-1])


def test_what_is_not_reached_does_not_reject() -> None:
    assert evaluate(Any((IP, DNS)), FRAME[:14])
    assert not evaluate(All((ARP, DNS)), FRAME[:14])


def test_a_tag_out_of_band_is_the_ethertype_and_hides_the_rest() -> None:
    assert not evaluate(DNS, FRAME, ethertype=0x8100)
    assert evaluate(Negate(DNS), FRAME, ethertype=0x8100)
    assert evaluate(Test(Base.LINK, 12, 2, "==", 0x88A8), FRAME, ethertype=0x88A8)
    assert not evaluate(Test(Base.NET, 9, 1, "==", 17), FRAME, ethertype=0x8100)
    assert evaluate(Test(Base.LINK, 11, 1, "==", 0), FRAME, ethertype=0x8100)
    assert not evaluate(Test(Base.LINK, 10, 4, "==", 0x0800), FRAME, ethertype=0x8100)


# -- IR --------------------------------------------------------------------------------------------------------------


def test_facts_meet_at_the_smaller_length_and_the_same_register() -> None:
    here, there, one, other = (const(number, I64) for number in range(4))
    left = Facts({here: 20, there: 4}, {"a": one, "b": one})
    right = Facts({here: 14}, {"a": one, "b": other})
    assert Facts.join([left, right]) == Facts({here: 14}, {"a": one})
    assert Facts.join([left]) is left
    assert Facts.join([]) == Facts()


def test_addresses_add_offsets() -> None:
    register = const(1)
    assert Address(register, 4) + 10 == Address(register, 14)


def test_each_length_is_checked_once_and_each_value_loaded_once() -> None:
    hosts = Any(tuple(Test(Base.NET, 16, 4, "==", number) for number in range(100)))
    text = flow.build(spec(), All((IP, hosts)), None)
    assert text.count("icmp ugt") == 2  # 14 bytes, then 34
    assert text.count('load i32, ptr %".') - text.count("load i64") <= 4  # the address and three fields of the context


@pytest.mark.parametrize(
    ("match", "answer"),
    [
        (DNS, False),
        (Negate(DNS), True),
        (Const(True), True),
        (Test(Base.LINK, 12, 2, "==", 0x8100), None),
        (Test(Base.LINK, 0, 4, "==", 1), None),
        (Any((Negate(IP), Test(Base.NET, 0, 1, "==", 1))), True),
    ],
)
def test_what_is_known_about_frames_with_a_tag_out_of_band(match: Expr, answer: bool | None) -> None:
    assert flow._answer_for_tagged(match) is answer


# -- code ------------------------------------------------------------------------------------------------------------


def instructions(program: Program) -> Iterator[tuple[int, int, int]]:
    """Opcode, source register, immediate."""
    skip = False
    for opcode, registers, _, immediate in struct.iter_unpack("BBhi", program.code):
        if not skip:
            yield opcode, registers >> 4, immediate
        skip = opcode == 0x18 and not skip


def placeholders(program: Program) -> set[tuple[int, MapSlot]]:
    return {(source, MapSlot(value)) for opcode, source, value in instructions(program) if opcode == 0x18 and source}


def calls(program: Program) -> list[int]:
    return [value for opcode, _, value in instructions(program) if opcode == 0x85]


def test_the_same_spec_gives_the_same_bytes() -> None:
    first = xdp(spec())
    llvm.bpf_code.cache_clear()
    assert xdp(spec()) == first
    assert xdp(spec(match=Negate(DNS))) != first


def test_a_claiming_program_refers_to_all_maps() -> None:
    program = xdp(spec())
    assert placeholders(program) == {(1, MapSlot.COUNTERS), (1, MapSlot.SOCKETS), (2, MapSlot.HEARTBEATS)}
    assert set(calls(program)) == {1, 51, 160}


def test_no_heartbeat_without_a_limit() -> None:
    program = xdp(spec(stall_ns=None))
    assert placeholders(program) == {(1, MapSlot.COUNTERS), (1, MapSlot.SOCKETS)}
    assert set(calls(program)) == {1, 51}


@pytest.mark.parametrize("verdict", [Verdict.DROP, Verdict.PASS, Verdict.TX])
def test_other_verdicts_only_count(verdict: Verdict) -> None:
    program = xdp(spec(verdict=verdict))
    assert placeholders(program) == {(1, MapSlot.COUNTERS)}
    assert calls(program) == [1]


def test_the_tag_is_asked_for_only_with_vlan_metadata() -> None:
    kfunc = KFUNC_BASE + KfuncSlot.RX_VLAN_TAG
    assert kfunc not in calls(xdp(spec()))
    assert calls(xdp(spec(vlan_metadata=True))).count(kfunc) == 1


@pytest.mark.parametrize("wrong", [{"queues": 0}, {"stall_ns": 0}, {"stall_ns": 1 << 63}, {"verdict": Verdict.ABORTED}])
def test_a_spec_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        spec(**wrong)  # type: ignore[arg-type]


def test_a_match_that_is_too_large_is_the_users_error() -> None:
    with pytest.raises(OptionError, match="9000 tests"):
        xdp(spec(match=Any((UDP,) * 4500), protect=None))


# -- the child process -----------------------------------------------------------------------------------------------


def test_what_llvm_says_is_in_the_error() -> None:
    with pytest.raises(CompileError, match="expected top-level entity") as caught:
        llvm.bpf_code("nonsense")
    assert "\n" not in str(caught.value)


def test_llvm_may_exit() -> None:
    body = "%p = alloca i8, i64 %n\nstore volatile i8 1, ptr %p\nret i64 0"
    text = f'target triple = "bpfel"\ndefine i64 @f(i64 %n) {{\n{body}\n}}'
    with pytest.raises(CompileError, match="dynamic stack"):
        llvm.bpf_code(text)


def test_rounds_of_the_same_match_start_llvm_once(monkeypatch: pytest.MonkeyPatch) -> None:
    llvm.bpf_code.cache_clear()
    xdp(spec())
    monkeypatch.setattr(subprocess, "run", None)
    for _ in range(10):
        xdp(spec())


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sleeper(monkeypatch, tmp_path)
    monkeypatch.setattr(llvm, "TIMEOUT", 1)
    monkeypatch.setattr(llvm, "GRACE", -0.5)
    with pytest.raises(CompileError, match="not finished"):
        llvm.bpf_code("hangs")
    assert not alive(int((tmp_path / "pid").read_text()))


def test_the_worker_ends_on_its_own_when_nobody_waits_for_it() -> None:
    command = [sys.executable, "-I", "-S", str(llvm._WORKER), str(llvm._llvmlite_directory()), "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.wait(timeout=10) == -signal.SIGALRM


def test_an_interrupt_leaves_no_child_behind(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from offramp.compile import llvm
llvm._WORKER = Path({str(write_sleeper(tmp_path))!r})
llvm.bpf_code("hangs")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(llvm.__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE) as parent:
        child = wait_for_pid(tmp_path)
        parent.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in parent.communicate(timeout=10)[1]
    assert not alive(child)


def test_the_worker_imports_only_what_it_needs() -> None:
    command = [sys.executable, "-I", "-S", "-X", "importtime", str(llvm._WORKER), str(llvm._llvmlite_directory()), "9"]
    done = subprocess.run(command, input=flow.build(spec(), DNS, ARP).encode(), capture_output=True, check=True)
    imported = {line.rsplit(b"|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert b"llvmlite.binding" in imported
    assert not imported & {b"numpy", b"site", b"offramp"}
    assert len(done.stdout) % 8 == 0


def test_the_room_is_light_and_pure() -> None:
    script = """
import sys, offramp.compile
loaded = {"llvmlite", "numpy", "lark", "pyroute2", "offramp.bpf", "offramp.nic"} & set(sys.modules)
import offramp.compile.flow
loaded |= {"llvmlite.binding", "numpy", "pyroute2", "offramp.bpf", "offramp.nic"} & set(sys.modules)
sys.exit(" ".join(loaded) or 0)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(llvm.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def write_sleeper(directory: Path) -> Path:
    """A worker that tells its pid and then does nothing."""
    script = directory / "sleeper.py"
    script.write_text(
        f"import os, time\nopen({str(directory / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    )
    return script


def sleeper(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setattr(llvm, "_WORKER", write_sleeper(directory))


def wait_for_pid(directory: Path) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        written = (directory / "pid").read_text() if (directory / "pid").exists() else ""
        if written:
            return int(written)
        time.sleep(0.01)
    raise TimeoutError("the child has not started")


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
