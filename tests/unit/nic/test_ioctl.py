# SPDX-License-Identifier: Apache-2.0
"""Rules, RSS and features against an imitated driver: the conversation, when no NIC that has them is at hand."""

from __future__ import annotations

import errno
import struct

import pytest

from offramp.errors import KernelError, OptionError
from offramp.nic import features, rss, rules
from offramp.steering import equal, parse_rule
from offramp.syscalls import ioctl as siocethtool

SPEC = slice(16, 184)
NAMES = {4: ["rx-gro", "", "rx-ntuple-filter", *[f"f{n}" for n in range(3, 40)]], 3: ["toeplitz", "xor"]}


class Driver:
    """Answers as drivers/net/ethernet/... do: 16 locations, 8 entries, 4 queues. `said` is what it was told."""

    def __init__(self) -> None:
        self.rules: dict[int, bytes] = {}
        self.table, self.key, self.function = equal(8, 4), bytes(range(1, 41)), 1
        self.fields = {0x02: 0x30}
        self.active, self.fixed = 0b101, 0b100
        self.said: list[int] = []
        self.knows = True

    def call(self, interface: str, request: bytearray, what: str) -> int:
        (command,) = struct.unpack_from("I", request)
        answer = getattr(self, f"_{command:x}", None)
        if answer is None or not self.knows:
            raise KernelError(what, errno.EOPNOTSUPP)
        if command in (0x31, 0x32, 0x47, 0x2A, 0x3B):
            self.said.append(command)
        return answer(request) or 0

    def _2d(self, request: bytearray) -> None:  # GRXRINGS
        struct.pack_into("Q", request, 8, 4)

    def _2e(self, request: bytearray) -> None:  # GRXCLSRLCNT
        struct.pack_into("I", request, 184, len(self.rules))

    def _30(self, request: bytearray) -> None:  # GRXCLSRLALL
        struct.pack_into("Q", request, 8, 16)
        struct.pack_into(f"I{len(self.rules)}I", request, 184, len(self.rules), *self.rules)

    def _2f(self, request: bytearray) -> None:  # GRXCLSRULE
        request[SPEC] = self.rules[self._location(request)]

    def _32(self, request: bytearray) -> None:  # SRXCLSRLINS
        self.rules[self._location(request)] = bytes(request[SPEC])

    def _31(self, request: bytearray) -> None:  # SRXCLSRLDEL
        if self.rules.pop(self._location(request), None) is None:
            raise KernelError("deleting", errno.ENOENT)

    def _46(self, request: bytearray) -> None:  # GRSSH
        _, _, entries, key, _, _ = struct.unpack_from("4IB3xI", request)
        struct.pack_into("4IB", request, 0, 0x46, 0, len(self.table), len(self.key), self.function)
        if entries:
            struct.pack_into(f"{entries}I{key}s", request, 24, *self.table, self.key)

    def _47(self, request: bytearray) -> None:  # SRSSH
        _, _, entries, key, function, _ = struct.unpack_from("4IB3xI", request)
        self.reset = entries == 0
        if entries not in (0, 0xFFFFFFFF):
            self.table = list(struct.unpack_from(f"{entries}I", request, 24))
        elif entries == 0:
            self.table = equal(8, 4)
        self.key = bytes(request[len(request) - key :]) if key else self.key
        self.function = function or self.function

    def _29(self, request: bytearray) -> None:  # GRXFH
        _, flow = struct.unpack_from("II", request)
        if flow not in self.fields:
            raise KernelError("asking", errno.EINVAL)
        struct.pack_into("Q", request, 8, self.fields[flow])

    def _2a(self, request: bytearray) -> None:  # SRXFH
        _, flow, data = struct.unpack_from("IIQ", request)
        self.fields[flow] = data

    def _37(self, request: bytearray) -> None:  # GSSET_INFO
        _, _, mask, _ = struct.unpack("IIQI", request)
        number = mask.bit_length() - 1
        struct.pack_into("QI", request, 8, mask if number in NAMES else 0, len(NAMES.get(number, ())))

    def _1b(self, request: bytearray) -> None:  # GSTRINGS
        _, number, count = struct.unpack_from("III", request)
        struct.pack_into("32s" * count, request, 12, *(name.encode() for name in NAMES[number]))

    def _3a(self, request: bytearray) -> None:  # GFEATURES
        struct.pack_into("4I", request, 8, ~self.fixed & 0xFFFFFFFF, 0, self.active, 0)

    def _3b(self, request: bytearray) -> int:  # SFEATURES
        valid, wanted = struct.unpack_from("II", request, 8)
        self.active = self.active & ~valid | wanted & valid & ~self.fixed
        return int(bool(valid & self.fixed))

    def _location(self, request: bytearray) -> int:
        return int(struct.unpack_from("I", request, 176)[0])


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    played = Driver()
    monkeypatch.setattr(siocethtool, "call", played.call)
    monkeypatch.setattr(features, "call", played.call)
    return played


