# SPDX-License-Identifier: Apache-2.0
"""Where the headers are that a match looks at, and how one header names the next.

            link         type    payload            network            transport
    plain   0            12      14                 14                 network + 4 * (low four bits of its first byte)
    vlan                 + 4     + 4                + 4                each time
    mpls                                            + 4                each time
    pppoes  network + 6  = link  = link + 2         = payload          PPP's header is the link layer from there on
    vlan any             behind TagBytes, as is all that is counted from it
    vxlan   transport + 16      link + 12      link + 14           = payload
    geneve  behind its options  as vxlan, if it carries Ethernet; else its own type field, and what it carries

Some words of pcap-filter(7) shift offsets. They do so for everything after them in the text, whatever `and`, `or`,
`not` and parentheses say. So one `Layers` accompanies the walk through the tree. match/context.py refuses what cannot
come after which header; none of that arrives here.
"""

from __future__ import annotations

from typing import Final, Literal

from offramp.match import protocols
from offramp.match.protocols import (
    AARP,
    ATALK,
    DECNET,
    IP,
    IP6,
    IPX_ETHERTYPE,
    MPLS,
    PPPOE_SESSION,
    SAP_IPX,
    SAP_ISO,
    SAP_STP,
    XNS,
)

from .expression import (
    TAG_BYTES,
    TAG_ETHERTYPES,
    All,
    Any,
    Calculation,
    Const,
    Expr,
    Load,
    Negate,
    Number,
    Place,
    TagBytes,
    Test,
    Value,
)

MAX_LENGTH = 1500  # up to this number the type of an Ethernet header is a length, and 802.2's header follows

# PPP's numbers for protocols (RFC 1661, IANA ppp-numbers). A protocol without one keeps its ethertype, and never
# matches.
PPP_NUMBERS: Final = {
    IP: 0x0021,
    IP6: 0x0057,
    DECNET: 0x0027,
    ATALK: 0x0029,
    XNS: 0x0025,
    SAP_ISO: 0x0023,
    SAP_STP: 0x0031,
    SAP_IPX: 0x002B,
}
PPP_MPLS = 0x0281
LABEL_BYTES = 4
PPPOE_HEADER, PPP_HEADER = 6, 2

# Control fields of 802.2 by tcpdump's names: the value, and the mask that is applied before comparing.
LLC_CONTROLS: Final = {
    "i": (0x00, 0x01),
    "s": (0x01, 0x03),
    "u": (0x03, 0x03),
    "rr": (0x01, 0x0F),
    "rnr": (0x05, 0x0F),
    "rej": (0x09, 0x0F),
    "ui": (0x03, 0xEF),
    "ua": (0x63, 0xEF),
    "disc": (0x43, 0xEF),
    "dm": (0x0F, 0xEF),
    "sabme": (0x6F, 0xEF),
    "test": (0xE3, 0xEF),
    "xid": (0xAF, 0xEF),
    "frmr": (0x87, 0xEF),
}


def load(start: Place, offset: int, size: Literal[1, 2, 4]) -> Load:
    return Load(Place(start.offset + offset, start.behind), size)


def equal(left: Value, number: int) -> Test:
    return Test(left, "==", Number(number))


def masked(left: Value, mask: int, number: int) -> Test:
    """`left & mask == number`. Also with an empty mask: a packet that is too short for the load is rejected."""
    return equal(Calculation("&", left, Number(mask)), number)


