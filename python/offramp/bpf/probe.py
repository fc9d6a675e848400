# SPDX-License-Identifier: Apache-2.0
"""What this kernel can do, found out by trying it, never by its version.

    True    it worked
    False   the kernel answered that it does not know it
    None    it could not be found out: no privileges, no memory, no BTF

Only True and False are remembered; None is tried again the next time. Every probe tries the smallest thing that only
works with the feature, touches no interface, and takes it back. So a probe changes nothing that others can see.

A probe needs what the feature needs: CAP_BPF and CAP_NET_ADMIN. Each takes some milliseconds.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from enum import Enum

from offramp.bpf import btf
from offramp.bpf.loading import load_code
from offramp.bpf.maps import Map, MapFlag, MapType
from offramp.bpf.programs import XDP_HAS_FRAGS, Program, xdp_context
from offramp.emit.bytecode import CALL, EXIT, LD_IMM64, MOV64_IMM, PSEUDO_MAP_FD, Helper, instruction
from offramp.errors import KernelError, PrivilegeError
from offramp.syscalls.bpf import info
from offramp.verdict import Verdict

__all__ = ["KernelFeature", "jit", "probe", "probe_all"]


class KernelFeature(Enum):
    """Kernel features that offramp can use. The value is a description for people."""

    XDP = "XDP programs"
    REDIRECT_MAP = "redirection from XDP to AF_XDP sockets"
    XSKMAP = "maps of AF_XDP sockets"
    PERCPU_ARRAY = "per-CPU counters"
    MMAPABLE = "maps as shared memory"
    KTIME = "clock in programs"
    FRAGS = "XDP packets of several buffers"
    LIVE_FRAMES = "test-run that sends packets"
    XDP_LINK = "XDP attachments owned by a descriptor"
    RX_VLAN_TAG = "VLAN tags out of band, from the driver"


# The kernel's answers to flags, types, helpers and commands that it does not know. EACCES is the verifier's.
_UNKNOWN = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.E2BIG, errno.EACCES, 524})  # 524: ENOTSUPP

_answers: dict[KernelFeature, bool] = {}


def probe(feature: KernelFeature) -> bool | None:
    """Whether this kernel has `feature`; None if this cannot be found out now."""
    if feature not in _answers:
        answer = _try(_PROBES[feature])
        if answer is None:
            return None
        _answers[feature] = answer
    return _answers[feature]


def probe_all() -> dict[KernelFeature, bool | None]:
    """Every feature with its answer."""
    return {feature: probe(feature) for feature in KernelFeature}


def jit() -> bool | None:
    """Whether programs are compiled to machine code here. We ask a program: only the first namespace has the sysctl.

    The answer is not remembered, because it can be switched.
    """
    return _try(_is_compiled)


def _try(attempt: Callable[[], bool | None]) -> bool | None:
    try:
        return attempt()
    except PrivilegeError:
        return None
    except KernelError as error:
        return False if error.errno in _UNKNOWN else None


def _return(verdict: int) -> bytes:
    return instruction(MOV64_IMM, 0, immediate=verdict) + instruction(EXIT)


def _loads(code: bytes, flags: int = 0) -> bool:
    with Program(load_code(code, name="offramp_probe", flags=flags), "offramp_probe", len(code) // 8):
        return True


def _is_compiled() -> bool:
    code = _return(Verdict.PASS)
    with Program(load_code(code, name="offramp_probe"), "offramp_probe", len(code) // 8) as program:
        (compiled,) = struct.unpack_from("I", info(program.fd, 20), 16)  # struct bpf_prog_info: jited_prog_len
        return bool(compiled)


def _reads_clock() -> bool:
    return _loads(instruction(CALL, immediate=Helper.KTIME_GET_COARSE_NS) + _return(Verdict.PASS))


def _creates(kind: MapType, value_size: int, flags: MapFlag = MapFlag.NONE) -> bool:
    with Map.create(kind, 4, value_size, 1, flags, "offramp_probe"):
        return True


def _redirect_map() -> bool:
    with Map.create(MapType.XSKMAP, 4, 4, 1, name="offramp_probe") as sockets:
        map_in_r1 = instruction(LD_IMM64, 1, PSEUDO_MAP_FD, immediate=sockets.fd) + instruction(0)
        queue_in_r2 = instruction(MOV64_IMM, 2, immediate=0)
        otherwise_in_r3 = instruction(MOV64_IMM, 3, immediate=Verdict.PASS)
        call = instruction(CALL, immediate=Helper.REDIRECT_MAP) + instruction(EXIT)
        return _loads(map_in_r1 + queue_in_r2 + otherwise_in_r3 + call)


def _live_frames() -> bool:
    code = _return(Verdict.DROP)  # so that no packet goes anywhere
    with Program(load_code(code, name="offramp_probe"), "offramp_probe", len(code) // 8) as program:
        program.test_run(bytes(64), ctx=xdp_context(64), live=True)
        return True


def _in_btf(function: str) -> bool | None:
    return btf.function_id(function) is not None if btf.VMLINUX.exists() else None


_PROBES: dict[KernelFeature, Callable[[], bool | None]] = {
    KernelFeature.XDP: lambda: _loads(_return(Verdict.PASS)),
    KernelFeature.REDIRECT_MAP: _redirect_map,
    KernelFeature.XSKMAP: lambda: _creates(MapType.XSKMAP, 4),
    KernelFeature.PERCPU_ARRAY: lambda: _creates(MapType.PERCPU_ARRAY, 8),
    KernelFeature.MMAPABLE: lambda: _creates(MapType.ARRAY, 8, MapFlag.MMAPABLE),
    KernelFeature.KTIME: _reads_clock,
    KernelFeature.FRAGS: lambda: _loads(_return(Verdict.PASS), XDP_HAS_FRAGS),
    KernelFeature.LIVE_FRAMES: _live_frames,
    # These two cannot be tried without an interface. The kernel's list of its own functions tells them as well.
    KernelFeature.XDP_LINK: lambda: _in_btf("bpf_xdp_link_attach"),
    KernelFeature.RX_VLAN_TAG: lambda: _in_btf("bpf_xdp_metadata_rx_vlan_tag"),
}
