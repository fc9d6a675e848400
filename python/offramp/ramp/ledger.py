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
          └─ the verdict's, which `claimed` counts whatever it is called:
             dropped (DROP), observed (PASS: counted, and to the kernel),
             sent_back (TX; of these the driver did not send tx_failed, as it counts itself), or
             claimed (CLAIM) ─┬─ received        by the application
                              ├─ waiting         in the rx ring, not yet read
                              ├─ rx_dropped      lost: no frame to write to; the application was too slow
                              ├─ rx_ring_full    lost: no room in the rx ring; rare, as the fill ring empties first
                              └─ redirect_lost   lost, and not counted by the kernel: the socket was unbound
    sent ────┬─ completed   what the application has sent: the kernel reports it as done
             ├─ tx_dropped  of these, what the interface dropped, as it had no carrier or its peer took none
             └─ tx_invalid  refused by the kernel; tx_ring_full: never sent, as the tx ring had no room in time

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
_OF_SOCKETS = ("early", "stalled", "redirect_failed", "missed_by_nic", "too_long")  # without sockets none can be
_RARE = ("missed_by_nic", "too_long")  # with sockets: shown if there are any
_SENT = ("sent", "completed", "tx_invalid", "tx_dropped", "tx_ring_full")
_NAMES = {Verdict.DROP: "dropped", Verdict.PASS: "observed", Verdict.TX: "sent_back"}  # of the verdict's own row
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
    def matched_as(self) -> str:
        """The name of the verdict's own row: claimed, dropped, observed or sent_back."""
        return _NAMES.get(self.verdict, "claimed")

    @property
    def dropped(self) -> int:
        """Matching packets that ended in the driver."""
        return self._if(Verdict.DROP)

    @property
    def observed(self) -> int:
        """Matching packets that were counted, and went on to the kernel."""
        return self._if(Verdict.PASS)

    @property
    def sent_back(self) -> int:
        """Matching packets that the driver was told to send back."""
        return self._if(Verdict.TX)

    def _if(self, verdict: Verdict) -> int:
        return self.claimed if self.verdict is verdict else 0

    @property
    def received(self) -> int:
        return self.total("received")

    @property
    def waiting(self) -> int:
        return self.total("waiting")

    @property
    def rx_dropped(self) -> int:
        return self.total("rx_dropped")

    @property
    def rx_ring_full(self) -> int:
        return self.total("rx_ring_full")

    @property
    def sent(self) -> int:
        """Packets that the application has sent: put into the tx rings."""
        return self.total("sent")

    @property
    def completed(self) -> int:
        """The sent packets that the kernel reported as done."""
        return self.total("completed")

    @property
    def tx_invalid(self) -> int:
        """Sent packets that the kernel refused."""
        return self.total("tx_invalid")

    @property
    def tx_dropped(self) -> int:
        """Completed packets that the interface dropped."""
        return self.total("tx_dropped")

    @property
    def tx_ring_full(self) -> int:
        """Packets that were not sent: the tx ring had no room in time."""
        return self.total("tx_ring_full")

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
        counts[self.matched_as] = counts.pop("claimed")
        return counts | exits | {"verdict": self.verdict.name} | totals | derived

    def __str__(self) -> str:
        if not self.known:
            return "unknown: the counters could not be read"
        claims = self.verdict is Verdict.CLAIM
        unless_any = _RARE if claims else _OF_SOCKETS
        names = [name for name in ("seen", *_TO_THE_KERNEL) if name not in unless_any or getattr(self, name)]
        rows = [*((name, getattr(self, name)) for name in names), *self.exits.items(), (self.matched_as, self.claimed)]
        if claims:
            rows += [(f"  {name}", getattr(self, name)) for name in (*_ON_THE_WAY, "redirect_lost")]
            rows += [(name, self.total(name)) for name in _SENT if any(map(self.total, _SENT))]
        if self.verdict is Verdict.TX and self.tx_failed is not None:
            rows.append(("  tx_failed", self.tx_failed))
        lines = [f"{name:<18}{count:>16,}" for name, count in rows]
        return "\n".join([*lines, *([f"detached: {self.detached}"] if self.detached else [])])
