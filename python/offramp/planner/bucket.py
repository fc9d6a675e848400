# SPDX-License-Identifier: Apache-2.0
"""Flows as entries of the RSS table: if a match fixes all that the NIC hashes, the hash is known beforehand.

    udp and src host 10.0.0.1 and dst host 10.0.0.2     udp4 is hashed by addresses ("sd")
    hash = toeplitz(key, 10.0.0.1 | 10.0.0.2), entry = hash % size of the table

The entry brings its share of all other packets, too: 1/128 each if the table has 128 entries.
Source: steering/toeplitz.py, steering/model.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from offramp.facts.capabilities import Rss
from offramp.planner.flow import Flow
from offramp.planner.steer import PROTOCOLS
from offramp.planner.typed import CannotSteer
from offramp.steering import toeplitz

__all__ = ["buckets"]

_MOST = 8  # at most one in so many of the table's entries
_PARTS = {
    "s": ("src", "source address"),
    "d": ("dst", "destination address"),
    "f": ("sport", "source port"),
    "n": ("dport", "destination port"),
}
_SIZES = {"sport": 2, "dport": 2}  # bytes; the others are addresses


def buckets(flows: Iterable[Flow], rss: Rss, driver: str) -> tuple[int, ...]:
    """The entries that get all packets of the flows, except fragments. Errors: CannotSteer."""
    if not rss.table:
        raise CannotSteer(f"{driver} shows no RSS table")
    if rss.symmetric or rss.function not in (None, "toeplitz"):
        raise CannotSteer("its RSS hash is not Microsoft's Toeplitz, so it cannot be predicted")
    inputs = [part for flow in flows for part in _inputs(flow, rss.fields or {})]
    if not rss.key:
        raise CannotSteer("its RSS key is not known", "reading it may need CAP_NET_ADMIN")
    size = len(rss.table)
    found = sorted({toeplitz(key, data) % size for key in _keys(rss.key, late=rss.late_key) for data in inputs})
    if len(found) * _MOST > size:
        raise CannotSteer(f"{len(found)} of {size} entries of its RSS table would bring too much of all other traffic")
    return tuple(found)


def _keys(told: str, *, late: bool | None) -> list[bytes]:
    """The NIC has one of these keys. Using both costs one more entry; the program passes on what that brings."""
    key = bytes.fromhex(told.replace(":", ""))
    return [key, b"\0" + key[:-1]] if late else [key]


def _inputs(flow: Flow, letters: Mapping[str, str]) -> list[bytes]:
    """What is hashed for the flow's packets, by flow type."""
    version = flow.version
    if version is None:
        raise CannotSteer("RSS hashes IP packets only, and the match is about other packets")
    number = flow.protocol.value if flow.protocol else None
    names = list(PROTOCOLS.values()) if number is None else [PROTOCOLS[number]] if number in PROTOCOLS else []
    types = [f"{name}{version}" for name in names] or [f"ip{version}"]
    types += [f"ip{version}"] if number is None else []
    return list(
        dict.fromkeys(_input(flow, type_, letters.get(type_, letters.get(f"ip{version}", ""))) for type_ in types)
    )


def _input(flow: Flow, type_: str, letters: str) -> bytes:
    if not letters or not set(letters) <= set(_PARTS):
        raise CannotSteer(f"{type_} is {'hashed by more than addresses and ports' if letters else 'not hashed'}")
    data = b""
    for letter in "sdfn":
        if letter in letters:
            name, words = _PARTS[letter]
            size = _SIZES.get(name, 4 if type_[-1] == "4" else 16)
            part = getattr(flow, name)
            if part is None or part.mask != (1 << 8 * size) - 1:
                raise CannotSteer(f"RSS hashes {type_} by its {words} too, and the match leaves several possible")
            data += part.value.to_bytes(size)
    return data
