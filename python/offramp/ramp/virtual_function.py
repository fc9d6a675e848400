# SPDX-License-Identifier: Apache-2.0
"""The interface of a virtual function: brought here, made quiet, and opened like any other.

    PF's journal   vf.autoprobe, vf.count, vf.N.mac, rules, vf.N.driver     the steps of the PF's plan
    VF's journal   mtu, up, and what the plan for its interface changes
    neither        its network namespace, ARP and IPv6 off: they are gone with the interface

A driver makes the interface in the initial network namespace, and it is moved to where the PF is. It answers no ARP and
has no IPv6; otherwise the kernel would tell everybody at the VF its own address and that of the PF. It is undone in
reverse: first the VF's journal, which sets its interface down, then the PF's, which removes the driver, and the VF.

Needs root for sysfs, and CAP_SYS_ADMIN if the PF is not in the initial network namespace.
Source: Documentation/PCI/pci-iov-howto.rst; drivers/pci/pci-driver.c (pci_device_can_probe).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from offramp.errors import KernelError, NotSupported, OfframpError, PrivilegeError
from offramp.nic import carrier, pci, read, udev
from offramp.nic.device import identify, of_pci
from offramp.nic.link import move, silence
from offramp.options import Options
from offramp.planner import Change, Plan, lacks_for_native, largest_mtu
from offramp.syscalls.netns import inside, namespace, other_namespaces
from offramp.syscalls.privileges import hint, missing

if TYPE_CHECKING:
    from offramp.facts.identity import Identity
    from offramp.ramp.interface import Interface, Use
    from offramp.ramp.section import Section
    from offramp.syscalls.privileges import Capability

__all__ = ["check", "opened", "options", "too_small", "whole"]

_PATIENCE = 10.0  # seconds, for an interface (some drivers make it later), and for its carrier
_POLL = 0.02  # seconds

_Found = TypeVar("_Found")


def check(physical: Interface, plan: Plan, needs: tuple[Capability, ...]) -> None:
    """Check what is known to fail before anything is done. Errors: NotSupported, PrivilegeError."""
    what = f"opening VF {plan.vf} of {plan.interface}"
    driver = {change.knob: change.value for change in plan.changes}[f"vf.{plan.vf}.driver"]  # the last one
    if not pci.is_loaded(driver):
        raise NotSupported(what, reason=f"its driver {driver} is not loaded", hint=f"modprobe {driver}")
    if missing(needs):
        raise PrivilegeError(what, errno.EPERM, hint=hint(needs))
    pci.check_writable(physical.nic.identity.bus, what)


def options(given: Options) -> Options:
    """The options for the plan on the VF's interface, which is all ours."""
    return replace(given, layout="in-driver", vf=None)


def opened(physical: Interface, plan: Plan, section: Section, using: Use) -> Interface:
    """The VF that the plan has given its driver: up, with carrier, in the PF's network namespace.

    Errors: OfframpError if it is gone, or its interface or carrier do not come; as Use.of and Changes.change.
    """
    address = pci.vf_address(physical.nic.identity.bus, plan.vf or 0)
    what = f"VF {plan.vf} of {plan.interface}"
    if address is None:
        raise OfframpError(what, reason="it is gone: somebody has changed the number of VFs meanwhile")
    what += f" ({address})"
    ifindex = _brought_here(address, what).ifindex
    with suppress(OfframpError):  # whatever udev waits for, its interface is there
        _await(lambda: udev.settled(ifindex) or None, what)
    silence(ifindex)
    name = identify(ifindex).name
    interface = using.of(name)
    interface.tagless = True
    with suppress(KernelError):  # `too_small` tells it
        interface.changes.change([Change("mtu", _mtu(physical, interface))], section)
    interface.changes.change([Change("up", True)], section)
    _await(lambda: carrier(ifindex) or None, f"{what}, {name}: it has no carrier")
    return interface


def _mtu(physical: Interface, interface: Interface) -> int:
    """The PF's MTU; if a frame cannot be that large, the largest MTU."""
    link = read(interface.nic.identity.ifindex)
    largest = largest_mtu(link, "generic" if lacks_for_native(link) else "native")
    wanted: int = physical.nic.get("mtu")
    return max(link.mtu, min(wanted, largest, link.max_mtu or largest))


def too_small(physical: Interface, interface: Interface) -> tuple[str, ...]:
    """A warning if a VF's MTU is smaller than that of its PF."""
    expected, mtu = (each.nic.get("mtu") for each in (physical, interface))
    if mtu >= expected:
        return ()
    here, there = (each.nic.identity.name for each in (interface, physical))
    return (f"{here} has an MTU of {mtu}, {there} one of {expected}: packets of the flow that are larger are lost",)


def whole(plan: Plan, inner: Plan, *warnings: str) -> Plan:
    """The whole plan that was carried out: the PF's, and then the one on the VF's interface."""
    return replace(
        inner,
        layout="vf",
        why=plan.why,
        vf=plan.vf,
        pf=plan.interface,
        rules=plan.rules,
        left_out=plan.left_out,
        steps=(*plan.steps, *inner.steps),
        warnings=tuple(dict.fromkeys((*plan.warnings, *inner.warnings, *warnings))),
    )


def _brought_here(address: str, what: str) -> Identity:
    """The interface of a PCI device, moved into this network namespace if it is in another one."""
    here = namespace()
    try:
        return _await(lambda: of_pci(address) or _moved(address, here), f"{what}: its interface does not appear")
    finally:
        os.close(here)


def _moved(address: str, here: int) -> Identity | None:
    for elsewhere in _visible():
        with inside(elsewhere):
            found = of_pci(address)
            if found is not None:
                move(found.ifindex, here)
        if found is not None:
            return of_pci(address)
    return None


def _visible() -> Iterator[int]:
    """The other namespaces, except those that we may not look at."""
    with suppress(PrivilegeError):
        yield from other_namespaces()


def _await(look: Callable[[], _Found | None], failed: str) -> _Found:
    """Poll until `look` finds something. Errors: OfframpError."""
    deadline = time.monotonic() + _PATIENCE
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise OfframpError(failed, reason=f"not within {_PATIENCE:.0f} s")
        time.sleep(_POLL)
    return found
