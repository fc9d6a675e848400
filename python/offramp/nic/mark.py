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
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from offramp.errors import InterfaceError, InterfaceGone, KernelError
from offramp.facts.identity import Identity
from offramp.nic.device import identify
from offramp.syscalls import netlink
from offramp.syscalls.ioctl import name_of

__all__ = ["PREFIX", "bearer", "put", "steadily", "take"]

PREFIX = "offramp"  # of a mark; it has 15 letters, as any name may have

_Found = TypeVar("_Found")


def bearer(mark: str) -> Identity | None:
    """The interface in this thread's network namespace that bears the mark."""
    try:
        return replace(identify(mark), mark=mark)
    except KernelError as error:
        if error.errno != errno.ENODEV:
            raise
    except InterfaceError:  # just now
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


def steadily(ifindex: int, read: Callable[[str], _Found]) -> _Found:
    """What `read` finds out by the interface's name. If it is renamed meanwhile, it reads once more, by a mark.

    Errors: those of `read`; InterfaceGone; PrivilegeError, if it is renamed and may not be marked.
    """
    name = _name(ifindex)
    try:
        found = read(name)
        if _name(ifindex) == name:
            return found
    except (InterfaceError, KernelError) as error:
        was_elsewhere = isinstance(error, InterfaceError) or error.errno == errno.ENODEV
        if _name(ifindex) == name and not was_elsewhere:
            raise
    mark = f"{PREFIX}{os.urandom(4).hex()}"
    netlink.add_name(ifindex, mark)
    try:
        return read(mark)
    finally:
        take(mark)


def _name(ifindex: int) -> str:
    name = name_of(ifindex)
    if name is None:
        raise InterfaceGone(f"interface {ifindex}", reason="not in this network namespace")
    return name


def _gone(known: Identity) -> InterfaceGone:
    return InterfaceGone(known.name, reason="it was removed or renamed, and another has its name or number now")
