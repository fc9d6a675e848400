# SPDX-License-Identifier: Apache-2.0
"""Whatever fails in the middle: each system call in turn, descriptors and memory that run out. What ends, ends first;
what opens, opens or leaves nothing; and the error says what failed, with its errno.

Ordinarily a fixed sample of the failures; `-m soak` all of them.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import offramp
from offramp.errors import KernelError
from offramp.nic import ethtool
from offramp.testing import Wire
from tests.rigs.failing.calls import preloaded
from tests.rigs.failing.verbs import VERBS
from tests.rigs.leftovers import has_xdp
from tests.rigs.processes import in_child
from tests.rigs.traffic import MATCH
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return preloaded(tmp_path_factory.mktemp("library"))


ALL = pytest.param(1 << 30, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])


@pytest.mark.parametrize("most", [8, ALL])
@pytest.mark.parametrize("how", ["calls", "descriptors", "memory"])
def test_each_failure(wire: Wire, environment: dict[str, str], tmp_path: Path, how: str, most: int) -> None:
    wire.b.gro(True)
    command = [sys.executable, "-m", "tests.rigs.failing", how, str(most), *VERBS]
    environment = {**environment, "OFFRAMP_STATE_DIR": str(tmp_path)}
    process = wire.b.host.popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    said = [json.loads(line) for line in process.communicate()[0].splitlines()]
    assert [each for each in said if "steps" not in each] == []
    assert process.returncode == 0
    assert [each["verb"] for each in said] == list(VERBS)
    assert sum(each["steps"] for each in said) > most if most > 1000 else 10 * most
    assert sum(each["failed"] for each in said) > 10  # something did fail


# -- no descriptor is left ---------------------------------------------------------------------------------------------


@contextmanager
def none_left() -> Iterator[None]:
    """Every number below the limit is taken."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def attached(**options: Any) -> offramp.Attachment:
    return offramp.attach("eth0", MATCH, **options)


def closed(guard: list[offramp.Attachment]) -> None:
    guard.pop().close()


def left(guard: list[offramp.Attachment]) -> None:
    with guard.pop():
        pass


def forgotten(guard: list[offramp.Attachment]) -> None:
    guard.clear()


def collected(guard: list[offramp.Attachment]) -> None:
    circle: list[object] = [guard.pop()]
    circle.append(circle)
    del circle
    gc.collect()


@pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")
@pytest.mark.parametrize("end", [closed, left, forgotten, collected])
@pytest.mark.parametrize("opening", [offramp.open, offramp.attach])
def test_it_is_detached_though_no_descriptor_is_left(
    wire: Wire, opening: Callable[[str, str], offramp.Attachment], end: Callable[[list[offramp.Attachment]], None]
) -> None:
    with wire.b.host:
        guard = [opening("eth0", MATCH)]
        with none_left():
            end(guard)
        assert eventually(lambda: not has_xdp(wire.b))
        opening("eth0", MATCH).close()


def test_a_process_that_ends_without_a_descriptor_gives_everything_back(wire: Wire, state: Path) -> None:
    wire.b.gro(True)
    script = """
import os, offramp
guard = offramp.attach("eth0", "udp", mode="generic")
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
except OSError:
    pass
"""
    wire.b.host.run([sys.executable, "-W", "ignore", "-c", script], timeout=60)
    assert eventually(lambda: not has_xdp(wire.b))
    assert eventually(lambda: bool(wire.b.host.call(ethtool.gro, "eth0")), 10)
    assert eventually(lambda: not os.listdir(state), 10)


@pytest.mark.parametrize("opening", [offramp.open, offramp.attach])
def test_an_error_of_ours_with_its_errno(wire: Wire, opening: Callable[[str, str], offramp.Attachment]) -> None:
    with wire.b.host:
        opening("eth0", MATCH).close()
        with none_left(), pytest.raises(KernelError) as caught:
            opening("eth0", MATCH)
        assert caught.value.errno == errno.EMFILE


def test_a_first_call_without_descriptors(wire: Wire) -> None:
    """Also in a process that has not loaded what it needs."""

    def first() -> None:
        import offramp.ramp

        with none_left(), pytest.raises(KernelError):
            offramp.ramp.open("eth0", MATCH)

    with wire.b.host:
        assert in_child(first) == 0
