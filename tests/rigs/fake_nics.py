# SPDX-License-Identifier: Apache-2.0
"""A NIC that is a dictionary: for tests of what is changed and given back. It can fail at any step."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from offramp.errors import InterfaceGone, KernelError
from offramp.facts.capabilities import Capabilities
from offramp.facts.identity import Identity
from offramp.facts.knobs import Value
from offramp.journal.place import boot
from offramp.journal.record import Changed, Record
from offramp.journal.store import Store
from offramp.syscalls.netns import namespace_cookie

__all__ = ["RULE", "STEPS", "DictNic", "identity", "left_behind"]

FRESH = {
    "mtu": 1500,
    "up": True,
    "channels": {"rx": 0, "tx": 0, "combined": 8},
    "rings": {"rx": 512, "tx": 512},
    "feature.rx-gro": True,
    "feature.rx-ntuple-filter": False,
    "rss.table": [0, 1, 2, 3, 4, 5, 6, 7],
    "vf.count": 0,
}


def identity(**given: Any) -> Identity:
    """Of a virtual interface that does not exist."""
    fields = {"name": "dict0", "ifindex": 1 << 30, "mac": "02:00:00:00:00:77", "bus": "", "driver": "dict", "netns": 1}
    return Identity(**{**fields, "boot": boot(), **given})


@dataclass
class DictNic:
    """Knobs in a dictionary; None is an absent one."""

    identity: Identity = field(default_factory=identity)
    knobs: dict[str, Value] = field(default_factory=lambda: dict(FRESH))
    refused: Iterable[str] = ()  # setting these fails
    unread: Iterable[str] = ()  # asking for these fails
    idle: Iterable[str] = ()  # setting these has no effect
    fail_at: int | None = None  # the so-manieth call of set (from 0) fails
    gone: bool = False
    calls: list[tuple[str, Value]] = field(default_factory=list)

    def get(self, knob: str) -> Value:
        if self.gone:
            raise InterfaceGone(self.identity.name)
        if knob in self.unread:
            raise KernelError(f"reading {knob}", errno.EIO)
        return self.knobs.get(knob)

    def capabilities(self) -> Capabilities:
        return Capabilities()

    def set(self, knob: str, value: Value) -> None:
        if self.gone:
            raise InterfaceGone(self.identity.name)
        self.calls.append((knob, value))
        if knob in self.refused or len(self.calls) - 1 == self.fail_at:
            raise KernelError(f"setting {knob}", errno.EINVAL)
        if knob in self.idle:
            return
        self.knobs[knob] = value
        if knob == "channels":  # as drivers do
            queues = value["combined"]
            self.knobs["rss.table"] = [place % queues for place in range(8)]
        if value is None:
            del self.knobs[knob]


STEPS = (
    ("feature.rx-gro", False),
    ("channels", {"rx": 0, "tx": 0, "combined": 4}),
    ("rss.table", [0, 1, 2, 0, 1, 2, 0, 1]),
    ("feature.rx-ntuple-filter", True),
    ("rule.5", {"flow-type": "udp4", "dst-port": 53, "action": 3}),
    ("rule.6", {"flow-type": "tcp4", "dst-port": 80, "action": 3}),
    ("mtu", 3000),
    ("rings", {"rx": 1024, "tx": 512}),
)
RULE = {"flow-type": "udp4", "action": 1}


def left_behind(nic: DictNic, store: Store, *changes: Changed, **given: object) -> str:
    """A journal as a dead process leaves it."""
    record = Record(nic.identity, namespace_cookie(), 999, "gone", 5, False, changes or (Changed("mtu", 1500, 3000),))
    journal = store.new()
    journal.write(replace(record, **given))  # type: ignore[arg-type]
    journal.release()
    nic.knobs["mtu"] = 3000
    return journal.name
