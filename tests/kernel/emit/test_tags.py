# SPDX-License-Identifier: Apache-2.0
"""A match is about the frame on the wire: with a VLAN tag out of band, the program says what the reference says of the
frame with the tag in its place.

A tag is out of band here as it is on a NIC with offload: the socket buffer carries it over a veth, and the program asks
for it by bpf_xdp_metadata_rx_vlan_tag.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count as count_up
from itertools import islice

import pytest

from offramp import bpf
from offramp.emit.program import Spec
from offramp.emit.vlan_tag import OUT_OF_BAND
from offramp.errors import KernelError, NotSupported
from offramp.lower.evaluate import evaluate
from offramp.lower.expression import Any, Calculation, Const, Expr, Length, Negate, Number, TagBytes, Test
from offramp.testing import Lab, Wire
from offramp.verdict import Verdict
from tests.generators.lowered import IP, KINDS, ROUNDS, UDP, Expressions, equals, load, packet, with_tag
from tests.kernel.emit.test_program import PROTECT, Maps, behind_tags, frame, maps, port, spec
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import Sender, hush, tags_beside

pytestmark = pytest.mark.since("6.8")  # bpf_xdp_metadata_rx_vlan_tag

__all__ = ["maps"]  # a fixture

TAGS = (0x8100_0005, 0x88A8_0005)
Count = Callable[[Spec, int | None, list[bytes]], Counter[str]]


@pytest.fixture
def quiet(lab: Lab) -> Wire:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    wire.a.tx_vlan_offload(True)
    hush(wire)
    return wire


@pytest.fixture
def count(maps: Maps, quiet: Wire) -> Iterator[Count]:
    """Frames over a wire, with a tag out of band or none: where they ended."""
    with Sender(quiet.a) as plain, Sender(quiet.a, bypass=False) as beside:

        def count(spec: Spec, tag: int | None, frames: list[bytes]) -> Counter[str]:
            with quiet.b.host:
                program = load_bound(maps, spec, quiet.b.ifindex)
                with program, bpf.XdpLink.attach(program, quiet.b.ifindex):
                    before = maps.read()
                    if tag is None:
                        plain(frames)
                    else:
                        with pushed(quiet, tag):
                            beside(frames)
                    eventually(lambda: (maps.read() - before)["seen"] >= len(frames))
            return maps.read() - before

        yield count


def load_bound(maps: Maps, spec: Spec, ifindex: int) -> bpf.Program:
    try:
        return maps.load(spec, ifindex=ifindex if spec.vlan_metadata else None)
    except NotSupported as error:
        pytest.skip(str(error))


def pushed(wire: Wire, tag: int) -> AbstractContextManager[None]:
    try:
        return tags_beside(wire.a, tag >> 16, tag & 0xFFFF)
    except KernelError as error:
        pytest.skip(f"no tcx here: {error}")


def to_all(frame: bytes) -> bytes:
    return b"\xff" * 6 + frame[6:]


def untagged(chance: random.Random, number: int) -> list[bytes]:
    """A tag in a frame that is sent would go out of band."""
    frames = [to_all(packet(chance, least=20)) for _ in range(number)]
    return [each for each in frames if each[12:14] not in (b"\x81\x00", b"\x88\xa8")]


def where(match: Expr, frames: list[bytes], tag: int | None) -> Counter[str]:
    """What `count` is to say."""
    on_wire = frames if tag is None else [with_tag(each, tag) for each in frames]
    ends = Counter("claimed" if evaluate(match, each) else "passed" for each in on_wire)
    return ends + Counter(seen=len(frames))


IN_VLAN_5 = equals(14, 2, 5, 0xFFF)
IS_8100 = equals(12, 2, 0x8100)


@pytest.mark.parametrize(
    "match",
    [
        port(53),
        behind_tags(port(53)),
        Negate(UDP),
        equals(0, 4, 0xFFFF_FFFF),
        IS_8100,
        Negate(Any((IS_8100, IP))),
        IN_VLAN_5,
        Test(load(20, 2, Calculation("<<", Calculation("&", load(18, 1), Number(15)), Number(2))), "==", Number(53)),
        Test(Length(), "==", Number(64)),
        Test(TagBytes(12), "==", Number(4)),
        Any((equals(200, 1, 0), Const(True))),
    ],
    ids=["port", "vlan any, port", "not udp", "mac", "tag", "neither", "id", "behind", "length", "tags", "too far"],
)
@pytest.mark.parametrize("tag", [None, *TAGS])
def test_a_match_is_about_the_frame_on_the_wire(count: Count, match: Expr, tag: int | None) -> None:
    frames = [to_all(frame(53)), to_all(frame(54))] * 3
    assert count(spec(match, PROTECT, vlan_metadata=True), tag, frames) == where(match, frames, tag)


@pytest.mark.parametrize("tag", [None, *TAGS])
def test_each_kind_of_value_and_test(count: Count, tag: int | None) -> None:
    chance = random.Random(tag)
    frames = untagged(chance, 20)
    for kind, match in KINDS.items():
        assert count(spec(match, vlan_metadata=True), tag, frames) == where(match, frames, tag), kind


def is_certain(match: Expr) -> bool:
    """Whether all tagged frames leave by the same exit."""
    return spec(match).body.exit_of_tagged(OUT_OF_BAND) is not None


@pytest.mark.fuzz
def test_random_expressions_on_tagged_frames(count: Count) -> None:
    chance = random.Random(5)
    expressions = Expressions(chance)
    undecided = (match for match in (expressions() for _ in count_up()) if not is_certain(match))
    for match in islice(undecided, ROUNDS // 10):
        frames = untagged(chance, 10)
        tag = chance.choice((None, *TAGS))
        assert count(spec(match, vlan_metadata=True), tag, frames) == where(match, frames, tag), match


@pytest.mark.fuzz
@pytest.mark.parametrize("verdict", [Verdict.CLAIM, Verdict.TX, Verdict.DROP])
def test_random_programs_that_ask_for_tags_load(maps: Maps, quiet: Wire, verdict: Verdict) -> None:
    expressions = Expressions(random.Random(verdict))
    with quiet.b.host:
        for _ in range(ROUNDS // 10):
            each = spec(expressions(), PROTECT, verdict, 10**9 if verdict is Verdict.CLAIM else None, True)
            load_bound(maps, each, quiet.b.ifindex).close()


def test_without_the_metadata_the_tag_is_invisible(count: Count) -> None:
    assert count(spec(port(53)), TAGS[0], [to_all(frame(53))] * 5) == {"seen": 5, "claimed": 5}


def test_a_protected_packet_is_protected_with_a_tag_out_of_band(count: Count) -> None:
    everything = spec(Const(True), port(53), vlan_metadata=True)
    assert count(everything, TAGS[0], [to_all(frame(53))] * 5) == {"seen": 5, "protected": 5}
