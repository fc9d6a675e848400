# SPDX-License-Identifier: Apache-2.0
"""`offramp.Match`: a match as a value, with the sets that it names. Ask it about packets, or put it onto an interface.

    Match("udp dst port 53").matches(frame)
    Match("src host in @blocked", blocked=PrefixSet(["203.0.113.0/24"]))

Every function that takes a match also takes its text, if it names no set. Asking needs no privileges and no kernel: the
match is compiled to this CPU's code, by the same compiler that makes the program in the driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from offramp import arguments
from offramp.errors import OptionError
from offramp.match import Broadcast, Protocol, parse, primitives, set_names
from offramp.matcher.services import system
from offramp.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from offramp import _native
    from offramp.emit.state import State
    from offramp.lower.expression import Lowered
    from offramp.match import Node
    from offramp.matcher.hosts import Hosts
    from offramp.ports.batch import Batch
    from offramp.state import HashSet, PrefixSet, SharedSet

    Set: TypeAlias = HashSet | PrefixSet

__all__ = ["Match"]


class Match:
    """Which packets: a tcpdump expression (pcap-filter(7)); "" is every packet. A value: it compares and hashes.

    Keyword arguments are the sets that the expression names: `host in @blocked` needs `blocked=`. They may change while
    the match is in use. `netmask` ("255.255.255.0", "/24" or 24) is for `ip broadcast`; on an interface, the default is
    the interface's own.

    Names of services and protocols are looked up in /etc/services and /etc/protocols. Names of hosts are refused;
    `Match.resolved` looks them up.

    Two extensions to tcpdump's language: `host in @name` and `port in @name` mean the union of the set's members; after
    `vlan any`, everything is about tagged and untagged packets alike.

    Errors: MatchError, with the place in the text; OptionError for a set that is missing, not named, or of a kind that
    cannot be looked up there, and for a match that is too large for any program. A slightly smaller match may still
    fail on an interface that needs a larger program.
    """

    __slots__ = ("_compiled", "_hosts", "_lowered", "_netmask", "_node", "_sets")

    def __init__(self, text: str, netmask: str | int | None = None, /, **sets: Set) -> None:
        self._make(text, netmask, sets, None)

    @classmethod
    def resolved(cls, text: str, netmask: str | int | None = None, /, **sets: Set) -> Match:
        """A match whose names of hosts and networks are looked up, now and once: `host www.example.org` is the union of
        all addresses that the system's resolver gives, `net NAME` a network of /etc/networks. `names` has them.

        It waits for the resolver, for ten seconds at most. Errors: as Match; MatchError for a name without an address.
        """
        from offramp.matcher.hosts import Hosts

        match = cls.__new__(cls)
        match._make(text, netmask, sets, Hosts())
        return match

    def _make(self, text: str, netmask: str | int | None, sets: dict[str, Set], hosts: Hosts | None) -> None:
        from offramp.emit.size import size

        self._node = parse(arguments.text("match", text), system(hosts))
        self._hosts = hosts
        self._netmask = _netmask(netmask) if netmask is not None else None
        self._sets = MappingProxyType(sets)
        self._compiled: tuple[_native.Code, list[SharedSet]] | None = None
        _check_names(set_names(self._node), sets)
        self._lowered = self._lower(self._netmask or 0)  # a set of the wrong kind is found now rather than later
        size(self._lowered).check()

    @classmethod
    def of(cls, match: str | Match, *, resolve: bool = False) -> Match:
        """`match` itself, or the match of that text, with names of hosts looked up if `resolve`."""
        if isinstance(match, Match):
            return match
        return cls.resolved(match) if arguments.truth("resolve", resolve) else cls(match)

    @property
    def node(self) -> Node:
        """The tree (offramp.match)."""
        return self._node

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """The names that were looked up, and their addresses."""
        found = self._hosts.found if self._hosts is not None else {}
        return {name: tuple(map(str, networks)) for name, networks in found.items()}

    @property
    def sets(self) -> Mapping[str, Set]:
        """The sets by name; read-only."""
        return self._sets

    def matches(self, packet: Buffer, length: int | None = None) -> bool:
        """Whether an Ethernet frame matches. `length`: its bytes on the wire, if `packet` is only its beginning."""
        lengths = None if length is None else [arguments.whole_number("length", length, 0, 0xFFFF_FFFF)]
        return bool(self.verdicts([packet], lengths)[0])

    def verdicts(self, packets: Iterable[Buffer] | Batch, lengths: Iterable[int] | None = None) -> NDArray[np.bool_]:
        """Which of the packets match: bool[n]. `packets`: Ethernet frames, or a batch; `lengths`: bytes on the wire.

        A match answers yes or no; a `Verdict` says what becomes of the packets, which is for `open` and `attach`.
        It runs in native code: a few ns for each packet, besides the time to walk over the iterable.
        """
        import numpy as np

        from offramp.ports.batch import Batch

        code, sets = self._code()
        cores = [table.core for table in sets]
        if isinstance(packets, bytes | bytearray | memoryview | str):
            raise OptionError("one packet, but several are expected", hint="matches(packet), or verdicts([packet])")
        if isinstance(packets, Batch):
            if lengths is not None:
                raise OptionError("lengths with a batch", reason="its packets are whole")
            found = bytearray(len(packets))
            code.run_burst(packets._burst, found, cores)
        else:
            listed = packets if isinstance(packets, list | tuple) else arguments.several("packets", packets)
            found = bytearray(len(listed))
            code.run(listed, lengths, found, cores)
        return np.frombuffer(found, np.bool_)

    def lowered(self, netmask: int | None = None) -> Lowered:
        """The tests that decide, for the compiler. `netmask` is used if the match has none of its own."""
        return self._lower(netmask) if self._needs_netmask else self._lowered

    def can_match(self, netmask: int | None = None) -> bool:
        """Whether any packet on an interface can match; False is certain, as for `ip and ip6`. `netmask`: as `lowered`.

        It takes some 0.2 ms. A set may change, so what it holds now does not count.
        """
        from offramp.lower.possible import possible

        if self._needs_netmask and netmask is None:
            return True
        return possible(self.lowered(netmask))

    @property
    def _needs_netmask(self) -> bool:
        return self._netmask is None and Broadcast(Protocol.IP) in primitives(self._node)

    def _lower(self, netmask: int | None) -> Lowered:
        from offramp.lower.meaning import lower

        return lower(self._node, netmask=netmask, sets={name: table.shape for name, table in self._sets.items()})

    def state(self, reference: State) -> SharedSet:
        """What a reference of its programs means: the user's set of that name, or a new set of the values that the
        match spells out. Errors: OptionError if there are too many for one map.
        """
        from offramp.lower.expression import Fixed, Named
        from offramp.state import fixed

        if isinstance(reference, Fixed):
            return fixed(reference)
        assert isinstance(reference, Named)
        return self._sets[reference.name]

    def _code(self) -> tuple[_native.Code, list[SharedSet]]:
        if self._compiled is None:
            from offramp import _native
            from offramp.emit.match import MatchBody
            from offramp.llvm.programs import native

            body = MatchBody(self.lowered(), Verdict.CLAIM)
            program = native(body, body.answers)
            self._compiled = _native.Code(program.code), [self.state(reference) for reference in program.state]
        return self._compiled

    def __str__(self) -> str:
        """The canonical text, which tcpdump takes too, except for the extensions."""
        return str(self._node)

    def __repr__(self) -> str:
        arguments = [repr(str(self))]
        if self._netmask is not None:
            arguments.append(repr(str(IPv4Address(self._netmask))))
        arguments += [f"{name}={table!r}" for name, table in self._sets.items()]
        return f"Match({', '.join(arguments)})"

    def __reduce__(self) -> tuple[type[Match], tuple[str, ...]]:
        """Pickle it as its text. A match with sets cannot be pickled: they are memory of this process."""
        if self._sets:
            raise TypeError("a Match with sets cannot be pickled: the sets are memory of this process")
        netmask = (str(IPv4Address(self._netmask)),) if self._netmask is not None else ()
        return Match, (str(self), *netmask)

    def _identity(self) -> tuple[object, ...]:
        return self._node, self._netmask, frozenset((name, id(table)) for name, table in self._sets.items())

    def __eq__(self, other: object) -> bool:
        """Equal if the tree is the same and the sets are the very same objects: what a set holds may change."""
        return self._identity() == other._identity() if isinstance(other, Match) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())


def _check_names(named: frozenset[str], given: Mapping[str, object]) -> None:
    from offramp.state import HashSet, PrefixSet

    for name in sorted(named - given.keys()):
        hint = f"--set {name}=FILE, or Match(text, {name}=PrefixSet(...))"
        raise OptionError(f"the match names a set, @{name}", hint=hint)
    for name, table in given.items():
        if not isinstance(table, HashSet | PrefixSet):
            raise OptionError(f"{name}={table!r}", reason="neither a HashSet nor a PrefixSet")
        if name not in named:
            raise OptionError(f"the set {name!r} was given", reason=f"the match does not name @{name}")


def _netmask(given: str | int) -> int:
    """The netmask as a number. Unlike ipaddress, it refuses inverted masks such as 0.0.0.255."""
    try:
        if isinstance(given, bool) or not isinstance(given, str | int):
            raise ValueError
        spelled = str(given).removeprefix("/")
        found = IPv4Network(f"0.0.0.0/{spelled}").netmask
        if "." in spelled and spelled != str(found):
            raise ValueError
    except ValueError:
        reason = "not a netmask: all ones have to come before the zeros"
        raise OptionError(f"netmask={arguments.short(given)}", reason=reason, hint="255.255.255.0, or /24") from None
    return int(found)
