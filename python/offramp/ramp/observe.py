# SPDX-License-Identifier: Apache-2.0
"""Whether a NIC brings a flow to its hidden queue. What arrives decides this, not what the driver said.

    steered ── packets under way: SETTLE ──┬── until packets were seen there, or the time is over ──> Arrivals
                                           └── packets elsewhere are counted from here on

The program counts matching packets on the hidden queue and on the others. No socket is in the XSKMAP yet, so all of
them pass, and watching loses none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from offramp.immutable import immutable

__all__ = ["Arrivals", "watch"]

_SETTLE = 0.05  # seconds: longer than a packet waits in a ring
_LOOK = 0.05  # at least this long, after that
_TURN = 0.01
_ASK = 0.1  # before asking again; it doubles each time, because some peers and firewalls mind
_ENOUGH = 4  # packets elsewhere: one or two may be fragments, which a NIC does not bring

_HIDDEN = ("claimed", "stalled", "redirect_failed")
_ELSEWHERE = "missed_by_nic"


@immutable
class Arrivals:
    """Matching packets, by where they arrived."""

    hidden: int  # on the hidden queue
    elsewhere: int
    seconds: float | None = None  # None: since the start

    @property
    def without_effect(self) -> bool:
        return not self.hidden and self.elsewhere >= _ENOUGH

    def __str__(self) -> str:
        within = "" if self.seconds is None else f" in {self.seconds:.1f} s"
        if not self.hidden and not self.elsewhere:
            return f"no matching packet arrived{within}, so it is not known whether the NIC brings them"
        counts = f"{self.hidden or 'none'} on the hidden queue, {self.elsewhere or 'none'} on others"
        return f"of the matching packets that arrived{within} {counts}"


def watch(
    counts: Callable[[], Mapping[str, int]], seconds: float, prompt: Callable[[], None] = lambda: None
) -> Arrivals:
    """Watch the program's counters for at most this long. `prompt` is called now and then until something is seen."""
    began, before = time.monotonic(), counts()
    settled, ask = before, _ASK
    while True:
        passed = time.monotonic() - began
        now = counts()
        if passed < _SETTLE:
            settled = now
        hidden = sum(now[name] - before[name] for name in _HIDDEN)
        elsewhere = now[_ELSEWHERE] - settled[_ELSEWHERE]
        if passed >= seconds or (hidden and passed >= _SETTLE + _LOOK):
            return Arrivals(hidden, elsewhere, passed)
        if not hidden and passed >= ask:
            prompt()
            ask *= 2
        time.sleep(_TURN)
