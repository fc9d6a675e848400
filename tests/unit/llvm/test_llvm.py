# SPDX-License-Identifier: Apache-2.0
"""The compiler's child process: whatever happens to it, it never gives a wrong answer."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from offramp.emit import burst, limits
from offramp.emit import xdp as xdp_ir
from offramp.emit.match import MatchBody
from offramp.emit.program import Spec
from offramp.errors import CompileError
from offramp.llvm import child as llvm
from offramp.llvm import worker
from offramp.lower.expression import Lowered
from offramp.verdict import Verdict
from tests.generators.lowered import DNS, Code, equals
from tests.rigs.processes import gone
from tests.rigs.waiting import eventually

TEXT = xdp_ir.build([Spec(MatchBody(Lowered(DNS), Verdict.DROP))]).text
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(llvm.__file__).parents[2]), os.getcwd()])}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    llvm.forget()
    llvm.stop()
    yield
    llvm.stop()


def compile_anew(text: str = TEXT) -> bytes:
    """What the child says, not the cache."""
    return llvm._compile(worker.BPF, text)


def pid() -> int:
    return llvm._idle[0].process.pid


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


# -- errors ------------------------------------------------------------------------------------------------------------


def test_what_llvm_says_is_in_the_error() -> None:
    with pytest.raises(CompileError, match="expected top-level entity") as caught:
        llvm.bpf_code("nonsense")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", 'target triple = "bpfel"', "define i32 @f() { ret i64 1 }", "a\0b", "é"])
def test_what_is_no_program(text: str) -> None:
    with pytest.raises(CompileError, match=r"a bug in offramp"):
        llvm.bpf_code(text)
    assert compile_anew()


def test_llvm_may_exit() -> None:
    body = "%p = alloca i8, i64 %n\nstore volatile i8 1, ptr %p\nret i64 0"
    before = compile_anew()
    with pytest.raises(CompileError, match=r"LLVM ended with .*dynamic stack"):
        llvm.bpf_code(f"define i64 @f(i64 %n) {{\n{body}\n}}")
    assert compile_anew() == before


def test_code_that_is_not_alone_is_refused() -> None:
    text = "@x = external global i32\ndefine i32 @f() {\n%1 = load i32, ptr @x\nret i32 %1\n}"
    with pytest.raises(CompileError, match="more than code"):
        llvm.bpf_code(text)
    with pytest.raises(CompileError, match="more than code"):
        llvm.native_code(text)


def test_more_stack_than_there_is() -> None:
    places = "".join(f"%p{n} = alloca i64\nstore volatile i64 %n, ptr %p{n}\n" for n in range(65))
    with pytest.raises(llvm.DoesNotFit, match="512 bytes of stack"):
        llvm.bpf_code(f"define i64 @f(i64 %n) {{\n{places}ret i64 0\n}}")


def test_branches_are_counted_on_the_way_that_is_followed_first() -> None:
    jump, go, leave = (0x15, 0, 1, 0), (0x05, 0, 1, 0), (0x95, 0, 0, 0)
    assert limits._open_ways([jump, leave, jump, leave, leave]) == 1
    assert limits._open_ways([jump, jump, jump, leave, leave]) == 3
    assert limits._open_ways([jump, go, leave, jump, leave, leave]) == 2
    assert limits._farthest_jump([(0x15, 0, 1, 0), (0x3C, 0, 0, 0), leave]) == limits._DIVISION + 1


def test_code_is_remembered_up_to_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [xdp_ir.build([Spec(MatchBody(Lowered(equals(0, 1, n)), Verdict.DROP))]).text for n in range(4)]
    size = len(llvm.bpf_code(texts[0]))
    monkeypatch.setattr(llvm, "REMEMBERED", 2 * size)
    for text in (*texts[:3], texts[1]):
        llvm.bpf_code(text)
    asked = []

    def compiled(_: str, text: str) -> bytes:
        asked.append(text)
        return bytes(size)

    monkeypatch.setattr(llvm, "_compile", compiled)
    for text in (texts[1], texts[2], texts[0], texts[2], texts[1]):
        llvm.bpf_code(text)
    assert asked == [texts[0], texts[1]], "the one that was not used for longest was forgotten"
    monkeypatch.setattr(llvm, "REMEMBERED", size - 1)
    llvm.bpf_code(texts[3])
    assert not llvm._codes


# -- one child for many requests ---------------------------------------------------------------------------------------


def test_the_child_stays() -> None:
    llvm.start()
    first = pid()
    compile_anew()
    with pytest.raises(CompileError):
        llvm.bpf_code("nonsense")
    with Code(llvm.native_code(burst.build(MatchBody(Lowered(equals(0, 1, 7)), Verdict.DROP)).text)) as code:
        assert code([b"\7", b"\6"]) == [True, False]
    assert pid() == first
    llvm.stop()
    assert not alive(first)


def test_what_was_compiled_is_remembered() -> None:
    llvm.bpf_code(TEXT)
    llvm.stop()
    llvm.bpf_code(TEXT)
    assert not llvm._children


def test_a_child_that_was_killed_has_a_successor() -> None:
    before = compile_anew()
    first = pid()
    os.kill(first, signal.SIGKILL)
    while os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT) is None:
        pass
    assert compile_anew() == before
    assert pid() != first


def test_an_idle_child_rests_and_nobody_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llvm, "IDLE", 0)
    before = compile_anew()
    first = pid()
    for _ in range(10):
        assert compile_anew() == before
    assert pid() == first


def test_a_resting_child_has_little_memory_and_ends_with_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llvm, "IDLE", 0)
    compile_anew()

    def rests() -> bool:
        return memory_of(pid()) <= 20_000 and b"resting" in Path(f"/proc/{pid()}/cmdline").read_bytes()

    assert eventually(rests, 10.0)
    child = llvm._idle.pop()
    child._pipes[0].close()
    assert child.process.wait(10) == 0


def memory_of(pid: int) -> int:
    """KiB of it that are in use."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def test_threads_wait_for_each_other() -> None:
    texts = [xdp_ir.build([Spec(MatchBody(Lowered(equals(0, 1, n)), Verdict.DROP))]).text for n in range(8)]
    alone = [compile_anew(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(compile_anew, texts * 4)) == alone * 4


def test_a_forked_process_has_a_child_of_its_own() -> None:
    script = """
import os, threading
from offramp.llvm import child as llvm
from tests.unit.llvm.test_llvm import TEXT, compile_anew, pid
before = compile_anew()
held = threading.Event(), threading.Event()
def hold():
    with llvm._turn:
        held[0].set()
        held[1].wait()
thread = threading.Thread(target=hold)
first = pid()
thread.start()
held[0].wait()
child = os.fork()
if child == 0:
    os._exit(0 if not llvm._children and compile_anew() == before and pid() != first and not llvm.stop() else 1)
held[1].set()
thread.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert compile_anew() == before and pid() == first
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], env=ENVIRONMENT, check=True)


# -- and its end -------------------------------------------------------------------------------------------------------


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(llvm, "_WORKER", write_sleeper(tmp_path))
    monkeypatch.setattr(llvm, "TIMEOUT", 1)
    monkeypatch.setattr(llvm, "GRACE", -0.5)
    with pytest.raises(CompileError, match="not finished in 1 s"):
        llvm.bpf_code("hangs")
    assert not alive(wait_for_pid(tmp_path))


def test_a_request_that_is_too_long_for_the_pipe_and_never_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(llvm, "_WORKER", write_sleeper(tmp_path))
    monkeypatch.setattr(llvm, "TIMEOUT", 0)
    monkeypatch.setattr(llvm, "GRACE", 0.5)
    with pytest.raises(CompileError, match="not finished"):
        llvm.bpf_code("; hangs\n" * 1_000_000)


def test_the_worker_ends_on_its_own_when_a_request_takes_too_long() -> None:
    command = [sys.executable, "-I", "-S", str(llvm._WORKER), str(llvm._llvmlite_directory()), "1", "10"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"\5\0\0\0\1\0\0\0bp")
        process.stdin.flush()
        assert process.wait(timeout=10) == -signal.SIGALRM


def test_the_worker_ends_when_its_owner_is_killed() -> None:
    script = (
        "import time; from tests.unit.llvm.test_llvm import *; compile_anew(); print(pid(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], env=ENVIRONMENT, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        child = int(owner.stdout.readline())
        assert alive(child)
        owner.kill()
    assert gone(child)


def test_the_worker_ends_with_its_owner() -> None:
    script = "from tests.unit.llvm.test_llvm import *; compile_anew(); print(pid(), flush=True)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert gone(int(done.stdout))
    assert not done.stderr


def test_an_interrupt_leaves_no_child_behind(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from offramp.llvm import child as llvm
llvm._WORKER = Path({str(write_sleeper(tmp_path))!r})
llvm.bpf_code("hangs")
"""
    with subprocess.Popen([sys.executable, "-c", script], env=ENVIRONMENT, stderr=subprocess.PIPE) as parent:
        child = wait_for_pid(tmp_path)
        parent.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in parent.communicate(timeout=10)[1]
    assert gone(child)


def test_interrupts_do_not_mix_up_answers() -> None:
    """Whenever one comes, the next answer is the next request's."""
    texts = [xdp_ir.build([Spec(MatchBody(Lowered(equals(0, 1, n)), Verdict.DROP))]).text for n in range(2)]
    alone = [compile_anew(text) for text in texts]

    class Interrupt(BaseException):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        for delay in range(30):
            timer = threading.Timer(delay / 1000, os.kill, [os.getpid(), signal.SIGUSR1])
            with contextlib.suppress(Interrupt):
                timer.start()
                while True:
                    assert compile_anew(texts[0]) == alone[0]
            timer.join()
            assert compile_anew(texts[1]) == alone[1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_worker_imports_only_what_it_needs() -> None:
    command = [sys.executable, "-I", "-S", "-X", "importtime", str(llvm._WORKER), str(llvm._llvmlite_directory())]
    done = subprocess.run([*command, "9", "9"], input=b"", capture_output=True, check=True)
    imported = {line.rsplit(b"|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert b"llvmlite.binding" in imported
    assert not imported & {b"numpy", b"site", b"offramp"}
    assert done.stdout == b""


def write_sleeper(directory: Path) -> Path:
    """A worker that tells its pid and then does nothing."""
    script = directory / "sleeper.py"
    script.write_text(
        f"import os, time\nopen({str(directory / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    )
    return script


def wait_for_pid(directory: Path) -> int:
    written = directory / "pid"
    assert eventually(lambda: written.exists() and bool(written.read_text()), 10.0), "the child has not started"
    return int(written.read_text())
