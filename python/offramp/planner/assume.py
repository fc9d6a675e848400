# SPDX-License-Identifier: Apache-2.0
"""Assumptions about an interface that is not on this machine: facts of its driver, then what an ordinary machine has.

Each assumption is put into words, which the plan shows. What is known is never changed. So a plan for the capabilities
of a real interface (`offramp nic IFACE --json`) uses them as they are.
"""

from __future__ import annotations

from dataclasses import replace

from offramp.facts.capabilities import Capabilities, Queues, Rss
from offramp.planner.situation import is_virtual
from offramp.steering import equal
from offramp.steering.toeplitz import MICROSOFT_KEY

__all__ = ["assume"]

_QUEUES, _TABLE, _MTU = 8, 128, 1500
_LETTERS = {"tcp": "sdfn", "udp": "sdfn", "sctp": "sd", "ip": "sd"}


def assume(known: Capabilities, interface: str) -> tuple[Capabilities, tuple[str, ...]]:
    """Complete capabilities for `interface`, and what was assumed, in words."""
    said = []
    queues, mtu, up = known.queues, known.mtu, known.up
    if queues.rx is None:
        most = min(known.queues.rx_max or _QUEUES, known.rss.queue_limit or _QUEUES, _QUEUES)
        count = 1 if is_virtual(known) else most
        queues = Queues(count, count, queues.rx_max or count, queues.tx_max or count, queues.combined)
        said.append(f"{count} receive queue{'s' if count > 1 else ''}")
    if mtu is None:
        mtu = _MTU
        said.append(f"an MTU of {mtu}")
    if up is None:
        up = True
    rss = known.rss if is_virtual(known) else _rss(known.rss, queues.rx or 1, said)
    if known.features is None and not is_virtual(known):
        said.append("the usual offloads of drivers: VLAN stripping on, LRO off")
    return replace(known, interface=interface, queues=queues, mtu=mtu, up=up, rss=rss), tuple(said)


def _rss(known: Rss, queues: int, said: list[str]) -> Rss:
    table, key, fields = known.table, known.key, known.fields
    if table is None and known.table_size != 0:
        table = tuple(equal(known.table_size or _TABLE, queues))
        said.append(f"an RSS table of {len(table)} entries, spread equally")
    if key is None and table is not None:
        key = MICROSOFT_KEY
        said.append("the RSS key of Microsoft's verification suite")
    if fields is None and table is not None:
        usual = {f"{name}{version}": letters for name, letters in _LETTERS.items() for version in (4, 6)}
        fields = usual | {flow: choices[0] for flow, choices in (known.field_choices or {}).items()}
        said.append(f"RSS by {', '.join(f'{flow} {letters}' for flow, letters in sorted(fields.items()))}")
    return replace(known, table=table, key=key, fields=fields)
