# SPDX-License-Identifier: Apache-2.0
"""The machines: which NICs a guest has, and the wire between them.

    hub    a hub inside QEMU: one queue, loses frames under a flood
    taps   two multiqueue taps on a bridge, in a network namespace of their own: for NICs whose queues are QEMU's own

Each NIC has a root port of its own, because SR-IOV needs one. To add a driver, add a line to MACHINES; docs/niclab.md
says what each emulated NIC does and does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["BARE", "MACHINES", "ROLES", "TAPS", "Machine", "arguments"]

CPUS = 2
# Above 2815 MiB the BARs of virtual functions would be mapped beyond 4 GiB, and what igbvf writes there is lost.
MEMORY = "2G"
ROLES = {"dut": "52:54:00:00:00:01", "peer": "52:54:00:00:00:02"}  # the device under test, and who it talks to
TAPS = ("tap0", "tap1")
QUEUES = 2  # of a multiqueue tap


@dataclass(frozen=True, slots=True)
class Machine:
    """A guest's NICs: two of the same kind, by role, on one wire."""

    name: str
    modules: tuple[str, ...]  # that the guest loads
    device: str = ""  # QEMU's name of the NIC and its properties; "": the machine has none
    wire: Literal["hub", "taps"] = "hub"
    if_named: bool = False  # only for tests whose mark names it
    iommu: bool = False  # which vfio-pci asks for


VIRTIO = f"virtio-net-pci,mq=on,vectors={2 * QUEUES + 2},rss=on"
BARE = Machine("bare", (), if_named=True)
MACHINES = (
    BARE,
    Machine("igb", ("igb", "igbvf"), "igb"),
    Machine("igb-iommu", ("igb", "igbvf"), "igb", if_named=True, iommu=True),
    Machine("virtio-net", ("virtio_net",), VIRTIO, "taps"),
    # With the kernel's DMA interface, which zero-copy wants; Linux 6.12 receives nothing with it and native XDP.
    Machine("virtio-net-dma", ("virtio_net",), f"{VIRTIO},disable-legacy=on,iommu_platform=on", "taps", if_named=True),
    Machine("e1000e", ("e1000e",), "e1000e"),
)


def arguments(machine: Machine) -> list[str]:
    """QEMU's arguments for the processor, the memory and the NICs.

    One thread for both processors of a guest: with one each, and no CPU of the host free, they wait for each other's
    locks, and two guests at a time take 2.7 times as long. And where VFs come and go while another processor runs, QEMU
    may die (iotlb_to_section).
    """
    return [
        *("-machine", "q35,sata=off,smbus=off,i8042=off", "-accel", "tcg,thread=single", "-cpu", "max"),
        *("-smp", str(CPUS), "-m", MEMORY),
        *(("-device", "intel-iommu,intremap=on,caching-mode=on") if machine.iommu else ()),
        *(_nics(machine) if machine.device else ()),
    ]


def _nics(machine: Machine) -> Sequence[str]:
    found = []
    for number, mac in enumerate(ROLES.values()):
        device = f"{machine.device},bus=port{number},netdev=net{number},mac={mac},romfile="
        found += ["-netdev", f"{_netdev(machine, number)},id=net{number}"]
        found += ["-device", f"pcie-root-port,id=port{number},chassis={number + 1},slot={number + 1}"]
        found += ["-device", device]
    return found


def _netdev(machine: Machine, number: int) -> str:
    if machine.wire == "hub":
        return "hubport,hubid=0"
    return f"tap,ifname={TAPS[number]},queues={QUEUES},script=no,downscript=no,vhost=off"
