# SPDX-License-Identifier: Apache-2.0
"""Rules for all tests.

- A test carries its folder's name as a mark: tests/kernel -> `kernel`.
- `--promised NAME` (repeatable): the tests marked NAME are promised to run here, so one that is skipped has failed.
- A test module leaves no descriptor of a namespace, socket or bpf object open, and no child process.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

import offramp.testing.pytest_plugin
from offramp.journal import lock
from offramp.llvm import child as llvm

TESTS = Path(__file__).parent
FOLDER_MARKS = ("kernel", "nic")
FUZZ_EXAMPLES = 5000  # of `make fuzz`; else there are 100
LOCKS = Path("/run/offramp")
WATCHED = ("net:[", "mnt:[", "socket:[", "anon_inode:bpf", "anon_inode:[pidfd]", "/dev/net/")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--promised",
        action="append",
        default=[],
        metavar="NAME",
        help="tests marked NAME (or in tests/NAME) are promised to run: a skip is a failure; can be repeated",
    )


@pytest.hookimpl(tryfirst=True)  # before hypothesis loads the profile that it was told
def pytest_configure(config: pytest.Config) -> None:
    if config.pluginmanager.has_plugin("hypothesispytest"):  # which takes two seconds to import: not in a guest
        from hypothesis import settings

        settings.register_profile("fuzz", max_examples=FUZZ_EXAMPLES, deadline=None)
    if not config.pluginmanager.has_plugin("offramp"):  # its entry point, when offramp is installed
        config.pluginmanager.register(offramp.testing.pytest_plugin, "offramp")


def folder_of(path: Path) -> str:
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = folder_of(item.path)
        if folder in FOLDER_MARKS and item.get_closest_marker(folder) is None:  # or it says more by itself
            item.add_marker(folder)


def break_promise(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"promised to run: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    promised: list[str] = item.config.getoption("promised")
    if report.skipped and not hasattr(report, "wasxfail") and any(map(item.get_closest_marker, promised)):
        break_promise(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A promised module that is skipped as a whole, before its tests exist, has failed, too."""
    report = yield
    if report.skipped and folder_of(collector.path) in collector.config.getoption("promised"):
        break_promise(report)
    return report


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of journals and locks, for this test alone."""
    monkeypatch.setenv("OFFRAMP_STATE_DIR", str(tmp_path))
    return tmp_path


def held() -> Counter[str]:
    """What this process holds: watched descriptors by kind, and child processes except the compiler's."""
    llvm.stop()
    gc.collect()
    kinds: Counter[str] = Counter()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:  # the descriptor of this very listing
            continue
        kinds.update(kind for kind in WATCHED if target.startswith(kind))
    for children in Path("/proc/self/task").glob("*/children"):
        kinds["child process"] += len(children.read_text().split())
    return kinds


@pytest.fixture(autouse=True, scope="module")
def nothing_left_behind() -> Iterator[None]:
    before = held()
    yield
    left = held() - before
    assert not left, f"left behind by this module: {dict(left)}"


@pytest.fixture(autouse=True, scope="session")
def no_lock_stays_behind() -> Iterator[None]:
    """Killed processes leave locks. All can be swept, but those that other processes hold."""
    yield
    lock.sweep()
    left = [path for path in LOCKS.glob("*") if os.geteuid() == 0 and not is_held(path)]
    assert not left, f"left behind: {left}"


def is_held(path: Path) -> bool:
    """Whether a process holds the lock: /proc/locks names it."""
    try:
        inode = path.stat().st_ino
    except FileNotFoundError:  # released just now
        return True
    return any(line.split()[-3].endswith(f":{inode}") for line in Path("/proc/locks").read_text().splitlines())
