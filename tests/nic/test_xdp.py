# SPDX-License-Identifier: Apache-2.0
"""A ramp on a real driver: the flow comes to user space, all else to the kernel, and the modes are as reported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import offramp
from offramp.errors import NotSupported
from offramp.nic import read
from offramp.ramp.ramp import Ramp
from offramp.testing import Wire
from tests.nic.functions import PATIENCE, assert_bypass, pings
from tests.rigs.traffic import MATCH, datagrams, kernel_receives, kernel_socket


@pytest.fixture
def plain(wire: Wire) -> Iterator[Wire]:
    """With VLAN tags and segments left as they are on the wire, as a ramp wants it."""
    with wire.b.host:
        stripped = read(wire.b.name).rx_vlan_offload
    if stripped:
        wire.b.rx_vlan_offload(False)
    yield wire
    if stripped:
        wire.b.rx_vlan_offload(True)


def opened(wire: Wire, **options: object) -> Ramp:
    with wire.b.host:
        return offramp.open(wire.b.name, MATCH, **options)  # type: ignore[arg-type]


def assert_bypass_and_return(wire: Wire, ramp: Ramp) -> None:
    """The flow is ours while pings are answered; then the kernel has it."""
    with ramp:
        assert_bypass(wire, ramp, lambda: pings(wire) == 3)
    with kernel_socket(wire) as receiver, datagrams(wire):
        assert kernel_receives(receiver, PATIENCE)


@pytest.mark.nic("igb", "virtio-net")
def test_native_with_copy(plain: Wire) -> None:
    ramp = opened(plain)
    assert (ramp.mode, ramp.zero_copy) == ("native", False)
    assert_bypass_and_return(plain, ramp)


@pytest.mark.nic("igb", "virtio-net-dma", kernels=">=6.14")
def test_zero_copy(plain: Wire) -> None:
    ramp = opened(plain, require="zero-copy")
    assert (ramp.mode, ramp.zero_copy) == ("native", True)
    assert_bypass_and_return(plain, ramp)


@pytest.mark.nic("virtio-net", kernels=">=6.14")
def test_zero_copy_is_refused_without_dma_and_auto_copies(plain: Wire) -> None:
    """virtio-net has zero-copy only if its device goes through the kernel's DMA interface."""
    with pytest.raises(NotSupported, match=r"the driver refuses zero-copy here \[EINVAL\]"):
        opened(plain, require="zero-copy")
    with pytest.warns(offramp.OfframpWarning, match="does not do zero-copy"), opened(plain, copying="auto") as ramp:
        assert not ramp.zero_copy


@pytest.mark.nic("igb", "virtio-net", kernels="<6.14")
def test_zero_copy_is_refused_where_the_driver_has_none(plain: Wire) -> None:
    with pytest.raises(NotSupported, match="zero-copy"):
        opened(plain, require="zero-copy")


@pytest.mark.nic("e1000e")
def test_generic_where_the_driver_has_no_xdp(plain: Wire) -> None:
    ramp = opened(plain)
    assert (ramp.mode, ramp.zero_copy) == ("generic", False)
    (told,) = [warning for warning in ramp.plan.warnings if warning.startswith("generic mode")]
    assert told.startswith("generic mode, because e1000e has no native XDP")
    assert_bypass_and_return(plain, ramp)


@pytest.mark.nic("igb", "e1000e")
def test_stripping_of_tags_is_off_while_a_ramp_is_open(wire: Wire) -> None:
    """And with it GRO where XDP is generic; both come back."""
    wire.b.rx_vlan_offload(True)
    wire.b.gro(True)
    with pytest.warns(offramp.OfframpWarning, match="VLAN stripping is off"):
        ramp = opened(wire)
    with ramp, wire.b.host:
        now = read(wire.b.name)
        assert (now.rx_vlan_offload, now.gro) == (False, ramp.mode == "native")
    with wire.b.host:
        now = read(wire.b.name)
        assert (now.rx_vlan_offload, now.gro) == (True, True)


@pytest.mark.nic("e1000e")
def test_native_is_refused_where_the_driver_has_no_xdp(plain: Wire) -> None:
    with pytest.raises(NotSupported, match="no native XDP"):
        opened(plain, require="native")
