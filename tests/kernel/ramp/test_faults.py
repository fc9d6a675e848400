# SPDX-License-Identifier: Apache-2.0
"""Each thing that stands in the way of opening gives one clear error, and the interface is as it was."""

from __future__ import annotations

import errno
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import offramp
from offramp import _native
from offramp.bpf import Program, XdpLink
from offramp.bpf.owner import attached
from offramp.errors import (
    InterfaceBusy,
    InterfaceDown,
    InterfaceError,
    KernelError,
    MatchError,
    NoSuchInterface,
    NotSupported,
    OfframpWarning,
    OptionError,
)
from offramp.gen import packets
from offramp.nic import ethtool
from offramp.testing import Host, Lab, Wire
from tests.rigs.bytecode import load
from tests.rigs.leftovers import has_xdp
from tests.rigs.processes import holder, line_of, piped
from tests.rigs.traffic import MATCH, claims, datagrams
from tests.rigs.waiting import eventually

VETH_MTU = 3506  # with XDP: a page of 4096 without headroom, struct skb_shared_info and Ethernet header


pytestmark = pytest.mark.usefixtures("nothing_is_left")


# -- the interface -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", [offramp.open, offramp.attach])
def test_an_unknown_interface(wire: Wire, opening: Any) -> None:
    with wire.b.host, pytest.raises(NoSuchInterface, match=r"no interface 'eht0' .* \(did you mean eth0\?\)"):
        opening("eht0", MATCH)


def test_an_interface_that_is_down(wire: Wire) -> None:
    wire.b.down()
    with wire.b.host, pytest.raises(InterfaceDown, match=r"^eth0 is down \(ip link set eth0 up\)$"):
        offramp.open("eth0", MATCH)


@pytest.mark.parametrize("opening", [offramp.open, partial(offramp.attach, mode="native")])
def test_an_mtu_that_is_too_large(lab: Lab, opening: Any) -> None:
    """The error names the exact maximum: one byte more fails, too, and with it everything works. A verdict in the
    driver, where generic mode will do, is in test_mtus.py.
    """
    wire = lab.wire(lab.host("a"), lab.host("b"), mtu=9000)
    for mtu in (9000, VETH_MTU + 1):
        for end in (wire.a, wire.b):
            end.set_mtu(mtu)
        with wire.b.host, pytest.raises(InterfaceError, match=f"eth0 has an MTU of {mtu}.* at most {VETH_MTU}"):
            opening("eth0", MATCH)
        assert not has_xdp(wire.b)
    wire.b.set_mtu(VETH_MTU)
    with wire.b.host, pytest.raises(InterfaceError, match=f"peer has too large an MTU.* at most {VETH_MTU}"):
        opening("eth0", MATCH)
    wire.a.set_mtu(VETH_MTU)
    with wire.b.host, opening("eth0", MATCH):
        assert has_xdp(wire.b)


@pytest.mark.speed  # the first ramp is not read while the second is opened: no longer than its stall
def test_the_largest_mtu_carries_the_largest_packet(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), mtu=VETH_MTU, neighbours=True)
    payload = bytes(VETH_MTU - 20 - 8)
    datagram = packets.udp(sport=1, dport=4321, payload=payload)
    frame = packets.eth(packets.ip(datagram, src=wire.a.ip, dst=wire.b.ip), dst=wire.b.mac)
    with wire.b.host:
        receiving = offramp.open("eth0", MATCH)
    with wire.a.host:
        sending = offramp.open("eth0", MATCH)
    with receiving, sending:
        assert sending.send(frame) == 1
        batch = receiving.rx(2.0)
        assert batch is not None
        assert bytes(batch[0]) == frame


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_a_mistake_in_the_match(wire: Wire) -> None:
    with wire.b.host, pytest.raises(MatchError) as caught:
        offramp.open("eth0", "udp dst prot 4321")
    assert str(caught.value).splitlines()[1:] == ["  udp dst prot 4321", "          ^^^^"]
    assert "did you mean 'udp dst port 4321'?" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": None}, "frames=None: not a whole number"),
        ({"queues": 0}, "queues=0: not a list"),
        ({"queues": "0"}, "queues='0': not a list of whole numbers"),
        ({"require": 5}, "require=5: not a list"),
        ({"require": [[]]}, r"require=\[\]: not text"),
        ({"stall": 0}, "stall=0: not from 10ms to 1h, or never"),
        ({"queues": []}, r"queues=\(\): at least one number is needed"),
        ({"queues": [1]}, "queues=1: eth0 has queues 0 to 0"),
        ({"require": "native", "mode": "generic"}, "exclude each other"),
    ],
)
def test_options_that_cannot_be(wire: Wire, options: dict[str, Any], message: str) -> None:
    """What a value may be is tested in unit/options: here, that it is asked there, and before anything is attached."""
    with wire.b.host, pytest.raises(OptionError, match=message):
        offramp.open("eth0", MATCH, **options)
    assert not has_xdp(wire.b)


