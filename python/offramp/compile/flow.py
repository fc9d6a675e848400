# SPDX-License-Identifier: Apache-2.0
"""The XDP program around a match, as LLVM IR. Every packet takes one way through it, and is counted at its end:

    seen ─> protected? ─> match? ─> the queue has a socket? ─> its reader is alive? ─> redirect ─> claimed
            │ yes         │ no      │ no                       │ no                    │ fails
            v             v         v                          v                       v
            protected     passed    passed                     stalled                 redirect_failed

Verdicts other than CLAIM end behind the match, in `claimed`. All exits but the right-hand one lead to the kernel.

- Protected packets are looked for in the frame as it is in memory. A tag out of band changes nothing there: its packets
  are the kernel's as much as others.
- A match is about the frame on the wire. A tag that the driver carries out of band belongs into it (values.py), but
  asking for it costs a call. So it is asked for only where the answer matters: not for a match that says the same of
  all packets with such a tag, and then mostly behind one that has said yes. A packet that leaves the driver, to user
  space or back to the wire, gets its tag back.
- A heartbeat from the future is not stale: its clock and ours, both the coarse one, are read on different CPUs.

Sources: Documentation/networking/af_xdp.rst (XSKMAP), xdp-rx-metadata.rst; include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from llvmlite import ir

from offramp.compile.decide import Decision
from offramp.compile.emit import Address, Emitter, Facts, Label
from offramp.compile.expression import TAG_BYTES, Expr, Lowered
from offramp.compile.program import COUNTERS, KfuncSlot, MapSlot, Spec
from offramp.compile.ranges import FIRST_TAG, outcomes
from offramp.compile.target import I16, I32, I64, POINTER, Bpf, Context, Helper, const
from offramp.compile.values import TaggedValues, Values
from offramp.verdict import Verdict

__all__ = ["OUT_OF_BAND", "answer_for_tagged", "build"]

OUT_OF_BAND = (0x8100, 0x88A8)  # the ethertypes of tags that Linux takes out of frames (eth_type_vlan)
_ETHERNET_HEADER = 14


def build(spec: Spec) -> str:
    """The module's text."""
    flow = _Flow(spec)
    if spec.protect is not None:
        flow.protect(spec.protect)
    if spec.vlan_metadata:
        flow.match_wire()
    else:
        flow.match_frame()
    if spec.verdict is Verdict.CLAIM:
        flow.redirect()
    leaves = spec.verdict in (Verdict.CLAIM, Verdict.TX)
    if leaves and spec.vlan_metadata and answer_for_tagged(spec.match.expr) is not False:
        flow.restore_tag()
    flow.count_and_return("claimed", const(spec.verdict, I32))
    flow.passed()
    return str(flow.target.module)


def answer_for_tagged(expr: Expr) -> bool | None:
    """What `expr` says to every frame whose tag is out of band; None if that depends on the frame."""
    possible = {outcome is True for tag in OUT_OF_BAND for outcome in outcomes(expr, (tag,))}
    return possible.pop() if len(possible) == 1 else None


