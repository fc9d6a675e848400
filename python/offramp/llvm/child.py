# SPDX-License-Identifier: Apache-2.0
"""LLVM IR -> machine code, in a child process.

    this process ──target, IR text──> worker.py (LLVM) ──code──> this process
                                      └─ stderr: what LLVM says, into the CompileError

LLVM can abort or exit on input that it does not like, and it takes 70 MB of memory. Both stay in the child, which gets
only the text. Starting it costs more than compiling. So it stays for the next request, and `start` starts it early,
while the text is still being made. It ends when we end, and after TIMEOUT seconds of one request. It is started lean:
-I and -S leave out environment, site-packages and its .pth files. It needs one directory, llvmlite's, which is an
argument.

After IDLE seconds without a request it gives LLVM's memory back, and keeps waiting. It does not end: it would then be a
zombie until the next request, which may never come. We cannot wait for it, because threads and signals belong to our
user. Nor is it an orphan: that would be a zombie for good if process 1 is somebody's program, as in containers.

There is one child for each process; a forked process has its own. A request takes it out of `_idle` and puts it back
with the answer, so no answer is taken for that to another request: a child that is lost on the way, by an interrupt,
ends. Threads take turns, since waiting costs less than another child. But nobody waits for what may never come. A
signal's handler that asks while its own thread is asking has a child of its own at once, as has a thread whose turn has
not come in PATIENCE seconds: the other one may be waiting for something that this one holds.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import select
import signal
import struct
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING
from weakref import WeakSet

from offramp import process
from offramp.emit.limits import too_much
from offramp.errors import CompileError, NotSupported, OfframpError
from offramp.llvm.worker import BPF, DONE, HEADER, UNUSABLE
from offramp.syscalls.failure import trying
from offramp.syscalls.kept import Kept

if TYPE_CHECKING:
    import subprocess

__all__ = ["DoesNotFit", "bpf_code", "forget", "native_code", "start", "stop"]

TIMEOUT = 60  # seconds
GRACE = 5  # how much longer than the child we wait
PATIENCE = 1  # seconds
IDLE = 10  # seconds
REMEMBERED = 4 << 20  # bytes of code: thousands of ordinary programs
_WORKER = Path(__file__).with_name("worker.py")
_TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
_TOO_LONG = "LLVM has not finished in {} s"
_UNUSABLE = "it needs 150 MB of address space, and an undamaged llvmlite"
_REPORT = "this is a bug in offramp: please report it with the match"


class DoesNotFit(CompileError):
    """The program is too large for its target."""


def bpf_code(text: str) -> bytes:
    """The eBPF instructions of the only function in the module `text`. Errors: CompileError."""
    return _remembered(BPF, text)


def native_code(text: str) -> bytes:
    """The instructions of this machine's CPU for the only function in the module `text`.

    Errors: CompileError; NotSupported on other machines than x86-64 and 64-bit Arm, little-endian.
    """
    machine = os.uname().machine
    if machine not in _TRIPLES or sys.maxsize < 1 << 32 or sys.byteorder != "little":
        what = f"code for {machine}, {struct.calcsize('P') * 8} bits, {sys.byteorder}-endian"
        raise NotSupported(what, reason="matches are compiled for x86-64 and 64-bit Arm")
    return _remembered(_TRIPLES[machine], text)


def _remembered(triple: str, text: str) -> bytes:
    """The code, compiled now, or remembered if the same text was compiled before. What is remembered is found by
    digest, and takes REMEMBERED bytes at most, so a long text or code does not stay for good.
    """
    key = hashlib.sha256(f"{triple} {text}".encode()).digest()
    code = _codes.pop(key, None)
    if code is None:
        code = _compile(triple, text)
    _codes[key] = code  # the last one used comes last
    size = sum(map(len, list(_codes.values())))
    for oldest in list(_codes):
        if size <= REMEMBERED:
            break
        size -= len(_codes.pop(oldest, b""))
    return code


def forget() -> None:
    """Forget all code, so that it is compiled again."""
    _codes.clear()


def start() -> None:
    """Start the child, if there is none, so that it is ready when it is needed. Waits for nobody; if it cannot start,
    the next request reports why.
    """
    if not _children:
        with suppress(OfframpError):
            _idle.append(_Child())


def stop() -> None:
    """End the child, if there is one, and it is not being asked. The next request starts another."""
    with suppress(IndexError):
        while True:
            _idle.pop().close()


def _compile(triple: str, text: str) -> bytes:
    request = struct.pack(HEADER, len(triple), len(text)) + triple.encode() + text.encode()
    status, answer = process.taking(_turn, PATIENCE, lambda _: _ask(request))
    if status != DONE:
        raise CompileError("compiling", reason=_one_line(answer), hint=_REPORT)
    if triple == BPF and (reason := too_much(answer)):
        raise DoesNotFit("compiling", reason=reason, hint=_REPORT)
    return answer


_turn = threading.RLock()
_idle: list[_Child] = []
_children: WeakSet[_Child] = WeakSet()  # those that are asked included
_codes: dict[bytes, bytes] = {}


def _ask(request: bytes) -> tuple[int, bytes]:
    """Status and answer. Errors: CompileError, KernelError."""
    child = _taken()
    try:
        answer = child.ask(request)
    except BaseException as error:
        child.close()
        if isinstance(error, Exception) and child.owner != process.generation():  # a signal's handler has forked
            return _ask(request)
        raise
    if _idle:
        child.close()
    else:
        _idle.append(child)
    return answer


def _taken() -> _Child:
    """The child that is idle, or another one."""
    with suppress(IndexError):
        while (child := _idle.pop()).process.poll() is not None:
            child.close()
        return child
    return _Child()


class _Child:
    """The process, and the pipes to and from it. It ends when nobody has it any more."""

    _started: Sequence[subprocess.Popen[bytes]] = ()  # of one whose __init__ did not get far
    _said = Kept()

    def __init__(self) -> None:
        import subprocess
        from subprocess import PIPE

        self.owner = process.generation()
        self._said = Kept()
        self._started = started = list[subprocess.Popen[bytes]]()
        _children.add(self)
        command = [sys.executable, "-I", "-S", str(_WORKER), str(_llvmlite_directory()), str(TIMEOUT), str(IDLE)]
        with trying(f"starting the compiler, {sys.executable}"):
            start: partial[subprocess.Popen[bytes]] = partial(
                subprocess.Popen,
                bufsize=0,
                stdin=PIPE,
                stdout=PIPE,
                stderr=self._said.keep(os.memfd_create, "llvm"),
                cwd="/",
                process_group=0,  # Ctrl-C is for us
            )
            started.extend(map(start, [command]))  # owned at once, as in syscalls/kept.py
        if self.owner != process.generation():  # a signal's handler has forked, and the child is ours or our parent's
            self._forget()
            self.process.wait()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._started[0]

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and answer. Errors: CompileError when the process has ended, or takes too long."""
        deadline = time.monotonic() + TIMEOUT + GRACE
        try:
            with trying("talking to the compiler"):
                for pipe in self._pipes:
                    os.set_blocking(pipe.fileno(), False)
                self._write(request, deadline)
                status, length = struct.unpack(HEADER, self._read(struct.calcsize(HEADER), deadline))
                return status, self._read(length, deadline)
        except EOFError:
            self.process.wait()
            words = self._last_words()
            raise CompileError("compiling", reason=words, hint=_UNUSABLE if UNUSABLE in words else _REPORT) from None
        except TimeoutError:
            raise CompileError("compiling", reason=_TOO_LONG.format(TIMEOUT)) from None

    def _write(self, data: bytes, deadline: float) -> None:
        pipe, view = self._pipes[0], memoryview(data)
        while view:
            _wait(pipe.fileno(), select.POLLOUT, deadline)
            try:
                view = view[os.write(pipe.fileno(), view) :]
            except BrokenPipeError:
                raise EOFError from None

    def _read(self, size: int, deadline: float) -> bytes:
        pipe, parts = self._pipes[1], []
        while size > 0:
            _wait(pipe.fileno(), select.POLLIN, deadline)
            part = os.read(pipe.fileno(), size)
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """To it, and from it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout

    def _last_words(self) -> str:
        """Why it ended, as far as this is known."""
        code = self.process.returncode
        if code == -signal.SIGALRM:
            return _TOO_LONG.format(TIMEOUT)
        ended = f"signal {-code}" if code < 0 else f"exit status {code}"
        said = _one_line(os.pread(self._said[0], os.fstat(self._said[0]).st_size, 0))
        return f"LLVM ended with {ended}: {said}" if said else f"LLVM ended with {ended}"

    def close(self) -> None:
        for started in self._started:
            started.kill()
            started.wait()
        self._forget()

    def abandon(self) -> None:
        """In a forked process: it is not ours to wait for."""
        for started in self._started:  # if there is none yet, __init__ goes on in this process
            started.returncode = 0
            self._forget()

    def _forget(self) -> None:
        for pipe in self._pipes if self._started else ():
            pipe.close()
        self._said.close()

    def __del__(self) -> None:
        self.close()


def _wait(descriptor: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _llvmlite_directory() -> Path:
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or spec.origin is None:
        raise CompileError("compiling", reason="llvmlite is not installed", hint="pip install llvmlite")
    return Path(spec.origin).parent.parent


def _one_line(text: bytes) -> str:
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-4:])


def _in_forked_process() -> None:
    """The child is our parent's, and so is the conversation that a thread may be having with it."""
    global _turn
    _turn = threading.RLock()
    for child in tuple(_children):
        child.abandon()
    _children.clear()
    _idle.clear()


process.holds("compiler", in_child=_in_forked_process, at_exit=stop)
