# SPDX-License-Identifier: Apache-2.0
"""What a port notices of its interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from offramp.immutable import field, immutable

if TYPE_CHECKING:
    from offramp import _native

__all__ = ["WORDS", "PortEvent"]

WORDS: Final = {  # by kind: what happened, in a sentence
    "carrier-lost": "the carrier is gone",
    "carrier-back": "the carrier is back",
    "down": "it is down: nothing arrives until it is up again",
    "up": "it is up again",
    "gone": "it was removed",
    "moved": "it was moved to another network namespace",
    "renamed": "its name is {name} now",
    "mtu-changed": "its MTU is {mtu} now",
    "reader-back": "queue {queue} has a reader again, after {seconds:.1f} s: the kernel had its packets meanwhile",
}


@immutable
class PortEvent:
    """What happened to the interface of a port, and when it was noticed (CLOCK_REALTIME)."""

    kind: str
    time_ns: int
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, event: _native._Event) -> Self:
        """As a port or a watch of the data plane tells it."""
        details: dict[str, Any] = {name: value for name, value in event.items() if name not in ("kind", "time")}
        if "nanoseconds" in details:
            details["seconds"] = details.pop("nanoseconds") / 1e9
        return cls(event["kind"], event["time"], WORDS[event["kind"]].format(**details), details)

    def __str__(self) -> str:
        return self.text
