# SPDX-License-Identifier: Apache-2.0
"""What runs in the guest: loads the drivers, then pytest, and writes a line of JSON as each test begins and ends.

python -m lab.nic.inside SHARE        SHARE/order: {"machine", "kernel", "modules", "pytest"}; SHARE/results
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

__all__ = ["main"]

IN_GUEST = "OFFRAMP_NICLAB"  # in the environment: "igb 6.12"


class Results:
    """A plugin of pytest. {"test"} in a line as it starts, {"test", "outcome", "seconds", "why", "text"} as it ends."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._seconds = 0.0
        self._worst: pytest.TestReport | pytest.CollectReport | None = None

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._seconds, self._worst = 0.0, None
        self._write(test=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds += report.duration
        if not report.passed and self._worst is None:
            self._worst = report

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        outcome = self._worst.outcome if self._worst else "passed"
        seconds = round(self._seconds, 1)
        self._write(test=nodeid, outcome=outcome, seconds=seconds, why=_why(self._worst), text=_text(self._worst))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(test=report.nodeid, outcome="failed", seconds=0.0, why=_why(report), text=_text(report))

    def _write(self, **line: object) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _why(report: pytest.TestReport | pytest.CollectReport | None) -> str:
    """In a line."""
    crash = getattr(report.longrepr, "reprcrash", None) if report else None
    told = crash.message if crash else report.longreprtext if report else ""
    return told.strip().partition("\n")[0]


def _text(report: pytest.TestReport | pytest.CollectReport | None) -> str:
    if report is None:
        return ""
    sections = [f"-- {name}\n{content}" for name, content in report.sections if content.strip()]
    return "\n".join([report.longreprtext, *sections])


def main() -> int:
    share = Path(sys.argv[1])
    order = json.loads((share / "order").read_text())
    for module in order["modules"]:
        subprocess.run(["modprobe", module], check=True)
    os.environ[IN_GUEST] = f"{order['machine']} {order['kernel']}"
    with open(share / "results", "w", encoding="utf-8") as file:
        return int(pytest.main(["-p", "no:cacheprovider", *order["pytest"]], plugins=[Results(file)]))


if __name__ == "__main__":
    sys.exit(main())
