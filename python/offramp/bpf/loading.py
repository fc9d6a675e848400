# SPDX-License-Identifier: Apache-2.0
"""BPF_PROG_LOAD: finished instructions become a program, or an error that says what the verifier said.

The verifier's log costs time, so it is asked for only after a failure: once more, with a log.
Source: include/uapi/linux/bpf.h (union bpf_attr), kernel/bpf/syscall.c.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from contextlib import suppress

from offramp.bpf.debug_info import DebugInfo
from offramp.errors import KernelError, OptionError, PrivilegeError, VerifierError
from offramp.immutable import immutable
from offramp.syscalls import privileges
from offramp.syscalls.bpf import Command, bpf, buffer, check_name
from offramp.syscalls.ioctl import name_of
from offramp.syscalls.kept import Kept

__all__ = ["load_code"]

# The generated program's licence, not offramp's: the kernel lets only GPL-compatible programs call its functions.
_LICENSE = b"Dual BSD/GPL"

_PROG_TYPE_XDP = 6
_ATTACH_TYPE_XDP = 37

_INTERRUPTED_LOADS = 5  # the verifier gives up with EAGAIN on a signal
_LOG_SIZES = (1 << 20, 1 << 24)  # kernels before 6.4 answer ENOSPC to a log that does not fit


def load_code(code: bytes, *, name: str, source: str = "", flags: int = 0, ifindex: int = 0) -> Kept:
    """Load finished instructions and return the descriptor. Privileges, kernels and errors: see `Program.load`."""
    with DebugInfo.load(name, source) as debug_info:
        return _loaded(_Load(code, name, flags, ifindex, debug_info))


def _loaded(load: _Load) -> Kept:
    try:
        return load.attempt()
    except PrivilegeError:
        raise
    except KernelError as error:
        if error.errno == errno.E2BIG:
            reason = "the kernel's verifier gives up on a program of this size"
            raise OptionError(load.what, reason=reason, hint="use networks, port ranges, and few sets") from error
    return load.attempt_with_log()


@immutable
class _Load:
    code: bytes
    name: str
    flags: int
    ifindex: int  # 0: bound to no device
    debug_info: DebugInfo

    @property
    def what(self) -> str:
        where = f" for {_interface(self.ifindex)}" if self.ifindex else ""
        return f"loading XDP program {self.name!r}{where}"

    def attempt(self, log: ctypes.Array[ctypes.c_char] | None = None) -> Kept:
        """Again if a signal interrupts the verifier."""
        instructions, license_text = buffer(self.code), ctypes.create_string_buffer(_LICENSE)
        attributes = struct.pack(
            "IIQQIIQII16sII",
            _PROG_TYPE_XDP,
            len(self.code) // 8,
            ctypes.addressof(instructions),
            ctypes.addressof(license_text),
            1 if log is not None else 0,
            len(log) if log is not None else 0,
            ctypes.addressof(log) if log is not None else 0,
            0,
            self.flags,
            check_name(self.name),
            self.ifindex,
            _ATTACH_TYPE_XDP,
        )
        attributes += self.debug_info.attributes()
        kept = Kept()
        for _ in range(_INTERRUPTED_LOADS):
            try:
                bpf(Command.PROG_LOAD, attributes, self.what, kept)
                return kept
            except KernelError as error:
                if error.errno != errno.EAGAIN:
                    raise
        bpf(Command.PROG_LOAD, attributes, self.what, kept)
        return kept

    def attempt_with_log(self) -> Kept:
        """What failed may succeed now. Else the error has the verifier's log."""
        for size in _LOG_SIZES:
            log = ctypes.create_string_buffer(size)
            try:
                return self.attempt(log)
            except KernelError as error:
                refusal = error
            if refusal.errno != errno.ENOSPC:
                break
        raise _explain(self.what, refusal, log.value.decode(errors="replace"))


def _explain(what: str, refusal: KernelError, log: str) -> KernelError:
    """The error: a refusal by the verifier, a missing capability, or another failure of the system call."""
    code = refusal.errno or 0
    if code == errno.EACCES and privileges.Capability.CAP_PERFMON in privileges.missing():
        return PrivilegeError(what, code, hint=privileges.hint())
    said = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("processed ")]
    if not said:
        return refusal
    hint = "this is a bug in offramp; please report it with the error's .log"
    return VerifierError(f"{what}: the verifier says {' / '.join(said[-2:])!r}", code, log=log, hint=hint)


def _interface(ifindex: int) -> str:
    with suppress(KernelError):  # only words depend on it
        return name_of(ifindex) or f"interface {ifindex}"
    return f"interface {ifindex}"
