# SPDX-License-Identifier: Apache-2.0
"""Every column against scapy.

Two oracles. Whole packets are dissected by scapy as a whole. Cut, altered and random ones are walked header by header,
each header's fields read by scapy's class for it: scapy's own walk is lenient with them in ways that are no standard.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from offramp import _native
from offramp.ports.batch import Batch
from tests.generators.frames import FRAMES, TAGS, altered, only, received

SCALARS = {
    "eth.type": "u2",
    "vlan.vlan": "u2",
    "vlan.prio": "u1",
    "vlan.type": "u2",
    "ip.src": "u4",
    "ip.dst": "u4",
    "ip.proto": "u1",
    "ip.ttl": "u1",
    "ip.len": "u2",
    "ip.frag": "u2",
    "ip6.nh": "u1",
    "ip6.hlim": "u1",
    "ip6.plen": "u2",
    "tcp.sport": "u2",
    "tcp.dport": "u2",
    "tcp.seq": "u4",
    "tcp.ack": "u4",
    "tcp.flags": "u1",
    "tcp.window": "u2",
    "udp.sport": "u2",
    "udp.dport": "u2",
    "udp.len": "u2",
    "length": "u4",
}
ADDRESSES = {"eth.dst": 6, "eth.src": 6, "ip6.src": 16, "ip6.dst": 16}
PRESENT = [f"{layer}.present" for layer in ("eth", "vlan", "ip", "ip6", "tcp", "udp")]
Row = dict[str, int | bytes | bool]

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60  # RFC 8200, section 4


# -- what scapy says ---------------------------------------------------------------------------------------------------


def blank(length: int) -> Row:
    zeros: Row = dict.fromkeys(SCALARS, 0)
    return (
        zeros
        | {name: bytes(size) for name, size in ADDRESSES.items()}
        | dict.fromkeys(PRESENT, False)
        | {"length": length}
    )


def fields(layer: Packet | None) -> Row:
    """The columns of one of scapy's layers, payload aside."""
    if layer is None:
        return {}
    match layer:
        case Ether():
            row: Row = {"eth.dst": mac(layer.dst), "eth.src": mac(layer.src), "eth.type": layer.type}
        case Dot1Q():  # Dot1AD, too
            row = {"vlan.vlan": layer.vlan, "vlan.prio": layer.prio, "vlan.type": layer.type}
        case IP():
            row = {f"ip.{name}": getattr(layer, name) for name in ("proto", "ttl", "len", "frag")}
            row |= {f"ip.{name}": int(ip_address(getattr(layer, name))) for name in ("src", "dst")}
        case IPv6():
            row = {f"ip6.{name}": getattr(layer, name) for name in ("nh", "hlim", "plen")}
            row |= {f"ip6.{name}": ip_address(getattr(layer, name)).packed for name in ("src", "dst")}
        case TCP():
            row = {f"tcp.{name}": getattr(layer, name) for name in ("sport", "dport", "seq", "ack", "window")}
            row["tcp.flags"] = int(layer.flags) & 0xFF
        case UDP():
            row = {f"udp.{name}": getattr(layer, name) for name in ("sport", "dport", "len")}
        case _:
            return {}
    return row | {f"{next(iter(row)).partition('.')[0]}.present": True}


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def dissected(frame: bytes) -> Row:
    """The row of a whole packet, as scapy dissects it."""
    packet = Ether(frame)
    row = blank(len(frame)) | fields(packet)
    outer_tag = next((layer for layer in layers(packet) if isinstance(layer, Dot1Q)), None)
    for layer in (outer_tag, *(packet.getlayer(kind) for kind in (IP, IPv6, TCP, UDP))):
        row |= fields(layer)
    return row


def layers(packet: Packet) -> Iterator[Packet]:
    number = 0
    while (layer := packet.getlayer(number)) is not None:
        yield layer
        number += 1


def walked(frame: bytes) -> Row:
    """The row of any bytes: each header that is whole and where it belongs, its fields read by scapy."""
    row = blank(len(frame))
    if len(frame) < 14:
        return row
    row |= fields(Ether(frame[:14], _internal=1)) | {"eth.type": int.from_bytes(frame[12:14])}
    row |= {
        "eth.dst": frame[:6],
        "eth.src": frame[6:12],
        "eth.present": True,
    }  # scapy reads types below 1536 as lengths
    kind, at = int.from_bytes(frame[12:14]), 14
    for tag in range(2):
        if kind not in TAGS:
            break
        if len(frame) < at + 4:
            return row
        if tag == 0:
            row |= fields(Dot1Q(frame[at : at + 4]))
        kind, at = int.from_bytes(frame[at + 2 : at + 4]), at + 4
    if kind == 0x0800:
        row |= walked_ip(frame, at)
    elif kind == 0x86DD:
        row |= walked_ip6(frame, at)
    return row


def walked_ip(frame: bytes, at: int) -> Row:
    header = frame[at : at + 20]
    if len(header) < 20 or header[0] >> 4 != 4 or header[0] & 15 < 5:
        return {}
    row = fields(IP(b"\x45" + header[1:]))
    return row if row["ip.frag"] else row | walked_transport(frame, at + 4 * (header[0] & 15), header[9])


