# SPDX-License-Identifier: Apache-2.0
"""Batches on the null port: what views show and keep alive, what selections hold, what can be changed and sent."""

from __future__ import annotations

import itertools
import random
import time

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrRouting
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from offramp.errors import BatchInUse, OptionError
from offramp.ports.batch import Batch
from offramp.ports.ledger import QueueLedger
from offramp.ports.port import Port
from tests.generators.frames import FRAMES, WHOLE, altered, ledger, only, received
from tests.rigs.ports import DEADLINE

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
        batch["src"]


@pytest.mark.parametrize(
    "part", [slice(2, 5), slice(None), slice(None, None, -1), slice(-3, None), slice(7, 3), slice(0, 999, 50)]
)
def test_slices(part: slice) -> None:
    _, batch = only()
    expected = [bytes(view) for view in batch][part]
    assert [bytes(view) for view in batch[part]] == expected
    assert (batch[part].udp.dport == batch.udp.dport[part]).all()


def test_selections_by_mask_and_by_number() -> None:
    _, batch = only()
    everything, n = [bytes(view) for view in batch], len(batch)
    mask = batch.udp.present & (batch.ip.len > 1000)
    assert 0 < mask.sum() < n
    chosen = batch.select(mask)
    assert [bytes(view) for view in chosen] == [frame for frame, wanted in zip(everything, mask, strict=True) if wanted]
    assert (chosen.udp.len == batch.udp.len[mask]).all()
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
        with pytest.raises(OptionError, match=rf"neither bool\[{n}\] nor packet numbers"):
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
    del later
    assert ledger(port).application == 2


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
    held = [view for batch in itertools.islice(port, 2) for view in batch]  # views keep frames as batches do
    with pytest.raises(BatchInUse, match=r"hold 128 of 128 frames \(drop batches"):
        port.rx(timeout=1)
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
    for layer in packet.iterpayloads():
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
        assert batch.ip.src
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
        with pytest.raises(OptionError, match=r"not bytes|not a list"):
            port.send(wrong)  # type: ignore[arg-type]
    assert ledger(port).sent == 0


# -- what a new user tries ---------------------------------------------------------------------------------------------


def test_a_batch_made_of_frames_holds_these_and_no_others() -> None:
    for frames in ([], FRAMES[:1], FRAMES[:4], [bytes(3000), bytes(60)], [bytes(60)] * 256):
        batch = Batch.of(frames)
        assert [bytes(view) for view in batch] == frames
        assert len(batch.ip.present) == len(frames)
    assert [bytes(view) for view in Batch.of(FRAMES[0])] == FRAMES[:1]
    with pytest.raises(OptionError, match="at most 256"):
        Batch.of([bytes(60)] * 257)
    with pytest.raises(OptionError, match="at most 3800"):
        Batch.of([bytes(3801)])
    assert [bytes(view) for view in Batch.of([bytes(3800)])] == [bytes(3800)]


def test_indexing_selects_as_numpy_does() -> None:
    batch = Batch.of(FRAMES)
    frames = np.array(FRAMES, object)
    n = len(FRAMES)
    mask = batch.udp.present
    for index in (
        mask,
        ~mask,
        np.flatnonzero(mask),
        [0, n - 1],
        [-1, 0],
        np.array([], int),
        slice(None, None, -1),
        (1,),
    ):
        expected = frames[list(index) if isinstance(index, tuple) else index]
        assert [bytes(view) for view in batch[index]] == list(expected)
    assert [bytes(view) for view in batch[mask.tolist()]] == list(frames[mask])
    for wrong in (mask[:-1], [True], np.ones((n, 1), bool), [0.5]):
        with pytest.raises(OptionError):
            batch[wrong]
    with pytest.raises(IndexError):
        batch[[n]]
    for odd in ("src", None, 1.5):
        with pytest.raises(TypeError, match="a packet's number, a slice, a mask"):
            batch[odd]  # type: ignore[index]


def test_columns_are_a_dict_of_arrays_of_one_dimension() -> None:
    batch = Batch.of(FRAMES)
    columns = batch.columns()
    assert {name.partition(".")[0] for name in columns} == {
        "length",
        "timestamp",
        "eth",
        "vlan",
        "ip",
        "ip6",
        "tcp",
        "udp",
    }
    assert {array.shape for array in columns.values()} == {(len(FRAMES),)}
    assert (columns["ip.src"] == batch.ip.src).all()
    assert [*columns["ip6.dst"]] == [row.tobytes() for row in batch.ip6.dst]
    assert [*batch.columns("udp")] == ["length", "timestamp", "udp.present", "udp.sport", "udp.dport", "udp.len"]
    with pytest.raises(OptionError, match=r"did you mean udp\?"):
        batch.columns("upd")


def test_what_is_shown_says_what_it_is_and_how_many() -> None:
    batch = Batch.of(FRAMES[:1])
    assert repr(batch) == "<Batch of 1 packet of queue 0>"
    for layer in (batch.eth, batch.vlan, batch.ip, batch.ip6, batch.tcp, batch.udp):
        assert repr(layer).startswith(f"<{layer.name}: {int(layer.present.sum())} of 1 packet; present ")
        assert "_batch" not in dir(layer)
        assert "present" in dir(layer)
    assert [name for name in dir(batch) if name.startswith("_") and not name.endswith("__")] == []
    for name in ("rx", "tx", "send", "flush", "close"):
        assert (getattr(Port, name).__doc__ or getattr(Port.__mro__[1], name).__doc__ or "").strip()