class _Flow:
    """Each method writes one station, and leaves the emitter where the packets are that go on."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.target = Bpf()
        self.builder = self.target.builder
        self.emit = Emitter(self.target)
        self.no_match = self.emit.label()
        self.counters = self._look_up_counters()
        self._count("seen")
        self.emit.require(Address(self.target.data), _ETHERNET_HEADER, self.no_match)  # every frame has that much

    def protect(self, protect: Lowered) -> None:
        """Packets of `protect` end here."""
        protected, others = self.emit.label(), self.emit.label()
        sets = len(self.spec.match.sets)
        Decision(Values(self.emit, others), protect.sets, sets).decide(protect.expr, protected, others)
        self.emit.enter(protected)
        self.count_and_return("protected", const(Verdict.PASS, I32))
        self.emit.enter(others)

    def match_frame(self) -> None:
        """Packets whose bytes do not match leave for `no_match`."""
        matching = self.emit.label()
        self._decide(Values(self.emit, self.no_match), matching, self.no_match)
        self.emit.enter(matching)

    def match_wire(self) -> None:
        """Packets that do not match as they were on the wire leave for `no_match`."""
        matching, undecided = self.emit.label(), self.emit.label()
        answer = answer_for_tagged(self.spec.match.expr)
        if answer is None:
            tagged = self.emit.label()
            protocol, tci = self._ask_for_tag(tagged, undecided)
            self.emit.enter(tagged)
            on_wire = TaggedValues(self.emit, self.no_match, self._tag(protocol, tci), OUT_OF_BAND)
            self._decide(on_wire, matching, self.no_match)
            self.emit.enter(undecided)
            self._decide(Values(self.emit, self.no_match), matching, self.no_match)
        elif answer:
            self._decide(Values(self.emit, undecided), matching, undecided)
            self.emit.enter(undecided)
            self._ask_for_tag(matching, self.no_match)
        else:
            self._decide(Values(self.emit, self.no_match), undecided, self.no_match)
            self.emit.enter(undecided)
            self._ask_for_tag(self.no_match, matching)
        self.emit.enter(matching)

    def _decide(self, values: Values, yes: Label, no: Label) -> None:
        match = self.spec.match
        Decision(values, match.sets).decide(match.expr, yes, no)

    def _tag(self, protocol: ir.Value, tci: ir.Value) -> ir.Value:
        """As it was on the wire, an i32."""
        ethertype = self.builder.zext(self.builder.bswap(self.builder.load(protocol, typ=I16)), I32)
        control = self.builder.zext(self.builder.load(tci, typ=I16), I32)
        return self.builder.or_(self.builder.shl(ethertype, const(16, I32)), control)

    def redirect(self) -> None:
        """To the socket of the packet's queue, unless nobody reads there."""
        queue = self.builder.zext(self.target.context(Context.RX_QUEUE_INDEX), I64)
        queue = self.emit.bounded(queue, self.spec.queues - 1, self.no_match)
        if self.spec.stall_ns is not None:
            self._check_heartbeat(queue, self.spec.stall_ns)
        sockets = self.target.map(MapSlot.SOCKETS)
        result = self.target.helper(Helper.REDIRECT_MAP, sockets, queue, const(Verdict.PASS))
        verdict = self.builder.trunc(result, I32)
        claimed, failed = self.emit.label(), self.emit.label()
        self.emit.branch(self.builder.icmp_unsigned("==", verdict, const(Verdict.CLAIM, I32)), claimed, failed)
        self.emit.enter(failed)
        self.count_and_return("redirect_failed", verdict)
        self.emit.enter(claimed)

    def restore_tag(self) -> None:
        """Write a tag that is out of band into the frame, where it was on the wire: its next reader sees nothing else.

        The last thing that is done to a packet, as the kernel keeps the tag of packets that pass. One that has no room
        for it passes.
        """
        tagged, room, done = self.emit.label(), self.emit.label(), self.emit.label()
        protocol, tci = self._ask_for_tag(tagged, done)
        self.emit.enter(tagged)
        grown = self.target.helper(Helper.XDP_ADJUST_HEAD, self.target.function.args[0], const(-TAG_BYTES, I32))
        self.emit.branch(
            self.builder.icmp_signed("==", self.builder.trunc(grown, I32), const(0, I32)), room, self.no_match
        )
        self.emit.enter(room)
        self.target.find_packet()
        self.emit.facts = Facts()  # all that was known was about the packet as it was
        frame = Address(self.target.data)
        self.emit.require(frame, FIRST_TAG + TAG_BYTES, self.no_match)  # it does: for the verifier
        addresses = [self._load_raw(frame + (TAG_BYTES + at), I32) for at in range(0, FIRST_TAG, 4)]
        for number, word in enumerate(addresses):
            self._store_raw(frame + 4 * number, word)
        self._store_raw(frame + FIRST_TAG, self.builder.load(protocol, typ=I16))
        self._store_raw(frame + (FIRST_TAG + 2), self.builder.bswap(self.builder.load(tci, typ=I16)))
        self.emit.goto(done)
        self.emit.enter(done)

    def _load_raw(self, address: Address, type: ir.Type) -> ir.Value:
        return self.builder.load(self._pointer(address), typ=type, align=1)

    def _store_raw(self, address: Address, value: ir.Value) -> None:
        self.builder.store(value, self._pointer(address), align=1)

    def _pointer(self, address: Address) -> ir.Value:
        return self.builder.inttoptr(self.builder.add(address.register, const(address.offset)), POINTER)

    def passed(self) -> None:
        self.emit.enter(self.no_match)
        self.count_and_return("passed", const(Verdict.PASS, I32))

    def count_and_return(self, counter: str, verdict: ir.Value) -> None:
        self._count(counter)
        self.builder.ret(verdict)

    def _look_up_counters(self) -> ir.Value:
        """The address of this CPU's counters. The lookup cannot fail, but the verifier wants that seen."""
        missing, found = self.emit.label(), self.emit.label()
        key = self.target.local(I32)
        self.builder.store(const(0, I32), key)
        counters = self.target.helper(Helper.MAP_LOOKUP_ELEM, self.target.map(MapSlot.COUNTERS), key)
        self.emit.branch(self.builder.icmp_unsigned("==", counters, const(0)), missing, found)
        self.emit.enter(missing)
        self.builder.ret(const(Verdict.PASS, I32))
        self.emit.enter(found)
        return counters

    def _count(self, counter: str) -> None:
        """Add one. Not atomic: one CPU runs one packet at a time."""
        address = self.builder.add(self.counters, const(8 * COUNTERS.index(counter)))
        pointer = self.builder.inttoptr(address, POINTER)
        self.builder.store(self.builder.add(self.builder.load(pointer, typ=I64), const(1)), pointer)

    def _ask_for_tag(self, tagged: Label, untagged: Label) -> tuple[ir.Value, ir.Value]:
        """Where the tag is in memory, for those who arrive at `tagged`: its protocol in wire order, its control
        information in host order.
        """
        protocol, tci = self.target.local(I16), self.target.local(I16)
        for place in (protocol, tci):
            self.builder.store(const(0, I16), place)
        status = self.target.kfunc(KfuncSlot.RX_VLAN_TAG, self.target.function.args[0], protocol, tci)
        self.emit.branch(self.builder.icmp_unsigned("==", status, const(0, I32)), tagged, untagged)
        return protocol, tci

    def _check_heartbeat(self, queue: ir.Value, stall_ns: int) -> None:
        """Packets of a queue whose reader has not been seen for longer than `stall_ns` end here."""
        address = self.builder.add(self.target.map_value(MapSlot.HEARTBEATS), self.builder.shl(queue, const(3)))
        heartbeat = self.builder.load(self.builder.inttoptr(address, POINTER), typ=I64)
        age = self.builder.sub(self.target.helper(Helper.KTIME_GET_COARSE_NS), heartbeat)
        stalled, alive = self.emit.label(), self.emit.label()
        self.emit.branch(self.builder.icmp_signed(">", age, const(stall_ns)), stalled, alive)
        self.emit.enter(stalled)
        self.count_and_return("stalled", const(Verdict.PASS, I32))
        self.emit.enter(alive)
