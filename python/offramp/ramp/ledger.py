# SPDX-License-Identifier: Apache-2.0
"""One account of every packet, from XDP to the application. At rest it adds up exactly.

    seen ─┬─ protected         to the kernel: protected packets
          ├─ passed            to the kernel: did not match
          ├─ early             to the kernel: matched, but the sockets were not yet in place
          ├─ stalled           to the kernel: matched, but the reader was asleep
          ├─ redirect_failed   to the kernel: matched, but no socket was in the XSKMAP
          ├─ missed_by_nic     to the kernel: matched, but the NIC did not bring it to the hidden queue
          ├─ too_long          to the kernel: matched, but the frame is longer than what a socket takes
          ├─ exits             the verdicts that the program's body has counters of its own for; a match has none
          └─ claimed ─┬─ (attach)  the verdict: dropped, sent back, passed
                      │            tx_failed: of those to be sent back, what the driver did not send, as it counts
                      └─ (open) ───┬─ received        by the application
                                   ├─ waiting         in the rx ring, not yet read
                                   ├─ rx_dropped      lost: no frame to write to; the application was too slow
                                   ├─ rx_ring_full    lost: no room in the rx ring; rare, as the fill ring empties first
                                   └─ redirect_lost   lost, and not counted by the kernel: the socket was unbound

`redirect_lost` is what is left when everything else is subtracted. While packets are in flight between the program's
counter and the ring, it holds them too. If a ledger could not be read (in a forked child, or because the last reading
failed), `known` is False, all counts are 0, and it is not exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Self

from offramp.immutable import field, immutable
from offramp.ports.ledger import QueueLedger
from offramp.verdict import Verdict

__all__ = ["Ledger"]

_TO_THE_KERNEL = ("protected", "passed", "early", "stalled", "redirect_failed", "missed_by_nic", "too_long")
_RARE = ("missed_by_nic", "too_long")  # shown if there are any
_ON_THE_WAY = ("received", "waiting", "rx_dropped", "rx_ring_full")  # of claimed packets, as sockets count them


@immutable
class Ledger:
    """See the picture above. Counted since the ramp was opened."""

    verdict: Verdict
    seen: int = 0
    protected: int = 0
    claimed: int = 0
    passed: int = 0
    early: int = 0
    stalled: int = 0
    redirect_failed: int = 0
    missed_by_nic: int = 0
    too_long: int = 0
    queues: tuple[QueueLedger, ...] = ()
    known: bool = True  # False: it could not be read
    detached: str = ""  # why the program did not run any more, before it was closed; "": it ran
    exits: Mapping[str, int] = field(default_factory=dict)
    tx_failed: int | None = 0  # of the claimed ones, where the verdict is TX; None: the driver does not count them

    @classmethod
    def of(
        cls,
        verdict: Verdict,
        counters: Mapping[str, int],
        early: Mapping[str, int],
        queues: tuple[QueueLedger, ...],
        detached: str = "",
    ) -> Self:
        """From the program's counters, and what they were when its sockets were in place."""
        known = cls(verdict, early=sum(early.values()), queues=queues, detached=detached)
        counts: dict[str, Any] = {name: count - early.get(name, 0) for name, count in counters.items()}
        exits = {name: counts.pop(name) for name in counters if name not in {each.name for each in fields(cls)}}
        return replace(known, exits=exits, **counts)

    def total(self, name: str) -> int:
        """The sum of a `QueueLedger` field over all queues."""
        return sum(getattr(queue, name) for queue in self.queues)

    @property
    def received(self) -> int:
        return self.total("received")

    @property
    def lost(self) -> int:
        """Claimed packets that the application will never see."""
        return self.total("rx_dropped") + self.total("rx_ring_full") + self.redirect_lost

    @property
    def redirect_lost(self) -> int:
        if self.verdict is not Verdict.CLAIM:
            return 0
        return self.claimed - sum(self.total(name) for name in _ON_THE_WAY)

    @property
    def exact(self) -> bool:
        """Whether it is known and adds up: always when no packet is in flight."""
        others = sum(getattr(self, name) for name in _TO_THE_KERNEL) + sum(self.exits.values())
        return self.known and self.seen == others + self.claimed and self.redirect_lost == 0

    def to_dict(self) -> dict[str, object]:
        counters = [each.name for each in fields(QueueLedger) if each.name != "ended"]
        totals = {name: self.total(name) for name in counters} if self.queues else {}
        derived = {"redirect_lost": self.redirect_lost, "lost": self.lost, "exact": self.exact}
        counts = asdict(self)
        exits: dict[str, object] = counts.pop("exits")
        return counts | exits | {"verdict": self.verdict.name} | totals | derived

    def __str__(self) -> str:
        if not self.known:
            return "unknown: the counters could not be read"
        names = [name for name in ("seen", *_TO_THE_KERNEL, "claimed") if name not in _RARE or getattr(self, name)]
        rows = [*((name, getattr(self, name)) for name in names), *self.exits.items()]
        if self.verdict is Verdict.CLAIM:
            rows += [(f"  {name}", self.total(name)) for name in _ON_THE_WAY]
            rows.append(("  redirect_lost", self.redirect_lost))
        if self.verdict is Verdict.TX and self.tx_failed is not None:
            rows.append(("  tx_failed", self.tx_failed))
        lines = [f"{name:<18}{count:>16,}" for name, count in rows]
        return "\n".join([*lines, *([f"detached: {self.detached}"] if self.detached else [])])
