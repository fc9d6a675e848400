# SPDX-License-Identifier: Apache-2.0
"""Batches: every column against scapy, every promise about frames, views and threads. On the null port: no kernel.

Two oracles. Whole packets are dissected by scapy as a whole. Cut, altered and random ones are walked header by header,
each header's fields read by scapy's class for it: scapy's own walk is lenient with them in ways that are no standard.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from offramp import _native
from offramp.batch import Batch
from offramp.errors import BatchInUse, Closed, OptionError
from offramp.ledger import QueueLedger
from offramp.port import Port

DEADLINE = 10.0  # seconds until a test that waits gives up

SRC, DST = "02:00:00:00:00:01", "02:00:00:00:00:02"
A4, B4, A6, B6 = "198.18.0.1", "10.77.0.2", "2001:db8::1", "fe80::2"
ETHER = Ether(src=SRC, dst=DST)
V4, V6 = IP(src=A4, dst=B4, ttl=7, id=9), IPv6(src=A6, dst=B6, hlim=3)
TCP_, UDP_ = TCP(sport=1234, dport=80, seq=0xFEDCBA98, ack=7, flags="SAEC", window=999), UDP(sport=65535, dport=53)

WHOLE: list[Packet] = [
    network / transport
    for network in (
        ETHER / V4,
        ETHER / Dot1Q(vlan=4095, prio=5) / V4,
        ETHER / Dot1AD(vlan=6, prio=7) / Dot1Q(vlan=7) / V4,
        ETHER / V6,
        ETHER / Dot1Q(vlan=1) / V6,
        ETHER / Dot1Q(vlan=2) / Dot1Q(vlan=3) / V6,
        ETHER / IP(src=A4, dst=B4, options=[IPOption(b"\x83\x03\x10")]),
        ETHER / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(addresses=[A6]),
        ETHER / V6 / IPv6ExtHdrFragment(m=1, id=5),
        ETHER / IP(src=A4, dst=B4, flags="MF"),
        ETHER / IP(src="0.0.0.0", dst="255.255.255.255", ttl=255),
    )
    for transport in (TCP_, UDP_, TCP_ / b"payload", UDP_ / bytes(1400))
] + [
    ETHER / ARP(psrc=A4, pdst=B4),
    ETHER / V4 / ICMP() / b"ping",
    ETHER / V6 / ICMPv6EchoRequest(),
    ETHER / IP(src=A4, dst=B4, frag=185, proto=17) / Raw(b"later fragment"),
    ETHER / V6 / IPv6ExtHdrFragment(offset=185, nh=6, id=5) / Raw(bytes(40)),
    ETHER / Dot1Q(vlan=9, type=0x88B5) / Raw(b"experimental"),
    Ether(src=SRC, dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / Raw(bytes(46)),
]
FRAMES = [bytes(packet) for packet in WHOLE]

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
TAGS = (0x8100, 0x88A8)


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


def received(packets: list[bytes]) -> Iterator[Batch]:
    """What a null port makes of `packets`, each of them once."""
    with Port.null(packets, frames=4096, frame_size=4096) as port:
        left = len(packets)
        while left > 0:
            batch = port.rx(timeout=1)
            assert batch is not None
            left -= len(batch)
            yield batch


def only(packets: list[bytes] | None = None, **options: int) -> tuple[Port, Batch]:
    """A null port and its first batch."""
    port = Port.null(FRAMES if packets is None else packets, **options)
    batch = port.rx(timeout=1)
    assert batch is not None
    return port, batch


def ledger(port: Port) -> QueueLedger:
    (only,) = port.ledgers()
    return only


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


def altered(chance: random.Random, frame: bytes) -> bytes:
    """Some bytes replaced, most of them in the headers; now and then cut or with a tag more."""
    changed = bytearray(frame[:200])
    for _ in range(chance.choice((1, 1, 2, 5))):
        changed[min(int(chance.expovariate(0.03)), len(changed) - 1)] = chance.choice(
            (0, 1, 4, 6, 17, 44, 0x45, 0x65, 255)
        )
    if chance.random() < 0.2:
        changed[12:12] = struct.pack("!HH", chance.choice(TAGS), chance.randrange(1 << 16))
    return bytes(changed[: chance.randrange(len(changed) + 1)] if chance.random() < 0.2 else changed)


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
    assert rows(nothing) == list(nothing) == []
    assert nothing.ip6.src.shape == (0, 16)


# -- views, slices, selections -----------------------------------------------------------------------------------------


def test_views_show_the_frame_and_cannot_change_it() -> None:
    _, batch = only()
    for number, frame in enumerate(FRAMES):
        view = batch[number]
        assert (bytes(view), view.readonly, view.format, view.shape) == (frame, True, "B", (len(frame),))
        with pytest.raises(TypeError, match="read-only"):
            view[0] = 0
    assert [bytes(view) for view in batch][: len(FRAMES)] == FRAMES
    array = np.frombuffer(batch[0], np.uint8)
    assert not array.flags.writeable


def test_indices() -> None:
    _, batch = only()
    n = len(batch)
    assert bytes(batch[-1]) == bytes(batch[n - 1])
    assert bytes(batch[-n]) == bytes(batch[0]) == bytes(batch[np.int64(0)])  # type: ignore[call-overload]
    for beyond in (n, -n - 1, 1 << 70):
        with pytest.raises(IndexError, match=f"batch of {n}"):
            batch[beyond]
    with pytest.raises(TypeError):
        batch["src"]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "part", [slice(2, 5), slice(None), slice(None, None, -1), slice(-3, None), slice(7, 3), slice(0, 999, 50)]
)
def test_slices(part: slice) -> None:
    _, batch = only()
    expected = [bytes(view) for view in batch][part]
    assert [bytes(view) for view in batch[part]] == expected
    assert rows(batch[part]) == rows(batch)[part]


def test_selections_by_mask_and_by_number() -> None:
    _, batch = only()
    everything, n = [bytes(view) for view in batch], len(batch)
    mask = batch.udp.present & (batch.ip.len > 1000)
    assert 0 < mask.sum() < n
    chosen = batch.select(mask)
    assert [bytes(view) for view in chosen] == [frame for frame, wanted in zip(everything, mask, strict=True) if wanted]
    assert rows(chosen) == [row for row, wanted in zip(rows(batch), mask, strict=True) if wanted]
    assert chosen.queue == batch.queue
    assert (chosen.timestamp == batch.timestamp[0]).all()
    numbers = [3, 0, -1, 3]
    assert [bytes(view) for view in batch.select(numbers)] == [everything[number] for number in numbers]
    assert [bytes(view) for view in batch.select(np.array(numbers[:2], np.uint64))] == [everything[3], everything[0]]
    assert [bytes(view) for view in chosen.select([-1])] == [bytes(chosen[-1])]  # of a selection
    assert len(batch.select([])) == 0
    assert repr(batch.select([1, 2])) == "<Batch of 2 packets of queue 0>"


def test_masks_that_cannot_be() -> None:
    _, batch = only()
    n = len(batch)
    for wrong in (np.ones(n + 1, bool), np.ones((n, 1), bool), np.ones(3, float), ["a"], [[1, 2]], 1, True, None):
        with pytest.raises(OptionError, match=rf"not bool\[{n}\], nor packet numbers"):
            batch.select(wrong)  # type: ignore[arg-type]
    for beyond in ([n], [-n - 1], np.array([1 << 63], np.uint64)):
        with pytest.raises(IndexError, match=f"batch of {n}"):
            batch.select(beyond)


def test_a_view_stays_as_it_is_while_100_000_others_pass() -> None:
    """Each later batch is altered, so that a frame recycled too early would be seen to change."""
    port, batch = only(FRAMES, frames=512, ring=256)
    view, frame = batch[3], bytes(batch[3])
    array = np.frombuffer(batch[5], np.uint8)
    copy = array.copy()
    del batch
    passed = 0
    while passed < 100_000:
        later = port.rx(timeout=1)
        assert later is not None
        later.swap_addresses()
        passed += len(later)
        assert bytes(view) == frame
    assert (array == copy).all()
    assert ledger(port).application == 2 + len(later)


def test_views_outlive_the_port() -> None:
    port, batch = only()
    view, frame = batch[0], bytes(batch[0])
    port.close()
    assert bytes(batch[1]) == FRAMES[1]
    assert batch.eth.present.all()
    del batch, port
    assert bytes(view) == frame


def test_when_everything_is_held_and_after() -> None:
    port = Port.null(FRAMES, frames=128, ring=64)
    held: list[Batch | memoryview] = []
    with pytest.raises(BatchInUse, match=r"hold 128 of 128 frames \(drop batches"):
        while batch := port.rx(timeout=1):
            held += [*batch]  # views keep frames as batches do
            del batch
    assert ledger(port).application == 128
    with pytest.raises(BatchInUse):
        port.rx(timeout=0)
    del held[:50]
    recovered = port.rx(timeout=1)
    assert recovered is not None
    assert len(recovered) == 50
    held.clear()
    del recovered
    assert ledger(port) == QueueLedger(received=178, free=128)


def test_selections_and_columns_keep_what_they_should() -> None:
    port, batch = only()
    n, part, sources = len(batch), batch.select([0]), batch.ip.src
    del batch
    assert ledger(port).application == n  # a selection keeps the whole batch
    del part
    assert ledger(port).application == 0  # a column keeps none
    assert len(sources) == n


# -- changing and sending ----------------------------------------------------------------------------------------------


def turned(frame: bytes) -> bytes:
    """The frame with its addresses swapped, by scapy."""
    packet = Ether(frame)
    packet.src, packet.dst = packet.dst, packet.src
    for kind, one, other in (
        (IP, "src", "dst"),
        (IPv6, "src", "dst"),
        (TCP, "sport", "dport"),
        (UDP, "sport", "dport"),
    ):
        layer = packet.getlayer(kind)
        if layer is not None:
            first, second = getattr(layer, one), getattr(layer, other)
            setattr(layer, one, second)
            setattr(layer, other, first)
    return bytes(packet)


def test_swapped_addresses_are_those_that_scapy_swaps() -> None:
    # One hole in the oracle: with a routing header, scapy's IPv6 answers for another final destination.
    frames = [frame for frame, packet in zip(FRAMES, WHOLE, strict=True) if IPv6ExtHdrRouting not in packet]
    _, batch = only(frames)
    old = batch.ip.src, batch.ip.src.copy()
    whole = batch.select(range(len(frames)))
    batch.swap_addresses()
    assert [bytes(view) for view in whole] == [turned(frame) for frame in frames]
    assert (old[0] == old[1]).all()
    assert (batch.ip.dst == old[1]).all()  # read anew
    for frame in map(bytes, whole):
        assert frame == bytes(with_new_sums(frame))


def with_new_sums(frame: bytes) -> Packet:
    packet = Ether(frame)
    for layer in layers(packet):
        first_fragment = not isinstance(layer, TCP | UDP) or not is_fragment(packet)
        if isinstance(layer, IP | TCP | UDP) and first_fragment:
            del layer.chksum
    return packet


def is_fragment(packet: Packet) -> bool:
    return IPv6ExtHdrFragment in packet or (IP in packet and bool(packet[IP].flags.MF or packet[IP].frag))


def test_swapping_any_bytes_twice_is_the_identity() -> None:
    chance = random.Random(1)
    odd = [altered(chance, chance.choice(FRAMES)) for _ in range(1000)]
    for batch in received(odd):
        before = [bytes(view) for view in batch]
        batch.swap_addresses()
        after = [bytes(view) for view in batch]
        assert all(len(one) == len(other) for one, other in zip(before, after, strict=True))
        batch.swap_addresses()
        assert [bytes(view) for view in batch] == before


def test_a_batch_with_a_live_view_is_not_turned_round_not_even_half() -> None:
    _, batch = only()
    before, sources = [bytes(frame) for frame in batch], batch.ip.src
    view = batch[5]
    with pytest.raises(OptionError, match="live view"):
        batch.swap_addresses()
    assert bytes(view) == before[5]
    assert [bytes(frame) for frame in batch] == before
    assert (batch.ip.src == sources).all()
    others = batch.select([number for number in range(len(batch)) if number != 5])
    others.swap_addresses()
    del view
    batch.swap_addresses()
    assert bytes(batch[5])[:12] == before[5][6:12] + before[5][:6]


def test_sent_frames_are_moved_and_gone() -> None:
    port, batch = only()
    n = len(batch)
    assert port.tx(batch) == n
    assert port.flush() == 0
    assert (ledger(port).sent, ledger(port).completed, ledger(port).application) == (n, n, 0)
    with pytest.raises(OptionError, match="was sent"):
        batch[0]
    with pytest.raises(OptionError, match="were sent"):
        batch.ip  # noqa: B018
        batch.ip.src  # noqa: B018
    with pytest.raises(OptionError, match=r"packet 0 was sent already.*once"):
        port.tx(batch)
    with pytest.raises(OptionError):
        batch.swap_addresses()
    assert ledger(port).sent == n


def test_sending_a_part_leaves_the_rest() -> None:
    port, batch = only()
    mask = batch.udp.present
    count = int(mask.sum())
    assert port.tx(batch, mask) == count
    rest = batch.select(~mask)
    assert not rest.udp.present.any()
    assert port.tx(rest) == len(batch) - count
    with pytest.raises(OptionError, match="was sent already"):
        port.tx(batch, [0])


def test_a_packet_named_twice_is_sent_once_or_not_at_all() -> None:
    port, batch = only()
    start = time.monotonic()
    with pytest.raises(OptionError, match="packet 1 was sent already"):
        port.tx(batch, [0, 1, 1], timeout=DEADLINE)
    assert time.monotonic() - start < DEADLINE
    assert ledger(port).sent == 0
    assert port.tx(batch, [0, 1]) == 2


def test_viewed_packets_and_those_of_other_ports_are_copied() -> None:
    port, batch = only()
    view, frame = batch[2], bytes(batch[2])
    assert port.tx(batch, [2, 3]) == 2
    assert bytes(view) == frame == bytes(batch[2])
    with pytest.raises(OptionError, match="was sent"):
        batch[3]
    other = Port.null()
    rest = batch.select([0, 1, 2])
    assert other.tx(rest) == 3
    assert [bytes(packet) for packet in rest] == [FRAMES[0], FRAMES[1], frame]
    assert (ledger(other).sent, ledger(other).application) == (3, 0)


def test_a_packet_that_fits_no_frame_of_the_sending_port() -> None:
    _, batch = only([bytes(1000)])
    small = Port.null(frame_size=512)
    with pytest.raises(OptionError, match="larger than a frame"):
        small.tx(batch)


def test_sending_bytes() -> None:
    port = Port.null()
    assert port.send(FRAMES) == len(FRAMES)
    for single in (FRAMES[0], bytearray(FRAMES[0]), memoryview(FRAMES[0]), np.frombuffer(FRAMES[0], np.uint8)):
        assert port.send(single) == 1
    assert port.send(frame for frame in FRAMES) == len(FRAMES)
    assert port.send(np.zeros((3, 60), np.uint8)) == 3
    assert port.send([]) == 0
    assert port.send(bytes(2048)) == 1
    assert port.flush() == 0
    assert ledger(port) == QueueLedger(sent=2 * len(FRAMES) + 8, completed=2 * len(FRAMES) + 8, free=4096)


def test_bytes_that_cannot_be_sent() -> None:
    port = Port.null()
    with pytest.raises(OptionError, match=r"packet 1 .* larger than a frame"):
        port.send([bytes(60), bytes(2049), bytes(60)])
    assert ledger(port).sent == 0
    for wrong in ("text", ["text"], 7, [7], None):
        with pytest.raises((TypeError, BufferError)):
            port.send(wrong)  # type: ignore[arg-type]
    assert ledger(port).sent == 0


# -- waiting, threads, closing -----------------------------------------------------------------------------------------


def test_not_waiting_and_waiting_for_a_while() -> None:
    port = Port.null()
    start = time.monotonic()
    assert port.rx(timeout=0) is None
    assert time.monotonic() - start < DEADLINE
    assert port.rx(timeout=0.05) is None
    assert time.monotonic() - start >= 0.05
    assert port.queues[0].rx(timeout=0) is None


def test_discarding() -> None:
    port = Port.null(FRAMES)
    packets = port.discard(0.02)
    assert packets == ledger(port).received > 0
    assert ledger(port).application == 0
    assert Port.null().discard(0) == 0


def finishes(*threads: threading.Thread) -> bool:
    deadline = time.monotonic() + DEADLINE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("packets", [[], FRAMES], ids=["idle", "busy"])
def test_iteration_ends_when_another_thread_closes(packets: list[bytes]) -> None:
    port = Port.null(packets)
    reader = threading.Thread(target=lambda: [None for _ in port], daemon=True)
    reader.start()
    time.sleep(0.05)
    assert reader.is_alive()
    port.close()
    assert finishes(reader)


def test_a_thread_for_each_queue() -> None:
    port = Port.null(FRAMES, queues=3)
    counts, places = [0, 0, 0], set()

    def read(place: int) -> None:
        for batch in port.queues[place]:
            counts[place] += len(batch)
            places.add((place, batch.queue))
            assert batch.eth.present.all()
            with contextlib.suppress(Closed):  # between the last batch and this
                assert port.queues[place].send(batch[0]) == 1

    readers = [threading.Thread(target=read, args=(place,), daemon=True) for place in range(3)]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + DEADLINE
    while min(counts) < 5000 and time.monotonic() < deadline:
        time.sleep(0.01)
    ledgers_live = port.ledgers()
    port.close()
    assert finishes(*readers)
    assert min(counts) >= 5000
    assert places == {(0, 0), (1, 1), (2, 2)}
    assert all(queue.free + queue.filling + queue.sending + queue.application == 4096 for queue in ledgers_live)


def test_all_queues_have_their_turn() -> None:
    port = Port.null(FRAMES, queues=2)
    turns = [batch.queue for batch, _ in zip(port, range(10), strict=False)]
    assert turns == [0, 1] * 5


def test_one_queue_in_two_threads_loses_nothing() -> None:
    port = Port.null(FRAMES)
    counts, enough = [0, 0], threading.Event()

    def read(place: int) -> None:
        for batch in port:
            counts[place] += len(batch)
            if enough.is_set():
                return

    readers = [threading.Thread(target=read, args=(place,), daemon=True) for place in range(2)]
    for reader in readers:
        reader.start()
    time.sleep(0.1)
    enough.set()
    assert finishes(*readers)
    assert ledger(port).received == sum(counts)
    assert min(counts) > 0


def test_after_closing() -> None:
    port, batch = only()
    queue = port.queues[0]
    port.close()
    port.close()
    attempts = (
        lambda: port.rx(),
        lambda: port.rx(timeout=0),
        lambda: queue.rx(),
        lambda: port.tx(batch),
        lambda: port.send(b"x"),
        lambda: port.flush(),
        lambda: port.ledgers(),
        lambda: queue.zero_copy,
    )
    for attempt in attempts:
        with pytest.raises(Closed, match="the port was closed"):
            attempt()
    assert list(port) == list(queue) == []


INTERRUPTED = """
import sys, time
from offramp.port import Port
port = Port.null()
print("waiting", flush=True)
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    "wait", ["port.rx()", "port.rx(timeout=60)", "[None for _ in port]", "port.queues[0].rx()", "port.discard(60)"]
)
def test_control_c_is_prompt(wait: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED.format(wait=wait)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        try:
            assert waiting.stdout.readline() == "waiting\n"
            time.sleep(0.1)
            os.kill(waiting.pid, signal.SIGINT)
            output, _ = waiting.communicate(timeout=DEADLINE)
            assert (output, waiting.returncode) == ("interrupted\n", 0)
        finally:
            waiting.kill()


# -- wrong arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"ring": 3}, "ring=3: not a power of two"),
        ({"ring": 0}, "ring=0: not a power of two"),
        ({"frame_size": 1000}, "frame_size=1000: not a power of two"),
        ({"frame_size": -2048}, "frame_size=-2048: not a power of two"),
        ({"queues": 0}, "queues=0, frames=4096: at least one of each"),
        ({"frames": 0}, "queues=1, frames=0: at least one of each"),
        ({"frames": -1}, "queues=1, frames=-1: at least one of each"),
        ({"frame_size": 512}, "packet 0 was sent already or is larger than a frame"),
    ],
)
def test_ports_that_cannot_be(options: dict[str, int], complaint: str) -> None:
    with pytest.raises(OptionError) as caught:
        Port.null([bytes(1000)], **options)
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), float("inf"), 1e300])
def test_times_that_cannot_be(seconds: float) -> None:
    port, batch = only()
    attempts = (
        lambda: port.rx(timeout=seconds),
        lambda: port.queues[0].rx(seconds),
        lambda: port.tx(batch, timeout=seconds),
        lambda: port.send(b"x", timeout=seconds),
        lambda: port.flush(seconds),
        lambda: port.discard(seconds),
    )
    for attempt in attempts:
        with pytest.raises(OptionError, match=r"seconds"):
            attempt()


@pytest.mark.parametrize("seconds", [1e6, 1e15])
def test_long_times(seconds: float) -> None:
    port, batch = only()
    assert port.rx(timeout=seconds) is not None
    assert port.send(b"x", timeout=seconds) == 1
    assert port.tx(batch, timeout=seconds) == len(batch)
    assert port.flush(timeout=seconds) == 0


@pytest.mark.parametrize("queue", [1, -1, 1 << 40])
def test_queues_that_are_not_there(queue: int) -> None:
    with pytest.raises(OptionError, match=f"queue {queue}: the port has queues 0 to 0"):
        Port.null().send(b"x", queue=queue)
