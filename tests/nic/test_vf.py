# SPDX-License-Identifier: Apache-2.0
"""A virtual function gets the flow, its physical one stays the kernel's, and all is given back, whatever happens.

The VF is found by its address: peers send to AWAY, which they know to be at the VF's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import offramp
from offramp import attachment, virtual_function
from offramp.errors import InterfaceBusy, NotSupported, OfframpError, OptionError
from offramp.journal import transaction
from offramp.nic import link, pci
from offramp.nic.knobs import Value
from offramp.nic.live import LiveNic, open_nic
from offramp.testing import Wire
from tests.leftovers import eventually, orphans
from tests.processes import forked
from tests.traffic import MATCH, claims, datagrams

pytestmark = [
    pytest.mark.nic("igb-iommu", kernels="6.12"),  # it takes minutes; it was seen under 6.1 and 6.18, too
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore::offramp.OfframpWarning"),
]

PATIENCE = 20.0  # seconds, for something that takes milliseconds there
AWAY = "10.77.0.99"
MAC = "06:54:00:00:00:01"  # as the plan makes it from the PF's
OURS = "02:00:00:00:00:31"
KNOBS = ("vf.autoprobe", "vf.count", "channels", "rss.table", "mtu", "up")
OF_VF = ("vf.0.driver", "vf.0.mac", "vf.0.vlan", "vf.0.spoof_check", "vf.0.trust")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OFFRAMP_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(virtual_function, "_PATIENCE", 60.0)
    monkeypatch.setattr(attachment, "_CARRIER_PATIENCE", 60.0)
    return tmp_path


@pytest.fixture
def device(wire: Wire) -> LiveNic:
    with wire.b.host:
        return open_nic(wire.b.name)


@pytest.fixture
def away(wire: Wire) -> Iterator[Wire]:
    """The wire as the flow sees it: the peer sends to the VF's address."""
    entry = [AWAY, "dev", wire.a.name]
    wire.a.host.run(["ip", "neigh", "replace", *entry, "lladdr", MAC, "nud", "permanent"])
    yield replace(wire, b=replace(wire.b, ip=AWAY, mac=MAC))
    wire.a.host.run(["ip", "neigh", "del", *entry])


@pytest.fixture
def untouched(wire: Wire, device: LiveNic, state: Path) -> Iterator[None]:
    """Whatever the test does: in the end all is as before, and no journal is left."""
    before = everything(wire, device)
    yield
    assert eventually(lambda: everything(wire, device) == before), (everything(wire, device), before)
    assert eventually(lambda: not list(state.glob("*.json")))
    assert eventually(lambda: not orphans())


def everything(wire: Wire, device: LiveNic) -> dict[str, Value]:
    """What could have been changed: the PF's settings and features, links, addresses, routes; PCI devices."""
    with wire.b.host:
        found: dict[str, Value] = {knob: device.get(knob) for knob in (*KNOBS, *OF_VF)}
        found["features"] = {name: each.on for name, each in (device.capabilities().features or {}).items()}
        found["links here"] = sorted(name for _, name in socket.if_nameindex())
    found["other links"] = sorted(name for _, name in socket.if_nameindex())
    addresses = json.loads(wire.b.host.run(["ip", "-j", "addr"]).stdout)
    found["addresses"] = [[each["local"] for each in link["addr_info"]] for link in addresses]
    found["routes"] = sorted(json.loads(wire.b.host.run(["ip", "-j", "route"]).stdout), key=str)
    found["PCI"] = {address: pci.driver(address) for address in os.listdir("/sys/bus/pci/devices")}
    return found


def opened(wire: Wire, **options: Any) -> offramp.Ramp:
    with wire.b.host:
        return offramp.open(wire.b.name, MATCH, **({"via": "vf"} | options))


def address_of(device: LiveNic) -> str:
    found = pci.vf_address(device.identity.bus, 0)
    assert found is not None
    return found


def pings(wire: Wire, count: int = 3) -> int:
    answer = wire.a.host.run(["ping", "-c", str(count), "-i", "0.2", "-W", "5", wire.b.ip], check=False).stdout
    return int(answer.partition(" received")[0].split()[-1])


def tcp_works(wire: Wire) -> bool:
    """Whether a megabyte gets to the PF's kernel, which nothing has taken the address from."""
    with wire.b.host:
        listener = socket.create_server((wire.b.ip, 8080))
    with wire.a.host:
        sender = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener, sender:
        for each in (listener, sender):
            each.settimeout(PATIENCE * 2)
        sender.connect((wire.b.ip, 8080))
        receiver, _ = listener.accept()
        thread = threading.Thread(target=_send, args=(sender, 1 << 20))
        thread.start()
        with receiver:
            receiver.settimeout(PATIENCE * 2)
            total = 0
            while part := receiver.recv(1 << 16):
                total += len(part)
        thread.join()
    return total == 1 << 20


