# SPDX-License-Identifier: Apache-2.0
"""A veth is changed, and given back in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from offramp.errors import KernelError
from offramp.journal import apply, transaction
from offramp.journal.store import Store
from offramp.nic.live import LiveNic
from offramp.testing import Interface, Wire
from tests.kernel.journal.changes import (
    KNOBS,
    STEPS,
    as_before,
    children,
    knobs,
    opened,
)

pytestmark = pytest.mark.speed  # what is promised is within a second; tests/nic/test_knobs.py has real drivers


def test_changed_and_given_back(interface: Interface) -> None:
    before = children()
    with interface.host, transaction(opened(interface)) as change:
        for knob, value in STEPS:
            change.set(knob, value)
        assert knobs(interface) == {"mtu": 4000, "feature.rx-gro": True, "up": False}
        assert len(children()) == len(before) + 1
        Store().read(Store().names()[0])
    assert as_before(interface)
    assert Store().names() == []
    assert children() == before


@pytest.mark.parametrize("k", range(len(STEPS)))
def test_the_kth_step_fails(interface: Interface, k: int) -> None:
    class Failing(LiveNic):
        left = k

        def set(self, knob: str, value: object) -> None:
            self.left -= 1
            if self.left == -1:
                raise KernelError(f"setting {knob}", 5)
            super().set(knob, value)

    def work() -> None:
        with transaction(Failing(opened(interface).identity)) as change:
            for knob, value in STEPS:
                change.set(knob, value)

    with interface.host, pytest.raises(KernelError, match="Input/output error"):
        work()
    assert as_before(interface)
    assert Store().names() == []


def test_a_value_that_the_kernel_refuses(interface: Interface) -> None:
    with interface.host, transaction(opened(interface)) as change:
        change.set("mtu", 2000)
        with pytest.raises(KernelError, match="Invalid argument"):
            change.set_all([("feature.rx-gro", True), ("mtu", 1 << 20)])
        assert knobs(interface) == {**KNOBS, "mtu": 2000}
    assert as_before(interface)


def test_for_some_time(interface: Interface) -> None:
    with interface.host:
        report = apply(opened(interface), STEPS, for_=0.05)
    assert report is not None
    assert report.state == "given back"
    assert as_before(interface)


def test_from_another_thread_and_namespace(wire: Wire, interface: Interface) -> None:
    with interface.host:
        change = transaction(opened(interface))
    with wire.a.host:
        change.set("mtu", 2000)
        assert knobs(wire.a) == KNOBS
    assert knobs(interface)["mtu"] == 2000
    change.close()
    assert as_before(interface)


def test_a_full_disk(interface: Interface, state: Path) -> None:
    """The change is not made, and what was changed before goes back."""

    def work() -> None:
        nic = opened(interface)
        with transaction(nic) as change:
            change.set("mtu", 2000)
            with pytest.raises(OSError, match="No space left"):
                (state / "ballast").write_bytes(bytes(1 << 20))
            with pytest.raises(KernelError, match=r"writing the journal .* No space left on device \[ENOSPC\]"):
                change.set("mtu", 3000)
            assert nic.get("mtu") == 2000
        assert nic.get("mtu") == 1500

    interface.host.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(state)])
    interface.host.call(work)
    assert as_before(interface)
