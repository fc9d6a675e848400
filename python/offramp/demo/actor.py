# SPDX-License-Identifier: Apache-2.0
"""The demo's actors: processes on a host of the lab, pinned to a CPU, that talk with the stage in lines of JSON.

stage                                        actor: python -m offramp.demo.web '{"cpu": 1, ...}'
Actor(host, "web", cpu=1, ...)  ──orders──>  orders = begin()
actor.hear()                    <──────────  say(ready=True)
actor.tell()                    ──────────>  listen(), or told() without waiting
actor.hear()                    <──────────  say(...)                     what it found
the host ends it                             rest()
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from typing import Any

from offramp.errors import OfframpError
from offramp.lab import Host

__all__ = ["Actor", "begin", "listen", "rest", "say", "told"]


class Actor:
    """The stage's side of one process, which ends with its host. It starts at once, and says when it is ready."""

    def __init__(self, host: Host, role: str, *, cpu: int, **orders: object) -> None:
        self.role = role
        self._process = host.popen(
            [sys.executable, "-m", f"offramp.demo.{role}", json.dumps({"cpu": cpu, **orders})],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # the same modules as here
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self) -> dict[str, Any]:
        """Waits for its next line."""
        assert self._process.stdout is not None  # all three are pipes
        line = self._process.stdout.readline()
        if not line:
            raise OfframpError(f"the demo's {self.role} ended early", reason=self._last_words())
        heard: dict[str, Any] = json.loads(line)
        return heard

    def tell(self) -> None:
        """Gives it its cue."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        lines = self._process.stderr.read().strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.wait()}"


def begin() -> dict[str, Any]:
    """In the actor: takes its place on its CPU. Returns its orders."""
    orders: dict[str, Any] = json.loads(sys.argv[1])
    os.sched_setaffinity(0, {orders.pop("cpu")})
    return orders


def say(**what: object) -> None:
    """In the actor: one line to the stage."""
    print(json.dumps(what), flush=True)


def told() -> bool:
    """In the actor: whether its cue has come."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def listen() -> None:
    """In the actor: waits for its cue."""
    sys.stdin.readline()


def rest() -> None:
    """In the actor: keeps everything as it is until the stage has gone."""
    sys.stdin.read()
