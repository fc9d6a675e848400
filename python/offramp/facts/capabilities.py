# SPDX-License-Identifier: Apache-2.0
"""What an interface can do, and what is on it now: all that a plan depends on, as one value.

    a live interface  --nic.open_nic("eth0").capabilities()-->  Capabilities  <--record("ixgbe")--  drivers/ixgbe.toml

None means "not known", never "no": a plan must not count on it, and may try. `with_record` fills in what a live
interface does not tell (the fields that its driver takes in rules, what an XDP program costs) from its driver's record.
JSON: `to_dict`, `from_dict`; SCHEMA is the version of that form. Each fact in a shipped record names its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, Literal

from offramp.immutable import field, immutable

__all__ = [
    "NTUPLE",
    "SCHEMA",
    "Capabilities",
    "Feature",
    "Ntuple",
    "Queues",
    "Rings",
    "Rss",
    "Vf",
    "Vfs",
    "XdpSupport",
    "with_record",
]

SCHEMA = 1

NTUPLE: Final = "rx-ntuple-filter"  # the kernel's name of the feature that rules need

Masks = Literal["any", "full", "prefix"]  # any bits; the whole field or nothing; the first bits


@immutable
class Queues:
    """Receive and transmit queues: in use, and at most. A combined queue counts in both."""

    rx: int | None = None
    tx: int | None = None
    rx_max: int | None = None
    tx_max: int | None = None
    combined: bool | None = None  # they change in pairs


@immutable
class Rings:
    """Descriptors of a queue's hardware ring: now, and at most."""

    rx: int | None = None
    tx: int | None = None
    rx_max: int | None = None
    tx_max: int | None = None


@immutable
class Rss:
    """Receive side scaling."""

    table_size: int | None = None  # 0: no table
    key_size: int | None = None  # bytes; 0: the key cannot be read or changed
    kernel_key: bool | None = None  # the driver does not tell its key; it uses net.core.netdev_rss_key
    late_key: bool | None = None  # some driver versions give the NIC a zero byte, then the key
    functions: tuple[str, ...] | None = None
    symmetric: bool | None = None  # both directions of a flow hash alike: not Toeplitz, not predictable
    queue_limit: int | None = None  # only lower queue numbers can be in the table
    table_with_vfs: bool | None = None  # the table can be changed while there are VFs
    field_choices: Mapping[str, tuple[str, ...]] | None = None  # flow type -> sets of letters to hash it by
    fields: Mapping[str, str] | None = None  # now
    function: str | None = None  # now
    table: tuple[int, ...] | None = None  # now
    key: str | None = None  # now; "6d:5a:..."


@immutable
class Ntuple:
    """n-tuple rules."""

    supported: bool | None = None
    on: bool | None = None  # the feature NTUPLE
    needs_feature: bool | None = None  # rules are accepted only while it is on
    slots: int | None = None
    flows: Mapping[str, Mapping[str, Masks]] | None = None  # flow type -> field -> masks that it accepts
    one_mask_per: Literal["rule", "flow type", "table"] | None = None  # rules of one such must compare the same bits
    ip_is_other: bool | None = None  # ip4 and ip6 rules do not match packets that have a flow type of their own
    to_vf: bool | None = None  # the action may name a VF's queue
    drop: bool | None = None
    chooses_location: bool | None = None
    rules: tuple[str, ...] | None = None  # now, in ethtool's words


@immutable
class XdpSupport:
    """XDP in the driver."""

    native: bool | None = None
    redirect: bool | None = None
    zero_copy: bool | None = None
    fragments: bool | None = None  # packets of several buffers are possible
    metadata: tuple[str, ...] | None = None  # "timestamp", "hash", "vlan-tag"
    max_mtu: int | None = None  # bytes, for a program without fragments
    resets_link: bool | None = None  # the carrier goes for a moment when a program is attached or detached
    with_vfs: bool | None = None  # a program can be attached while there are VFs
    needs: tuple[str, ...] | None = None  # conditions, in words
    program: str | None = None  # now; "" for none


@immutable
class Vf:
    """A virtual function that exists."""

    driver: str | None = None  # the driver that it is bound to; "": none
    interface: str | None = None  # its interface in this network namespace; "": none
    up: bool | None = None  # whether that interface is up


@immutable
class Vfs:
    """Virtual functions."""

    total: int | None = None
    in_use: int | None = None
    costs: tuple[str, ...] | None = None  # what having VFs changes for the rest of the NIC, in words
    driver: str | None = None  # the kernel's driver for them
    now: tuple[Vf, ...] | None = None  # those in use, by number


@immutable
class Feature:
    on: bool | None = None
    fixed: bool | None = None


@immutable
class Capabilities:
    """An interface, or (interface "") a driver."""

    interface: str = ""
    driver: str | None = None
    hardware: str | None = None  # in a record: the model that it is about
    bus: str | None = None  # PCI address; "" for a virtual interface
    kind: str | None = None  # the kind of a virtual interface
    lower: tuple[str, ...] | None = None  # the interfaces below a bond, bridge or VLAN: these have the queues and rules
    up: bool | None = None
    mtu: int | None = None
    max_mtu: int | None = None
    queues: Queues = Queues()
    rings: Rings = Rings()
    rss: Rss = Rss()
    ntuple: Ntuple = Ntuple()
    xdp: XdpSupport = XdpSupport()
    vfs: Vfs = Vfs()
    features: Mapping[str, Feature] | None = None  # by the kernel's names
    sources: Mapping[str, str] = field(default_factory=dict)  # in a record: where each fact is from

    def to_dict(self) -> dict[str, object]:
        """JSON-ready. What is not known is left out."""
        plain: dict[str, object] = _plain(self)
        return {"schema": SCHEMA} | plain


def with_record(live: Capabilities, record: Capabilities | None) -> Capabilities:
    """What the interface says; where it says nothing, what is known of its driver. The sources are kept."""
    if record is None:
        return live
    filled: Capabilities = _filled(live, record)
    return filled


def _filled(known: Any, other: Any) -> Any:
    found = {}
    for each in fields(known):
        mine, theirs = getattr(known, each.name), getattr(other, each.name)
        if is_dataclass(mine):
            found[each.name] = _filled(mine, theirs)
        elif mine is None or each.name == "sources":
            found[each.name] = theirs
    return replace(known, **found)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        parts = {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        return {name: part for name, part in parts.items() if part is not None and part != {}}
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return list(map(_plain, value)) if isinstance(value, tuple) else value
