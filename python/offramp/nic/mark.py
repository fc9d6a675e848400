# SPDX-License-Identifier: Apache-2.0
"""Marks: an alternative name that offramp gives an interface for as long as it changes it (`altname` in `ip link`).

A name, a number and an address do not tell an interface for sure. Another may get the name at any moment, and one that
is made anew may have all three. The kernel takes an alternative name for a name in every call; it goes with the
interface through renames and into other network namespaces, and is gone when the interface is. So what goes by the mark
reaches this interface, or none: the check and the act are one call.

Needs CAP_NET_ADMIN. Minimum kernel: 5.5. Source: ip-link(8), "property"; net/core/dev.c (netdev_name_node).
"""

from __future__ import annotations

import errno
from dataclasses import replace

from offramp.errors import InterfaceGone, KernelError
from offramp.facts.identity import Identity
from offramp.nic.device import identify
from offramp.syscalls import netlink

__all__ = ["bearer", "put", "take"]


def bearer(mark: str) -> Identity | None:
    """The interface in this thread's network namespace that bears the mark."""
    try:
        return replace(identify(mark), mark=mark)
    except KernelError as error:
        if error.errno != errno.ENODEV:
            raise
    except InterfaceGone:  # just now
        pass
    return None


def put(mark: str, known: Identity) -> Identity:
    """Mark an interface of this network namespace. Again: nothing. Returns it as it is now.

    Errors: InterfaceGone if it is no longer what was known of it; KernelError, PrivilegeError.
    """
    try:
        netlink.add_name(known.ifindex, mark)
    except KernelError as error:
        if error.errno == errno.ENODEV:
            raise _gone(known) from None
        if error.errno != errno.EEXIST:  # an interrupt came when it was done
            raise
    found = bearer(mark)
    if found is None or found.ifindex != known.ifindex:
        raise _gone(known)
    same = (found.bus, found.driver) == (known.bus, known.driver)
    if not same or (found.name != known.name and found.mac != known.mac):
        take(mark)
        raise _gone(known)
    return found


def take(mark: str) -> None:
    """Take a mark away from the interface of this network namespace that bears it, if there is one."""
    try:
        netlink.remove_name(mark)
    except KernelError:
        if bearer(mark) is not None:  # else it is gone, whatever the answer was
            raise


def _gone(known: Identity) -> InterfaceGone:
    return InterfaceGone(known.name, reason="it was removed or renamed, and another has its name or number now")
