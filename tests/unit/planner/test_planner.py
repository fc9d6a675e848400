# SPDX-License-Identifier: Apache-2.0
"""The planner: the same plan for the same inputs, every refusal word for word, and no plan that contradicts itself."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.errors import InterfaceBusy, InterfaceDown, InterfaceError, NotSupported, OfframpError, OptionError
from offramp.facts.found import Found, Session
from offramp.facts.link import Link, Xdp
from offramp.lower.meaning import lower
from offramp.match import Everything, parse
from offramp.planner import Options, Plan, Situation, make_plan, mtu_refused
from offramp.protection import KEPT, PROTECTED, Protection
from offramp.verdict import Verdict

VETH = Link(
    name="eth0",
    ifindex=2,
    kind="veth",
    driver="veth",
    mac="02:00:00:77:00:02",
    up=True,
    carrier=True,
    operstate="up",
    mtu=1500,
    min_mtu=68,
    max_mtu=65535,
    rx_queues=1,
    tx_queues=1,
    rings=None,
    gro=False,
    lro=False,
    rx_vlan_offload=True,
    xdp=None,
    xdp_features=frozenset({"basic", "redirect", "rx-sg"}),
    zero_copy_segments=0,
    rx_metadata=frozenset({"timestamp", "hash", "vlan-tag"}),
)
OLD_KERNEL: dict[str, Any] = {"xdp_features": None, "rx_metadata": None, "zero_copy_segments": None}
MATCH = parse("udp dst port 4321")
EVERYTHING = Protection.of(Found(), lower(parse("")))
NOTHING = Protection.of(Found(), lower(MATCH))


def plan(
    link: Link = VETH, verdict: Verdict = Verdict.CLAIM, protection: Protection | None = NOTHING, **options: Any
) -> Plan:
    return make_plan(Situation(MATCH, verdict, link, Options(**options), protection))


def told(kind: type[OfframpError], link: Link, verdict: Verdict = Verdict.CLAIM, **options: Any) -> str:
    """The text of the error, which has to be of exactly that kind."""
    with pytest.raises(kind) as caught:
        plan(link, verdict, **options)
    assert type(caught.value) is kind
    return str(caught.value)


# -- plans -------------------------------------------------------------------------------------------------------------


def test_the_default_plan() -> None:
    made = plan()
    assert (made.interface, made.ifindex, made.match, made.verdict) == ("eth0", 2, "udp dst port 4321", Verdict.CLAIM)
    assert (made.mode, made.copying, made.queues, made.all_queues) == ("native", "copy", (0,), 1)
    assert (made.frames, made.frame_size, made.ring, made.stall) == (4096, 2048, 2048, 1.0)
    assert made.umem_bytes == 8 << 20  # as documented
    assert made.vlan_metadata
    assert made.warnings == ()


def test_the_same_inputs_give_the_same_plan() -> None:
    found = Found((22, 2222), (Session("10.0.0.1", 4022, "10.0.0.2", 50000),))
    one, other = (
        plan(replace(VETH), protection=Protection.of(replace(found), lower(parse(""))), queues=(0,), stall=0.5)
        for _ in range(2)
    )
    assert one == other
    assert hash(one) == hash(other)
    assert str(one) == str(other)
    assert json.dumps(one.to_dict()) == json.dumps(other.to_dict())


def test_the_plan_as_text() -> None:
    assert str(plan(replace(VETH, rx_queues=3), queues=(2, 0, 2))) == (
        "CLAIM on eth0: udp dst port 4321\n"
        "  1. [xdp] attach a program to eth0, in the driver: protected packets pass, the verdict of matching ones is "
        "CLAIM, all others pass\n"
        "       why:  the earliest place where this interface can look at a packet\n"
        "       undo: close the bpf_link; the kernel does so when the process ends\n"
        "  2. [user] bind an AF_XDP socket to queues 0, 2 of eth0, 4096 frames each, copy\n"
        "       why:  without a NIC rule the flow may arrive on any queue; a packet passed on from a zero-copy queue "
        "costs a copy\n"
        "       undo: close the sockets\n"
        "  3. [xdp] put the sockets into the program's XSKMAP by rx_queue_index\n"
        "       why:  from this step on matching packets come to user space; before it they pass\n"
        "       undo: close the map\n"
        "  protected: nothing that can match\n"
        "  warning: udp dst port 4321 is read from queues 0, 2 of 3 receive queues: matching packets on the others "
        "stay with the kernel"
    )


def test_every_packet_and_nothing_protected_say_so() -> None:
    made = make_plan(Situation(Everything(), Verdict.DROP, VETH, Options(protect=False), None))
    lines = str(made).splitlines()
    assert lines[0] == "DROP on eth0: every packet"
    assert "  protected: nothing" in lines
    assert made.warnings == (f"nothing is protected: {KEPT} is diverted too if it matches ({PROTECTED})",)


def test_the_plan_as_json() -> None:
    found = replace(EVERYTHING, own="ip host 10.0.0.9", left_out=((65534, 48), (65533, 1)), whole=True)
    made = plan(replace(VETH, rx_queues=2), protection=found)
    data = json.loads(json.dumps(made.to_dict()))
    assert set(data) == {field.name for field in fields(Plan)} | {"protect", "protected", "umem_bytes"}
    assert (data["protect"], data["protected"]) == (found.text, found.words)
    assert [row["name"] for row in data["protection"]["rows"]] == [row.name for row in found.rows]
    assert Plan.from_dict(data) == made
    assert (data["verdict"], data["queues"], data["umem_bytes"]) == ("CLAIM", [0, 1], 16 << 20)
    assert [step["layer"] for step in data["steps"]] == ["xdp", "user", "xdp"]
    assert all(step["what"] and step["why"] and step["undo"] for step in data["steps"])


@pytest.mark.parametrize("verdict", [Verdict.DROP, Verdict.TX, Verdict.PASS])
def test_a_verdict_in_the_driver_needs_no_socket(verdict: Verdict) -> None:
    made = plan(verdict=verdict)
    assert (made.queues, made.copying, made.stall, made.umem_bytes) == ((), None, None, 0)
    assert [step.layer for step in made.steps] == ["xdp"]


def test_a_program_that_redirects_nothing_needs_less_of_the_driver() -> None:
    without_redirect = replace(VETH, xdp_features=frozenset({"basic"}))
    assert plan(without_redirect, Verdict.DROP).mode == "native"
    assert plan(replace(without_redirect, rx_vlan_offload=False)).mode == "generic"


@pytest.mark.parametrize(
    ("mtu", "size"), [(68, 2048), (1500, 2048), (1770, 2048), (1771, 4096), (3000, 4096), (3818, 4096)]
)
def test_a_frame_holds_a_packet_its_tags_and_the_headroom(mtu: int, size: int) -> None:
    made = plan(replace(VETH, driver="any", kind=None, mtu=mtu))
    assert made.frame_size == size
    assert mtu + 14 + 8 + 256 <= size


def test_zero_copy_is_asked_for_where_it_is_wanted() -> None:
    assert plan(copying="auto").copying == "auto"
    able = replace(VETH, xdp_features=frozenset({"basic", "redirect", "xsk-zerocopy"}))
    for link in (able, replace(VETH, rx_vlan_offload=False, **OLD_KERNEL)):  # an old kernel does not tell: it is tried
        assert plan(link, copying="zero-copy").copying == "zero-copy"
        assert plan(link, require=frozenset({"zero-copy"})).copying == "zero-copy"


def test_zero_copy_that_the_driver_does_not_declare_is_refused_by_the_plan() -> None:
    wanted: list[dict[str, Any]] = [{"copying": "zero-copy"}, {"require": frozenset({"zero-copy"})}]
    for options in wanted:
        text = told(NotSupported, VETH, **options)
        assert text.startswith("eth0: no zero-copy with veth: ")
        assert "falls back" not in text


def test_an_old_kernel_does_not_say_what_the_driver_can() -> None:
    made = plan(replace(VETH, rx_vlan_offload=False, **OLD_KERNEL))
    assert (made.mode, made.vlan_metadata) == ("native", False)


def test_a_driver_that_refused_when_asked_gets_generic_mode() -> None:
    link = replace(VETH, rx_vlan_offload=False, **OLD_KERNEL)
    made = make_plan(Situation(MATCH, Verdict.CLAIM, link, Options(), NOTHING, native_refused=True))
    assert (made.mode, made.vlan_metadata) == ("generic", False)
    assert made.warnings[0].startswith("generic mode, because veth has no native XDP: ")
    assert "in the stack (generic mode)" in made.steps[0].what
    asked = plan(link, mode="generic")
    assert asked.warnings[0].startswith("generic mode, as asked: ")


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_an_interface_that_is_down() -> None:
    assert told(InterfaceDown, replace(VETH, up=False)) == "eth0 is down (ip link set eth0 up)"


@pytest.mark.parametrize(
    ("xdp", "message"),
    [
        (
            Xdp("native", 7, "offramp_claim", 4711, "python3"),
            "program 7 'offramp_claim' in native mode, held by another offramp, python3 (pid 4711)",
        ),
        (
            Xdp("generic", 8, "xdp_pass", None, None),
            "program 8 'xdp_pass' in generic mode, held by no process that is visible here",
        ),
        (
            Xdp("offload", 9, "", 1, None),
            "program 9 in offload mode, held by a process (pid 1)",
        ),
    ],
)
def test_an_interface_with_another_program(xdp: Xdp, message: str) -> None:
    hint = "(offramp never replaces a program: end that process or detach it first)"
    assert told(InterfaceBusy, replace(VETH, xdp=xdp)) == f"eth0 already runs XDP {message} {hint}"


def test_a_driver_without_native_xdp() -> None:
    link = replace(VETH, driver="e1000", xdp_features=frozenset())
    for options in ({"mode": "native"}, {"require": frozenset({"native"})}, {"copying": "zero-copy"}):
        assert told(NotSupported, link, **options) == (
            "eth0 (e1000) has no native XDP: its driver lacks basic, redirect"
        )
    assert told(NotSupported, link, Verdict.DROP, mode="native").endswith("its driver lacks basic")
    nameless = replace(link, driver=None, kind=None)
    assert told(NotSupported, nameless, mode="native").startswith("eth0 (no driver) has no native XDP")


def test_a_driver_that_refused_where_native_is_required() -> None:
    with pytest.raises(NotSupported) as caught:
        make_plan(Situation(MATCH, Verdict.DROP, VETH, Options(mode="native"), NOTHING, native_refused=True))
    assert str(caught.value) == "eth0 (veth) has no native XDP: its driver refused"


@pytest.mark.parametrize(
    ("gro", "lro", "which", "off"),
    [(True, False, "GRO", "gro off"), (None, True, "LRO", "lro off"), (True, True, "GRO and LRO", "gro off lro off")],
)
def test_generic_mode_with_merged_packets(gro: bool | None, lro: bool, which: str, off: str) -> None:
    link = replace(VETH, gro=gro, lro=lro, rx_vlan_offload=False)
    assert told(InterfaceError, link, mode="generic") == (
        f"eth0 in generic mode with {which} on: XDP would see merged packets, not the frames on the wire"
        f" (ethtool -K eth0 {off})"
    )


def test_native_mode_minds_only_what_the_nic_merges() -> None:
    assert plan(replace(VETH, gro=True)).mode == "native"
    assert told(InterfaceError, replace(VETH, gro=True, lro=True)) == (
        "eth0 in native mode with LRO on: XDP would see merged packets, not the frames on the wire"
        " (ethtool -K eth0 lro off)"
    )


@pytest.mark.parametrize("kind", ["bond", "team"])
def test_sockets_on_an_interface_that_only_forwards(kind: str) -> None:
    """Its packets carry the queue of one of its ports: a redirect to a socket of its own would lose them all."""
    link = replace(VETH, name="bond0", kind=kind, driver=kind)
    with pytest.raises(InterfaceError) as caught:
        make_plan(Situation(MATCH, Verdict.CLAIM, link, Options(), NOTHING))
    assert str(caught.value) == (
        f"bond0 is a {kind}: AF_XDP sockets on it receive nothing (open each of its ports instead)"
    )
    assert make_plan(Situation(MATCH, Verdict.DROP, link, Options(), NOTHING)).mode == "native"


@pytest.mark.parametrize("kind", ["macvlan", "bridge", "vrf", "ifb"])
def test_generic_mode_above_another_interface(kind: str) -> None:
    link = replace(VETH, name="m0", kind=kind, driver=kind, rx_vlan_offload=False, xdp_features=frozenset())
    assert told(InterfaceError, link) == (
        f"m0, a {kind}, in generic mode: VLAN tags are removed before it gets a packet, so "
        "tagged packets would look untagged (use the interface below it)"
    )


def test_tags_beside_the_frames_of_a_veth() -> None:
    """Its flag is of no help: tags cross a veth as the peer's driver leaves them."""
    link = replace(VETH, rx_vlan_offload=False)
    for made in (plan(replace(link, **OLD_KERNEL)), plan(link, mode="generic")):
        assert made.warnings[-1].endswith("ethtool -K PEER txvlan off tx-vlan-stag-hw-insert off")
    assert plan(link).warnings == ()


