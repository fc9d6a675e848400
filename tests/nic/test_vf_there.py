# SPDX-License-Identifier: Apache-2.0
"""A virtual function that exists: it is used and given back, or in the way; it goes to vfio-pci and back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import offramp
from offramp.errors import InterfaceBusy, NotSupported, OfframpError, OptionError
from offramp.facts.knobs import Value
from offramp.journal import transaction
from offramp.nic import pci
from offramp.nic.live import LiveNic, open_nic
from offramp.testing import Wire
from tests.nic.functions import KNOBS, OF_VF, a_vf, address_of, assert_bypass, everything, opened, pings_and_tcp
from tests.rigs.processes import forked
from tests.rigs.traffic import MATCH
from tests.rigs.waiting import eventually

pytestmark = [
    pytest.mark.usefixtures("state"),
    pytest.mark.nic("igb-iommu", kernels="6.12"),  # it takes minutes; it was seen under 6.1 and 6.18, too
    pytest.mark.filterwarnings("ignore::offramp.OfframpWarning"),
]


# -- one that is there -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("bound", [False, True])
def test_a_vf_that_is_there_is_used_and_given_back(wire: Wire, away: Wire, device: LiveNic, bound: bool) -> None:
    with a_vf(wire, device, bound=bound):
        with wire.b.host:
            before = {knob: device.get(knob) for knob in (*KNOBS, *OF_VF)}
        with opened(wire, vf=0) as ramp:
            assert not [change.knob for change in ramp.plan.changes if change.knob in ("vf.count", "vf.autoprobe")]
            assert_bypass(away, ramp, lambda: pings_and_tcp(wire))
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
            f"{name} has 1 virtual functions: changing their number would remove all of them for a moment"
            " (vf=0 uses one that nobody uses)"
        )
        assert refused(wire, device, OptionError, vf=3) == f"vf=3: {name} has VFs 0 to 0"
        wire.b.host.run(["ip", "link", "set", "other0", "up"])
        assert "in use: its interface other0 is up" in refused(wire, device, InterfaceBusy, vf=0)
        open_nic(address_of(device)).set("pci.driver", None)
        subprocess.run(["modprobe", "vfio-pci"], check=True)
        open_nic(address_of(device)).set("pci.driver", "vfio-pci")
        assert "bound to vfio-pci and has no interface" in refused(wire, device, InterfaceBusy, vf=0)
        open_nic(address_of(device)).set("pci.driver", "igbvf")  # whose interface is not here now
        assert "bound to igbvf and has no interface" in refused(wire, device, InterfaceBusy, vf=0)
        open_nic(address_of(device)).set("pci.driver", None)


@pytest.mark.usefixtures("untouched")
def test_a_number_that_there_is_not(wire: Wire, device: LiveNic) -> None:
    assert refused(wire, device, OptionError, vf=0).endswith("has no VFs yet (layout vf, without a number, makes one)")


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
        offramp.open(wire.b.name, f"vlan 7 and {MATCH}", layout="vf")


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
