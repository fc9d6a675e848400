# SPDX-License-Identifier: Apache-2.0
"""One round of the demo: a new lab, one contender or none, and figures.

    host a, on one CPU                        host b, on another CPU
    ┌──────────────────────┐                  ┌─────────────────────────────────────────────────┐
    │ flood ───────────────┼── queue 0 ──────>│ NAPI thread ──> the contender                   │
    │ HTTP client <────────┼── queue 1 ──────>│ NAPI thread ──> kernel stack <──> HTTP server   │
    └──────────────────────┘      veth        └─────────────────────────────────────────────────┘

Each host has one CPU for all that it does, as two small machines would. What makes the figures true:

- The flood does not wait: the receiving end's NAPI has a thread on the other CPU. By default a veth receives on the
  *sender's* CPU, and so slows the sender down to what the receiver can take: a closed loop, in which nothing is lost.
- Two receive queues, as RSS has it on a NIC: the flood fills the ring of its own queue, HTTP arrives in the other (by
  XPS on host a). On a single queue the overflowing ring would lose HTTP packets before any of the contenders sees them.
- A packet is `sent` when the flood's program ran for it, `received` when the contender has it, and otherwise lost:
  `refused` by the full ring of the interface, or dropped behind it.
- CPU time is that of the contender's process, and of the NAPI thread of the flood's queue.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offramp.demo.actor import Actor
from offramp.demo.contenders import CONTENDERS, PORT
from offramp.gen.flood import Flood
from offramp.gen.packets import eth, ip, udp
from offramp.lab import Lab, Meter, Wire

if TYPE_CHECKING:
    from offramp.demo.web import Fetched

__all__ = ["CONTENDERS", "Placement", "Round", "Skipped", "baseline", "machine", "perform"]

QUEUES = 2
SETTLE = 0.2  # seconds in which the rings empty themselves


@dataclass(frozen=True, slots=True)
class Placement:
    """Which CPU each host has."""

    a: int  # flood, HTTP client
    b: int  # NAPI, contender, HTTP server

    @classmethod
    def here(cls) -> Placement:
        cpus = sorted(os.sched_getaffinity(0))
        return cls(cpus[0], cpus[1 % len(cpus)])

    @property
    def flood_queue(self) -> int:
        """Live frames enter a veth in the queue of the CPU that sends them."""
        return self.a % QUEUES


@dataclass(frozen=True, slots=True)
class Skipped:
    """A contender that cannot take part here."""

    name: str
    skipped: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Round:
    """What one contender did."""

    name: str
    seconds: float
    sent: int
    received: int
    refused: int
    receiver_ns: int
    softirq_ns: int
    foreign: float
    http: Fetched
    ledger: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Times per packet received, in ns; rates in packets per second; None where nothing was received."""
        each = self.received
        receiver, softirq = ((ns / each if each else None) for ns in (self.receiver_ns, self.softirq_ns))
        total = (self.receiver_ns + self.softirq_ns) / each if each else None
        return {
            "name": self.name,
            "sent": self.sent,
            "received": self.received,
            "lost": self.sent - self.received,
            "refused": self.refused,
            "seconds": round(self.seconds, 3),
            "offered_pps": round(self.sent / self.seconds),
            "pps": round(self.received / self.seconds),
            "cpu_ns_per_packet": _rounded(total),
            "cpu_ns_receiver": _rounded(receiver),
            "cpu_ns_softirq": _rounded(softirq),
            "foreign_cpu": round(self.foreign, 3),
            "http": self.http,
        }


def perform(name: str, seconds: float, placement: Placement) -> Round | Skipped:
    """One contender, flooded for `seconds`."""
    with Lab() as lab:
        wire, client = _set(lab, seconds, placement)
        contender = Actor(
            wire.b.host, "contenders", cpu=placement.b, name=name, interface=wire.b.name, address=wire.b.ip
        )
        answer = contender.hear()
        if not answer.pop("ready"):
            return Skipped(name, **answer)
        if not name.startswith("offramp"):
            wire.b.gro(True)  # a veth takes live frames only with XDP, or with this
        napi = wire.b.set_threaded_napi(True, cpu=placement.b)[placement.flood_queue]
        template = eth(
            ip(udp(sport=4096, dport=PORT, payload=bytes(18)), src="198.18.0.0", dst=wire.b.ip), dst=wire.b.mac
        )
        with Meter(receiver=[contender.pid], softirq=[napi]) as meter:
            with Flood(wire.a, template, seconds=seconds, cpu=placement.a) as flood:
                client.tell()
                fetched = client.hear()
                report = flood.wait()
            time.sleep(SETTLE)
            contender.tell()
            outcome = contender.hear()
        used = meter.usage
        return Round(
            name,
            report.seconds,
            report.sent,
            outcome["received"],
            report.refused,
            used.cpu_ns["receiver"],
            used.cpu_ns["softirq"],
            used.foreign,
            fetched,  # type: ignore[arg-type]
            outcome["ledger"],
        )


def baseline(seconds: float, placement: Placement) -> dict[str, Any]:
    """The same requests without a flood."""
    with Lab() as lab:
        wire, client = _set(lab, seconds, placement)
        wire.b.gro(True)
        wire.b.set_threaded_napi(True, cpu=placement.b)
        client.tell()
        return client.hear()


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    models = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    kernel = platform.release().split("-")[0]
    return {"kernel": kernel, "cpu": models[0] if models else platform.machine(), "cpus": os.cpu_count()}


def _set(lab: Lab, seconds: float, placement: Placement) -> tuple[Wire, Actor]:
    a, b = lab.host("a"), lab.host("b")
    wire = lab.wire(a, b, queues=QUEUES, neighbours=True)
    other = (placement.flood_queue + 1) % QUEUES
    xps = Path(f"/sys/class/net/{wire.a.name}/queues/tx-{other}/xps_cpus")
    a.call(
        xps.write_text, _cpumask(placement.a, placement.b)
    )  # on b's CPU, too: there the answers to b's packets leave
    wire.a.tso(False)  # else HTTP goes round NAPI and its ring as long as there is no XDP: no NIC does that
    Actor(b, "web", cpu=placement.b, address=wire.b.ip).hear()
    client = Actor(a, "web", cpu=placement.a, address=wire.b.ip, seconds=0.95 * seconds)
    client.hear()
    return wire, client


def _cpumask(*cpus: int) -> str:
    """In the notation of sysfs: hexadecimal words of 32 bits, the highest first."""
    mask = sum(1 << cpu for cpu in set(cpus))
    words = [mask >> shift & 0xFFFF_FFFF for shift in range(0, mask.bit_length(), 32)]
    return ",".join(f"{word:08x}" for word in reversed(words))


def _rounded(value: float | None) -> float | None:
    return round(value, 1) if value is not None else None
