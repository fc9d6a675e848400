# SPDX-License-Identifier: Apache-2.0
"""Whether udev is done with a new interface. It gives it its lasting name, a moment after the driver has made it.

    /run/udev/control      while udev runs
    /run/udev/data/n7      what it knows of interface 7: "I:" and when it was through with it; "E:ID_RENAMING=1" before

udev deals only with the interfaces of the initial network namespace. Needs root.
Source: sd_device_get_is_initialized(3); systemd, src/udev/udev-event.c (rename_netif).
"""

from __future__ import annotations

import os
from pathlib import Path

from offramp.syscalls.failure import if_there
from offramp.syscalls.netns import first, namespace
from offramp.syscalls.procfs import content

__all__ = ["settled"]

_RUN = Path("/run/udev")


def settled(ifindex: int) -> bool:
    """Whether an interface of this network namespace has its lasting name. Errors: PrivilegeError (not root)."""
    if not (_RUN / "control").exists() or not _is_first():
        return True
    known: list[str] = []
    with if_there(f"what udev knows of interface {ifindex}"):
        known = content(_RUN / "data" / f"n{ifindex}").splitlines()
    return any(line.startswith("I:") for line in known) and "E:ID_RENAMING=1" not in known


def _is_first() -> bool:
    here = namespace()
    try:
        with first() as machines:
            return os.path.samestat(os.fstat(here), os.fstat(machines))
    finally:
        os.close(here)
