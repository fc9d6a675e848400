# SPDX-License-Identifier: Apache-2.0
"""A plan for people: EXPLAIN for packets. Turns values into lines."""

from __future__ import annotations

from collections.abc import Iterator

from offramp.planner.cost import ARTICLE, ARTICLE_PPS, COPY, DRIVER, STACK, Cost, break_even, cores
from offramp.planner.plan import Plan, shortened
from offramp.text import printable

__all__ = ["explain", "needed"]

_MOST_RULES = 20  # rules that are shown
_INDENT = 12


def explain(plan: Plan, rate: float | None = None) -> str:
    """The plan as text. `rate`: matching packets per second."""
    lines = [f"{plan.verdict.name} on {plan.interface}: {shortened(plan.match)}"]
    for name, parts in _sections(plan, rate):
        lines += [f"  {name if number == 0 else '':<{_INDENT - 1}}{part}" for number, part in enumerate(parts)]
    lines += plan.steps_in_words()
    lines += [f"  warning: {warning}" for warning in plan.warnings]
    return "\n".join(map(printable, lines))


def needed(plan: Plan, rate: float) -> dict[str, float]:
    """The cores needed, with the plan and without, on the model's machine and on the article's. JSON-ready."""
    assert plan.cost is not None
    found = {"cores": cores(rate, plan.cost.matching), "kernel_alone": cores(rate, STACK)}
    return {name: round(value, 2) for name, value in found.items()} | {
        f"{name}_article": round(value * ARTICLE, 2) for name, value in found.items()
    }


def _sections(plan: Plan, rate: float | None) -> Iterator[tuple[str, list[str]]]:
    yield "layout", [_layout(plan), *([plan.why] if plan.why else [])]
    if plan.copying is not None:
        yield "user space", [_reaches(plan)]
    yield "kernel", [_stays(plan)]
    yield "modes", [_modes(plan)]
    yield "protected", [plan.protected]
    if plan.rules:
        more = len(plan.rules) - _MOST_RULES
        shown = [f"ethtool -N {plan.pf or plan.interface} {rule}" for rule in plan.rules[:_MOST_RULES]]
        yield "rules", shown + ([f"and {more:,} more"] if more > 0 else [])
    if plan.left_out:
        yield "rechecked", [f"by the program, as the NIC cannot: {shortened('; '.join(plan.left_out))}"]
    if plan.cost is not None:
        yield "cost", list(_cost(plan, plan.cost))
        if rate is not None:
            yield "rate", list(_rate(plan, plan.cost, rate))
    if plan.assumed:
        yield "assumed", list(plan.assumed)


def _layout(plan: Plan) -> str:
    if plan.layout == "hidden-queue":
        means = "rules" if plan.rules else f"entries of the RSS table: {', '.join(map(str, plan.buckets))}"
        return f"hidden queue {plan.hidden_queue}, by {means}"
    if plan.layout == "vf":
        return f"virtual function {plan.vf}, by {'rules' if plan.rules else 'destination address'}"
    return "in the driver" if plan.mode == "native" else "in the stack"


def _reaches(plan: Plan) -> str:
    if plan.layout == "vf":
        return f"matching packets that arrive on VF {plan.vf}"
    if plan.hidden_queue is not None:
        return f"matching packets on queue {plan.hidden_queue}; the NIC brings the flow there"
    several = len(plan.queues) > 1
    return f"matching packets, from queue{'s' if several else ''} {', '.join(map(str, plan.queues))}"


def _stays(plan: Plan) -> str:
    if plan.copying is None:
        return "packets that are protected or do not match"
    if plan.hidden_queue is not None:
        return f"all others: on {plan.all_queues - 1} of {plan.all_queues} queues, and handed back by the program"
    return "all others" if plan.layout == "vf" else "all others, and matching packets while the reader sleeps"


def _modes(plan: Plan) -> str:
    if plan.layout == "vf" and not plan.pf:
        return "decided once the VF's interface exists"
    where = "XDP in the driver" if plan.mode == "native" else "XDP in the stack (generic)"
    if plan.copying is None:
        return f"{where}; no socket"
    assert plan.cost is not None
    if plan.copying == "auto":
        return f"{where}; zero-copy{'' if plan.cost.copying == 'zero-copy' else ' if its driver has it'}, else copy"
    return f"{where}; {plan.copying}"


def _cost(plan: Plan, cost: Cost) -> Iterator[str]:
    parts = [f"{DRIVER if plan.mode == 'native' else STACK} to receive it"]
    parts += [f"{COPY} to copy it"] if cost.copying == "copy" else []
    parts += [f"{cost.user} to read it"] if cost.user else []
    yield f"{cost.matching} ns of a core for a matching packet: {', '.join(parts)}"
    yield f"{cost.other} ns more for any other packet than without offramp"
    if plan.hidden_queue is not None:
        yield f"{cost.handed_back} ns for a packet that the NIC brings but that does not match"
    elif plan.layout == "in-driver" and plan.copying == "copy":
        yield f"copying is cheaper than zero-copy as long as less than {break_even():.0%} of all packets match"


def _rate(plan: Plan, cost: Cost, rate: float) -> Iterator[str]:
    found = needed(plan, rate)
    yield (
        f"{rate:,.0f} matching packets per second take {found['cores']} cores; "
        f"to drop them, the kernel alone takes {found['kernel_alone']}"
    )
    yield (
        f"on a machine whose core drops {ARTICLE_PPS:,} packets per second in the kernel: "
        f"{found['cores_article']} cores, and {found['kernel_alone_article']}"
    )
    if plan.copying is not None and plan.layout != "vf":
        most = cost.most * len(plan.queues)
        queues = f"{len(plan.queues)} queues take" if len(plan.queues) > 1 else "one queue takes"
        if rate > most:
            yield f"{queues} at most {most:,} per second: the rest is lost"
