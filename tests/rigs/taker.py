# SPDX-License-Identifier: Apache-2.0
"""What root can take from under a program: its link, its place on the interface, what is in its maps. All by number, as
bpftool does it, so that it does not matter which process does it.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast

from offramp.bpf.descriptor import Descriptor
from offramp.bpf.owner import attached
from offramp.errors import KernelError
from offramp.syscalls.bpf import Command, bpf, buffer, info
from offramp.syscalls.kept import Kept
from offramp.testing import Interface
from tests.rigs.bytecode import load

__all__ = ["change_map", "delete_from_map", "detach", "link_of", "maps_of", "put_another"]

_LINK_GET_FD_BY_ID, _LINK_NEXT_ID, _LINK_DETACH = (cast(Command, number) for number in (30, 31, 34))
_MAP_GET_FD_BY_ID = cast(Command, 14)


@contextmanager
def _by_id(command: Command, number: int) -> Iterator[int]:
    with Descriptor(Kept()) as fd:
        bpf(command, struct.pack("I", number), f"object {number}", fd._kept)
        yield fd.fd


def link_of(interface: Interface) -> int:
    """The number of the link that holds the interface's XDP program; 0: there is none."""
    with interface.host:
        programs = [found.program_id for found in attached(interface.ifindex)]
    number = 0
    while True:
        block = buffer(struct.pack("III", number, 0, 0))
        try:
            bpf(_LINK_NEXT_ID, block, "the next link")
        except KernelError:
            return 0
        number = struct.unpack_from("I", block, 4)[0]
        with suppress(KernelError), _by_id(_LINK_GET_FD_BY_ID, number) as fd:
            if struct.unpack_from("III", info(fd, 24))[2] in programs:
                return int(number)


def detach(interface: Interface) -> None:
    """`bpftool link detach`."""
    with _by_id(_LINK_GET_FD_BY_ID, link_of(interface)) as fd:
        bpf(_LINK_DETACH, struct.pack("I", fd), "detaching")


def put_another(interface: Interface) -> None:
    """BPF_LINK_UPDATE to a program of our own, which passes all packets."""
    with _by_id(_LINK_GET_FD_BY_ID, link_of(interface)) as fd, load(name="stranger") as program:
        bpf(Command.LINK_UPDATE, struct.pack("II", fd, program.fd), "updating")


def maps_of(interface: Interface, name: str) -> list[int]:
    """The numbers of the maps of that name which the interface's program uses."""
    with interface.host:
        programs = [found.program_id for found in attached(interface.ifindex)]
    return [number for program in programs for number in _maps(program) if _name(number) == name]


def _maps(program: int) -> tuple[int, ...]:
    """struct bpf_prog_info: nr_map_ids at 52, map_ids at 56."""
    with _by_id(Command.PROG_GET_FD_BY_ID, program) as fd:
        count = struct.unpack_from("I", info(fd, 80), 52)[0]
        numbers, answer = buffer(bytes(4 * count)), buffer(bytes(80))
        struct.pack_into("I", answer, 52, count)
        struct.pack_into("Q", answer, 56, ctypes.addressof(numbers))
        bpf(Command.OBJ_GET_INFO_BY_FD, struct.pack("IIQ", fd, 80, ctypes.addressof(answer)), "a program's maps")
    return struct.unpack(f"{count}I", numbers.raw)


def _name(number: int) -> str:
    with _by_id(_MAP_GET_FD_BY_ID, number) as fd:
        return info(fd, 80)[24:40].split(b"\0")[0].decode()


def change_map(number: int, value: bytes, key: bytes = bytes(4)) -> None:
    """Overwrite a value. Errors: KernelError."""
    where, what = buffer(key), buffer(value)
    with _by_id(_MAP_GET_FD_BY_ID, number) as fd:
        words = struct.pack("IIQQQ", fd, 0, ctypes.addressof(where), ctypes.addressof(what), 0)
        bpf(Command.MAP_UPDATE_ELEM, words, f"changing map {number}")


def delete_from_map(number: int, key: bytes = bytes(4)) -> None:
    """Errors: KernelError."""
    where = buffer(key)
    with _by_id(_MAP_GET_FD_BY_ID, number) as fd:
        bpf(Command.MAP_DELETE_ELEM, struct.pack("IIQQQ", fd, 0, ctypes.addressof(where), 0, 0), f"map {number}")