@pytest.mark.parametrize("opening", [offramp.open, offramp.attach])
def test_interfaces_and_matches_that_cannot_be(wire: Wire, opening: Any) -> None:
    with wire.b.host:
        for wrong in (None, wire.b.ifindex, b"eth0"):
            with pytest.raises(OptionError, match=r"interface=.*: not text"):
                opening(wrong, MATCH)
        for wrong in (None, 53, b"udp"):
            with pytest.raises(OptionError, match=r"match=.*: not text"):
                opening("eth0", wrong)
        with pytest.raises(TypeError, match="match"):  # all packets are asked for by "", not by leaving it out
            opening("eth0")
        assert not has_xdp(wire.b)


@pytest.mark.parametrize("verdict", ["DROP", None, offramp.CLAIM, 7])
def test_verdicts_that_cannot_be(wire: Wire, verdict: Any) -> None:
    with wire.b.host, pytest.raises(OptionError, match=r"verdict=.*: not offramp\.DROP, offramp\.TX or offramp\.PASS"):
        offramp.attach("eth0", MATCH, verdict)


def test_more_memory_than_half_of_what_is_left(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is attached, and before the kernel has pinned any of it."""
    monkeypatch.setattr("offramp.ramp.sockets._available", lambda: 15 << 20)
    said = "frames=4096 on 1 receive queues: 8 MiB of packet memory is more than half of what is available, 7 MiB"
    with wire.b.host, pytest.raises(OptionError, match=said):
        offramp.open("eth0", MATCH)
    monkeypatch.setattr("offramp.ramp.sockets._available", lambda: 16 << 20)
    with wire.b.host, offramp.open("eth0", MATCH):
        pass


def test_copying_that_the_kernel_chose(wire: Wire) -> None:
    """The plan says what became of "auto"."""
    with (
        wire.b.host,
        pytest.warns(OfframpWarning, match="not do zero-copy on all of these queues, so the kernel copies"),
    ):
        ramp = offramp.open("eth0", MATCH, copying="auto")
    with ramp:
        assert (ramp.plan.copying, ramp.zero_copy) == ("copy", False)


def test_zero_copy_that_is_not_to_be_had(wire: Wire) -> None:
    attempts: list[dict[str, Any]] = [{"copying": "zero-copy"}, {"require": "zero-copy"}]
    for options in attempts:
        with wire.b.host, pytest.raises(NotSupported, match=r"^eth0: .*zero-copy"):
            offramp.open("eth0", MATCH, **options)
        assert not has_xdp(wire.b)


def test_a_warning_made_an_error_leaves_nothing(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2)
    with wire.b.host, pytest.warns(OfframpWarning, match="2 receive queues") as told:
        offramp.open("eth0", MATCH, queues=[0]).close()
    assert told[0].filename == __file__
    with wire.b.host, pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", _raise)
        with pytest.raises(OfframpWarning) as caught:
            offramp.open("eth0", MATCH, queues=[0])
    assert not has_xdp(wire.b), caught


def _raise(message: str, category: type[Warning], **_: object) -> None:
    raise category(message)


# -- somebody is there -------------------------------------------------------------------------------------------------

RAMP = """
import sys, offramp
with offramp.open("eth0", "tcp"):
    print("open", flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(host: Host, *script: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python process on the host, and the line that it has printed."""
    running = piped(host, "-c", *script)
    yield running, line_of(running)
    assert running.poll() is None
    host.kill(running)


@pytest.mark.parametrize("opening", [offramp.open, offramp.attach])
def test_the_program_of_a_stranger(wire: Wire, opening: Any) -> None:
    stranger, program = holder(wire.b.host, "firewall")
    command = Path(f"/proc/{stranger.pid}/comm").read_text().strip()
    said = f"XDP program {program} 'firewall' in native mode, held by {command} (pid {stranger.pid})"
    with wire.b.host, pytest.raises(InterfaceBusy, match=re.escape(said)):
        opening("eth0", MATCH)
    with wire.b.host:
        assert [found.program_id for found in attached(wire.b.ifindex)] == [program]
    wire.b.host.kill(stranger)


def test_a_program_that_no_process_holds(wire: Wire) -> None:
    """As `ip link set dev eth0 xdp ...` leaves it."""
    with wire.b.host.netlink() as route, load(name="by_netlink") as program:
        route.link("set", index=wire.b.ifindex, xdp_fd=program.fd)
        identity = program.id
    said = f"eth0 already runs XDP program {identity} 'by_netlink' in native mode, held by no process that is visible"
    with wire.b.host, pytest.raises(InterfaceBusy, match=re.escape(said)):
        offramp.open("eth0", MATCH)
    assert has_xdp(wire.b)


@pytest.mark.parametrize("opening", [offramp.open, offramp.attach])
def test_another_offramp(wire: Wire, opening: Any) -> None:
    with process(wire.b.host, RAMP) as (other, _):
        said = rf"^eth0: in use by .*\(pid {other.pid}\) \(one offramp process per interface\)"
        with wire.b.host, pytest.raises(InterfaceBusy, match=said):
            opening("eth0", MATCH)
        assert has_xdp(wire.b)
    assert eventually(lambda: not has_xdp(wire.b))
    with wire.b.host, opening("eth0", MATCH):
        assert has_xdp(wire.b)


def test_another_offramp_without_a_lock(wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that may not write to the directory of locks, or has another one."""
    with process(wire.b.host, RAMP) as (other, _):
        monkeypatch.setenv("OFFRAMP_STATE_DIR", str(tmp_path))
        said = rf"XDP program \d+ 'offramp_claim' .* another offramp, .*\(pid {other.pid}\)"
        with wire.b.host, pytest.raises(InterfaceBusy, match=said):
            offramp.open("eth0", MATCH)
        assert has_xdp(wire.b)


def test_this_process_itself(wire: Wire) -> None:
    with wire.b.host, offramp.open("eth0", MATCH) as first:
        with pytest.raises(InterfaceBusy, match="each receive queue of eth0 is read by another ramp of this process"):
            offramp.open("eth0", "tcp")
        assert first.rx(0) is None
        assert has_xdp(wire.b)


def test_a_program_attached_in_the_meantime(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the attaching: the kernel refuses, and the error still says whose it is."""
    with wire.b.host, load(name="firewall") as program:
        nobody = offramp.nic.read("eth0")
        with XdpLink.attach(program, wire.b.ifindex):
            monkeypatch.setattr("offramp.ramp.interface.nic.read", lambda interface, but=0: nobody)
            with pytest.raises(InterfaceBusy, match=rf"program {program.id} 'firewall' .* held by this process"):
                offramp.open("eth0", MATCH)


def test_a_socket_on_the_queue(wire: Wire) -> None:
    """AF_XDP sockets need no program to be bound; of two on a queue, the second is refused."""
    with wire.b.host:
        other = _native.Port.af_xdp("eth0", wire.b.ifindex, [0], frames=64, frame_size=2048, ring=64, copying="copy")
        with pytest.raises(InterfaceBusy, match=r"^eth0: binding .* queue 0: another AF_XDP socket is bound"):
            offramp.open("eth0", MATCH)
        assert not has_xdp(wire.b)
        other.close()
        with offramp.open("eth0", MATCH) as ramp, datagrams(wire):
            assert claims(ramp)


def test_a_driver_that_refuses_native_mode_after_all(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """As drivers of kernels that do not tell beforehand: the next attempt changes settings by the same journal."""
    wire.b.gro(True)
    real = XdpLink.create

    def refuse(link: XdpLink, program: Program) -> None:
        if link.mode == "native":
            raise KernelError("attaching", errno.EOPNOTSUPP)
        real(link, program)

    monkeypatch.setattr(XdpLink, "create", refuse)
    with wire.b.host, pytest.warns(OfframpWarning, match="generic mode"):
        ramp = offramp.open("eth0", MATCH)
    with ramp:
        assert ramp.mode == "generic"
        assert "feature.rx-gro" in [change.knob for change in ramp.plan.changes]
        assert not wire.b.host.call(ethtool.gro, "eth0")
    assert wire.b.host.call(ethtool.gro, "eth0")
    assert not has_xdp(wire.b)
