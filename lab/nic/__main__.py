# SPDX-License-Identifier: Apache-2.0
"""python -m lab.nic: see the package."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.nic.choice import Choice, choose, parts
from lab.nic.guest import boot
from lab.nic.kernels import KERNELS, Kernel
from lab.nic.machines import MACHINES, Machine
from lab.nic.mirror import MirrorError
from lab.nic.report import GuestReport, summary
from lab.nic.stock import Built, Stock

TIMEOUT = 1800.0  # seconds for one guest
JOBS = min(os.cpu_count() or 1, 4)  # a guest keeps one CPU busy, and has 2 GiB
# A skip is a failure; everything takes ten times as long; what other runs have left in this machine's /tmp is not ours.
GUEST_OPTIONS = (
    "--promised",
    "nic",
    "--promised",
    "kernel",
    "--timeout",
    "300",
    "--tb",
    "short",
    "-p",
    "no:hypothesispytest",  # two seconds to import, and not needed
    "--basetemp",
    "/run/pytest",
)
TESTS = ("tests/nic", "tests/kernel")


def main() -> int:
    options, rest = _options()
    if os.geteuid() != 0:
        print(
            "the NIC lab needs root: a network namespace for QEMU, and the guest runs as root on this machine's files"
        )
        return 1
    start = time.monotonic()
    sys.dont_write_bytecode = False  # what is imported and rewritten here once, each guest reads, for which it is slow
    targets = options.tests or list(TESTS)
    pytest_options = ["-m", options.marks, *(["-k", options.keyword] if options.keyword else []), *rest]
    try:
        choice = _narrowed(choose([*pytest_options, *targets], options.kernel or ()), options)
        stock = Stock()
        built = {ready.kernel: ready for ready in stock.get({kernel: None for _, kernel in choice})}
    except (MirrorError, ValueError) as error:
        print(f"lab.nic: {error}", file=sys.stderr)
        return 2
    for (machine, kernel), tests in choice.items():
        print(f"{machine.name} under {built[kernel].release}: {len(tests)} tests", flush=True)
    if options.list:
        return 0
    for directory in ("python", "lab", "tests"):  # the rest
        compileall.compile_dir(directory, quiet=1)
    guests = [(*guest, number, part) for guest, tests in choice.items() for number, part in enumerate(parts(tests))]
    guests.sort(key=lambda guest: -len(guest[3]))  # the longest first: then the last ones end together
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = [
            pool.submit(_run, stock, built[kernel], machine, part, tests, options)
            for machine, kernel, part, tests in guests
        ]
        try:
            return summary([run.result() for run in runs], time.monotonic() - start)
        except KeyboardInterrupt:
            os._exit(130)  # guests die with this process, and there is no other way to end a thread


def _options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m lab.nic", description="Tests in guests with emulated NICs.")
    parser.add_argument("tests", nargs="*", help=f"files or tests (default: {' '.join(TESTS)})")
    parser.add_argument("-k", dest="keyword", help="only tests whose names match, as in pytest")
    parser.add_argument("-m", dest="marks", default="not soak and not fuzz", help="only tests with marks, as in pytest")
    parser.add_argument("--machine", action="append", choices=[machine.name for machine in MACHINES])
    parser.add_argument("--kernel", action="append", choices=[kernel.name for kernel in KERNELS])
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"guests at a time (default {JOBS})")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help=f"seconds for one guest (default {TIMEOUT:.0f})")
    parser.add_argument("--list", action="store_true", help="only say which guests would run how many tests")
    return parser.parse_known_args()


def _narrowed(choice: Choice, options: argparse.Namespace) -> Choice:
    """Only the machines and kernels that were asked for. Errors: ValueError if nothing is left."""

    def wanted(machine: Machine, kernel: Kernel) -> bool:
        return machine.name in (options.machine or [machine.name]) and kernel.name in (options.kernel or [kernel.name])

    if left := {guest: tests for guest, tests in choice.items() if wanted(*guest)}:
        return left
    raise ValueError("no test for these machines, kernels and names")


def _run(
    stock: Stock, built: Built, machine: Machine, part: int, tests: list[str], options: argparse.Namespace
) -> GuestReport:
    name = f"{machine.name}-{built.kernel.name}" + (f"-{part + 1}" if part else "")
    with stock.alone(name):
        share = _share(stock, name)
        order = {
            "machine": machine.name,
            "kernel": built.kernel.name,
            "modules": machine.modules,
            "pytest": [*GUEST_OPTIONS, *tests],
        }
        (share / "order").write_text(json.dumps(order))
        report = GuestReport(name, share, tests)
        command = [sys.executable, "-m", "lab.nic.inside", str(share)]
        report.finish(boot(stock, built, machine, share, command, timeout=options.timeout, watch=report.follow))
        return report


def _share(stock: Stock, name: str) -> Path:
    """Empty: what the last run of this guest has left is of no use any more."""
    share = stock.directory / "runs" / name
    shutil.rmtree(share, ignore_errors=True)
    share.mkdir(parents=True)
    return share


if __name__ == "__main__":
    sys.exit(main())