def walked_ip6(frame: bytes, at: int) -> Row:
    header = frame[at : at + 40]
    if len(header) < 40 or header[0] >> 4 != 6:
        return {}
    row, protocol, at = fields(IPv6(header)), header[6], at + 40
    for _ in range(9):
        if protocol not in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION):
            return row | walked_transport(frame, at, protocol)
        extension = frame[at : at + 4]
        if len(extension) < 4 or (protocol == FRAGMENT and struct.unpack("!H", extension[2:])[0] >> 3):
            return row
        at += 8 if protocol == FRAGMENT else 8 * (extension[1] + 1)
        protocol = extension[0]
    return row


def walked_transport(frame: bytes, at: int, protocol: int) -> Row:
    if protocol == 6 and len(frame) >= at + 20:
        header = bytearray(frame[at : at + 20])
        header[12] = header[12] & 0x0F | 0x50  # without options
        return fields(TCP(bytes(header)))
    if protocol == 17 and len(frame) >= at + 8:
        return fields(UDP(frame[at : at + 8]))
    return {}


# -- what we say -------------------------------------------------------------------------------------------------------


def column(batch: Batch, name: str) -> Any:
    value: Any = batch
    for part in name.split("."):
        value = getattr(value, part)
    return value


def rows(batch: Batch) -> list[Row]:
    columns = {name: column(batch, name) for name in (*SCALARS, *ADDRESSES, *PRESENT)}
    convert: dict[str, Any] = (
        dict.fromkeys(SCALARS, int) | dict.fromkeys(ADDRESSES, bytes) | dict.fromkeys(PRESENT, bool)
    )
    return [{name: convert[name](values[row]) for name, values in columns.items()} for row in range(len(batch))]


# -- columns -----------------------------------------------------------------------------------------------------------


def test_the_columns_of_whole_packets_are_those_of_scapy() -> None:
    seen = []
    for batch in received(FRAMES):
        assert rows(batch) == [dissected(bytes(view)) for view in batch]
        seen += [bytes(view) for view in batch]
    assert seen[: len(FRAMES)] == FRAMES


def test_both_oracles_agree_on_whole_packets() -> None:
    assert [walked(frame) for frame in FRAMES] == [dissected(frame) for frame in FRAMES]


def test_every_truncation_of_every_packet() -> None:
    shortened = [frame[:length] for frame in FRAMES for length in range(min(len(frame), 130))]
    for start in range(0, len(shortened), 1500):
        for batch in received(shortened[start : start + 1500]):
            assert rows(batch) == [walked(bytes(view)) for view in batch]


@pytest.mark.parametrize("seed", range(3))
def test_altered_and_random_packets(seed: int) -> None:
    chance = random.Random(seed)
    odd = [altered(chance, chance.choice(FRAMES)) for _ in range(1500)]
    odd += [chance.randbytes(chance.choice((0, 1, 13, 14, 17, 18, 34, 60, 200, 1514))) for _ in range(300)]
    for batch in received(odd):
        assert rows(batch) == [walked(bytes(view)) for view in batch]


def test_dtypes_and_shapes_are_the_documented_ones() -> None:
    _, batch = only()
    n = len(batch)
    for name, dtype in SCALARS.items():
        assert (column(batch, name).dtype, column(batch, name).shape) == (np.dtype(dtype), (n,)), name
    for name, size in ADDRESSES.items():
        assert (column(batch, name).dtype, column(batch, name).shape) == (np.dtype("u1"), (n, size)), name
    for name in PRESENT:
        assert (column(batch, name).dtype, column(batch, name).shape) == (np.dtype(bool), (n,)), name
    assert {*SCALARS, *ADDRESSES, *PRESENT} == set(_native.FIELDS)
    assert (batch.timestamp.dtype, batch.timestamp.shape) == (np.dtype("u8"), (n,))


def test_columns_are_read_only() -> None:
    _, batch = only()
    for name in (*SCALARS, *ADDRESSES, *PRESENT):
        assert not column(batch, name).flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            column(batch, name)[0] = 1
        with pytest.raises(ValueError, match="cannot set WRITEABLE"):
            column(batch, name).flags.writeable = True


def test_a_column_is_parsed_once() -> None:
    _, batch = only()
    assert batch.ip.src is batch.ip.src


def test_columns_outlive_the_batch_and_the_port() -> None:
    port, batch = only(FRAMES, frames=512, ring=256)
    columns = {name: column(batch, name) for name in (*SCALARS, *ADDRESSES, *PRESENT)}
    before = {name: values.copy() for name, values in columns.items()}
    n = len(batch)
    del batch
    for _ in range(20):  # other packets, in the same frames
        other = port.rx(timeout=1)
        assert other is not None
        other.swap_addresses()
        assert len(other.ip.src)
    port.close()
    del port, other
    assert all(len(values) == n and (values == before[name]).all() for name, values in columns.items())


def test_the_timestamp_is_when_the_batch_was_taken() -> None:
    before = time.time_ns()
    _, batch = only()
    assert before <= batch.timestamp[0] <= time.time_ns()
    assert (batch.timestamp == batch.timestamp[0]).all()
    assert batch.timestamp_source == "poll"


def test_an_empty_selection_has_columns_too() -> None:
    _, batch = only()
    nothing = batch.select(np.zeros(len(batch), bool))
    assert len(nothing) == 0
    assert (rows(nothing), list(nothing)) == ([], [])
    assert nothing.ip6.src.shape == (0, 16)
