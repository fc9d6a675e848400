# SPDX-License-Identifier: Apache-2.0
"""`offramp nic`: what its words mean, and what it shows, on a software NIC with a journal that only notes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from typer.testing import CliRunner

import offramp.journal
from offramp.cli import app, main
from offramp.cli.nic_view import text, to_dict
from offramp.cli.nic_words import changes_of
from offramp.errors import InterfaceError, OptionError
from offramp.facts.capabilities import Capabilities, Queues
from offramp.facts.knobs import Value
from offramp.nic import live
from offramp.nic.ethtool import Driver
from offramp.nic.rates import Rates
from offramp.steering import equal, weighted
from offramp.testing.software_nic import SoftwareNic

RULE = {"flow-type": "udp4", "dst-port": 53, "action": 3}
RATES = Rates(1.0, 1234567.0, {0: 1234000.0, 1: 567.0})


def changes(line: str, nic: SoftwareNic | None = None) -> list[tuple[str, Value]]:
    return changes_of(nic or SoftwareNic(), line.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rss equal 2", [("rss.table", equal(128, 2))]),
        ("rss equal 2 start 1", [("rss.table", equal(128, 2, 1))]),
        ("rss start 1 equal 2", [("rss.table", equal(128, 2, 1))]),
        ("rss weight 3 1", [("rss.table", weighted(128, [3, 1]))]),
        ("rss key 6D:5a", [("rss.key", "6d:5a")]),
        ("rss function xor", [("rss.function", "xor")]),
        ("rss fields udp4 sdfn", [("rss.fields.udp4", "sdfn")]),
        ("rss equal 1 key 00:01", [("rss.table", equal(128, 1)), ("rss.key", "00:01")]),
        ("steer flow-type udp4 dst-port 53 action 3", [("rule.7", RULE)]),
        ("steer flow-type udp4 dst-port 53 action 3 loc 2", [("rule.2", RULE)]),
        ("steer flow-type udp4 dst-port 53 action -1", [("rule.7", RULE | {"action": -1})]),
        ("vf count 2", [("vf.count", 2)]),
        ("vf autoprobe off", [("vf.autoprobe", False)]),
        ("bind vfio-pci", [("pci.driver", "vfio-pci")]),
        ("bind none", [("pci.driver", None)]),
    ],
)
def test_words_and_their_changes(line: str, expected: list[tuple[str, Value]]) -> None:
    assert changes(line) == expected


def test_without_a_queue() -> None:
    ((knob, table),) = changes("rss without 3 1")
    assert (knob, set(table), table[:5]) == ("rss.table", {0, 2}, [0, 0, 2, 2, 0])


def test_the_last_free_location() -> None:
    nic = SoftwareNic(slots=2)
    nic.set("rule.1", RULE)
    assert changes("steer flow-type tcp4 action 1", nic)[0][0] == "rule.0"
    with pytest.raises(InterfaceError, match="a rule at location 1: offramp does not overwrite it"):
        changes("steer flow-type tcp4 action 1 loc 1", nic)
    nic.set("rule.0", RULE)
    with pytest.raises(InterfaceError, match="no free location: all 2 have a rule"):
        changes("steer flow-type tcp4 action 1", nic)


def test_rules_are_deleted_by_location() -> None:
    nic = SoftwareNic()
    nic.set("rule.3", RULE)
    nic.set("rule.4", RULE)
    assert changes("steer delete 3 4", nic) == [("rule.3", None), ("rule.4", None)]
    with pytest.raises(InterfaceError, match="soft0 has no rule at location 5"):
        changes("steer delete 3 5", nic)


def test_a_virtual_functions_settings() -> None:
    nic = SoftwareNic()
    with pytest.raises(InterfaceError, match="soft0 has no VF 0"):
        changes("vf 0 trust on", nic)
    nic.set("vf.count", 1)
    line = "vf 0 mac 02:00:00:00:00:10 vlan 5 qos 3 trust on spoofchk off"
    assert changes(line, nic) == [
        ("vf.0.mac", "02:00:00:00:00:10"),
        ("vf.0.vlan", 5 | 3 << 13),
        ("vf.0.trust", True),
        ("vf.0.spoof_check", False),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rsss equal 2", "rsss: no such change: not one of rss, steer, vf, bind (did you mean rss?)"),
        ("rss", "equal, weight, without, key, function or fields is missing"),
        ("rss equal", "the number of queues is missing"),
        ("rss equal 0", "equal 0: at least one queue is needed"),
        ("rss equal two", "the number of queues two: not a number"),
        ("rss weight", "a weight is missing"),
        ("rss without 0 1 2 3", "an RSS table without any queue"),
        (
            "rss wieght 2",
            "without, key, function, fields (did you mean weight?)",
        ),
        ("rss fields udp4 xyz", "rss.fields.udp4='xyz'"),
        ("rss fields gre4 sd", "knob 'rss.fields.gre4'"),
        ("rss equal 2 start", "a queue is missing"),
        ("steer", "a rule without flow-type"),
        ("steer dst-port 53", "a rule without flow-type"),
        ("steer delete", "a location is missing"),
        ("steer delete 3 x", "unexpected: x"),
        ("vf", "count, autoprobe or a VF's number is missing"),
        ("vf autoprobe maybe", "autoprobe maybe: neither on nor off"),
        ("vf count 2 3", "unexpected: 3"),
        ("bind", "a driver, or none is missing"),
        ("bind ../x", "pci.driver='../x'"),
        ("--jsno", "--jsno: no such change"),
    ],
)
def test_words_that_mean_nothing(line: str, said: str) -> None:
    with pytest.raises(OptionError) as error:
        changes(line)
    assert said in str(error.value)


def test_no_table_to_change() -> None:
    nic = SoftwareNic()
    nic.knobs["rss.table"] = None
    with pytest.raises(InterfaceError, match="soft0 has no RSS table"):
        changes("rss equal 2", nic)


# -- what it shows -----------------------------------------------------------------------------------------------------


def test_the_page() -> None:
    nic = SoftwareNic(queues=4)
    nic.set("rule.7", RULE)
    page = text(nic.identity, Driver("ixgbe", "6.1", "0x61c1", nic.identity.bus), nic.capabilities(), RATES)
    for part in (
        "soft0  ixgbe, 0000:02:00.0, 02:00:00:00:00:01, firmware 0x61c1, up, MTU 1500",
        "queues    rx 4 of 16, tx 4 of 16; changed as pairs",
        "RSS       toeplitz, 128 entries: queue 0: 25 %, queue 1: 25 %",
        "key 6d:5a:",
        "fields tcp4 sdfn, udp4 sd",
        "rules     1 of 8; n-tuple on",
        "flow-type udp4 dst-port 53 action 3 loc 7",
        "VFs       0 of 4",
        "VLAN stripping on, GRO on, LRO off",
        "MTU up to 3050",
        "attaching and detaching reset the link",
        "   1,234,567 a second received",
        "         567 on queue 1",
    ):
        assert part in page
    assert all(len(line) < 160 or "key" in line for line in page.splitlines())


def test_what_is_not_known_is_said() -> None:
    nothing = Capabilities(interface="eth9", queues=Queues(4, 4))
    page = text(SoftwareNic().identity, None, nothing, Rates(1.0, 0.0, {}))
    for part in (
        "rx 4 of ?, tx 4 of ?",
        "no table: not known",
        "rules     not known",
        "features  not known",
        "native ?, redirect ?",
        "its driver does not count them by queue",
    ):
        assert part in page


def test_json() -> None:
    nic = SoftwareNic()
    shown = json.loads(json.dumps(to_dict(nic.identity, nic.capabilities(), RATES)))
    assert shown["identity"]["name"] == "soft0"
    assert shown["capabilities"]["schema"] == 1
    assert shown["rates"] == {"seconds": 1.0, "total": 1234567.0, "queues": {"0": 1234000.0, "1": 567.0}}


# -- the verb ----------------------------------------------------------------------------------------------------------


Journal = list[tuple[Sequence[tuple[str, Value]], float | None]]


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal that applies and notes; and a NIC of software called soft0."""
    noted: Journal = []
    nic = SoftwareNic()

    def apply(
        device: SoftwareNic,
        wanted: Sequence[tuple[str, Value]],
        *,
        made: Callable[[], None],
        for_: float | None = None,
    ) -> str | None:
        made()
        noted.append((wanted, for_))
        for knob, value in wanted:
            device.set(knob, value)
        return "taken back" if for_ is not None else None

    monkeypatch.setattr(offramp.journal, "apply", apply)
    monkeypatch.setattr(live, "open_nic", lambda name: nic)
    return noted


