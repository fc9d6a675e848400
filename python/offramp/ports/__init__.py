# SPDX-License-Identifier: Apache-2.0
"""Ports: frames in and out of user space in batches, whatever the technique.

port.py    Port, Queue, Facts; open_port
batch.py   Batch: columns and views
events.py  what a port notices of its interface
ledger.py  the counters of one queue
kinds.py   the kinds of ports, and their options
"""

from __future__ import annotations

from offramp.ports.batch import Batch
from offramp.ports.events import PortEvent
from offramp.ports.kinds import PortKind, PortOption, port_kinds
from offramp.ports.ledger import QueueLedger
from offramp.ports.port import Facts, Port, Queue, open_port

__all__ = [
    "Batch",
    "Facts",
    "Port",
    "PortEvent",
    "PortKind",
    "PortOption",
    "Queue",
    "QueueLedger",
    "open_port",
    "port_kinds",
]
