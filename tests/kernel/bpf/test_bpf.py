# SPDX-License-Identifier: Apache-2.0
"""bpf(2) on this kernel: maps, programs, links, their errors, and that nothing is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offramp.bpf import Map, MapFlag, MapType, Program, UpdateFlag, XdpLink, XdpMode, btf, owner, xdp_context
from offramp.bpf.descriptor import Descriptor
from offramp.bpf.maps import possible_cpus
from offramp.emit.program import KFUNC_BASE, KfuncSlot, MapSlot
from offramp.emit.program import XdpProgram as Code
from offramp.errors import Closed, InterfaceBusy, InterfaceGone, KernelError, OptionError, VerifierError
from offramp.syscalls import privileges
from offramp.syscalls.bpf import Command, bpf, buffer
from offramp.testing import Host, Interface, Lab, Wire

DROP, PASS = 1, 2
pytestmark = pytest.mark.skipif(bool(privileges.missing()), reason=privileges.hint())
needs_kfunc = pytest.mark.skipif(
    btf.function_id("bpf_xdp_metadata_rx_vlan_tag") is None, reason="bpf_xdp_metadata_rx_vlan_tag needs Linux 6.8"
)

MODES: tuple[XdpMode, ...] = ("native", "generic")
KEY = bytes(4)
FRAME = bytes(64)


def instruction(opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, destination | source << 4, offset, immediate)


def returns(verdict: int) -> bytes:
    return instruction(0xB7, immediate=verdict) + instruction(0x95)


def counts(word: int) -> bytes:
    """Add 1 to a word of the value of MapSlot.HEARTBEATS; uses r1 and r2."""
    return b"".join(
        [
            instruction(0x18, 1, 2, immediate=MapSlot.HEARTBEATS) + instruction(0, immediate=8 * word),
            instruction(0xB7, 2, immediate=1),
            instruction(0xDB, 1, 2),  # lock *(u64 *)r1 += r2
        ]
    )


NOTHING_IN_R0 = Code(instruction(0x95))
ASKS_FOR_TAG = Code(
    b"".join(
        [
            instruction(0x7A, 10, offset=-8),  # *(u64 *)(r10 - 8) = 0
            instruction(0xBF, 2, 10) + instruction(0x07, 2, immediate=-8),  # r2 = &protocol
            instruction(0xBF, 3, 10) + instruction(0x07, 3, immediate=-4),  # r3 = &tci
            instruction(0x85, immediate=KFUNC_BASE + KfuncSlot.RX_VLAN_TAG),
            instruction(0x55, offset=4),  # if r0 != 0 skip
            counts(0),
            counts(1),
            returns(PASS),
        ]
    )
)


def load(code: bytes = returns(PASS), name: str = "offramp_test") -> Program:
    return Program.load(Code(code), name=name, maps={})


def words(count: int) -> Map:
    return Map.create(MapType.ARRAY, 4, 8 * count, 1, MapFlag.MMAPABLE, "offramp_words")


def read_words(map: Map) -> tuple[int, ...]:
    return struct.unpack(f"{map.value_size // 8}Q", map.lookup(KEY))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return lab.wire(lab.host("a"), lab.host("b"))


# -- maps --------------------------------------------------------------------------------------------------------------


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


def test_a_map_of_sockets() -> None:
    with Map.create(MapType.XSKMAP, 4, 4, 2) as sockets, pytest.raises(KernelError, match="MAP_UPDATE_ELEM in map"):
        sockets.update(KEY, struct.pack("i", 0))  # not an AF_XDP socket


def test_a_map_that_cannot_be() -> None:
    with pytest.raises(KernelError, match="HASH map 'offramp_no' of 1 x 0 bytes"):
        Map.create(MapType.HASH, 0, 0, 1, name="offramp_no")


# -- programs ----------------------------------------------------------------------------------------------------------


def test_a_program_runs_and_counts() -> None:
    with (
        words(2) as array,
        Program.load(Code(counts(1) + returns(DROP)), name="offramp_test", maps={MapSlot.HEARTBEATS: array}) as program,
    ):
        run = program.test_run(FRAME, repeat=7)
        assert (run.retval, run.data) == (DROP, FRAME)
        assert read_words(array) == (0, 7)


def test_live_frames_reach_the_program() -> None:
    with (
        words(2) as array,
        Program.load(Code(counts(0) + returns(DROP)), name="offramp_test", maps={MapSlot.HEARTBEATS: array}) as program,
    ):
        program.test_run(FRAME, repeat=1000, live=True, ctx=xdp_context(len(FRAME)))
        assert read_words(array) == (1000, 0)


def test_what_the_kernel_knows_about_a_program() -> None:
    with load() as program:
        about = program.info()
        assert (about.id, about.name) == (program.id, "offramp_test")
        assert len(about.tag) == 16
        assert owner.program_name(program.id) == "offramp_test"


def test_the_verifier_explains_itself() -> None:
    with pytest.raises(VerifierError, match=r"'offramp_bad'.*R0 !read_ok") as caught:
        Program.load(NOTHING_IN_R0, name="offramp_bad", maps={})
    assert caught.value.errno == errno.EACCES
    assert "processed 1 insns" in caught.value.log
    assert "\n" not in str(caught.value)


def test_an_error_without_a_log() -> None:
    with pytest.raises(OptionError, match="the kernel's verifier gives up"):  # E2BIG, as for one that is too large
        Program.load(Code(b""), name="offramp_none", maps={})


# -- kernel functions --------------------------------------------------------------------------------------------------


@pytest.mark.speed
def test_functions_are_found_at_once() -> None:
    blob = btf.VMLINUX.read_bytes()
    assert btf.find_function(blob, "no_such_function_at_all") is None
    start = time.perf_counter()
    assert btf.find_function(blob, "bpf_xdp_link_attach")
    assert time.perf_counter() - start < 1


@pytest.mark.since("6.8")
@needs_kfunc
def test_a_tag_out_of_band_is_seen(wire: Wire) -> None:
    """veth keeps the tag that its peer put beside the frame, in the socket buffer; the program asks for it there."""
    ifindex = wire.b.ifindex
    wire.a.host.sysctl("net.ipv6.conf.eth0.disable_ipv6", 1)  # or it would say something of its own
    with (
        wire.b.host,
        words(2) as array,
        Program.load(ASKS_FOR_TAG, name="offramp_vlan", maps={MapSlot.HEARTBEATS: array}, ifindex=ifindex) as program,
        XdpLink.attach(program, ifindex),
    ):
        send(wire, 7)
        assert eventually(lambda: read_words(array) == (0, 7))  # (tagged, seen)
        with tags_what_leaves(wire.a):
            send(wire, 5)
        assert eventually(lambda: read_words(array) == (5, 12))


def send(wire: Wire, count: int) -> None:
    """Frames from a to b that nobody answers."""
    experimental = 0x88B5
    frame = bytes(12) + struct.pack("!H", experimental) + bytes(46)
    with wire.a.host, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((wire.a.name, experimental))
        for _ in range(count):
            raw.send(frame)


@contextlib.contextmanager
def tags_what_leaves(interface: Interface) -> Iterator[None]:
    """Put VLAN tag 100 on what is sent, out of band: a TCX program with bpf_skb_vlan_push (Linux 6.6)."""
    sched_cls, tcx_egress, vlan_push = 3, 47, 18
    code = instruction(0xB7, 2, immediate=socket.htons(0x8100)) + instruction(0xB7, 3, immediate=100)
    instructions = buffer(code + instruction(0x85, immediate=vlan_push) + returns(0))
    license_text = buffer(b"GPL\0")
    addresses = ctypes.addressof(instructions), ctypes.addressof(license_text)
    with (
        interface.host,
        Descriptor(
            bpf(Command.PROG_LOAD, struct.pack("IIQQ", sched_cls, len(instructions) // 8, *addresses))
        ) as program,
    ):
        attributes = struct.pack("IIII", program.fd, interface.ifindex, tcx_egress, 0)
        with Descriptor(bpf(Command.LINK_CREATE, attributes)):
            yield


@pytest.mark.since("6.8")
@needs_kfunc
def test_a_bound_program_stays_on_its_device(wire: Wire) -> None:
    with wire.b.host, words(2) as array:
        maps: dict[int, Map] = {MapSlot.HEARTBEATS: array}
        with Program.load(ASKS_FOR_TAG, name="offramp_vlan", maps=maps, ifindex=wire.b.ifindex) as program:
            with pytest.raises(KernelError) as in_generic_mode:
                XdpLink.attach(program, wire.b.ifindex, "generic")
            assert in_generic_mode.value.errno == errno.EINVAL
            with pytest.raises(KernelError) as in_test_run:
                program.test_run(FRAME)
            assert in_test_run.value.errno == errno.EINVAL


# -- links -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_attached_for_as_long_as_the_link(wire: Wire, mode: XdpMode) -> None:
    with wire.b.host, load() as program:
        with XdpLink.attach(program, wire.b.ifindex, mode) as link:
            assert owner.attached(wire.b.ifindex) == (owner.Attached(mode, program.id),)
            assert (link.info().program_id, link.info().ifindex) == (program.id, wire.b.ifindex)
        assert owner.attached(wire.b.ifindex) == ()


def test_a_link_keeps_its_program(wire: Wire) -> None:
    with wire.b.host:
        program = load()
        with XdpLink.attach(program, wire.b.ifindex):
            program.close()
            assert owner.attached(wire.b.ifindex) != ()


def test_native_mode_that_the_driver_lacks(lab: Lab) -> None:
    """EOPNOTSUPP is the errno on which a caller may fall back to generic mode."""
    loopback = 1
    with lab.host("a"), load() as program:
        with pytest.raises(KernelError, match=r"XDP to lo in native mode.*generic mode works") as caught:
            XdpLink.attach(program, loopback)
        assert caught.value.errno == errno.EOPNOTSUPP
        with XdpLink.attach(program, loopback, "generic"):
            assert owner.attached(loopback)[0].mode == "generic"


def test_an_mtu_that_is_too_large(wire: Wire) -> None:
    wire.a.set_mtu(9000)
    with wire.b.host, load() as program:
        with pytest.raises(KernelError, match="MTU") as caught:
            XdpLink.attach(program, wire.b.ifindex)
        assert caught.value.errno == errno.ERANGE


def test_an_interface_that_is_not_here(wire: Wire) -> None:
    with wire.b.host, load() as program:
        with pytest.raises(InterfaceGone, match="interface 4711"):
            XdpLink.attach(program, 4711)
        with XdpLink.attach(program, wire.b.ifindex) as link:
            wire.b.delete()
            assert link.info().ifindex == 0


HOLDER = """
import socket, sys
from offramp.bpf import Program, XdpLink
from offramp.emit.program import XdpProgram as Code
with Program.load(Code(bytes.fromhex(sys.argv[1])), name=sys.argv[2], maps={}) as program:
    with XdpLink.attach(program, socket.if_nametoindex("eth0")):
        print(program.id, flush=True)
        sys.stdin.read()
