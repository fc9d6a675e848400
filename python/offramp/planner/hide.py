# SPDX-License-Identifier: Apache-2.0
"""A hidden queue: RSS leaves it out; n-tuple rules or, if need be, entries of the RSS table bring the flows there."""

from __future__ import annotations

from dataclasses import replace

from offramp.errors import OptionError
from offramp.facts.capabilities import Capabilities
from offramp.planner.bucket import buckets
from offramp.planner.layout import Layout, by_rules, check_refused, check_rules, flows_of
from offramp.planner.narrow import narrower
from offramp.planner.situation import Situation
from offramp.planner.steer import steered
from offramp.planner.typed import CannotSteer
from offramp.steering import cookie, hiding, parse_rule

__all__ = ["hidden_queue"]


def hidden_queue(situation: Situation, able: Capabilities) -> Layout:
    """Errors: CannotSteer, OptionError."""
    link, sure = situation.link, situation.options.wanted_layout == "auto"
    asked = situation.options.hidden_queue
    queue = _last_free(situation, able) if asked is None else asked
    if queue >= link.rx_queues:
        raise OptionError(f"hidden_queue={queue}", reason=f"{link.name} has queues 0 to {link.rx_queues - 1}")
    driver = able.driver or link.name
    wide = flows_of(situation.match)
    assert wide.flows is not None
    base = _table_without(queue, situation, able)
    check_refused("table", situation)
    reasons: list[CannotSteer] = []
    for method in ("rules", "buckets"):
        try:
            check_refused(method, situation)
            if method == "rules":
                check_rules(able, sure=sure)
                made = steered(wide.flows, able.ntuple, cookie(queue), driver)
                return by_rules(Layout("hidden-queue", "", queue, base=base), made, wide)
            if able.rss.symmetric is None and sure:
                raise CannotSteer("it is not known whether its RSS hash is Microsoft's Toeplitz")
            found = buckets(wide.flows, replace(able.rss, table=base), driver)
            if any(base[entry] in situation.beside.hidden for entry in found):
                raise CannotSteer("the flow's entry of the RSS table leads to another ramp's queue")
            why = f"no n-tuple rules, but the match fixes all that RSS hashes ({reasons[0].reason})"
            layout = Layout("hidden-queue", why, queue, base=base, buckets=found)
            return replace(layout, left_out=wide.left_out, arp=wide.arp, flows=wide.flows)
        except CannotSteer as cannot:
            reasons.append(cannot)
    sees = next((each.sees for each in reasons if each.sees), None)
    hint = narrower(situation.match, sees, lambda flows: steered(flows, able.ntuple, cookie(queue), driver))
    hint = hint or next((each.hint for each in reasons if each.hint), "")
    raise CannotSteer("; ".join(each.reason for each in reasons), hint)


def _last_free(situation: Situation, able: Capabilities) -> int:
    """The last queue that no rule leads to and no ramp here reads; if possible, one that RSS tables can have."""
    queues = situation.link.rx_queues
    taken = {rule.queue for rule in map(parse_rule, able.ntuple.rules or ()) if rule.vf is None}
    free = [queue for queue in range(queues) if queue not in taken | situation.beside.queues]
    if not free:
        raise CannotSteer("each of its queues is read by another ramp, or is the target of a rule")
    limit = able.rss.queue_limit or queues
    return max(free, key=lambda queue: (queue < limit, queue))


def _table_without(queue: int, situation: Situation, able: Capabilities) -> tuple[int, ...]:
    """The RSS table; entries that name the queue are dealt out to the other queues."""
    link, beside = situation.link, situation.beside
    if link.rx_queues < 2:
        more = (able.queues.rx_max or 1) > 1
        hint = f"ethtool -L {link.name} {'combined' if able.queues.combined else 'rx'} 2" if more else ""
        raise CannotSteer("it has only one receive queue", hint)
    if not able.rss.table:
        raise CannotSteer("it shows no RSS table that could leave a queue out")
    if able.rss.table_with_vfs is False and able.vfs.in_use:
        raise CannotSteer("its RSS table cannot be changed while there are VFs")
    try:
        return tuple(hiding(beside.base or able.rss.table, {**beside.hidden, queue: ()}))
    except OptionError:
        raise CannotSteer(f"its RSS table names only queue {queue}") from None
