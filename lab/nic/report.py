# SPDX-License-Identifier: Apache-2.0
"""What guests report: a line for each test as it ends, and a verdict.

What has not passed has failed: a skip, too, and a test of which nothing was heard, because the guest died before it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from lab.nic.guest import Ended

__all__ = ["GuestReport", "summary"]

LAST_WORDS = 30  # lines


@dataclass
class GuestReport:
    """One guest's tests, followed in its share while it runs."""

    name: str  # "igb 6.12"
    share: Path
    expected: list[str]
    passed: int = 0
    failures: list[str] = field(default_factory=list)
    ended: Ended | None = None
    _read: int = 0  # bytes of results
    _done: set[str] = field(default_factory=set)
    _running: str = ""

    def follow(self) -> None:
        """Print what has ended since the last time."""
        results = self.share / "results"
        new = results.read_bytes()[self._read :] if results.exists() else b""
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            self._take(json.loads(line))

    def _take(self, line: dict[str, object]) -> None:
        test = str(line["test"])
        if "outcome" not in line:
            self._running = test
            return
        self._running = ""
        self._done.add(test)
        print(f"{self.name:15} {line['outcome']!s:8} {line['seconds']!s:>6} s  {test}", flush=True)
        if line["outcome"] == "passed":
            self.passed += 1
        else:
            self.failures.append(f"{self.name}: {test} {line['outcome']}: {line['why']}\n{line['text']}")

    def finish(self, ended: Ended) -> None:
        """The guest is gone: what it left undone has failed."""
        self.follow()
        self.ended = ended
        unheard = [test for test in self.expected if test not in self._done]
        if ended.why or unheard or (ended.status and not self.failures):
            where = f" while {self._running} ran" if self._running else ""
            what = ended.why or f"pytest ended with status {ended.status}"
            lost = f"; nothing was heard of {len(unheard)} tests" if unheard else ""
            self.failures.append(f"{self.name}: {what}{where}{lost}\n{self._last_words()}")
        print(f"{self.name:15} {self.passed} passed, {len(self.failures)} failed in {ended.seconds:.0f} s", flush=True)

    def _last_words(self) -> str:
        words = []
        for name in ("console", "output"):
            path = self.share / name
            lines = path.read_text(errors="replace").splitlines() if path.exists() else []
            words += [f"-- the end of {path}", *lines[-LAST_WORDS:]]
        return "\n".join(words)


def summary(reports: list[GuestReport], seconds: float) -> int:
    """Print what failed, whole, and at the end in a line each, which a log cut short still has; returns the status."""
    failures = [failure for report in reports for failure in report.failures]
    for failure in failures:
        print(f"\n==== {failure}")
    print()
    for failure in failures:
        print(failure.partition("\n")[0])
    passed = sum(report.passed for report in reports)
    print(f"{len(reports)} guests, {passed} tests passed, {len(failures)} failed, in {seconds:.0f} s")
    return 1 if failures or not passed else 0
