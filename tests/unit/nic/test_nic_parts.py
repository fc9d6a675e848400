# SPDX-License-Identifier: Apache-2.0
"""Parts of the NIC room that need no interface: lower devices, PCI in sysfs, VF answers, counters by queue."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from offramp.errors import KernelError, OptionError
from offramp.nic import pci, stats, vf
from offramp.nic.stacked import Standing, resolve
from offramp.syscalls import netlink

ADDRESS = "0000:02:00.0"


# -- what is below -----------------------------------------------------------------------------------------------------


def test_vlan_on_bond_on_two_ports() -> None:
    places = {
        1: Standing("lo", None, 0, 0),
        2: Standing("eth1", None, 0, 4),
        3: Standing("eth0", None, 0, 4),
        4: Standing("bond0", "bond", 0, 0),
        5: Standing("bond0.7", "vlan", 4, 0),
        6: Standing("br0", "bridge", 0, 0),
        7: Standing("veth0", "veth", 3, 6),
        8: Standing("mac0", "macvlan", 3, 6),
    }
    assert resolve(5, places) == ("eth0", "eth1")
    assert resolve(4, places) == ("eth0", "eth1")
    assert resolve(6, places) == ("eth0", "veth0")
    assert resolve(8, places) == ("eth0",)
    assert resolve(7, places) == ()  # what a veth is linked to is its peer
    assert resolve(3, places) == ()


def test_a_lower_device_elsewhere_and_circles() -> None:
    assert resolve(5, {5: Standing("vlan7", "vlan", 99, 0)}) == ()
    assert resolve(1, {1: Standing("a", "vlan", 2, 0), 2: Standing("b", "vlan", 1, 0)}) == ()


# -- PCI ---------------------------------------------------------------------------------------------------------------


class Sysfs:
    """Files that look like /sys/bus/pci; `log` is what was written, in order. Binding happens as the kernel does it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.log = root, list[tuple[str, str]]()
        self.natural, self.override = "igb", ""
        self.device = root / "devices" / ADDRESS
        self.device.mkdir(parents=True)
        for name in ("igb", "vfio-pci", "other"):
            (root / "drivers" / name).mkdir(parents=True)
        for name, value in (("sriov_totalvfs", 7), ("sriov_numvfs", 0), ("sriov_drivers_autoprobe", 1)):
            (self.device / name).write_text(f"{value}\n")
        self._bind("igb")
        monkeypatch.setattr(pci, "PCI", root)
        monkeypatch.setattr(pci, "_write", self.write)

    def write(self, path: Path, text: str, what: str) -> None:
        self.log.append((str(path.relative_to(self.root)), text))
        if path.name == "unbind":
            (self.device / "driver").unlink()
        elif path.name == "driver_override":
            self.override = text.strip()
        elif path.name == "drivers_probe":
            self._bind(self.override or self.natural)
        else:
            path.write_text(text)

    def _bind(self, name: str) -> None:
        if name:
            (self.device / "driver").symlink_to(self.root / "drivers" / name)


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sysfs:
    return Sysfs(tmp_path, monkeypatch)


def test_to_vfio_and_back(sysfs: Sysfs) -> None:
    override = f"devices/{ADDRESS}/driver_override"
    pci.bind(ADDRESS, "vfio-pci")
    assert pci.driver(ADDRESS) == "vfio-pci"
    assert sysfs.log == [("drivers/igb/unbind", ADDRESS), (override, "vfio-pci"), ("drivers_probe", ADDRESS)]
    sysfs.log.clear()
    pci.bind(ADDRESS, "igb")
    assert pci.driver(ADDRESS) == "igb"
    assert sysfs.log == [("drivers/vfio-pci/unbind", ADDRESS), (override, "\n"), ("drivers_probe", ADDRESS)]
    assert sysfs.override == ""  # nothing of ours is left
    sysfs.log.clear()
    pci.bind(ADDRESS, "igb")
    assert sysfs.log == []


def test_a_driver_that_would_not_come_by_itself(sysfs: Sysfs) -> None:
    sysfs.natural = ""
    pci.bind(ADDRESS, "other")
    assert (pci.driver(ADDRESS), sysfs.override) == ("other", "other")


def test_to_no_driver(sysfs: Sysfs) -> None:
    pci.bind(ADDRESS, None)
    assert pci.driver(ADDRESS) is None
    assert ("drivers_probe", ADDRESS) not in sysfs.log


@pytest.mark.parametrize("name", ["uio_pci_generic", "", "../x", "igb\n"])
def test_drivers_that_are_not_there(sysfs: Sysfs, name: str) -> None:
    with pytest.raises(OptionError, match="it is not loaded"):
        pci.bind(ADDRESS, name)
    assert sysfs.log == []


