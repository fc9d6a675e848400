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

There is one child for each process; a forked process has its own. A request that is interrupted ends the child, because
its answer would be taken for the answer to the next request.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import select
import signal
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from offramp import process
from offramp.emit.limits import too_much
from offramp.errors import CompileError, NotSupported
from offramp.llvm.worker import BPF, DONE, HEADER

__all__ = ["DoesNotFit", "bpf_code", "forget", "native_code", "start", "stop"]

TIMEOUT = 60  # seconds
GRACE = 5  # how much longer than the child we wait
IDLE = 10  # seconds
REMEMBERED = 4 << 20  # bytes of code: thousands of ordinary programs
_WORKER = Path(__file__).with_name("worker.py")
_TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
_TOO_LONG = "LLVM has not finished in {} s"
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
    machine = platform.machine()
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
    """Start the child if there is none, so that it is ready when it is needed. Returns at once; if it cannot start, the
    next request reports why.
    """
    with _lock, suppress(CompileError):
        _running()


def stop() -> None:
    """End the child, if there is one. The next request starts another."""
    with _lock:
        _end()


def _compile(triple: str, text: str) -> bytes:
    request = struct.pack(HEADER, len(triple), len(text)) + triple.encode() + text.encode()
    with _lock:
        status, answer = _ask(request)
    if status != DONE:
        raise CompileError("compiling", reason=_one_line(answer), hint=_REPORT)
    if triple == BPF and (reason := too_much(answer)):
        raise DoesNotFit("compiling", reason=reason, hint=_REPORT)
    return answer


_lock = threading.Lock()
_child: _Child | None = None
_codes: dict[bytes, bytes] = {}


def _ask(request: bytes) -> tuple[int, bytes]:
    """The status and the answer. The caller holds the lock."""
    child = None
    try:
        child = _running()
        return child.ask(request)
    except EOFError:
        assert child is not None
        child.process.wait()
        raise CompileError("compiling", reason=child.last_words(), hint=_REPORT) from None
    except TimeoutError:
        raise CompileError("compiling", reason=_TOO_LONG.format(TIMEOUT)) from None
    except BaseException:
        _end()
        raise
    finally:
        if _child is not None and not _child.is_in_step:
            _end()


def _running() -> _Child:
    global _child
    if _child is not None and _child.process.poll() is not None:
        _end()
    if _child is None:
        _child = _Child()
    return _child


def _end() -> None:
    global _child
    if _child is not None:
        child, _child = _child, None
        child.close()


class _Child:
    """The process, and the pipes to and from it."""

    def __init__(self) -> None:
        import subprocess

        command = [sys.executable, "-I", "-S", str(_WORKER), str(_llvmlite_directory()), str(TIMEOUT), str(IDLE)]
        self._said = os.memfd_create("llvm")
        try:
            self.process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                cwd="/",
                process_group=0,  # Ctrl-C is for this process only
            )
        except OSError as error:
            os.close(self._said)
            raise CompileError("starting the compiler", reason=f"{sys.executable}: {error.strerror}") from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin, self.process.stdout
        os.set_blocking(self._in.fileno(), False)
        os.set_blocking(self._out.fileno(), False)
        self.is_in_step = True  # each request has got its answer

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Errors: EOFError when the process has ended, TimeoutError when it takes too long."""
        deadline = time.monotonic() + TIMEOUT + GRACE
        self.is_in_step = False
        self._write(request, deadline)
        status, length = struct.unpack(HEADER, self._read(struct.calcsize(HEADER), deadline))
        answer = self._read(length, deadline)
        self.is_in_step = True
        return status, answer

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            _wait(self._in.fileno(), select.POLLOUT, deadline)
            try:
                view = view[os.write(self._in.fileno(), view) :]
            except BrokenPipeError:
                raise EOFError from None

    def _read(self, size: int, deadline: float) -> bytes:
        parts = []
        while size > 0:
            _wait(self._out.fileno(), select.POLLIN, deadline)
            part = os.read(self._out.fileno(), size)
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def last_words(self) -> str:
        """Why it ended, as far as this is known."""
        code = self.process.returncode
        if code == -signal.SIGALRM:
            return _TOO_LONG.format(TIMEOUT)
        ended = f"signal {-code}" if code < 0 else f"exit status {code}"
        said = _one_line(os.pread(self._said, os.fstat(self._said).st_size, 0))
        return f"LLVM ended with {ended}: {said}" if said else f"LLVM ended with {ended}"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.forget()

    def forget(self) -> None:
        """Close the pipes."""
        self._in.close()
        self._out.close()
        os.close(self._said)


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
    """The child belongs to our parent, and so does the conversation that another thread may be having with it."""
    global _lock, _child
    _lock = threading.Lock()
    if _child is not None:
        _child.process.returncode = 0  # we cannot wait for it
        _child.forget()
        _child = None


process.holds("compiler", in_child=_in_forked_process, at_exit=stop)
