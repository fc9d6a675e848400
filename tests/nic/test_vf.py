# SPDX-License-Identifier: Apache-2.0
"""A virtual function gets the flow, its physical one stays the kernel's, and all is given back, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import offramp
from offramp.errors import NotSupported
from offramp.facts.knobs import Value
from offramp.journal import Transaction, transaction
from offramp.nic import carrier, link, udev
from offramp.nic.live import LiveNic, open_nic
from offramp.ramp import virtual_function
from offramp.testing import Wire
from tests.nic.functions import MAC, PATIENCE, assert_bypass, everything, opened, pings, pings_and_tcp
from tests.nic.udevd import renaming
from tests.rigs.processes import forked
from tests.rigs.traffic import MATCH, claims, datagrams, send
from tests.rigs.waiting import eventually

pytestmark = [
    pytest.mark.usefixtures("state"),
    pytest.mark.nic("igb-iommu", kernels="6.12"),  # it takes minutes; it was seen under 6.1 and 6.18, too
    pytest.mark.filterwarnings("ignore::offramp.OfframpWarning"),
]


# -- a new one ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
def test_the_flow_comes_to_a_vf_and_the_kernel_keeps_the_rest(wire: Wire, away: Wire, device: LiveNic) -> None:
    began = time.monotonic()
    with opened(wire) as ramp:
        print(f"open after {time.monotonic() - began:.1f} s\n{ramp.plan}")
        assert (ramp.plan.layout, ramp.plan.vf, ramp.plan.pf, ramp.mode) == ("vf", 0, wire.b.name, "generic")
        assert not ramp.zero_copy
        with wire.b.host:
            assert ramp.plan.interface in {name for _, name in socket.if_nameindex()}
            assert (device.get("vf.0.mac"), device.get("vf.0.driver")) == (MAC, "igbvf")
            assert open_nic(ramp.plan.interface).get("feature.rx-gro") is False
        assert_bypass(away, ramp, lambda: pings_and_tcp(wire))
        began = time.monotonic()
    print(f"closed after {time.monotonic() - began:.1f} s")
    wire.b.wait_for_carrier(PATIENCE)
    assert pings(wire) == 3


@pytest.mark.usefixtures("untouched")
def test_another_match_in_place(wire: Wire, away: Wire) -> None:
    with opened(wire) as ramp:
        ramp.replace("udp dst port 4322")
        assert (ramp.plan.layout, ramp.plan.vf) == ("vf", 0)
        with datagrams(away):
            assert not claims(ramp, 1.0)
        send(away, 5, 4322)
        assert eventually(lambda: ramp.ledger().claimed == 5)
        assert pings(wire) == 3


@pytest.mark.usefixtures("untouched")
def test_nobody_learns_the_address_of_the_vf_for_that_of_the_pf(wire: Wire) -> None:
    """Both hear a request for the PF's address; only the PF may answer."""
    with opened(wire) as ramp:
        entry = ["ip", "neigh", "flush", "dev", wire.a.name, "nud", "reachable", "nud", "stale", "nud", "delay"]
        for _ in range(3):
            wire.a.host.run(entry)
            assert pings(wire, 1) == 1
            shown = json.loads(wire.a.host.run(["ip", "-j", "neigh", "show", wire.b.ip]).stdout)
            assert [each["lladdr"] for each in shown] == [wire.b.mac]
        addresses = json.loads(wire.b.host.run(["ip", "-j", "addr", "show", ramp.plan.interface]).stdout)
        assert not addresses[0]["addr_info"]


@pytest.mark.usefixtures("untouched")
def test_channels_that_somebody_has_chosen_come_back(wire: Wire, device: LiveNic) -> None:
    """igb sets their number anew when it makes VFs, and when it takes them away."""
    with wire.b.host, transaction(device) as change:
        change.set("rss.table", [0] * len(device.get("rss.table")))  # or fewer channels are refused
        change.set("channels", {"rx": 0, "tx": 0, "combined": 1})
        wire.b.wait_for_carrier(PATIENCE)
        chosen = device.get("channels"), device.get("rss.table")
        with opened(wire):
            print(f"while there is a VF: {device.get('channels')}")
        assert (device.get("channels"), device.get("rss.table")) == chosen


@pytest.mark.usefixtures("untouched")
def test_what_its_driver_cannot_do_is_an_error_that_leaves_nothing(wire: Wire) -> None:
    with pytest.raises(NotSupported, match=r"igbvf.* has no native XDP"):
        opened(wire, require="native")


@pytest.mark.usefixtures("untouched")
def test_the_command(wire: Wire) -> None:
    argv = [sys.executable, "-m", "offramp", "run", wire.b.name, *MATCH.split(), "--do", "count", "--layout", "vf"]
    done = wire.b.host.run([*argv, "--for", "2", "--json"])
    plan = json.loads(done.stdout)["plan"]
    assert (plan["layout"], plan["pf"], plan["vf"]) == ("vf", wire.b.name, 0)
    print(done.stderr)


@pytest.mark.usefixtures("untouched")
def test_one_that_nobody_closes(wire: Wire) -> None:
    """The VF's journal is dealt with before that of the PF, which takes the VF away."""
    program = f"import offramp; ramp = offramp.open({wire.b.name!r}, {MATCH!r}, layout='vf'); print(ramp.plan.pf)"
    done = wire.b.host.run([sys.executable, "-c", program])
    assert done.stdout.strip() == wire.b.name
    assert "gone" not in done.stderr, done.stderr