def test_the_number_of_virtual_functions(sysfs: Sysfs) -> None:
    place = f"devices/{ADDRESS}/sriov_numvfs"
    assert pci.vf_count(ADDRESS) == (0, 7)
    pci.set_vf_count(ADDRESS, 2)
    pci.set_vf_count(ADDRESS, 2)
    pci.set_vf_count(ADDRESS, 4)
    assert (pci.vf_count(ADDRESS), sysfs.log) == ((4, 7), [(place, "2"), (place, "0"), (place, "4")])
    sysfs.log.clear()
    pci.set_vf_count(ADDRESS, 0)
    assert sysfs.log == [(place, "0")]
    pci.set_vf_autoprobe(ADDRESS, False)
    assert pci.vf_autoprobe(ADDRESS) is False


def test_a_device_without_virtual_functions(sysfs: Sysfs) -> None:
    (sysfs.device / "sriov_totalvfs").unlink()
    assert pci.vf_count(ADDRESS) is None
    with pytest.raises(KernelError) as error:
        pci.set_vf_count(ADDRESS, 1)
    assert error.value.errno == errno.EOPNOTSUPP


def test_what_is_an_address() -> None:
    assert pci.is_address(ADDRESS)
    assert pci.is_address("10000:e1:00.7")
    for text in ("eth0", "", "0000:02:00", "0000:02:00.8", "../0000:02:00.0", "0000:02:00.0\n"):
        assert not pci.is_address(text)
        assert not pci.present(text)


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="ENOENT"):
        pci._write(tmp_path / "no" / "file", "1", "trying")


# -- VFs and counters --------------------------------------------------------------------------------------------------


def test_a_virtual_function_as_the_kernel_tells_it() -> None:
    block = b"".join(
        (
            netlink.attribute(1, struct.pack("I32s", 3, bytes.fromhex("02000000000a"))),
            netlink.attribute(2, struct.pack("III", 3, 7, 2)),
            netlink.attribute(4, struct.pack("II", 3, 1)),
            netlink.attribute(9, struct.pack("II", 3, 0xFFFFFFFF)),
        )
    )
    assert vf.decode(block) == (3, vf.Vf("02:00:00:00:00:0a", 7 | 2 << 13, spoof_check=True, trust=None))
    assert vf.decode(netlink.attribute(1, struct.pack("I32s", 0, b"")))[1].vlan == 0


@pytest.mark.parametrize(
    ("names", "queues"),
    [
        ({"rx_queue_0_packets": 5, "rx_queue_1_packets": 7, "rx_queue_0_bytes": 999}, {0: 5, 1: 7}),
        ({"rx-0.packets": 5, "rx-15.packets": 6, "tx-0.packets": 9}, {0: 5, 15: 6}),
        ({"rx0_packets": 5, "rx0_bytes": 6, "rx_packets": 7}, {0: 5}),
        ({"queue_3_rx_cnt": 5, "queue_3_tx_cnt": 6}, {3: 5}),
        ({"rx_queue_0_xdp_packets": 5, "rx_queue_0_drops": 1}, {0: 5}),
        ({"rx_packets": 5, "rx_drops": 1}, {}),
        ({}, {}),
    ],
)
def test_counters_by_queue(names: dict[str, int], queues: dict[int, int]) -> None:
    assert stats.queue_packets(names) == queues


@pytest.mark.parametrize(
    ("counters", "failed"),
    [
        ({}, None),
        ({"rx_packets": 7, "rx_queue_0_xdp_tx": 9}, None),
        ({"rx_queue_0_xdp_tx_errors": 3, "rx_queue_1_xdp_tx_errors": 4, "rx_queue_0_xdp_drops": 9}, 7),  # veth
        ({"tx_queue_0_xdp_tx_drops": 2, "rx_queue_0_xdp_drops": 9, "tx_queue_0_xdp_tx": 5}, 2),  # virtio-net
        (
            {"rx_xdp_tx_err": 9, "rx_xdp_tx_full": 1, "rx0_xdp_tx_err": 4, "rx1_xdp_tx_full": 6},
            10,
        ),  # mlx5: sum and parts
        ({"rx_xdp_tx_errors[0]": 1, "rx_xdp_tx_errors[1]": 1}, 2),  # gve
        ({"rx_xdp_tx_errors": 5}, 5),
    ],
)
def test_packets_that_the_driver_did_not_send_back(counters: dict[str, int], failed: int | None) -> None:
    assert stats.failed_sends(counters) == failed
