# SPDX-License-Identifier: Apache-2.0
"""Every public call with every odd value, one at a time: it works, or an OfframpError or a TypeError says why not.

The calls are found, so a new one is tried as well. What needs an interface is in tests/kernel/ramp/test_odd_values.py.
"""

from __future__ import annotations

import inspect
import resource
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import offramp
from tests.rigs.odd import calls, wrong

FRAME = bytes(range(60))


def batch() -> offramp.Batch:
    found = offramp.Port.null([FRAME] * 4).rx(0)
    assert found is not None
    return found


GOOD: dict[str, Callable[[], Any]] = {
    "interface": lambda: "no-such-interface",
    "match": lambda: "udp",
    "text": lambda: "udp",
    "uri": lambda: "null:",
    "path": lambda: "there",
    "element": lambda: "192.0.2.1",
    "address": lambda: "192.0.2.1",
    "elements": lambda: ["192.0.2.1"],
    "packet": lambda: FRAME,
    "packets": lambda: [FRAME],
    "frames": lambda: FRAME,
    "batch": batch,
    "mask": lambda: [True] * 4,
    "index": lambda: 0,
    "value": lambda: 1,
    "seconds": lambda: 0.0,
}

OBJECTS: dict[str, Callable[[], Any]] = {
    "Match": lambda: offramp.Match("src host in @a", a=offramp.HashSet(["192.0.2.1"])),
    "HashSet": lambda: offramp.HashSet(["192.0.2.1"]),
    "HashSet of ports": lambda: offramp.HashSet([53]),
    "HashSet of MAC addresses": lambda: offramp.HashSet(["02:00:00:00:00:01"]),
    "PrefixSet": lambda: offramp.PrefixSet(["192.0.2.0/24", "192.0.2.1"]),
    "PrefixSet of IPv6": lambda: offramp.PrefixSet(["2001:db8::/32"]),
    "Port": lambda: offramp.Port.null([FRAME]),
    "Queue": lambda: offramp.Port.null([FRAME]).queues[0],
    "Batch": batch,
}

INTERNAL = ("Match.state", "Match.lowered")  # for other rooms
MADE_BY_OTHERS = ("Attachment", "Ramp", "Port", "Batch", "Event")


def made() -> dict[str, Any]:
    return {parameter: make() for parameter, make in GOOD.items()}


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in offramp.__all__:
        thing = getattr(offramp, name)
        is_value = isinstance(thing, str | Enum)
        if not is_value and not (inspect.isclass(thing) and issubclass(thing, BaseException | Enum)):
            yield from ((found, call) for found, call in calls(thing, name) if found not in MADE_BY_OTHERS)


def of_objects() -> Iterator[tuple[str, str]]:
    for name, make in OBJECTS.items():
        yield from ((name, found.partition(".")[2]) for found, _ in calls(make(), name) if found not in INTERNAL)


@pytest.fixture(autouse=True)
def bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a call writes goes nowhere else; what asks for more memory than there is, is refused."""
    monkeypatch.chdir(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "call"), list(public()), ids=lambda value: value if isinstance(value, str) else "")
def test_each_function_and_class(name: str, call: Callable[..., Any]) -> None:
    assert wrong(call, made()) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "method"), list(of_objects()))
def test_each_method(name: str, method: str) -> None:
    assert wrong(getattr(OBJECTS[name](), method), made()) == []


def test_the_search_finds_what_users_call() -> None:
    found = {name for name, _ in public()} | {f"{name}.{method}" for name, method in of_objects()}
    assert {"open", "attach", "open_port", "ramps", "Match", "HashSet", "PrefixSet", "HashSet.load"} <= found
    assert {"Port.null", "Port.rx", "Port.send", "Port.tx", "Queue.flush", "Batch.select", "PrefixSet.lookup"} <= found


@pytest.mark.parametrize("capacity", [1 << 64, 1 << 63, -1, 0, 10**400, float("nan"), True])
@pytest.mark.parametrize("kind", [offramp.HashSet, offramp.PrefixSet])
def test_capacities(kind: Any, capacity: Any) -> None:
    if capacity is True:  # as operator.index has it
        assert kind(["192.0.2.1"], capacity=capacity).capacity == 1
        return
    with pytest.raises(offramp.OptionError, match="capacity"):
        kind(["192.0.2.1"], capacity=capacity)


@pytest.mark.parametrize("name", ["\ud800", "a" * 100_000, "\0", "", "eth0\0", "\udcff\udcfe"])
@pytest.mark.parametrize("opening", [offramp.open, offramp.attach])
def test_names_of_interfaces(opening: Any, name: str) -> None:
    with pytest.raises(offramp.OfframpError) as caught:
        opening(name, "udp")
    assert len(str(caught.value).encode()) < 1000
