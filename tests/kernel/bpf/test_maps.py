# SPDX-License-Identifier: Apache-2.0
"""Maps in this kernel and their errors; nothing is left of them."""

from __future__ import annotations

import errno
import struct

import pytest

from offramp.bpf import Map, MapType, UpdateFlag
from offramp.bpf.maps import possible_cpus
from offramp.errors import Closed, KernelError
from offramp.syscalls import privileges
from tests.rigs.bytecode import KEY, descriptors, read_words, words

pytestmark = pytest.mark.skipif(bool(privileges.missing()), reason=privileges.hint())


def test_a_hash() -> None:
    with Map.create(MapType.HASH, 2, 3, 4, name="offramp_hash") as table:
        with pytest.raises(KeyError):
            table.lookup(b"ab")
        table.update(b"ab", b"123")
        assert table.lookup(b"ab") == b"123"
        with pytest.raises(KernelError) as caught:
            table.update(b"ab", b"456", UpdateFlag.NOEXIST)
        assert caught.value.errno == errno.EEXIST
        table.delete(b"ab")
        with pytest.raises(KeyError):
            table.delete(b"ab")


def test_wrong_lengths_never_reach_the_kernel() -> None:
    with Map.create(MapType.HASH, 2, 3, 4) as table:
        with pytest.raises(ValueError, match="key"):
            table.lookup(b"abc")
        with pytest.raises(ValueError, match="value"):
            table.update(b"ab", b"1234")


def test_per_cpu_values_are_added_up() -> None:
    with Map.create(MapType.PERCPU_ARRAY, 4, 24, 2) as counters:
        assert counters.sum(KEY) == [0, 0, 0]
        copies = [struct.pack("3Q", cpu, 10, 1 << 40) for cpu in range(possible_cpus())]
        second = struct.pack("I", 1)
        counters.update(second, b"".join(copies))
        assert counters.sum(second) == [sum(range(possible_cpus())), 10 * possible_cpus(), possible_cpus() << 40]
        assert counters.sum(KEY) == [0, 0, 0]


def test_an_array_as_memory() -> None:
    with words(3) as array, array.memory() as memory:
        memory[8:16] = struct.pack("Q", 77)
        assert read_words(array) == (0, 77, 0)


def test_a_frozen_map_is_read_and_not_written() -> None:
    with Map.create(MapType.PERCPU_ARRAY, 4, 8, 1) as counters:
        counters.freeze()
        assert counters.sum(KEY) == [0]
        with pytest.raises(KernelError, match="EPERM"):
            counters.update(KEY, bytes(8 * possible_cpus()))


def test_memory_that_is_mapped_cannot_be_frozen() -> None:
    with words(1) as array, array.memory(), pytest.raises(KernelError, match="EBUSY"):
        array.freeze()


def test_a_map_of_sockets() -> None:
    with Map.create(MapType.XSKMAP, 4, 4, 2) as sockets, pytest.raises(KernelError, match="MAP_UPDATE_ELEM in map"):
        sockets.update(KEY, struct.pack("i", 0))  # not an AF_XDP socket


def test_a_map_that_cannot_be() -> None:
    with pytest.raises(KernelError, match="HASH map 'offramp_no' of 1 x 0 bytes"):
        Map.create(MapType.HASH, 0, 0, 1, name="offramp_no")


def test_what_is_forgotten_is_closed_loudly() -> None:
    before = descriptors()
    with pytest.warns(ResourceWarning, match=r"ARRAY map 'offramp_words', fd \d+> was never closed"):
        words(1)  # forgotten at once
    assert descriptors() == before


def test_closed_is_closed() -> None:
    array = words(1)
    array.close()
    array.close()
    assert array.closed
    with pytest.raises(Closed, match="ARRAY map 'offramp_words'"):
        array.lookup(KEY)
