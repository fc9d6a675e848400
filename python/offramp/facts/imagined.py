# SPDX-License-Identifier: Apache-2.0
"""A `Link` as an interface with given capabilities would show it, for plans about a NIC that is elsewhere. No I/O."""

from __future__ import annotations

import re

from offramp.facts.capabilities import Capabilities, XdpSupport
from offramp.facts.link import Link, Xdp
from offramp.facts.offloads import GRO, LRO, VLAN_STRIPPING, Offload

__all__ = ["imagined"]

_PROGRAM = re.compile(r"(\d+) (.*) \((native|generic|offload)\)")  # as nic/capable.py writes it


def imagined(able: Capabilities) -> Link:
    """Where nothing is known, it is as on a NIC whose driver was just loaded: VLAN stripping on, LRO off."""
    switches = able.features or {}
    physical = able.kind is None and able.bus != ""

    def on(offload: Offload, default: bool) -> bool | None:
        feature = switches.get(offload.feature)
        return feature.on if feature is not None else default and able.features is None

    return Link(
        name=able.interface,
        ifindex=0,
        kind=able.kind,
        driver=able.driver,
        mac="",
        up=able.up is not False,
        carrier=True,
        operstate="up",
        mtu=able.mtu or 1500,
        min_mtu=68,
        max_mtu=able.max_mtu,
        rx_queues=able.queues.rx or 1,
        tx_queues=able.queues.tx or 1,
        rings=None,
        gro=on(GRO, physical),
        lro=on(LRO, False),
        rx_vlan_offload=on(VLAN_STRIPPING, physical),
        xdp=_program(able.xdp.program or ""),
        xdp_features=_features(able.xdp),
        zero_copy_segments=None,
        rx_metadata=None if able.xdp.metadata is None else frozenset(able.xdp.metadata),
    )


def _program(text: str) -> Xdp | None:
    if not text:
        return None
    found = _PROGRAM.fullmatch(text)
    return Xdp(found[3], int(found[1]), found[2], None, None) if found else Xdp("native", 0, text, None, None)


def _features(able: XdpSupport) -> frozenset[str] | None:
    """The features as netdev.py reads them; None if it is not known whether there is native XDP."""
    if able.native is None:
        return None
    declared = {
        "basic": able.native,
        "redirect": able.redirect,
        "xsk-zerocopy": able.zero_copy,
        "rx-sg": able.fragments,
    }
    return frozenset(name for name, has in declared.items() if has)
