# SPDX-License-Identifier: Apache-2.0
"""LLVM IR -> machine code, in a child process.

    this process ──IR text──> worker.py (LLVM) ──code──> this process
                              └─ stderr: what LLVM says, into the CompileError

LLVM can abort or exit on input that it does not like, and it takes 60 MB of memory: both stay in the child, which gets
nothing but the text, and ends on its own after TIMEOUT seconds even if we are gone by then.

Starting the child costs more than compiling, so it starts lean: -I and -S leave out environment, site-packages and its
.pth files, and the one directory that it needs, llvmlite's, is an argument.
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from offramp.errors import CompileError

__all__ = ["bpf_code"]

TIMEOUT = 60  # seconds
GRACE = 5  # by how much we wait longer than the child does
_WORKER = Path(__file__).with_name("worker.py")


@lru_cache(maxsize=64)
def bpf_code(text: str) -> bytes:
    """The eBPF instructions of the only function in the module `text`. Errors: CompileError."""
    command = [sys.executable, "-I", "-S", str(_WORKER), str(_llvmlite_directory()), str(TIMEOUT)]
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=TIMEOUT + GRACE, cwd="/")
    except OSError as error:
        raise CompileError("starting the compiler", reason=f"{sys.executable}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CompileError("compiling", reason=f"LLVM has not finished in {TIMEOUT} s") from error
    if done.returncode or not done.stdout:
        raise CompileError("compiling", reason=_reason(done), hint="a bug in offramp: please report it with the match")
    return done.stdout


def _llvmlite_directory() -> Path:
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or spec.origin is None:
        raise CompileError("compiling", reason="llvmlite is not installed", hint="pip install llvmlite")
    return Path(spec.origin).parent.parent


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode == -signal.SIGALRM:
        return f"LLVM has not finished in {TIMEOUT} s"
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    said = " / ".join(lines[-4:])
    ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
    return f"LLVM ended with {ended}: {said}" if said else f"LLVM ended with {ended}"
