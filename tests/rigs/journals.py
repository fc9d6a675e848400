# SPDX-License-Identifier: Apache-2.0
"""For tests of the journal: a NIC, steps that change and give back, and journals that others have left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from offramp.facts.identity import Identity
from offramp.journal.record import Changed, Record
from offramp.journal.store import Store
from offramp.nic.device import boot
from offramp.syscalls.netns import namespace_cookie
from offramp.testing.software_nic import SoftwareNic

__all__ = ["FRESH", "RULE", "STEPS", "PlainNic", "identity", "left_behind"]


def identity(**given: Any) -> Identity:
    """The identity of a virtual interface that does not exist."""
    fields = {"name": "soft0", "ifindex": 1 << 30, "mac": "02:00:00:00:00:77", "bus": "", "driver": "soft", "netns": 1}
    return Identity(**{**fields, "boot": boot(), **given})


class PlainNic(SoftwareNic):
    """A virtual interface with eight queues, whose n-tuple filter is off."""

    def __init__(self, device: Identity | None = None) -> None:
        super().__init__(queues=8, most_queues=8, table_size=8)
        self.identity = device or identity()
        self.knobs["feature.rx-ntuple-filter"] = False


FRESH = PlainNic().knobs
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


def left_behind(nic: PlainNic, store: Store, *changes: Changed, **given: object) -> str:
    """A journal as a dead process leaves it."""
    record = Record(nic.identity, namespace_cookie(), 999, "gone", 5, False, changes or (Changed("mtu", 1500, 3000),))
    journal = store.new()
    journal.write(replace(record, **given))  # type: ignore[arg-type]
    journal.release()
    nic.knobs["mtu"] = 3000
    return journal.name
