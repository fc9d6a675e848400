# SPDX-License-Identifier: Apache-2.0
"""Does one thing with a failure in it, and judges: one line of JSON for each finding.

What is asked after each step: only an OfframpError came out, and none that says what is not so; the interface is as it
was; what was to end has ended, although something failed; nothing is held; nothing was raised where nobody sees it.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import offramp
from offramp.bpf.owner import attached
from offramp.errors import InterfaceGone, NoSuchInterface, OfframpError
from offramp.nic import ethtool
from offramp.nic.features import set_feature
from offramp.ramp.interface import _in_use
from tests.rigs.failing.verbs import VERBS

__all__ = ["STATE", "Judge", "Step"]

STATE = os.environ["OFFRAMP_STATE_DIR"]
IFINDEX = socket.if_nametoindex("eth0")
ABSENT = ("ENODEV", "ENOENT")  # who says these may be believed


@dataclass
class Step:
    """One failure."""

    where: str
    fails: Callable[[], AbstractContextManager[None]]


def _interface() -> dict[str, object]:
    """What offramp could change of it."""
    return {
        "xdp": [found.mode for found in attached(IFINDEX)],
        "gro": ethtool.gro("eth0"),
        "vlan": ethtool.rx_vlan_offload("eth0"),
        "journal": [name for name in sorted(os.listdir(STATE)) if not name.endswith(".lock")],
        "in use": len(_in_use),
        "ramps": len(offramp.ramps()),
    }


def _held() -> Counter[str]:
    """Descriptors by what they lead to, threads, processes."""
    found: Counter[str] = Counter()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        found[target if target.startswith("/") else target.split(":[")[0]] += 1
    found["thread"] = len(os.listdir("/proc/self/task"))
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/children") as children:
            found["process"] += len(children.read().split())
    return found


def _restore() -> None:
    """So that one finding is not found again and again."""
    for feature, on in (("rx-gro", True), ("rx-vlan-hw-parse", True)):
        set_feature("eth0", feature, on)


def _settled(judge: Callable[[], object]) -> object:
    """What is wrong, if it stays so: threads may still be at work."""
    for _ in range(100):
        if not (wrong := judge()):
            return wrong
        time.sleep(0.01)
    return wrong


class Judge:
    def __init__(self, name: str) -> None:
        self.verb = VERBS[name]
        self.name = name
        self.unraised: list[str] = []
        self.steps = self.raised = 0
        sys.unraisablehook = lambda args: self.unraised.append(f"{type(args.exc_value).__name__}: {args.exc_value}")
        threading.excepthook = lambda args: self.unraised.append(f"thread: {args.exc_value!r}")
        for _ in range(3):  # modules are loaded, programs compiled
            self.once(None)
        self.before, self.held = _interface(), _held()

    def once(self, step: Step | None) -> None:
        opened: list[offramp.Attachment] = []
        self.verb.before(opened)
        try:
            if step is None:
                self.verb.work(opened)
            else:
                self.fail(step, opened)
        finally:
            self.end(opened, step)

    def fail(self, step: Step, opened: list[offramp.Attachment]) -> None:
        self.steps += 1
        try:
            with step.fails():
                self.verb.work(opened)
        except OfframpError as error:
            self.raised += 1
            self.read(error, step)
        except (MemoryError, SystemError) as error:
            self.raised += 1
            if isinstance(error, SystemError) and "without exception set" not in str(error):  # as CPython 3.11 may
                self.find(step, f"raised {error!r}")
        except BaseException as error:
            self.find(step, f"raised {error!r} {_place(error)}")
        if self.verb.ends and (xdp := _settled(lambda: _interface()["xdp"])):
            self.find(step, f"still in force: {xdp}")

    def read(self, error: OfframpError, step: Step) -> None:
        said = str(error)
        if "a bug in offramp" in said or "Error(" in said:
            self.find(step, f"said: {said}")
        if isinstance(error, InterfaceGone | NoSuchInterface) and not any(name in step.where for name in ABSENT):
            self.find(step, f"not so: {type(error).__name__}: {said}")

    def end(self, opened: list[offramp.Attachment], step: Step | None) -> None:
        while opened:
            try:
                opened.pop().close()
            except BaseException as error:
                if step is not None:
                    self.find(step, f"closing again raised {error!r} {_place(error)}")
                else:
                    raise
        if step is None:
            return
        if wrong := _settled(lambda: {key: value for key, value in _interface().items() if value != self.before[key]}):
            self.find(step, f"not as it was: {wrong}")
            _restore()
        if _settled(lambda: _held() - self.held) and _settled(lambda: (gc.collect(), _held() - self.held)[1]):
            self.find(step, f"held: {dict(_held() - self.held)}")
            self.held = _held()
        if self.unraised:
            self.find(step, f"unraised: {self.unraised}")
            self.unraised.clear()

    def find(self, step: Step, what: str) -> None:
        print(json.dumps({"verb": self.name, "step": step.where, "what": what}), flush=True)


def _place(error: BaseException) -> str:
    """The last line of offramp that it came through."""
    where, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "/offramp/" in code.co_filename:
            where = f"{code.co_filename.rpartition('/offramp/')[2]}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return where