class Layers:
    """The places of the headers at one point of the text."""

    def __init__(self) -> None:
        self.link = Place(0)
        self.type = Place(12)
        self.payload = Place(14)
        self.labels = 0  # of MPLS, seen so far
        self.is_ppp = False
        self.has_link: Expr | None = None  # whether there is an Ethernet header at `link`; None: there is

    @property
    def network(self) -> Place:
        return Place(self.payload.offset + LABEL_BYTES * self.labels, self.payload.behind)

    @property
    def ip_header(self) -> Value:
        """The length of the IPv4 header."""
        return Calculation("<<", Calculation("&", load(self.network, 0, 1), Number(0x0F)), Number(2))

    @property
    def transport(self) -> Place:
        """The end of the IPv4 header."""
        return Place(self.network.offset, (*self.network.behind, self.ip_header))

    @property
    def iso(self) -> Place:
        """OSI's header. It comes after the three bytes of 802.2's header, which PPP does not have."""
        return Place(self.payload.offset + (0 if self.is_ppp else 3), self.payload.behind)

    def has(self, number: int) -> Expr:
        """Whether the next header is of this kind: an ethertype or, up to 1500, a service access point."""
        if self.labels:
            return self._has_behind_labels(number)
        if self.is_ppp:
            return equal(load(self.type, 0, 2), PPP_NUMBERS.get(number, number))
        is_type = equal(load(self.type, 0, 2), number)
        match number:
            case protocols.SAP_IP | protocols.SAP_NETBEUI | protocols.SAP_ISO:  # as destination and as source
                return All((self._is_length(), equal(load(self.payload, 0, 2), number << 8 | number)))
            case protocols.SAP_IPX:  # Ethernet II, 802.2 with SNAP, 802.2, 802.3 without any
                destination = equal(load(self.payload, 0, 1), SAP_IPX)
                without_llc = equal(load(self.payload, 0, 2), 0xFFFF)
                framed = Any((self._is_snap(0, IPX_ETHERTYPE), destination, without_llc))
                return Any((equal(load(self.type, 0, 2), IPX_ETHERTYPE), All((self._is_length(), framed))))
            case protocols.ATALK:
                return Any((is_type, All((self._is_length(), self._is_snap(0x080007, ATALK)))))
            case protocols.AARP:
                return Any((is_type, All((self._is_length(), self._is_snap(0, AARP)))))
            case _ if number <= MAX_LENGTH:
                return All((self._is_length(), equal(load(self.type, 2, 1), number)))
            case _:
                return is_type

    def _has_behind_labels(self, number: int) -> Expr:
        """MPLS does not say what follows its last label. So the first four bits of what follows have to do."""
        assert number in (IP, IP6)
        is_last = masked(load(self.network, -2, 1), 0x01, 0x01)
        return All((is_last, masked(load(self.network, 0, 1), 0xF0, 0x40 if number == IP else 0x60)))

    def _is_length(self) -> Expr:
        return Test(load(self.type, 0, 2), "<=", Number(MAX_LENGTH))

    def _is_snap(self, organisation: int, number: int) -> Expr:
        """Compare the eight bytes of 802.2 and SNAP, the last four first."""
        last = equal(load(self.payload, 4, 4), (organisation & 0xFFFF) << 16 | number)
        return All((last, equal(load(self.payload, 0, 4), 0xAAAA0300 | organisation >> 16)))

    def llc(self, type_: str) -> Expr:
        is_llc = (self._is_length(), Negate(equal(load(self.payload, 0, 2), 0xFFFF)))
        if not type_:
            return All(is_llc)
        number, mask = LLC_CONTROLS[type_]
        return All((*is_llc, masked(load(self.payload, 2, 1), mask, number)))

    def with_link(self, expr: Expr) -> Expr:
        """`expr`, about the Ethernet header, for frames that have one."""
        return expr if self.has_link is None else All((self.has_link, expr))

    def vlan(self, id_: int | None) -> Expr:
        """Enter a tag. After `vlan any`, it is one more than those that were skipped."""
        parts: list[Expr] = [Any(tuple(map(self.has, TAG_ETHERTYPES)))]
        if id_ is not None:
            parts.append(masked(load(self.payload, 0, 2), 0x0FFF, id_))
        self.type = Place(self.type.offset + TAG_BYTES, self.type.behind)
        self.payload = Place(self.payload.offset + TAG_BYTES, self.payload.behind)
        return All(tuple(parts))

    def any_vlan(self) -> Expr:
        """Enter up to two tags, if there are any; looks at nothing yet."""
        tags = TagBytes(self.type.offset)
        self.type = Place(self.type.offset, (tags,))
        self.payload = Place(self.payload.offset, (tags,))
        return Const(True)

    def mpls(self, label: int | None) -> Expr:
        """Enter a label: either after another label that is not the last, or in a packet that has labels."""
        if self.labels:
            parts = [masked(load(self.network, -2, 1), 0x01, 0)]
        else:
            parts = [equal(load(self.type, 0, 2), PPP_MPLS if self.is_ppp else MPLS)]
        if label is not None:
            parts.append(masked(load(self.network, 0, 4), 0xFFFF_F000, label << 12))
        self.labels += 1
        return All(tuple(parts))

    def pppoes(self, session: int | None) -> Expr:
        """Enter PPP."""
        parts = [self.has(PPPOE_SESSION)]
        if session is not None:
            parts.append(masked(load(self.network, 0, 4), 0xFFFF, session))
        self.link = Place(self.network.offset + PPPOE_HEADER, self.network.behind)
        self.type = self.link
        self.payload = Place(self.link.offset + PPP_HEADER, self.link.behind)
        self.is_ppp, self.has_link = True, None
        return All(tuple(parts))
