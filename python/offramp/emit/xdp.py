# SPDX-License-Identifier: Apache-2.0
"""The XDP program around a match, as LLVM IR. Every packet takes one way through it, and is counted at its end:

    seen ─> protected? ─> match? ─> the queue has a socket? ─> its reader is alive? ─> redirect ─> claimed
            │ yes         │ no      │ no                       │ no                    │ fails
            v             v         v                          v                       v
            protected     passed    passed                     stalled                 redirect_failed

Verdicts other than CLAIM end behind the match, in `claimed`. With a hidden queue, packets that match on another one end
in `missed_by_nic`. All exits but the right-hand one lead to the next section, which does the same with counters and
sockets of its own; after the last one, to the kernel.

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

from collections.abc import Sequence

from llvmlite import ir

from offramp.emit.decide import Decision
from offramp.emit.emitter import Address, Emitter, Facts, Label
from offramp.emit.program import COUNTERS, KfuncSlot, MapSlot, Spec, slot
from offramp.emit.ranges import FIRST_TAG, outcomes
from offramp.emit.target import I16, I32, I64, POINTER, Bpf, Context, Helper, const
from offramp.emit.values import TaggedValues, Values
from offramp.lower.expression import TAG_BYTES, Expr, Lowered
from offramp.verdict import Verdict

__all__ = ["OUT_OF_BAND", "answer_for_tagged", "build"]

OUT_OF_BAND = (0x8100, 0x88A8)  # the ethertypes of tags that Linux takes out of frames (eth_type_vlan)
_ETHERNET_HEADER = 14


def build(specs: Sequence[Spec]) -> str:
    """The module's text."""
    target = Bpf()
    emit = Emitter(target)
    sets = 0
    for number, spec in enumerate(specs):
        last = number == len(specs) - 1
        section = _Section(emit, spec, number, sets, None if last else emit.label())
        section.write()
        sets += sum(len(part.sets) for part in spec.parts)
    return str(target.module)


def answer_for_tagged(expr: Expr) -> bool | None:
    """What `expr` says to every frame whose tag is out of band; None if that depends on the frame."""
    possible = {outcome is True for tag in OUT_OF_BAND for outcome in outcomes(expr, (tag,))}
    return possible.pop() if len(possible) == 1 else None


