# SPDX-License-Identifier: Apache-2.0
"""The program that makes a flood: eBPF that completes one frame and redirects it out of an interface.

The kernel runs it for each frame (BPF_PROG_TEST_RUN with live frames). It writes the template's first bytes again,
because the kernel reuses frames as their last receiver left them. It also counts, and varies: with j the low 16 bits of
the count, it writes j into the field that varies and 0xffff - j into another field under the same checksum. Their sum
is always 0xffff, so every checksum of the template stays valid.

    what varies          takes j                        takes 0xffff - j
    src (IPv4)           low half of the address        IP identification, and (*)
    src (IPv6)           low 16 bits of the address     (*)
    sport (TCP, UDP)     source port                    (*)

    (*) under the transport's sum: TCP the low half of seq, ICMPv6 the identifier, UDP over IPv6 the payload's first two
        bytes; UDP over IPv4 goes without a sum (zero), and that of ICMP covers no address.

Source: https://docs.kernel.org/bpf/bpf_prog_run.html, RFC 1624 (why sums can be kept), RFC 768 (zero means none).
"""

from __future__ import annotations

import struct
from typing import Final, Literal

from offramp.emit.bytecode import PSEUDO_MAP_VALUE, Helper
from offramp.errors import OptionError
from offramp.gen.packets import ICMP, ICMP6, TCP, UDP, Layers, layers, with_checksums
from offramp.immutable import immutable

__all__ = ["FIND_PACKET", "Variation", "Vary", "program", "vary"]

Vary = Literal["none", "src", "sport"]

REWRITTEN = 96  # bytes of each frame: Ethernet, two tags, IPv6, TCP
FIND_PACKET: Final = """\
  %end_field = getelementptr i8, ptr %context, i64 4
  %data32 = load i32, ptr %context
  %end32 = load i32, ptr %end_field
  %data64 = zext i32 %data32 to i64
  %end64 = zext i32 %end32 to i64
  %data = inttoptr i64 %data64 to ptr
  %end = inttoptr i64 %end64 to ptr"""
"""LLVM IR: %data and %end, where the packet of an XDP program's %context begins and ends."""


@immutable
class Variation:
    """A frame with valid sums, and the offsets of its words that count up from zero, and down from 0xffff."""

    frame: bytes
    up: tuple[int, ...]
    down: tuple[int, ...]


def vary(template: bytes, what: Vary) -> Variation:
    """Prepares a template.  Errors: OptionError if this frame has no such field to vary."""
    if what == "none":
        return Variation(template, (), ())
    found = layers(template)
    if found is None or (what == "sport" and found.protocol not in (TCP, UDP)):
        raise OptionError(
            f"vary={what!r}", reason="the template has no such field", hint='vary="none" sends it as it is'
        )
    if what == "sport":
        up, down = [found.transport], []
    elif found.version == 4:
        up, down = [found.net + 14], [found.net + 4]
    else:
        up, down = [found.net + 22], []
    down += _balance(template, found)
    frame = bytearray(template)
    for offset in up:
        frame[offset : offset + 2] = bytes(2)
    for offset in down:
        frame[offset : offset + 2] = b"\xff\xff"
    valid = bytearray(with_checksums(frame))
    if found.version == 4 and found.protocol == UDP:
        valid[found.transport + 6 : found.transport + 8] = bytes(2)
    return Variation(bytes(valid), tuple(up), tuple(down))


def _balance(template: bytes, found: Layers) -> list[int]:
    """The word that balances the transport's sum, if one is needed."""
    if found.protocol == ICMP or (found.protocol == UDP and found.version == 4):
        return []
    within = {TCP: 6, UDP: 8, ICMP6: 4}.get(found.protocol)
    if within is None:
        return []
    if found.transport + within + 2 > len(template):
        raise OptionError(
            "vary", reason="the template has no payload to balance its checksum", hint="two bytes are enough"
        )
    return [found.transport + within]


def program(variation: Variation, ifindex: int, counter: int) -> str:
    """LLVM IR of the program.  `counter`: placeholder for the map whose first u64 counts the frames."""
    head = variation.frame[:REWRITTEN]
    lines = [_store(offset, size, str(value)) for offset, size, value in _words(head)]
    lines += [_store(offset, 2, "%up") for offset in variation.up]
    lines += [_store(offset, 2, "%down") for offset in variation.down]
    body = "\n".join(lines)
    return f"""
target triple = "bpfel"
declare i64 @llvm.bpf.pseudo(i64, i64)
declare i16 @llvm.bswap.i16(i16)

define i32 @flood(ptr %context) nounwind {{
{FIND_PACKET}
  %limit = getelementptr i8, ptr %data, i64 {len(head)}
  %short = icmp ugt ptr %limit, %end
  br i1 %short, label %drop, label %send
send:
  %address = call i64 @llvm.bpf.pseudo(i64 {PSEUDO_MAP_VALUE}, i64 {counter})
  %counter = inttoptr i64 %address to ptr
  %count = load i64, ptr %counter
  %next = add i64 %count, 1
  store i64 %next, ptr %counter
  %low = trunc i64 %count to i16
  %up = call i16 @llvm.bswap.i16(i16 %low)
  %down = xor i16 %up, -1
{body}
  %redirect = inttoptr i64 {Helper.REDIRECT:d} to ptr
  %answer = call i64 %redirect(i64 {ifindex}, i64 0)
  %verdict = trunc i64 %answer to i32
  ret i32 %verdict
drop:
  ret i32 1
}}"""


def _words(head: bytes) -> list[tuple[int, int, int]]:
    """(offset, size, value in host order): as few stores as possible."""
    words, offset = [], 0
    for size, code in ((8, "Q"), (4, "I"), (2, "H"), (1, "B")):
        while len(head) - offset >= size:
            words.append((offset, size, struct.unpack_from(code, head, offset)[0]))
            offset += size
    return words


def _store(offset: int, size: int, value: str) -> str:
    return (
        f"  %at{offset}_{size}{value.strip('%')} = getelementptr i8, ptr %data, i64 {offset}\n"
        f"  store i{8 * size} {value}, ptr %at{offset}_{size}{value.strip('%')}, align 1"
    )
