# SPDX-License-Identifier: Apache-2.0
"""Packets of verdict TX that did not leave: the program hands them to the driver, which may drop them.

    native     the driver's own counters, as `ethtool -S` shows them: nic/stats.py
    generic    what the interface has dropped instead of sending it (tx_dropped)

These counters are the interface's. What others send and lose there meanwhile counts too.
"""

from __future__ import annotations

from offramp.errors import InterfaceError
from offramp.nic import link
from offramp.nic.stats import failed_sends, statistics
from offramp.ramp.interface import Interface
from offramp.syscalls.ioctl import name_of

__all__ = ["SentBack"]


class SentBack:
    """Counts from when it was made."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._before = {mode: self._counted(mode) for mode in ("native", "generic")}

    def failed(self, mode: str) -> int | None:
        """How many have not left; None if nobody counts them, or the interface is gone."""
        before, now = self._before[mode], self._counted(mode)
        return None if before is None or now is None else max(now - before, 0)

    def _counted(self, mode: str) -> int | None:
        try:
            with self._interface.here():
                ifindex = self._interface.nic.identity.ifindex
                if mode == "generic":
                    return link.counters(ifindex).tx_dropped
                name = name_of(ifindex)
                return None if name is None else failed_sends(statistics(name))
        except (InterfaceError, OSError):
            return None
