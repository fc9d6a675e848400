# SPDX-License-Identifier: Apache-2.0
"""Maps: memory that XDP programs, sockets and Python share.

    PERCPU_ARRAY   counters: each CPU writes its own copy; `sum()` adds them up
    ARRAY          with MapFlag.MMAPABLE also plain shared memory: `memory()`
    XSKMAP         receive queue number -> AF_XDP socket, the target of XDP_REDIRECT
    HASH           any key -> any value

Keys and values are bytes in host byte order, exactly as long as declared. A per-CPU value is read as all copies in a
row, each rounded up to 8 bytes: one for every *possible* CPU, which are more than are online.

Source: https://docs.kernel.org/bpf/maps.html, map_array.html, map_xskmap.html; kernel/bpf/syscall.c
(bpf_map_value_size).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import struct
from contextlib import ExitStack
from enum import IntEnum, IntFlag
from functools import cache
from types import TracebackType
from typing import Self

from offramp.bpf.descriptor import Descriptor
from offramp.errors import KernelError
from offramp.syscalls.bpf import Command, bpf, buffer, check_name, info
from offramp.syscalls.failure import trying
from offramp.syscalls.kept import Kept
from offramp.syscalls.procfs import content

__all__ = ["GracePeriod", "Map", "MapFlag", "MapType", "UpdateFlag", "possible_cpus"]

_PER_CPU_ALIGNMENT = 8


class MapType(IntEnum):
    """enum bpf_map_type: the types in use here."""

    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    ARRAY_OF_MAPS = 12
    XSKMAP = 17


class MapFlag(IntFlag):
    """Flags of BPF_MAP_CREATE."""

    NONE = 0
    MMAPABLE = 1 << 10


class UpdateFlag(IntEnum):
    """Flags of BPF_MAP_UPDATE_ELEM."""

    ANY = 0
    NOEXIST = 1
    EXIST = 2


@cache
def possible_cpus() -> int:
    """How many CPUs this machine could have; a per-CPU value has as many copies."""
    with trying("the number of possible CPUs"):
        ranges = content("/sys/devices/system/cpu/possible").strip().split(",")
    bounds = [[int(bound) for bound in part.split("-")] for part in ranges]
    return sum(bound[-1] - bound[0] + 1 for bound in bounds)


class Map(Descriptor):
    """A map, owned by its descriptor. Made with `Map.create`."""

    def __init__(
        self, fd: int | Kept, type: MapType, key_size: int, value_size: int, entries: int, name: str = ""
    ) -> None:
        super().__init__(fd)
        self.type = type
        self.key_size = key_size
        self.value_size = value_size
        self.entries = entries
        self.name = name

    @classmethod
    def create(
        cls,
        type: MapType | int,
        key_size: int,
        value_size: int,
        entries: int,
        flags: MapFlag | int = MapFlag.NONE,
        name: str = "",
        *,
        inner: Map | None = None,
    ) -> Self:
        """A new map with all values zero. Sizes in bytes. `inner`: one like those in an ARRAY_OF_MAPS.

        Needs CAP_BPF, and CAP_NET_ADMIN for an XSKMAP. Errors: PrivilegeError; KernelError (E2BIG, ENOMEM, EINVAL).
        """
        kind, within = MapType(type), inner.fd if inner is not None else 0
        attributes = struct.pack("IIIIIII16s", kind, key_size, value_size, entries, flags, within, 0, check_name(name))
        kept = Kept()
        what = f"creating {kind.name} map {name!r} of {entries} x {value_size} bytes"
        bpf(Command.MAP_CREATE, attributes, what, kept)
        return cls(kept, kind, key_size, value_size, entries, name)

    @property
    def id(self) -> int:
        """The map's number in the whole system, as bpftool shows it."""
        found: int = struct.unpack_from("II", info(self.fd, 80, f"reading the id of map {self.name!r}"))[1]
        return found

    def lookup(self, key: bytes) -> bytes:
        """The value at `key`; for a per-CPU map, the copies of all possible CPUs. KeyError if there is none."""
        value = ctypes.create_string_buffer(self._read_size)
        try:
            self._element(Command.MAP_LOOKUP_ELEM, key, value)
        except KernelError as error:
            raise self._absent(error, key) from error
        return value.raw

    def update(self, key: bytes, value: bytes, flags: UpdateFlag | int = UpdateFlag.ANY) -> None:
        """Set the value at `key`. For an XSKMAP the value is the socket's descriptor, as an int of 4 bytes."""
        if len(value) != self._read_size:
            raise ValueError(f"a value of map {self.name!r} has {self._read_size} bytes, not {len(value)}")
        self._element(Command.MAP_UPDATE_ELEM, key, buffer(value), flags)

    def delete(self, key: bytes) -> None:
        """Remove `key`; KeyError if there is none. (Elements of ARRAY maps cannot be removed: KernelError, EINVAL.)"""
        try:
            self._element(Command.MAP_DELETE_ELEM, key, None)
        except KernelError as error:
            raise self._absent(error, key) from error

    def freeze(self) -> None:
        """From now on only programs change it: bpf(2) refuses that to every process, this one too. For a map that is
        not mapped into memory. Minimum kernel: 5.2.
        """
        bpf(Command.MAP_FREEZE, struct.pack("I", self.fd), f"freezing map {self.name!r}")

    def sum(self, key: bytes = bytes(4)) -> list[int]:
        """The u64 words of the value at `key`, each added up over all CPUs."""
        copy = self._copy_size
        words = struct.unpack(f"{self._read_size // 8}Q", self.lookup(key))
        per_copy = copy // 8
        return [sum(words[index::per_copy]) for index in range(per_copy)]

    def memory(self) -> mmap.mmap:
        """The values of an ARRAY made with MapFlag.MMAPABLE as shared memory, rounded up to whole pages.

        Each value starts at a multiple of 8 bytes. The mapping also keeps the map alive until it is closed.
        """
        length = -(-self._copy_size * self.entries // mmap.PAGESIZE) * mmap.PAGESIZE
        with trying(f"mapping map {self.name!r} into memory"):
            return mmap.mmap(self.fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)

    @property
    def _copy_size(self) -> int:
        """The bytes of one value, as the kernel lays out an array of them."""
        return -(-self.value_size // _PER_CPU_ALIGNMENT) * _PER_CPU_ALIGNMENT

    @property
    def _read_size(self) -> int:
        """The bytes of a value as it crosses the system call."""
        if self.type is MapType.PERCPU_ARRAY:
            return self._copy_size * possible_cpus()
        return self.value_size

    def _element(self, command: Command, key: bytes, value: ctypes.Array[ctypes.c_char] | None, flags: int = 0) -> None:
        if len(key) != self.key_size:
            raise ValueError(f"a key of map {self.name!r} has {self.key_size} bytes, not {len(key)}")
        place = buffer(key)
        value_address = ctypes.addressof(value) if value is not None else 0
        attributes = struct.pack("IIQQQ", self.fd, 0, ctypes.addressof(place), value_address, flags)
        bpf(command, attributes, f"{command.name} in map {self.name!r} at key {key.hex()}")

    def _absent(self, error: KernelError, key: bytes) -> KernelError | KeyError:
        return KeyError(key) if error.errno == errno.ENOENT else error

    def _describe(self) -> str:
        return f"{self.type.name} map {self.name!r}"


class GracePeriod:
    """`wait` returns when every program that ran when it was called has ended: what was replaced before handles no
    packet any more. A context manager: it acquires what waiting needs beforehand, so that waiting cannot lack it.

    Waiting takes some 10 ms. Needs CAP_BPF. Source: kernel/bpf/syscall.c, maybe_wait_bpf_programs: what an update of a
    map of maps does. Unlike membarrier(2), with which sets wait for the same without privileges (offramp-io's
    memory.rs), it works with nohz_full=, too.
    """

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._inner = stack.enter_context(Map.create(MapType.ARRAY, 4, 8, 1, name="offramp_inner"))
            outer = Map.create(MapType.ARRAY_OF_MAPS, 4, 4, 1, name="offramp_outer", inner=self._inner)
            self._outer = stack.enter_context(outer)
            self._maps = stack.pop_all()
        return self

    def wait(self) -> None:
        self._outer.update(bytes(4), struct.pack("I", self._inner.fd))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._maps.close()
