# SPDX-License-Identifier: Apache-2.0
"""How long an interface is without carrier after a change: some drivers reset the link then."""

from __future__ import annotations

import time

from offramp.errors import InterfaceError
from offramp.nic.link import carrier, carrier_losses

__all__ = ["CarrierWatch"]

_TURN = 0.002


class CarrierWatch:
    """Make it before a change that may reset the link. The kernel's count (IFLA_CARRIER_DOWN_COUNT) tells whether the
    carrier went; so does a missing carrier. Errors: InterfaceGone.
    """

    def __init__(self, name: str, ifindex: int) -> None:
        self._name, self._ifindex = name, ifindex
        self._losses, self._began = carrier_losses(ifindex), time.monotonic()

    def gone(self, when: str, *, settle: float = 0.0, patience: float = 30.0) -> float:
        """Wait until the carrier is there and stays for `settle` seconds. Returns the seconds since this watch was
        made, which is an upper bound; 0.0 if the carrier was never gone. Errors: InterfaceError if it is not back after
        `patience` seconds; InterfaceGone.
        """
        done = back = time.monotonic()
        was_gone = False
        while True:
            there, now = carrier(self._ifindex), time.monotonic()
            if there and now - done >= settle:
                return back - self._began if was_gone or carrier_losses(self._ifindex) != self._losses else 0.0
            if now - done > patience:
                raise InterfaceError(f"{self._name} lost its carrier {when}", reason=f"not back after {patience:g} s")
            if not there:
                back, was_gone = now + _TURN, True
            time.sleep(_TURN)