@pytest.mark.usefixtures("untouched")
def test_a_forked_child_holds_nothing(wire: Wire, away: Wire) -> None:
    with opened(wire) as ramp:

        def work() -> None:
            assert ramp.closed
            ramp.close()

        with forked(wire.b.host, work) as pid:
            assert os.waitpid(pid, 0)[1] == 0
        with datagrams(away):
            assert claims(ramp, PATIENCE)


@pytest.mark.usefixtures("untouched")
def test_its_packets_may_be_as_large_as_those_of_the_pf(wire: Wire, away: Wire, device: LiveNic) -> None:
    def resized(mtu: int, *ends: Transaction) -> None:
        for end in ends:
            end.set("mtu", mtu)
        carried()

    def carried() -> None:
        for end in (wire.a, wire.b):
            end.wait_for_carrier(PATIENCE)

    with wire.a.host, transaction(open_nic(wire.a.name)) as peer, wire.b.host, transaction(device) as change:
        resized(1600, peer, change)
        with opened(wire) as ramp:
            assert open_nic(ramp.plan.interface).get("mtu") == 1600
            carried()
            with datagrams(away, bytes(1572)):
                batch = ramp.rx(PATIENCE)
            assert batch is not None
            assert len(batch[0]) == 14 + 1600
        resized(9000, change)
        with opened(wire) as ramp:
            print(ramp.plan.warnings)
            assert any("9000: packets of the flow that are larger are lost" in told for told in ramp.plan.warnings)
    carried()


@pytest.mark.usefixtures("untouched")
def test_udev_has_named_it_before_it_is_opened(wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the initial network namespace, where most PFs are, an interface gets its lasting name a moment later."""
    monkeypatch.setattr(udev, "_RUN", tmp_path / "udev")
    with (
        in_the_first_namespace(wire),
        renaming(tmp_path / "udev", "lasting0"),
        offramp.open(wire.b.name, MATCH, layout="vf") as ramp,
    ):
        assert ramp.plan.interface == "lasting0"
        assert Path("/proc/sys/net/ipv6/conf/lasting0/disable_ipv6").read_text() == "1\n"


@contextmanager
def in_the_first_namespace(wire: Wire) -> Iterator[None]:
    """Its device under test."""
    name = wire.b.name
    wire.b.host.run(["ip", "link", "set", name, "netns", "1"])
    try:
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        assert eventually(lambda: carrier(wire.b.ifindex), PATIENCE)
        yield
    finally:
        subprocess.run(["ip", "link", "set", name, "down"], check=True)
        link.move(wire.b.ifindex, wire.b.host.fileno())
        for address in (f"{wire.b.ip}/24", f"{wire.b.ip6}/64"):
            wire.b.host.run(["ip", "addr", "add", address, "dev", name])
        wire.b.up()
        wire.b.wait_for_carrier(PATIENCE)


# -- killed ------------------------------------------------------------------------------------------------------------

MOMENTS = ("vf.autoprobe", "vf.count", "vf.0.mac", "vf.0.driver", "moving", "up", "feature.rx-gro", "open")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_opening(wire: Wire, device: LiveNic, moment: str) -> None:
    """As soon as the knob is turned, which the journal only says is about to be."""

    def work() -> None:
        turn, move = LiveNic.set, link.move

        def turned(self: LiveNic, knob: str, value: Value) -> None:
            turn(self, knob, value)
            if knob == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        def moved(*arguments: int) -> None:
            move(*arguments)
            if moment == "moving":
                os.kill(os.getpid(), signal.SIGKILL)

        LiveNic.set = turned  # type: ignore[method-assign]
        virtual_function.move = moved  # type: ignore[assignment,attr-defined]
        with offramp.open(wire.b.name, MATCH, layout="vf"):
            os.kill(os.getpid(), signal.SIGKILL)

    before = everything(wire, device)
    with forked(wire.b.host, work) as pid:
        _, status = os.waitpid(pid, 0)
        killed = time.monotonic()
        assert os.WIFSIGNALED(status), f"it ended by itself, before {moment}"
        assert eventually(lambda: everything(wire, device) == before, 2.0)
        print(f"killed at {moment}: as before after {time.monotonic() - killed:.2f} s")


@pytest.mark.usefixtures("untouched")
def test_killed_while_traffic_runs(wire: Wire, away: Wire, device: LiveNic) -> None:
    reading, told = os.pipe()

    def work() -> None:
        with offramp.open(wire.b.name, MATCH, layout="vf") as ramp:
            assert claims(ramp, PATIENCE)
            os.write(told, b".")
            for _ in ramp:
                pass

    before = everything(wire, device)
    with datagrams(away), forked(wire.b.host, work) as pid:
        os.close(told)
        assert os.read(reading, 1) == b"."
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        assert eventually(lambda: everything(wire, device) == before, 2.0)
        print(f"as before after {time.monotonic() - killed:.2f} s")
    wire.b.wait_for_carrier(PATIENCE)
    assert pings(wire) == 3
