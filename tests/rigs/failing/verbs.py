# SPDX-License-Identifier: Apache-2.0
"""What is done while something fails: each public call. All are on eth0 of this namespace.

before    is done while nothing fails
work      is what may fail
opened    what both have opened: it is closed afterwards, while nothing fails
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field

import offramp
from offramp.llvm import child as llvm
from offramp.llvm import programs
from offramp.options import Options
from offramp.ramp.planned import plan_for

__all__ = ["VERBS", "Verb"]

MATCH = "udp dst port 4321"
FRAME = bytes(12) + b"\x88\xb5" + bytes(46)  # an ethertype for local experiments


@dataclass
class Verb:
    work: Callable[[list[offramp.Attachment]], object]
    before: Callable[[list[offramp.Attachment]], object] = lambda opened: None
    ends: bool = False  # whether nothing may be in force after the work, however it ends
    acts: Callable[[], bool] | None = field(default=None)


def _open(**options: object) -> Callable[[list[offramp.Attachment]], object]:
    return lambda opened: opened.append(offramp.open("eth0", MATCH, **options))  # type: ignore[arg-type]


def _attach(match: str = MATCH, **options: object) -> Callable[[list[offramp.Attachment]], object]:
    return lambda opened: opened.append(offramp.attach("eth0", match, **options))  # type: ignore[arg-type]


def _both(opened: list[offramp.Attachment]) -> None:
    opened += [offramp.attach("eth0", "udp dst port 53"), offramp.attach("eth0", MATCH)]


def _compiled_anew(opened: list[offramp.Attachment]) -> None:
    programs._small_xdp.cache_clear()
    llvm.forget()


def _started_anew(opened: list[offramp.Attachment]) -> None:
    _compiled_anew(opened)
    llvm.stop()


def _close(opened: list[offramp.Attachment]) -> None:
    opened[-1].close()


def _leave(opened: list[offramp.Attachment]) -> None:
    with opened[-1]:
        pass


def _forget(opened: list[offramp.Attachment]) -> None:
    opened.clear()
    gc.collect(0)


def _with_sets(opened: list[offramp.Attachment]) -> None:
    blocked = offramp.PrefixSet(["192.0.2.0/24"])
    opened.append(offramp.attach("eth0", offramp.Match("src host in @blocked", blocked=blocked)))


def _plan(opened: list[offramp.Attachment]) -> None:
    plan_for("eth0", MATCH, offramp.CLAIM, Options())


def _doctor(opened: list[offramp.Attachment]) -> None:
    from offramp.cli.checks import interface_checks, machine_checks
    from offramp.nic import read

    machine_checks()
    interface_checks(read("eth0"))


def _ramp(opened: list[offramp.Attachment]) -> offramp.Ramp:
    ramp = opened[-1]
    assert isinstance(ramp, offramp.Ramp)
    return ramp


VERBS: dict[str, Verb] = {
    "open": Verb(_open()),
    "attach": Verb(_attach()),
    "attach-generic": Verb(_attach(mode="generic")),
    "open-generic": Verb(_open(mode="generic")),
    "open-compiling": Verb(_open(), _compiled_anew),
    "open-starting": Verb(_open(), _started_anew),
    "open-sets": Verb(_with_sets),
    "open-beside": Verb(_open(), _attach("udp dst port 53")),
    "plan": Verb(_plan),
    "doctor": Verb(_doctor),
    "close": Verb(_close, _open(), ends=True),
    "close-attached": Verb(_close, _attach(), ends=True),
    "close-generic": Verb(_close, _open(mode="generic"), ends=True),
    "close-beside": Verb(_close, _both),
    "leave": Verb(_leave, _open(), ends=True),
    "forget": Verb(_forget, _open(), ends=True),
    "forget-generic": Verb(_forget, _open(mode="generic"), ends=True),
    "rx": Verb(lambda opened: [_ramp(opened).rx(0.001) for _ in range(3)], _open()),
    "send": Verb(lambda opened: (_ramp(opened).send([FRAME] * 8), _ramp(opened).flush()), _open()),
    "ledger": Verb(lambda opened: opened[-1].ledger(), _open()),
    "events": Verb(lambda opened: (len(opened[-1].events), opened[-1].events.wait(0.0)), _attach()),
    "replace": Verb(lambda opened: opened[-1].replace("udp dst port 99"), _open()),
}
