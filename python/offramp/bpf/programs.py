# SPDX-License-Identifier: Apache-2.0
"""XDP programs: placeholders patched, loaded (loading.py), and run on given packets.

    XdpProgram.code ──patch──> instructions with map descriptors and kfunc ids ──BPF_PROG_LOAD──> Program

The compiler leaves placeholders, which emit/placeholders.py lists.

Source: Documentation/bpf/standardization/instruction-set.rst; include/uapi/linux/bpf.h (union bpf_attr);
https://docs.kernel.org/bpf/bpf_prog_run.html (test_run and live frames).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Self

from offramp.bpf import btf
from offramp.bpf.descriptor import Descriptor
from offramp.bpf.loading import load_code
from offramp.bpf.maps import Map
from offramp.emit.bytecode import CALL, LD_IMM64, PSEUDO_KFUNC_CALL, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE
from offramp.emit.placeholders import KFUNC_BASE, KfuncSlot
from offramp.errors import NotSupported
from offramp.immutable import immutable
from offramp.syscalls.bpf import Command, bpf, buffer, info
from offramp.syscalls.kept import Kept
from offramp.text import printable, terminated

if TYPE_CHECKING:
    from offramp.emit.program import XdpProgram as CompiledProgram

__all__ = ["Program", "ProgramInfo", "TestRun", "patch", "xdp_context"]

XDP_HAS_FRAGS = 1 << 5
_XDP_DEV_BOUND_ONLY = 1 << 6
_TEST_XDP_LIVE_FRAMES = 1 << 1

_KFUNC_NAMES = {KfuncSlot.RX_VLAN_TAG: "bpf_xdp_metadata_rx_vlan_tag"}

_HEADROOM = 512  # how much longer a program may make a packet in test_run


@immutable
class ProgramInfo:
    """What the kernel says about a program: struct bpf_prog_info."""

    id: int
    name: str
    tag: str  # hex digest of the instructions
    verified_instructions: int  # how many the verifier walked through; 0 before Linux 5.16


@immutable
class TestRun:
    """The outcome of `Program.test_run`."""

    __test__ = False  # not a test class for pytest

    retval: int  # XDP verdict of the last repetition; 0 for live frames
    data: bytes  # the packet afterwards; empty for live frames
    duration_ns: int  # mean time of one repetition


class Program(Descriptor):
    """An XDP program in the kernel, owned by its descriptor. It keeps its maps alive, even after they are closed."""

    def __init__(self, fd: int | Kept, name: str, instructions: int) -> None:
        super().__init__(fd)
        self.name = name
        self.instructions = instructions

    @classmethod
    def load(
        cls,
        program: CompiledProgram,
        *,
        name: str,
        maps: Mapping[int, Map],
        source: str = "",
        ifindex: int | None = None,
        frags: bool = False,
    ) -> Self:
        """Patch `program` and load it.

        `maps`: the map of each placeholder, as `bind` finds them. `source`: a line for whoever looks in, as by
        `bpftool prog dump`.

        `ifindex` binds it to that device of this thread's network namespace. Kfuncs (metadata of the NIC) need this.
        The program can then only be attached there, in native mode. `frags`: it accepts packets of several buffers.

        Needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON. Minimum kernel: 6.1; 6.3 with `ifindex`.
        Errors: PrivilegeError; VerifierError with the verifier's log; OptionError if the verifier gives up on the
        program's size (E2BIG); NotSupported if the kernel lacks a kfunc; KernelError (EINVAL, also if the device is
        gone or, before 6.3, for any `ifindex`).
        """
        code = patch(program.code, {placeholder: map.fd for placeholder, map in maps.items()})
        flags = XDP_HAS_FRAGS if frags else 0
        if ifindex is not None:
            flags |= _XDP_DEV_BOUND_ONLY
        return cls(load_code(code, name=name, source=source, flags=flags, ifindex=ifindex or 0), name, len(code) // 8)

    @cached_property
    def id(self) -> int:
        """The program's number in the whole system, as bpftool and `ip link` show it."""
        return self.info().id

    def info(self) -> ProgramInfo:
        """What the kernel knows about the program."""
        raw = info(self.fd, 224, f"reading about program {self.name!r}")
        (identity,) = struct.unpack_from("I", raw, 4)
        (name,) = struct.unpack_from("16s", raw, 64)
        (verified,) = struct.unpack_from("I", raw, 216)
        return ProgramInfo(identity, printable(terminated(name)), raw[8:16].hex(), verified)

    def test_run(
        self,
        data: bytes,
        repeat: int = 1,
        ctx: bytes | None = None,
        live: bool = False,
        batch: int = 64,
        flags: int = 0,
    ) -> TestRun:
        """Run the program on the frame `data` (at least 14 bytes), `repeat` times, without a NIC.

        `ctx` is a struct xdp_md (see `xdp_context`). `live` sends each repetition's frame where the verdict says, in
        batches of `batch` (up to 256): a packet generator. Programs bound to a device cannot be run (EINVAL). Each call
        with `repeat` > 1 takes about 25 ms more, unless the program is attached somewhere.

        Needs CAP_BPF, and CAP_NET_ADMIN. Errors: KernelError (EINVAL; EINTR when a signal arrived in between).
        """
        packet = buffer(data)
        context = buffer(ctx) if ctx is not None else None
        result = None if live else ctypes.create_string_buffer(len(data) + _HEADROOM)
        attributes = buffer(
            struct.pack(
                "IIIIQQIIIIQQIII4x",
                self.fd,
                0,
                len(packet),
                len(result) if result is not None else 0,
                ctypes.addressof(packet),
                ctypes.addressof(result) if result is not None else 0,
                repeat,
                0,
                len(context) if context is not None else 0,
                0,
                ctypes.addressof(context) if context is not None else 0,
                0,
                flags | (_TEST_XDP_LIVE_FRAMES if live else 0),
                0,
                batch if live else 0,
            )
        )
        bpf(Command.PROG_TEST_RUN, attributes, f"running program {self.name!r} on {len(data)} bytes, {repeat} times")
        retval, _, length = struct.unpack_from("III", attributes, 4)
        (duration,) = struct.unpack_from("I", attributes, 36)
        return TestRun(retval, result.raw[:length] if result is not None else b"", duration)

    def _describe(self) -> str:
        return f"XDP program {self.name!r}"


