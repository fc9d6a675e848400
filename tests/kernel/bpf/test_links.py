# SPDX-License-Identifier: Apache-2.0
"""XDP links are attached as long as they are held; an error names who holds the one that is in the way."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import signal
import struct
from pathlib import Path
from typing import cast

import pytest

from offramp.bpf import Program, XdpLink, XdpMode, owner
from offramp.errors import InterfaceBusy, InterfaceGone, KernelError, VerifierError
from offramp.syscalls import privileges
from offramp.syscalls.bpf import Command, bpf
from offramp.testing import Lab, Wire
from tests.rigs.bytecode import NOTHING_IN_R0, descriptors, load, words
from tests.rigs.processes import holder
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.skipif(bool(privileges.missing()), reason=privileges.hint())

MODES: tuple[XdpMode, ...] = ("native", "generic")
LINK_DETACH = 34  # enum bpf_cmd: by force


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


def test_a_link_that_was_detached_is_told_as_gone(wire: Wire) -> None:
    """By its number, the interface is there: it is the link that is severed (ENOLINK)."""
    with wire.b.host, load(name="old") as old, load(name="new") as new, XdpLink.attach(old, wire.b.ifindex) as link:
        bpf(cast(Command, LINK_DETACH), struct.pack("I", link.fd))
        with pytest.raises(InterfaceGone, match="removed, or somebody has detached it"):
            link.update(new, old)


def test_a_link_of_an_interface_that_was_made_anew(lab: Lab) -> None:
    """With the number of the one before."""
    wire = lab.wire(lab.host("a"), lab.host("b"))
    with wire.b.host, load(name="old") as old, load(name="new") as new, XdpLink.attach(old, wire.b.ifindex) as link:
        with wire.b.host.netlink() as route:
            route.link("del", index=wire.b.ifindex)
            route.link("add", ifname="eth0", kind="veth", index=wire.b.ifindex, peer="eth1")
        with pytest.raises(InterfaceGone, match="removed, or somebody has detached it"):
            link.update(new, old)
