# SPDX-License-Identifier: Apache-2.0
"""The capabilities that offramp needs, and which of them this thread lacks.

    CAP_NET_ADMIN   load XDP programs, create XSKMAPs, attach to interfaces
    CAP_NET_RAW     open AF_XDP and packet sockets
    CAP_BPF         create maps and programs
    CAP_PERFMON     pointer differences in programs: the verifier refuses `data_end - data` without it
    CAP_IPC_LOCK    packet memory above RLIMIT_MEMLOCK (not needed below it)

CAP_SYS_ADMIN includes CAP_BPF, CAP_PERFMON and, for bpf(2), CAP_NET_ADMIN.
The kernel checks the thread's effective set. Source: capabilities(7), include/linux/bpf.h (bpf_token_capable).
"""

from __future__ import annotations

from enum import IntEnum

from offramp.errors import KernelError
from offramp.syscalls.failure import trying
from offramp.syscalls.procfs import content

__all__ = ["FOR_BPF", "Capability", "held", "hint", "missing"]


class Capability(IntEnum):
    """Bit numbers of include/uapi/linux/capability.h."""

    CAP_NET_ADMIN = 12
    CAP_NET_RAW = 13
    CAP_IPC_LOCK = 14
    CAP_SYS_ADMIN = 21
    CAP_PERFMON = 38
    CAP_BPF = 39


FOR_BPF = (Capability.CAP_BPF, Capability.CAP_NET_ADMIN, Capability.CAP_PERFMON)
_IMPLIED_BY_SYS_ADMIN = frozenset(FOR_BPF)


def held() -> frozenset[Capability]:
    """The capabilities in this thread's effective set, of those that matter here."""
    with trying("the capabilities of this thread"):
        status = content("/proc/thread-self/status")
    bits = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
    found = {capability for capability in Capability if bits >> capability & 1}
    if Capability.CAP_SYS_ADMIN in found:
        found |= _IMPLIED_BY_SYS_ADMIN
    return frozenset(found)


def missing(needed: tuple[Capability, ...] = FOR_BPF) -> tuple[Capability, ...]:
    """Which of `needed` this thread lacks."""
    have = held()
    return tuple(capability for capability in needed if capability not in have)


def hint(needed: tuple[Capability, ...] = FOR_BPF) -> str:
    """What to do about EPERM, in half a sentence that names the missing capabilities."""
    try:
        lacking = missing(needed)
    except KernelError:  # what is missing cannot be seen now, and something else has failed already
        return f"{', '.join(capability.name for capability in needed)} are needed"
    if lacking:
        return f"missing {', '.join(capability.name for capability in lacking)}; run as root or grant them"
    return "no capability is missing here: a user namespace, kernel lockdown or a security module forbids it"
