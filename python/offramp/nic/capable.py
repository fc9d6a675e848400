# SPDX-License-Identifier: Apache-2.0
"""A live interface's `Capabilities`: what the kernel and driver say, completed by what is known of the driver.

This takes some milliseconds; with many rules, 10 µs for each. It needs no privileges, but without CAP_NET_ADMIN some
drivers do not report the RSS key. Nothing is tried: a fact that only a change would show stays None.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace

from offramp.errors import InterfaceGone
from offramp.facts.capabilities import (
    NTUPLE,
    Capabilities,
    Feature,
    Ntuple,
    Queues,
    Rings,
    Rss,
    Vf,
    Vfs,
    XdpSupport,
    with_record,
)
from offramp.facts.link import Link
from offramp.facts.records import record
from offramp.nic import ethtool, features, link, pci, rss, rules, stacked
from offramp.nic.device import of_pci

__all__ = ["capabilities"]


def capabilities(name: str, bus: str) -> Capabilities:
    """What the interface can do now, by any name; `bus`: its PCI address, if it has one. Errors: InterfaceGone."""
    now = link.read(name)
    switches = features.features(name)
    live = Capabilities(
        interface=now.name,
        driver=now.driver,
        bus=bus,
        kind=now.kind,
        lower=stacked.lower_devices(name),
        up=now.up,
        mtu=now.mtu,
        max_mtu=now.max_mtu,
        queues=_queues(name, now),
        rings=_rings(now),
        rss=_rss(name),
        ntuple=_ntuple(name, switches),
        xdp=_xdp(now),
        vfs=_vfs(bus),
        features={feature: Feature(state.on, state.fixed) for feature, state in switches.items()},
    )
    return _with_key(with_record(live, record(now.driver)))


def _with_key(able: Capabilities) -> Capabilities:
    if able.rss.key or not able.rss.kernel_key:
        return able
    return replace(able, rss=replace(able.rss, key=rss.kernel_key().hex(":") or None))


def _queues(name: str, now: Link) -> Queues:
    found = ethtool.channels(name)
    if found is None:
        return Queues(now.rx_queues, now.tx_queues, now.rx_queues, now.tx_queues, None)
    most = found.combined_max
    return Queues(now.rx_queues, now.tx_queues, found.rx_max + most, found.tx_max + most, found.combined > 0)


def _rings(now: Link) -> Rings:
    return Rings(**asdict(now.rings)) if now.rings else Rings()


def _rss(name: str) -> Rss:
    found = rss.read(name)
    letters = {flow: rss.fields(name, flow) for flow in rss.FIELD_FLOWS}
    hashed = {flow: chosen for flow, chosen in letters.items() if chosen is not None} or None
    if found is None:
        return Rss(fields=hashed)
    return Rss(
        table_size=len(found.table),
        key_size=len(found.key) or None,  # 0 also if the driver did not tell
        fields=hashed,
        function=found.function,
        table=found.table,
        key=found.key.hex(":") or None,
    )


def _ntuple(name: str, switches: dict[str, features.Feature]) -> Ntuple:
    found = rules.table(name)
    switch = switches.get(NTUPLE)
    on = switch.on if switch else None
    if found is None or (switch and switch.fixed and not switch.on and not found.size):
        return Ntuple(supported=False, on=on)
    present = [rules.read(name, location) for location in found.locations]
    return Ntuple(
        supported=True,
        on=on,
        slots=found.size,
        chooses_location=found.chooses,
        rules=tuple(str(rule) for rule in present if rule),
    )


def _xdp(now: Link) -> XdpSupport:
    program = now.xdp
    text = f"{program.program_id} {program.name} ({program.mode})" if program else ""
    declared = now.xdp_features
    if declared is None:
        return XdpSupport(program=text)
    return XdpSupport(
        native="basic" in declared,
        redirect="redirect" in declared,
        zero_copy="xsk-zerocopy" in declared,
        fragments="rx-sg" in declared,
        metadata=tuple(sorted(now.rx_metadata or ())),
        program=text,
    )


def _vfs(address: str) -> Vfs:
    found = pci.vf_count(address) if pci.present(address) else None
    if found is None:
        return Vfs(total=0, in_use=0)
    return Vfs(total=found[1], in_use=found[0], now=tuple(_vf(address, number) for number in range(found[0])))


def _vf(physical: str, number: int) -> Vf:
    address = pci.vf_address(physical, number)
    driver = pci.driver(address) if address else None
    interface = of_pci(address) if address and driver else None
    with suppress(InterfaceGone):
        if interface is not None:
            return Vf(driver, interface.name, link.is_up(interface.ifindex))
    return Vf(driver or "", "", up=False)
