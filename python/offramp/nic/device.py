# SPDX-License-Identifier: Apache-2.0
"""Which device an interface is, so that it can be recognised under another name. Needs no privileges."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress

from offramp.errors import InterfaceError, KernelError
from offramp.facts.identity import Identity
from offramp.nic import ethtool, pci
from offramp.syscalls import netlink
from offramp.syscalls.failure import is_shortage, trying
from offramp.syscalls.procfs import content

__all__ = ["boot", "first", "identify", "interfaces", "namespace", "of_pci", "without_interface"]

_ADDRESS, _NAME, _PERM_ADDRESS, _PARENT = 1, 3, 54, 56
_TRIES = 100  # if it is renamed all the time


def identify(interface: str | int) -> Identity:
    """Which device an interface of this network namespace is. Errors: KernelError (ENODEV)."""
    ifindex, _, found = netlink.link(interface)
    name = netlink.text(found.get(_NAME)) or ""
    mac = found.get(_PERM_ADDRESS) or found.get(_ADDRESS, b"")
    driver = _driver(interface if isinstance(interface, str) else name, ifindex)
    bus = driver.bus if driver and _PARENT in found else ""
    return Identity(name, ifindex, mac.hex(":"), bus, driver.name if driver else "", namespace(), boot())


def _driver(name: str, ifindex: int) -> ethtool.Driver | None:
    """It is asked by name: if the name leads to another interface then, by the one that it has now."""
    for _ in range(_TRIES):
        with suppress(InterfaceError, KernelError):
            found = ethtool.drvinfo(name)
            if netlink.link(name)[0] == ifindex:
                return found
        name = netlink.text(netlink.link(ifindex)[2].get(_NAME)) or ""
    return None


def first(wanted: Callable[[Identity], bool]) -> Identity | None:
    """The first interface of this network namespace that is wanted."""
    for ifindex, _ in interfaces():
        try:
            found = identify(ifindex)
        except InterfaceError:  # it was removed just now
            continue
        except KernelError as error:
            if is_shortage(error):
                raise
            continue  # as above, or its driver is in trouble, which is not ours
        if wanted(found):
            return found
    return None


def of_pci(address: str) -> Identity | None:
    """The interface of a PCI device here."""
    return first(lambda found: found.bus == address)


def without_interface(address: str) -> Identity:
    """The identity of a PCI device that has no interface here."""
    return Identity("", 0, "", address, pci.driver(address) or "", namespace(), boot())


def namespace() -> int:
    """The number of this thread's network namespace."""
    with trying("this thread's network namespace"):
        return os.stat("/proc/thread-self/ns/net").st_ino


def boot() -> str:
    """The number of this boot, a UUID. Source: random(4)."""
    with trying("the number of this boot"):
        return content("/proc/sys/kernel/random/boot_id").strip()


def interfaces() -> list[tuple[int, str]]:
    """The interfaces of this network namespace: number and name."""
    with trying("listing the interfaces"):
        return socket.if_nameindex()