def test_tags_that_the_nic_strips() -> None:
    message = (
        "eth0 strips VLAN tags before XDP sees them: tagged packets would look untagged (ethtool -K eth0 rxvlan off)"
    )
    for verdict in (Verdict.CLAIM, Verdict.DROP):
        assert told(InterfaceError, replace(VETH, rx_metadata=frozenset({"hash"})), verdict) == message
        assert told(InterfaceError, replace(VETH, **OLD_KERNEL), verdict) == message
        assert told(InterfaceError, VETH, verdict, mode="generic") == message  # where no driver can be asked


@pytest.mark.parametrize(("driver", "mtu", "largest"), [("veth", 9000, 3506), ("mlx5_core", 9000, 3818)])
def test_an_mtu_that_fits_no_frame(driver: str, mtu: int, largest: int) -> None:
    link = replace(VETH, driver=driver, kind=None, mtu=mtu)
    assert told(InterfaceError, link) == (
        f"eth0 has an MTU of {mtu}: with XDP a packet has to fit one buffer: at most {largest}"
        f" (ip link set eth0 mtu {largest})"
    )
    assert plan(replace(link, mtu=largest)).frame_size == 4096


def test_a_veth_whose_peer_has_too_large_an_mtu() -> None:
    """The remedy is for that end."""
    assert str(mtu_refused(VETH)) == (
        "eth0's peer has too large an MTU: with XDP a packet has to fit one buffer: at most 3506 at both ends"
        ' (ip link set PEER mtu 3506, or mode="generic")'
    )
    assert "(ip link set eth0 mtu 3506)" in str(mtu_refused(replace(VETH, mtu=9000)))