def xdp_context(length: int, *, ifindex: int = 0, queue: int = 0) -> bytes:
    """A struct xdp_md for `test_run`: a frame of `length` bytes that came in on `queue` of `ifindex`.

    The interface has to exist in this thread's network namespace; 0 stands for none, and then `queue` has to be 0.
    """
    return struct.pack("IIIIII", 0, length, 0, ifindex, queue, 0)


def patch(code: bytes, descriptors: Mapping[int, int]) -> bytes:
    """`code` with map descriptors and kfunc ids in place of its placeholders. Errors: KeyError for a missing map."""
    patched = bytearray(code)
    offset = 0
    while offset < len(patched):
        opcode, registers, _, immediate = struct.unpack_from("BBhi", patched, offset)
        source = registers >> 4
        if opcode == LD_IMM64:
            if source in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE):
                struct.pack_into("i", patched, offset + 4, descriptors[immediate])
            offset += 8  # it takes two instructions
        elif opcode == CALL and source == 0 and immediate >= KFUNC_BASE:
            patched[offset + 1] = PSEUDO_KFUNC_CALL << 4
            struct.pack_into("i", patched, offset + 4, _kfunc(KfuncSlot(immediate - KFUNC_BASE)))
        offset += 8
    return bytes(patched)


def _kfunc(slot: KfuncSlot) -> int:
    name = _KFUNC_NAMES[slot]
    number = btf.function_id(name)
    if number is None:
        raise NotSupported(f"kernel function {name}", reason=f"not in {btf.VMLINUX}", hint="needs Linux 6.8 with BTF")
    return number