def test_rules_come_and_go(driver: Driver) -> None:
    assert rules.table("eth0") == rules.RuleTable((), 16, chooses=False)
    rule = parse_rule("flow-type udp4 dst-port 53 action 3")
    assert rules.insert("eth0", rule) == 15
    assert rules.insert("eth0", parse_rule("flow-type tcp6 src-ip 2001:db8::1 action 1 loc 4")) == 4
    found = rules.table("eth0")
    assert found is not None
    assert (found.locations, found.free()) == ((4, 15), 14)
    assert str(rules.read("eth0", 15)) == "flow-type udp4 dst-port 53 action 3 loc 15"
    assert rules.read("eth0", 5) is None
    rules.delete("eth0", 15)
    assert rules.read("eth0", 15) is None


def test_no_rule_is_overwritten(driver: Driver) -> None:
    rules.insert("eth0", parse_rule("flow-type udp4 action 3 loc 4"))
    before = dict(driver.rules)
    with pytest.raises(KernelError) as error:
        rules.insert("eth0", parse_rule("flow-type tcp4 action 3 loc 4"))
    assert (error.value.errno, error.value.hint) == (errno.EEXIST, "first delete the rule that is there")
    assert driver.rules == before


def test_a_full_table(driver: Driver) -> None:
    for port in range(16):
        rules.insert("eth0", parse_rule(f"flow-type udp4 dst-port {port} action 1"))
    with pytest.raises(KernelError) as error:
        rules.insert("eth0", parse_rule("flow-type udp4 action 1"))
    assert (error.value.errno, error.value.hint) == (errno.ENOSPC, "its table is full: delete one first")


def test_a_driver_without_any_of_it(driver: Driver) -> None:
    driver.knows = False
    assert (rules.table("eth0"), rules.read("eth0", 1), rss.read("eth0")) == (None, None, None)
    assert (rss.fields("eth0", "udp4"), features.features("eth0")) == (None, {})
    for act in (
        lambda: rules.insert("eth0", parse_rule("flow-type udp4 action 1")),
        lambda: rss.set_rss("eth0", table=[0]),
    ):
        with pytest.raises(KernelError) as error:
            act()
        assert error.value.errno == errno.EOPNOTSUPP
    assert driver.said == []


def test_rss_is_read_and_set(driver: Driver) -> None:
    found = rss.read("eth0")
    assert found == rss.RssState(tuple(equal(8, 4)), bytes(range(1, 41)), "toeplitz", ("toeplitz", "xor"))
    rss.set_rss("eth0", table=[3] * 8)
    assert (driver.table, driver.reset, driver.key) == ([3] * 8, False, bytes(range(1, 41)))
    rss.set_rss("eth0", key=bytes(40)[1:] + b"\1", function="xor")
    assert (driver.table, driver.key[-1], driver.function) == ([3] * 8, 1, 2)


def test_the_default_table_is_set_as_the_default(driver: Driver) -> None:
    """Else the kernel would keep it as somebody's choice when the number of channels changes."""
    rss.set_rss("eth0", table=[3] * 8)
    rss.set_rss("eth0", table=equal(8, 4))
    assert (driver.table, driver.reset) == (equal(8, 4), True)
    rss.set_rss("eth0", table=equal(8, 2))
    assert (driver.table, driver.reset) == (equal(8, 2), False)


def test_what_does_not_fit(driver: Driver) -> None:
    with pytest.raises(OptionError, match="an RSS table of 7 entries: eth0 has 8"):
        rss.set_rss("eth0", table=[0] * 7)
    with pytest.raises(OptionError, match="an RSS key of 52 bytes: eth0 has 40"):
        rss.set_rss("eth0", key=bytes(52))
    with pytest.raises(OptionError, match="RSS hash function crc32: not one of toeplitz, xor"):
        rss.set_rss("eth0", function="crc32")
    assert driver.said == []


def test_hash_fields(driver: Driver) -> None:
    assert (rss.fields("eth0", "udp4"), rss.fields("eth0", "tcp4")) == ("sd", None)
    rss.set_fields("eth0", "udp4", "sdfn")
    assert (rss.fields("eth0", "udp4"), driver.fields[2]) == ("sdfn", 0xF0)


def test_features_by_name(driver: Driver) -> None:
    found = features.features("eth0")
    assert found["rx-gro"] == features.Feature(on=True, fixed=False)
    assert found["rx-ntuple-filter"] == features.Feature(on=True, fixed=True)
    assert "" not in found
    features.set_feature("eth0", "rx-gro", on=False)
    assert features.features("eth0")["rx-gro"].on is False
    with pytest.raises(KernelError) as error:
        features.set_feature("eth0", "rx-ntuple-filter", on=False)
    assert (error.value.errno, error.value.hint) == (errno.EOPNOTSUPP, "its driver does not allow changing it")
    with pytest.raises(OptionError, match="no feature of that name"):
        features.set_feature("eth0", "colour", on=True)