def test_a_queue_that_is_not_there() -> None:
    assert told(OptionError, replace(VETH, rx_queues=4), queues=(1, 4)) == "queues=4: eth0 has queues 0 to 3"


# -- every plan there can be -------------------------------------------------------------------------------------------

FLAGS = st.none() | st.booleans()
FEATURES = st.sampled_from(["basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg"])
NAMES = st.sampled_from([None, "veth", "lo", "ice", "virtio_net"])
LINKS = st.builds(
    Link,
    name=st.sampled_from(["eth0", "lo", "enp1s0f0np0"]),
    ifindex=st.integers(1, 1 << 20),
    kind=NAMES,
    driver=NAMES,
    mac=st.just("02:00:00:00:00:01"),
    up=st.booleans() | st.just(True),
    carrier=st.booleans(),
    operstate=st.just("up"),
    mtu=st.integers(68, 4000) | st.integers(0, 1 << 31),
    min_mtu=st.just(68),
    max_mtu=st.none() | st.just(65535),
    rx_queues=st.integers(1, 128),
    tx_queues=st.integers(1, 128),
    rings=st.none(),
    gro=FLAGS,
    lro=FLAGS,
    rx_vlan_offload=FLAGS,
    xdp=st.none() | st.none() | st.just(Xdp("native", 1, "other", None, None)),
    xdp_features=st.none() | st.frozensets(FEATURES) | st.just(frozenset({"basic", "redirect"})),
    zero_copy_segments=st.none() | st.integers(0, 17),
    rx_metadata=st.none() | st.frozensets(st.sampled_from(["timestamp", "hash", "vlan-tag"])),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["auto", "native", "generic"]),
        "copying": st.sampled_from(["auto", "copy", "zero-copy"]),
        "require": st.frozensets(st.sampled_from(["native", "zero-copy"])),
        "queues": st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple),
        "ring": st.sampled_from([64, 2048]),
        "stall": st.none() | st.floats(0.01, 3600),
        "protect": st.booleans(),
    },
)