class _Section:
    """Each method writes one station, and leaves the emitter where the packets are that go on."""

    def __init__(self, emit: Emitter, spec: Spec, number: int, first_set: int, others: Label | None) -> None:
        """`others`: the next section; None: this is the last one."""
        assert isinstance(emit.target, Bpf)
        self.spec, self.number, self.first_set, self.others = spec, number, first_set, others
        self.emit, self.target, self.builder = emit, emit.target, emit.builder
        self.no_match = self.emit.label()

    def write(self) -> None:
        """All of it. Leaves the emitter at the beginning of the next one."""
        spec = self.spec
        self.counters = self._look_up_counters()
        self._count("seen")
        self.emit.require(Address(self.target.data), _ETHERNET_HEADER, self.no_match)  # every frame has that much
        if spec.protect is not None:
            self.protect(spec.protect)
        if spec.vlan_metadata:
            self.match_wire()
        else:
            self.match_frame()
        if spec.verdict is Verdict.CLAIM:
            self.redirect()
        leaves = spec.verdict in (Verdict.CLAIM, Verdict.TX)
        if leaves and spec.vlan_metadata and answer_for_tagged(spec.match.expr) is not False:
            self.restore_tag()
        self._count("claimed")
        self.builder.ret(const(spec.verdict, I32))
        self.emit.enter(self.no_match)
        self.give_up("passed")
        if self.others is not None:
            self.emit.enter(self.others)
            self.target.find_packet()
            self.emit.facts = Facts()

    def give_up(self, counter: str) -> None:
        """Not ours."""
        self._count(counter)
        if self.others is None:
            self.builder.ret(const(Verdict.PASS, I32))
        else:
            self.emit.goto(self.others)

    def protect(self, protect: Lowered) -> None:
        """Packets of `protect` end here."""
        protected, others = self.emit.label(), self.emit.label()
        sets = self.first_set + len(self.spec.match.sets)
        Decision(Values(self.emit, others), protect.sets, sets).decide(protect.expr, protected, others)
        self.emit.enter(protected)
        self.give_up("protected")
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
        Decision(values, match.sets, self.first_set).decide(match.expr, yes, no)

    def _tag(self, protocol: ir.Value, tci: ir.Value) -> ir.Value:
        """As it was on the wire, an i32."""
        ethertype = self.builder.zext(self.builder.bswap(self.builder.load(protocol, typ=I16)), I32)
        control = self.builder.zext(self.builder.load(tci, typ=I16), I32)
        return self.builder.or_(self.builder.shl(ethertype, const(16, I32)), control)

    def redirect(self) -> None:
        """To the socket of the packet's queue, unless nobody reads there."""
        queue = self.builder.zext(self.target.context(Context.RX_QUEUE_INDEX), I64)
        if self.spec.hidden_queue is not None:
            queue = self._check_arrival(queue, self.spec.hidden_queue)
        else:
            queue = self.emit.bounded(queue, self.spec.queues - 1, self.no_match)
        if self.spec.stall_ns is not None:
            self._check_heartbeat(queue, self.spec.stall_ns)
        sockets = self.target.map(self._slot(MapSlot.SOCKETS))
        result = self.target.helper(Helper.REDIRECT_MAP, sockets, queue, const(Verdict.PASS))
        verdict = self.builder.trunc(result, I32)
        claimed, failed = self.emit.label(), self.emit.label()
        self.emit.branch(self.builder.icmp_unsigned("==", verdict, const(Verdict.CLAIM, I32)), claimed, failed)
        self.emit.enter(failed)
        self.give_up("redirect_failed")
        self.emit.enter(claimed)

    def restore_tag(self) -> None:
        """Write a tag that is out of band into the frame, where it was on the wire: its next reader sees nothing else.

        The last thing that is done to a packet, as the kernel keeps the tag of packets that pass. One that has no room
        for it passes, in the words of the ledger: it did not match.
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

    def _slot(self, kind: MapSlot) -> int:
        return slot(self.number, kind)

    def _look_up_counters(self) -> ir.Value:
        """The address of this CPU's counters. The lookup cannot fail, but the verifier wants that seen."""
        missing, found = self.emit.label(), self.emit.label()
        key = self.target.local(I32)
        self.builder.store(const(0, I32), key)
        counters = self.target.helper(Helper.MAP_LOOKUP_ELEM, self.target.map(self._slot(MapSlot.COUNTERS)), key)
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
        heartbeats = self.target.map_value(self._slot(MapSlot.HEARTBEATS))
        address = self.builder.add(heartbeats, self.builder.shl(queue, const(3)))
        heartbeat = self.builder.load(self.builder.inttoptr(address, POINTER), typ=I64)
        age = self.builder.sub(self.target.helper(Helper.KTIME_GET_COARSE_NS), heartbeat)
        stalled, alive = self.emit.label(), self.emit.label()
        self.emit.branch(self.builder.icmp_signed(">", age, const(stall_ns)), stalled, alive)
        self.emit.enter(stalled)
        self.give_up("stalled")
        self.emit.enter(alive)

    def _check_arrival(self, queue: ir.Value, hidden: int) -> ir.Value:
        """Packets that the NIC has brought to another queue end here; the queue of the others."""
        missed, brought = self.emit.label(), self.emit.label()
        self.emit.branch(self.builder.icmp_unsigned("==", queue, const(hidden)), brought, missed)
        self.emit.enter(missed)
        self.give_up("missed_by_nic")
        self.emit.enter(brought)
        return const(hidden)
