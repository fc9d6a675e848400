# SPDX-License-Identifier: Apache-2.0
"""A contender in a process of its own on the flooded host:  python -m offramp.demo.contender '{"name": ..., ...}'

Which four take part is in NAMES; `offramp.bench` knows what they do.
"""

from __future__ import annotations

from offramp.bench.contender import Target
from offramp.bench.contenders import CONTENDERS
from offramp.demo.actor import begin, listen, rest, say, told

__all__ = ["NAMES"]

NAMES = ("kernel-socket", "iptables-raw", "offramp-user", "offramp-driver")
SLICE = 0.1  # seconds without a packet after which a receiver looks for its cue to stop


class Told:
    """The stage's cue. What has come until then is received to the end."""

    def wait(self) -> None:
        listen()

    def patience(self) -> float:
        return SLICE

    def over(self, *, idle: bool) -> bool:
        return idle and told()


def main() -> None:
    orders = begin()
    contender = CONTENDERS[orders.pop("name")]
    if missing := contender.missing():
        say(ready=False, skipped=missing.reason, remedy=missing.remedy)
        return
    with contender.start(Target(**orders)) as running:
        say(ready=True)
        running.work(Told())
        ledger = running.ledger().to_dict() if running.ledger else None
        say(received=running.taken(), ledger=ledger)
        rest()


if __name__ == "__main__":
    main()