def test_a_change_to_stay(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nic", "soft0", "steer", "flow-type", "udp4", "dst-port", "53", "action", "-1"]) == 0
    assert journal == [([("rule.7", RULE | {"action": -1})], None)]
    out, _ = capsys.readouterr()
    assert out == "rule.7: none -> flow-type udp4 dst-port 53 action -1\nstays until `offramp restore`\n"


def test_a_change_that_changes_nothing(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nic", "soft0", "vf", "count", "0"]) == 0
    assert journal == []
    assert capsys.readouterr().out == "nothing to change: already set\n"


@pytest.mark.parametrize(("time", "seconds"), [("60s", 60), ("1.5", 1.5), ("5m", 300), ("2h", 7200), ("1h30m", 5400)])
def test_a_change_for_a_time(journal: Journal, capsys: pytest.CaptureFixture[str], time: str, seconds: float) -> None:
    assert main(["nic", "soft0", "rss", "equal", "2", "--for", time]) == 0
    assert journal[0][1] == seconds
    assert capsys.readouterr().out.endswith("\ntaken back\n")


def test_a_change_as_json(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nic", "soft0", "--json", "vf", "count", "2"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made == {"interface": "soft0", "changes": [{"knob": "vf.count", "before": 0, "after": 2}], "for": None}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nic", "Missing argument 'INTERFACE'"),
        ("nic soft0 --for 5s", "--for without a change"),
        ("nic soft0 rss equal 2 --for soon", "--for soon: not a time (a time is 5, 5s, 500ms, 1m or 1h30m)"),
        ("nic soft0 rss equal 2 --for -5s", "--for -5s: not a time"),
        ("nic soft0 rss equal 2 --watch", "--watch with a change"),
        ("nic soft0 --jsn", "--jsn: no such change"),
    ],
)
def test_bad_input(journal: Journal, capsys: pytest.CaptureFixture[str], line: str, said: str) -> None:
    assert main(line.split()) == 2
    assert said in capsys.readouterr().err
    assert journal == []


def test_help() -> None:
    result = CliRunner().invoke(app, ["nic", "--help"])
    assert result.exit_code == 0
    assert "\n  offramp nic eth0 --watch" in result.stdout