def _send(sender: socket.socket, count: int) -> None:
    sender.sendall(bytes(count))
    sender.shutdown(socket.SHUT_WR)


def assert_bypass(wire: Wire, away: Wire, ramp: offramp.Ramp) -> None:
    with datagrams(away):
        assert claims(ramp, PATIENCE)
        assert pings(wire) == 3
        assert tcp_works(wire)
        assert claims(ramp, PATIENCE)
    while ramp.rx(0.5) is not None:
        pass
    ledger = ramp.ledger()
    assert ledger.exact, ledger
    assert ledger.claimed > 0


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
        assert_bypass(wire, away, ramp)
        began = time.monotonic()
    print(f"closed after {time.monotonic() - began:.1f} s")
    wire.b.wait_for_carrier(PATIENCE)
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
    program = f"import offramp; ramp = offramp.open({wire.b.name!r}, {MATCH!r}, via='vf'); print(ramp.plan.pf)"
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
        with offramp.open(wire.b.name, MATCH, via="vf"):
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
        with offramp.open(wire.b.name, MATCH, via="vf") as ramp:
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


# -- one that is there -------------------------------------------------------------------------------------------------


@contextmanager
def a_vf(wire: Wire, device: LiveNic, *, bound: bool) -> Iterator[None]:
    """Made by somebody else, with an address; `bound`: its driver has it, and its interface is where the PF is."""
    with wire.b.host:
        device.set("vf.autoprobe", bound)
        device.set("vf.count", 1)
        device.set("vf.0.mac", OURS)
    try:
        if bound:
            brought(wire, device)
        wire.b.wait_for_carrier(PATIENCE)
        yield
    finally:
        with wire.b.host:
            device.set("vf.count", 0)
            device.set("vf.autoprobe", True)
        wire.b.wait_for_carrier(PATIENCE)


def brought(wire: Wire, device: LiveNic) -> str:
    """The VF's interface, moved to where the PF is: what it is called there."""
    made = open_nic(address_of(device)).identity
    subprocess.run(["ip", "link", "set", made.name, "name", "other0"], check=True)
    link.move(made.ifindex, wire.b.host.fileno())
    return "other0"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("bound", [False, True])
def test_a_vf_that_is_there_is_used_and_given_back(wire: Wire, away: Wire, device: LiveNic, bound: bool) -> None:
    with a_vf(wire, device, bound=bound):
        with wire.b.host:
            before = {knob: device.get(knob) for knob in (*KNOBS, *OF_VF)}
        with opened(wire, vf=0) as ramp:
            assert not [change.knob for change in ramp.plan.changes if change.knob in ("vf.count", "vf.autoprobe")]
            assert_bypass(wire, away, ramp)
        with wire.b.host:
            assert {knob: device.get(knob) for knob in (*KNOBS, *OF_VF)} == before
        assert before["vf.0.driver"] == ("igbvf" if bound else None)
        override = Path("/sys/bus/pci/devices", address_of(device), "driver_override").read_text().strip()
        assert override == "(null)"


@pytest.mark.usefixtures("untouched")
def test_a_vf_that_is_there_is_given_back_after_kill(wire: Wire, device: LiveNic, state: Path) -> None:
    def work() -> None:
        with offramp.open(wire.b.name, MATCH, vf=0):
            os.kill(os.getpid(), signal.SIGKILL)

    def settings() -> dict[str, Value] | None:
        if list(state.glob("*.json")):  # being undone: one moment must not be taken for another
            return None
        with wire.b.host:
            return {knob: device.get(knob) for knob in (*KNOBS, *OF_VF)}

    with a_vf(wire, device, bound=True):
        before = settings()
        with forked(wire.b.host, work) as pid:
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status)
            assert eventually(lambda: settings() == before)


# -- what is in the way ------------------------------------------------------------------------------------------------


