# SPDX-License-Identifier: Apache-2.0
"""A plan for people: EXPLAIN for packets. From values to lines."""

from __future__ import annotations

from collections.abc import Iterator

from offramp.planner.cost import ARTICLE, ARTICLE_PPS, COPY, DRIVER, STACK, Cost, break_even, cores
from offramp.planner.plan import Plan, shortened

__all__ = ["explain", "needed"]

_MOST_RULES = 20  # that are shown
_INDENT = 12


def explain(plan: Plan, rate: float | None = None) -> str:
    """`rate`: matching packets a second."""
    lines = [f"{plan.verdict.name} on {plan.interface}: {shortened(plan.match)}"]
    for name, parts in _sections(plan, rate):
        lines += [f"  {name if number == 0 else '':<{_INDENT - 1}}{part}" for number, part in enumerate(parts)]
    lines += plan.steps_in_words()
    lines += [f"  warning: {warning}" for warning in plan.warnings]
    return "\n".join(lines)


def needed(plan: Plan, rate: float) -> dict[str, float]:
    """Cores, with the plan and without, on the model's machine and on the article's. JSON-ready."""
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
        yield "looked at", [f"again by the program, as the NIC does not: {shortened('; '.join(plan.left_out))}"]
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
        return f"what matches of what arrives on VF {plan.vf}"
    if plan.hidden_queue is not None:
        return f"what matches on queue {plan.hidden_queue}, to which the NIC brings the flow"
    several = len(plan.queues) > 1
    return f"what matches, from queue{'s' if several else ''} {', '.join(map(str, plan.queues))}"


def _stays(plan: Plan) -> str:
    if plan.copying is None:
        return "what is protected or does not match"
    if plan.hidden_queue is not None:
        return f"all else: on {plan.all_queues - 1} of {plan.all_queues} queues, and handed back by the program"
    return "all else" if plan.layout == "vf" else "all else, and what matches while the reader sleeps"


def _modes(plan: Plan) -> str:
    if plan.layout == "vf" and not plan.pf:
        return "decided on the VF's interface"
    where = "XDP in the driver" if plan.mode == "native" else "XDP in the stack (generic)"
    if plan.copying is None:
        return f"{where}; no socket"
    assert plan.cost is not None
    if plan.copying == "auto":
        return f"{where}; zero-copy{'' if plan.cost.copying == 'zero-copy' else ' if its driver can'}, else a copy"
    return f"{where}; {plan.copying}"


def _cost(plan: Plan, cost: Cost) -> Iterator[str]:
    parts = [f"{DRIVER if plan.mode == 'native' else STACK} to receive it"]
    parts += [f"{COPY} to copy it"] if cost.copying == "copy" else []
    parts += [f"{cost.user} to read it"] if cost.user else []
    yield f"{cost.matching} ns of a core for a matching packet: {', '.join(parts)}"
    yield f"{cost.other} ns for any other packet, more than without"
    if plan.hidden_queue is not None:
        yield f"{cost.handed_back} ns for one that the NIC brings and that does not match"
    elif plan.layout == "in-driver" and plan.copying == "copy":
        yield f"copying is cheaper than zero-copy while less than {break_even():.0%} of all packets match"


def _rate(plan: Plan, cost: Cost, rate: float) -> Iterator[str]:
    found = needed(plan, rate)
    yield (
        f"{rate:,.0f} matching packets a second take {found['cores']} cores; "
        f"the kernel alone, to drop them, {found['kernel_alone']}"
    )
    yield (
        f"where a core drops {ARTICLE_PPS:,} a second in the kernel: {found['cores_article']} cores, "
        f"and {found['kernel_alone_article']}"
    )
    if plan.copying is not None and plan.layout != "vf":
        most = cost.most * len(plan.queues)
        queues = f"{len(plan.queues)} queues take" if len(plan.queues) > 1 else "one queue takes"
        if rate > most:
            yield f"{queues} {most:,} at most: the rest is lost"