@given(LINKS, OPTIONS, st.sampled_from([Verdict.CLAIM, Verdict.DROP, Verdict.TX, Verdict.PASS]), st.booleans())
def test_a_plan_is_refused_or_consistent(
    link: Link, given_options: dict[str, Any], verdict: Verdict, native_refused: bool
) -> None:
    try:
        options = Options(**given_options)
        protection = EVERYTHING if options.protect else None
        made = make_plan(Situation(MATCH, verdict, link, options, protection, native_refused=native_refused))
    except OfframpError as error:
        told_in_one_line = "\n" not in str(error)
        assert told_in_one_line
        return
    assert link.up
    assert link.xdp is None
    assert made.mode == "native" or not (link.gro or link.lro)
    assert made.vlan_metadata or not link.rx_vlan_offload
    assert not made.vlan_metadata or (made.mode == "native" and link.rx_metadata and "vlan-tag" in link.rx_metadata)
    if made.mode == "native":
        assert not native_refused
        assert link.xdp_features is None or "basic" in link.xdp_features
    else:
        assert options.mode != "native"
        assert not options.require
        assert made.copying in (None, "auto", "copy")
        assert any("generic" in warning for warning in made.warnings)
    assert options.mode in ("auto", made.mode)
    assert (made.protect is None) == (not options.protect)
    assert list(made.queues) == sorted(set(made.queues))
    assert all(0 <= queue < link.rx_queues == made.all_queues for queue in made.queues)
    if verdict is Verdict.CLAIM:
        assert made.queues
        assert made.frame_size in (2048, 4096)
        assert link.mtu + 22 + 256 <= made.frame_size
        assert (made.stall, made.frames >= made.ring) == (options.stall, True)
        assert len(made.queues) == link.rx_queues or made.warnings
        assert not options.wants_zero_copy or made.copying == "zero-copy"
    else:
        assert (made.queues, made.copying, made.umem_bytes) == ((), None, 0)
    assert parse(made.match) == MATCH
    json.dumps(made.to_dict())
    assert str(made).startswith(f"{verdict.name} on {link.name}: ")
