# SPDX-License-Identifier: Apache-2.0
"""A flood: frames out of one end of a wire, millions a second, for a bounded time.

    with Flood(wire.a, packets.eth(...), seconds=5) as flood:    # runs in a process of its own, on CPU 0
        ...
        report = flood.wait()                                    # sent, refused, seconds

    this process:  template ─> eBPF program, loaded ──fd──>  generator.py: BPF_PROG_TEST_RUN, live frames
                   sent <── counter in shared memory ──────  the program, once for each frame

How to measure with it, on veth:
- The receiving end takes live frames only with XDP attached or GRO on; `wait()` says so if nothing got through.
- The receiver's NAPI runs on the *flood's* CPU, and slows it down so that nothing is lost. If
  `wire.b.set_threaded_napi(True, cpu=...)` puts it elsewhere, count what was `refused`.
- All frames leave from one CPU, and so arrive in one queue (CPU number modulo queues), however they vary.

The first BPF_PROG_TEST_RUN of a program that is attached nowhere rewrites the kernel's XDP dispatcher each time, which
takes some 20 ms. So the program is attached to the loopback interface of a host that nobody uses.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import time
from dataclasses import asdict
from types import TracebackType
from typing import IO, Any

from offramp.bpf import Map, MapFlag, MapType, Program, XdpLink
from offramp.emit.program import MapSlot
from offramp.emit.program import XdpProgram as CompiledProgram
from offramp.errors import InterfaceError, OfframpError, OptionError
from offramp.gen.generator import Orders
from offramp.gen.variation import Vary, program, vary
from offramp.immutable import immutable
from offramp.lab.end import Interface
from offramp.lab.host import Host
from offramp.llvm.child import bpf_code

__all__ = ["Flood", "Report"]

LOOPBACK = 1  # ifindex, in every namespace
START_TIMEOUT = 10.0  # seconds for the generator to start and to end


@immutable
class Report:
    """What a flood did. A frame that was sent and not refused entered the receiver's ring."""

    sent: int  # offered: how many frames the program was run for
    refused: int  # by the receiving end, because its ring was full (other frames sent there and refused count, too)
    seconds: float

    @property
    def pps(self) -> float:
        return self.sent / self.seconds


class Flood:
    """Frames like `template` out of `interface`; a context manager that starts at once and stops at the latest on exit.

    vary: "src" takes 65,536 source addresses in turn (the low 16 bits), "sport" as many source ports, "none" nothing;
    sums stay valid (see `variation`).  rate: frames per second, None as fast as possible.  The flood ends by itself
    after `count` frames or `seconds`, whichever is first.  cpu: where it runs, None anywhere.

    Privileges: CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON.  Minimum kernel: 5.18 (live frames).
    Errors: OptionError, PrivilegeError, KernelError; InterfaceError from `wait` when no frame got through.
    """

    def __init__(
        self,
        interface: Interface,
        template: bytes,
        *,
        vary: Vary = "src",
        rate: float | None = None,
        count: int | None = None,
        seconds: float = 10.0,
        cpu: int | None = 0,
    ) -> None:
        if len(template) < 14:
            raise OptionError(f"a template of {len(template)} bytes", reason="an Ethernet header has 14")
        if seconds <= 0 or (rate is not None and rate <= 0) or (count is not None and count < 1):
            raise OptionError(f"a flood of rate={rate}, count={count}, seconds={seconds}", reason="must be above zero")
        self.interface = interface
        self._template, self._vary = template, vary
        self._rate, self._count, self._seconds, self._cpu = rate, count, seconds, cpu
        self._open = contextlib.ExitStack()
        self._sent = 0
        self._lasted: float | None = None  # seconds, once that is known

    def __enter__(self) -> Flood:
        with contextlib.ExitStack() as opening:
            self._start(opening)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def pid(self) -> int:
        """The process that sends, for a Meter."""
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def sent(self) -> int:
        """Frames offered so far; exact, also while it runs."""
        if not self._memory.closed:
            (self._sent,) = struct.unpack_from("Q", self._memory)
        return self._sent

    def stop(self) -> Report:
        """End the flood now, if it has not ended, and return what it did."""
        if self.running:
            self.interface.host.kill(self._process)
            self._lasted = time.monotonic() - self._started
        return self.wait()

    def wait(self) -> Report:
        """Wait for the flood's end, and return what it did."""
        if self._lasted is None:
            remaining = self._started + self._seconds - time.monotonic()
            if self._process.wait(max(0.0, remaining) + START_TIMEOUT):
                raise OfframpError("the flood ended early", reason=self._complaint())
            self._lasted = float(self._output.readline())
        now = self.interface.stats()
        refused = now["tx_dropped"] - self._before["tx_dropped"]
        if refused == 0 and now["tx_packets"] - self._before["tx_packets"] < self.sent:
            raise InterfaceError(
                f"frames sent out of {self.interface.name} were lost",
                reason="the other end does not take live XDP frames, or not of this length",
                hint="attach XDP there, or switch its gro(True)",
            )
        return Report(self.sent, refused, self._lasted)

    def _start(self, opening: contextlib.ExitStack) -> None:
        variation = vary(self._template, self._vary)
        code = bpf_code(program(variation, self.interface.ifindex, MapSlot.COUNTERS))
        counter = opening.enter_context(Map.create(MapType.ARRAY, 4, 8, 1, MapFlag.MMAPABLE, name="flood"))
        self._memory = opening.enter_context(contextlib.closing(counter.memory()))
        loaded = opening.enter_context(
            Program.load(CompiledProgram(code), name="flood", maps={MapSlot.COUNTERS: counter})
        )
        nowhere = Host("nowhere")
        opening.callback(nowhere.close)
        with nowhere:
            opening.enter_context(XdpLink.attach(loaded, LOOPBACK, "generic"))
        orders = Orders(loaded.fd, variation.frame.hex(), self._count, self._seconds, self._rate, self._cpu)
        self._before = self.interface.stats()
        self._process = self._spawn(orders)
        opening.callback(lambda: self.sent)  # the last reading, once the process below is gone
        opening.callback(self.interface.host.kill, self._process)
        self._started = time.monotonic()
        if self._output.readline() != "started\n":
            self._process.wait(START_TIMEOUT)
            raise OfframpError("the flood did not start", reason=self._complaint())

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None  # it is a pipe
        return self._process.stdout

    def _complaint(self) -> str:
        """What the process wrote before it ended."""
        assert self._process.stderr is not None
        return str(self._process.stderr.read()).strip() or f"exit status {self._process.returncode}"

    def _spawn(self, orders: Orders) -> subprocess.Popen[Any]:
        return self.interface.host.popen(
            [sys.executable, "-m", "offramp.gen.generator", json.dumps(asdict(orders))],
            pass_fds=[orders.fd],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # the same modules as here
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
