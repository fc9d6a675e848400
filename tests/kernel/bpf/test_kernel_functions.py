# SPDX-License-Identifier: Apache-2.0
"""A kernel function that programs call: it tells the VLAN tag that a device keeps beside the frame."""

from __future__ import annotations

import errno
import time

import pytest

from offramp.bpf import Map, Program, XdpLink, btf
from offramp.emit.bytecode import instruction
from offramp.emit.program import KFUNC_BASE, KfuncSlot, MapSlot
from offramp.emit.program import XdpProgram as Code
from offramp.errors import KernelError
from offramp.syscalls import privileges
from offramp.testing import Wire
from tests.rigs.bytecode import FRAME, PASS, counts, read_words, returns, words
from tests.rigs.traffic import send_unanswered
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import tags_beside

pytestmark = pytest.mark.skipif(bool(privileges.missing()), reason=privileges.hint())
needs_kfunc = pytest.mark.skipif(
    btf.function_id("bpf_xdp_metadata_rx_vlan_tag") is None, reason="bpf_xdp_metadata_rx_vlan_tag needs Linux 6.8"
)
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
        send_unanswered(wire, 7)
        assert eventually(lambda: read_words(array) == (0, 7))  # (tagged, seen)
        with tags_beside(wire.a, 0x8100, 100):
            send_unanswered(wire, 5)
        assert eventually(lambda: read_words(array) == (5, 12))


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