def refused(wire: Wire, device: LiveNic, kind: type[OfframpError], **options: Any) -> str:
    """What it says; nothing is changed."""
    before = everything(wire, device)
    with pytest.raises(kind) as caught:
        opened(wire, **options)
    assert everything(wire, device) == before
    print(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("untouched")
def test_vfs_in_use_are_refused(wire: Wire, device: LiveNic) -> None:
    name = wire.b.name
    with a_vf(wire, device, bound=True):
        assert refused(wire, device, InterfaceBusy) == (
            f"{name} has 1 virtual functions: another number would take them all away for a moment"
            " (vf=0 to 0 for one that nobody uses)"
        )
        assert refused(wire, device, OptionError, vf=3) == f"vf 3: {name} has VFs 0 to 0"
        wire.b.host.run(["ip", "link", "set", "other0", "up"])
        assert "in use: its interface other0 is up" in refused(wire, device, InterfaceBusy, vf=0)
        open_nic(address_of(device)).set("pci.driver", None)
        subprocess.run(["modprobe", "vfio-pci"], check=True)
        open_nic(address_of(device)).set("pci.driver", "vfio-pci")
        assert "bound to vfio-pci, and without an interface" in refused(wire, device, InterfaceBusy, vf=0)
        open_nic(address_of(device)).set("pci.driver", "igbvf")  # whose interface is not here now
        assert "bound to igbvf, and without an interface" in refused(wire, device, InterfaceBusy, vf=0)
        open_nic(address_of(device)).set("pci.driver", None)


@pytest.mark.usefixtures("untouched")
def test_a_number_that_there_is_not(wire: Wire, device: LiveNic) -> None:
    assert refused(wire, device, OptionError, vf=0).endswith("has no VFs yet: leave the number out")


@pytest.mark.usefixtures("untouched")
def test_a_driver_that_is_not_loaded(wire: Wire, device: LiveNic) -> None:
    subprocess.run(["modprobe", "-r", "igbvf"], check=True)
    try:
        said = refused(wire, device, NotSupported)
        assert said == f"opening VF 0 of {wire.b.name}: its driver igbvf is not loaded (modprobe igbvf)"
    finally:
        subprocess.run(["modprobe", "igbvf"], check=True)


@pytest.mark.usefixtures("untouched")
def test_a_user_who_may_not(wire: Wire) -> None:
    bounds = "-all,+bpf,+perfmon,+net_raw"
    argv = ["setpriv", "--bounding-set", bounds, "--inh-caps", "-all", sys.executable, "-m", "offramp", "run"]
    argv += [wire.b.name, *MATCH.split(), "--do", "count", "--layout", "vf"]
    said = wire.b.host.run(argv, check=False).stderr
    assert f"opening VF 0 of {wire.b.name}: Operation not permitted [EPERM] (missing CAP_NET_ADMIN" in said


@pytest.mark.usefixtures("untouched")
def test_vlans_are_refused(wire: Wire, device: LiveNic) -> None:
    with wire.b.host, pytest.raises(NotSupported, match="the match names a VLAN"):
        offramp.open(wire.b.name, f"vlan 7 and {MATCH}", via="vf")


# -- for user space ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("before", [None, "igbvf"])
def test_vfio_and_back(wire: Wire, device: LiveNic, before: str | None) -> None:
    subprocess.run(["modprobe", "vfio-pci"], check=True)
    with a_vf(wire, device, bound=before is not None):
        function = open_nic(address_of(device))
        group = Path("/sys/bus/pci/devices", address_of(device), "iommu_group").readlink().name
        with transaction(function) as change:
            change.set("pci.driver", "vfio-pci")
            assert Path("/dev/vfio", group).exists()
        assert function.get("pci.driver") == before
        assert not Path("/dev/vfio", group).exists()


@pytest.mark.usefixtures("untouched")
def test_vfio_and_back_when_killed(wire: Wire, device: LiveNic, state: Path) -> None:
    subprocess.run(["modprobe", "vfio-pci"], check=True)
    with a_vf(wire, device, bound=True):
        address = address_of(device)

        def work() -> None:
            with transaction(open_nic(address)) as change:
                change.set("pci.driver", "vfio-pci")
                signal.pause()

        with forked(wire.b.host, work) as pid:
            assert eventually(lambda: pci.driver(address) == "vfio-pci", 5.0)
            time.sleep(1)
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            assert eventually(lambda: not list(state.glob("*.json")))
            assert pci.driver(address) == "igbvf"
            print(f"igbvf had it again after {time.monotonic() - killed:.2f} s")


@pytest.mark.usefixtures("untouched")
def test_a_driver_that_will_not_have_it(wire: Wire, device: LiveNic) -> None:
    with a_vf(wire, device, bound=False), transaction(open_nic(address_of(device))) as change:
        with pytest.raises(OfframpError) as caught:
            change.set("pci.driver", "igb")
        print(caught.value)
        assert pci.driver(address_of(device)) is None
        override = Path("/sys/bus/pci/devices", address_of(device), "driver_override")
        assert override.read_text().strip() == "(null)", "its own driver would not get it any more"
