# SPDX-License-Identifier: Apache-2.0
"""Which device an interface is: what stays the same across renames and reboots. Pure values: no I/O."""

from __future__ import annotations

from offramp.immutable import immutable

__all__ = ["Identity"]


@immutable
class Identity:
    """Which device this is, across renames and reboots."""

    name: str  # its name now; "" for a PCI device without an interface
    ifindex: int  # 0 for a PCI device without an interface
    mac: str  # the permanent one if it has one
    bus: str  # "0000:02:00.0"; "" for a virtual interface
    driver: str
    netns: int  # inode of the network namespace
    boot: str  # the kernel's boot id
    mark: str = ""  # an alternative name that is ours: whoever bears it is this device, until it is removed

    def same_device(self, other: Identity) -> bool:
        """A device on a bus is known by its slot and address. A virtual one is known by its mark, if both have one: one
        that is made anew may have the same name, number and address, and is another device with its own settings.
        Without a mark, its number has to do.
        """
        if self.mark and other.mark and not self.bus:
            return self.mark == other.mark
        if self.bus or other.bus:
            known = [mac for mac in (self.mac, other.mac) if mac]
            return self.bus == other.bus and len(set(known)) <= 1
        moved = self.netns != other.netns and self.mac != other.mac
        same = (self.boot, self.ifindex, self.driver) == (other.boot, other.ifindex, other.driver)
        return same and not moved
