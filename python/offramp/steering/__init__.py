# SPDX-License-Identifier: Apache-2.0
"""Which queue a NIC puts a packet on: n-tuple rules and receive side scaling, as values. Pure: no I/O.

    "flow-type udp4 dst-port 53 action 3"  --parse_rule-->  Rule  --str-->  the same words

    fields.py    what a rule can compare, for each flow type: names, sizes, places in the kernel's structures
    rule.py      Rule: one n-tuple rule as a value; its JSON form
    words.py     a rule in ethtool's own words, both ways
    toeplitz.py  the hash of receive side scaling
    spread.py    indirection tables: equal, weighted, without some queues
    headers.py   what a NIC's parser sees of a frame
    model.py     the queue that a frame arrives on, given rules and RSS settings

The planner and the tests ask the model; nic/rules.py and nic/rss.py carry the same values to the kernel.
"""

from __future__ import annotations

from .model import Rss, Steering, queue_of
from .rule import DROP, WAKE, Rule, Term, cookie
from .spread import equal, hiding, weighted, without
from .toeplitz import toeplitz
from .words import parse_rule

__all__ = [
    "DROP",
    "WAKE",
    "Rss",
    "Rule",
    "Steering",
    "Term",
    "cookie",
    "equal",
    "hiding",
    "parse_rule",
    "queue_of",
    "toeplitz",
    "weighted",
    "without",
]