"""


def holder(host: Host, name: str) -> tuple[subprocess.Popen[str], int]:
    """A process that holds a program of that name on the host's eth0, and the program's id."""
    argv = [sys.executable, "-c", HOLDER, returns(PASS).hex(), name]
    process = host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_busy_names_the_other_offramp(wire: Wire) -> None:
    process, identity = holder(wire.b.host, "offramp_rx")
    with wire.b.host, load() as program, pytest.raises(InterfaceBusy) as caught:
        XdpLink.attach(program, wire.b.ifindex)
    said = str(caught.value)
    held = f"XDP program {identity} 'offramp_rx' in native mode, held by another offramp, "
    assert said.startswith(f"eth0 already runs {held}")
    assert f"(pid {process.pid})" in said


def test_busy_names_a_stranger(wire: Wire) -> None:
    process, identity = holder(wire.b.host, "firewall")
    command = Path(f"/proc/{process.pid}/comm").read_text().strip()
    for mode in MODES:
        with wire.b.host, load() as program, pytest.raises(InterfaceBusy) as caught:
            XdpLink.attach(program, wire.b.ifindex, mode)
        said = f"XDP program {identity} 'firewall' in native mode, held by {command} (pid {process.pid})"
        assert said in str(caught.value)


def test_busy_with_this_process_itself(wire: Wire) -> None:
    with (
        wire.b.host,
        load() as program,
        XdpLink.attach(program, wire.b.ifindex),
        pytest.raises(InterfaceBusy, match="held by this process"),
    ):
        XdpLink.attach(program, wire.b.ifindex)


def test_busy_with_a_program_that_nobody_holds(wire: Wire) -> None:
    with wire.b.host.netlink() as route, load(name="by_netlink") as stranger:
        route.link("set", index=wire.b.ifindex, xdp_fd=stranger.fd)
        identity = stranger.id
    with wire.b.host, load() as program, pytest.raises(InterfaceBusy) as caught:
        XdpLink.attach(program, wire.b.ifindex)
    assert f"XDP program {identity} 'by_netlink' in native mode, held by no process" in str(caught.value)


def test_the_owner_is_found_inside_an_event_loop(wire: Wire) -> None:
    async def ask() -> str:
        return owner.describe(wire.b.ifindex)

    with wire.b.host, load() as program, XdpLink.attach(program, wire.b.ifindex):
        assert str(program.id) in asyncio.run(ask())


def test_killed_means_detached(wire: Wire) -> None:
    process, identity = holder(wire.b.host, "offramp_rx")
    with wire.b.host:
        assert owner.attached(wire.b.ifindex)[0].program_id == identity
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert eventually(lambda: owner.attached(wire.b.ifindex) == (), 1.0)
    assert eventually(lambda: owner.program_name(identity) == "", 1.0)


# -- nothing is left ---------------------------------------------------------------------------------------------------


def test_a_thousand_rounds_leave_nothing() -> None:
    def round() -> tuple[int, int]:
        with words(2) as array:
            code = Code(counts(0) + returns(PASS))
            with Program.load(code, name="offramp_test", maps={MapSlot.HEARTBEATS: array}) as program:
                return array.id, program.id

    round()
    before = descriptors()
    made = [round() for _ in range(1000)]
    assert descriptors() == before
    assert len(set(made)) == 1000
    # The kernel frees programs, and with them their hold on maps, a moment later.
    assert eventually(lambda: not any(owner.program_name(program) for _, program in made[-50:]))


def test_failures_leave_nothing(wire: Wire) -> None:
    with wire.b.host, load() as program, XdpLink.attach(program, wire.b.ifindex):
        before = descriptors()
        for _ in range(20):
            with pytest.raises(InterfaceBusy):
                XdpLink.attach(program, wire.b.ifindex)
            with pytest.raises(VerifierError):
                Program.load(NOTHING_IN_R0, name="offramp_bad", maps={})
        assert descriptors() == before


def test_descriptors_end_with_exec(wire: Wire) -> None:
    with wire.b.host, words(1) as array, load() as program, XdpLink.attach(program, wire.b.ifindex) as link:
        for each in (array, program, link):
            assert fcntl.fcntl(each, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


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
