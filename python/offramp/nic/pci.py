# SPDX-License-Identifier: Apache-2.0
"""A PCI network device in sysfs: which driver it has, and how many virtual functions.

    /sys/bus/pci/devices/0000:02:00.0/   driver -> ../../../drivers/igb      driver_override
                                         sriov_totalvfs sriov_numvfs         sriov_drivers_autoprobe
                                         virtfn0 -> ../0000:02:10.0
    /sys/bus/pci/drivers/igb/unbind      /sys/bus/pci/drivers_probe

These files belong to no network namespace. Reading needs no privileges; writing needs root.
Source: Documentation/ABI/testing/sysfs-bus-pci; Documentation/PCI/pci-iov-howto.rst.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from offramp.errors import KernelError, OptionError, PrivilegeError
from offramp.syscalls.failure import failure, if_there
from offramp.syscalls.procfs import content

__all__ = [
    "bind",
    "check_writable",
    "driver",
    "is_address",
    "is_loaded",
    "present",
    "set_vf_autoprobe",
    "set_vf_count",
    "vf_address",
    "vf_autoprobe",
    "vf_count",
]

PCI = Path("/sys/bus/pci")
_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NEEDS = "root is needed, and a writable /sys"

# Drivers that match no device by themselves: a device gets them by driver_override.
_FOR_ANYTHING = frozenset({"pci-stub", "uio_pci_generic", "vfio-pci"})


def is_address(text: str) -> bool:
    """Whether it looks like "0000:02:00.0"."""
    return _ADDRESS.fullmatch(text) is not None


def present(address: str) -> bool:
    """Whether there is such a device."""
    return is_address(address) and (PCI / "devices" / address).exists()


def driver(address: str) -> str | None:
    """The driver that the device is bound to; None if it has none."""
    return _link(address, "driver")


def is_loaded(name: str) -> bool:
    """Whether there is a driver of that name to bind to."""
    return _NAME.fullmatch(name) is not None and (PCI / "drivers" / name).exists()


def bind(address: str, name: str | None) -> None:
    """Bind the device to a driver or, for None, to none. Its network interface goes or comes with it.

    The device's own driver gets it back without driver_override, so nothing of ours stays behind.
    Errors: OptionError (no such driver is loaded), KernelError.
    """
    if name is not None and not is_loaded(name):
        raise OptionError(f"driver {name}", reason="it is not loaded", hint=f"modprobe {name}")
    now = driver(address)
    if now == name:
        return
    if now is not None:
        _write(PCI / "drivers" / now / "unbind", address, f"unbinding {address} from {now}")
    override = PCI / "devices" / address / "driver_override"
    _write(override, name if name in _FOR_ANYTHING else "\n", f"driver_override of {address}")
    if name is None:
        return
    _write(PCI / "drivers_probe", address, f"binding {address} to {name}")
    if driver(address) is None and name not in _FOR_ANYTHING:
        _write(override, name, f"driver_override of {address}")
        _write(PCI / "drivers_probe", address, f"binding {address} to {name}")
    if driver(address) is None:  # it refused; other drivers should still be able to get the device
        _write(override, "\n", f"driver_override of {address}")


def vf_count(address: str) -> tuple[int, int] | None:
    """Virtual functions: how many exist, and the most that can; None for a device without SR-IOV."""
    now, most = (_number(address, f"sriov_{name}vfs") for name in ("num", "total"))
    return None if now is None or most is None else (now, most)


def set_vf_count(address: str, count: int) -> None:
    """Make this many virtual functions. If there are some already, the kernel wants 0 first: all are removed.

    Errors: KernelError: ERANGE (more than there can be), EBUSY (one is assigned to a guest).
    """
    found = vf_count(address)
    if found is None:
        raise KernelError(f"{count} VFs on {address}", errno.EOPNOTSUPP, hint="the device or its driver has no SR-IOV")
    place = PCI / "devices" / address / "sriov_numvfs"
    if found[0] not in (0, count):
        _write(place, "0", f"removing the VFs of {address}")
    if found[0] != count and count:
        _write(place, str(count), f"{count} VFs on {address}")


def vf_address(address: str, number: int) -> str | None:
    """The PCI address of a device's virtual function; None: there is no such VF."""
    return _link(address, f"virtfn{number}") if is_address(address) else None


def vf_autoprobe(address: str) -> bool | None:
    """Whether new virtual functions get their driver at once; None for a device without SR-IOV."""
    value = _number(address, "sriov_drivers_autoprobe")
    return None if value is None else bool(value)


def set_vf_autoprobe(address: str, on: bool) -> None:
    """Set whether new virtual functions get their driver at once."""
    _write(PCI / "devices" / address / "sriov_drivers_autoprobe", str(int(on)), f"autoprobe of the VFs of {address}")


def check_writable(address: str, what: str) -> None:
    """Errors: PrivilegeError if `what`, a change to this device, is not allowed."""
    if not os.access(PCI / "devices" / address / "sriov_numvfs", os.W_OK, effective_ids=True):
        raise PrivilegeError(what, errno.EACCES, hint=_NEEDS)


def _number(address: str, name: str) -> int | None:
    with if_there(f"{name} of {address}"):
        return int(content(PCI / "devices" / address / name))
    return None


def _link(address: str, name: str) -> str | None:
    with if_there(f"{name} of {address}"):  # looked up in one step, because it may go at any moment
        return (PCI / "devices" / address / name).readlink().name
    return None


def _write(path: Path, text: str, what: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise failure(what, error, _NEEDS if isinstance(error, PermissionError) else f"writing {path}") from error
