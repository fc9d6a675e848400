# SPDX-License-Identifier: Apache-2.0
"""The XDP program around bodies, as LLVM IR. Each body is in a section. A packet takes one path through a section, and
is counted at its end, in the counter of that exit. This is the path to CLAIM:

    seen ─> protected? ─> body ─> its reader is alive? ─> it fits a frame? ─> redirect ─> claimed
            │ yes         │ others  │ no                  │ no                │ fails: its queue has no socket
            v             v         v                     v                   v
            protected     passed    stalled               too_long            redirect_failed

Exits with other verdicts end right after the body. With a hidden queue, packets that would be claimed on another queue
end in `missed_by_nic`. All ends without a verdict lead to the next section, which does the same with its own maps; the
last section leads to the kernel.

- Protected packets are recognised in the frame as it is in memory. A tag out of band changes nothing there: its packets
  belong to the kernel as much as others.
- A body is about the frame on the wire. A tag that the driver carries out of band belongs into that (tagged_values.py),
  but asking for it costs a call. So the program asks only if the answer matters. If all frames with such a tag leave by
  the same exit, it asks only after the other exits. A packet that leaves the driver, to user space or back to the wire,
  gets its tag back.
- A frame that is longer than what its socket takes would be lost, as the kernel drops it then. The MTU may be raised
  at any time, and in generic mode a sender's own offloads may bring packets longer than any MTU. A tag that gets back
  into the frame makes that longer, too.
- A heartbeat from the future is not stale: both clocks are the coarse one, but they are read on different CPUs.

Sources: Documentation/networking/af_xdp.rst (XSKMAP), xdp-rx-metadata.rst; include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llvmlite import ir

from offramp.emit.body import Exit
from offramp.emit.bytecode import Helper
from offramp.emit.decide import Decision
from offramp.emit.emitter import Address, Emitter, Known, Label
from offramp.emit.placeholders import MapSlot, Module, Reference
from offramp.emit.program import Spec
from offramp.emit.tagged_values import TaggedValues
from offramp.emit.target import I32, I64, POINTER, Bpf, Context, const
from offramp.emit.values import Values
from offramp.emit.vlan_tag import OUT_OF_BAND, VlanTag
from offramp.lower.expression import TAG_BYTES, Lowered
from offramp.verdict import Verdict

__all__ = ["build"]

_ETHERNET_HEADER = 14


def build(specs: Sequence[Spec]) -> Module[Reference]:
    """The module with a section for each of `specs`."""
    target = Bpf()
    emit = Emitter(target)
    for number, spec in enumerate(specs):
        target.section = number
        is_last = number == len(specs) - 1
        _Section(emit, target, spec, None if is_last else emit.label()).write()
    return target.finished()


class _Section:
    """Each method writes one station. It leaves the emitter where the packets are that go on."""

    def __init__(self, emit: Emitter, target: Bpf, spec: Spec, others: Label | None) -> None:
        """`others`: the next section; None: this section is the last one."""
        self.emit, self.target, self.builder = emit, target, emit.builder
        self.spec, self.others = spec, others
        self.tag = VlanTag(emit, target)
        self.of_tagged = spec.body.exit_of_tagged(OUT_OF_BAND)
        self.no_way = emit.label()

    def write(self) -> None:
        """Write the whole section. Leaves the emitter at the beginning of the next one."""
        self.counters = self._look_up_counters()
        self._count("seen")
        self.emit.require(Address(self.target.data), _ETHERNET_HEADER, self.no_way)  # every frame has that much
        if self.spec.protect is not None:
            self.protect(self.spec.protect)
        *exits, last = self.spec.body.exits
        labels = {**{exit: self.emit.label() for exit in exits}, last: self.no_way}
        if self.spec.vlan_metadata:
            self.body_on_wire(labels)
        else:
            self.spec.body.write(Values(self.emit, self.no_way), labels)
        for exit, label in labels.items():
            self.emit.enter(label)
            self.end(exit)
        if self.others is not None:
            self.emit.enter(self.others)
            self.target.find_packet()
            self.emit.facts = Known()

    def end(self, exit: Exit) -> None:
        """Write what happens to packets that leave by this exit."""
        if exit.verdict is None:
            self.give_up(exit.counter)
            return
        leaves = exit.verdict in (Verdict.CLAIM, Verdict.TX)
        tagged = leaves and self.spec.vlan_metadata and self.of_tagged in (None, exit)
        if exit.verdict is Verdict.CLAIM:
            self.redirect(tagged=tagged)
        if tagged:
            self.tag.restore(self.no_way)
        self._count(exit.counter)
        self.builder.ret(const(exit.verdict, I32))

    def give_up(self, counter: str) -> None:
        """Count the packet here, and leave it to the next section."""
        self._count(counter)
        if self.others is None:
            self.builder.ret(const(Verdict.PASS, I32))
        else:
            self.emit.goto(self.others)

    def protect(self, protect: Lowered) -> None:
        """Packets of `protect` end here."""
        protected, others = self.emit.label(), self.emit.label()
        Decision(Values(self.emit, others), protect.sets).decide(protect.expr, protected, others)
        self.emit.enter(protected)
        self.give_up("protected")
        self.emit.enter(others)

    def body_on_wire(self, labels: Mapping[Exit, Label]) -> None:
        """Write the body, about the frame as it was on the wire."""
        body, certain = self.spec.body, self.of_tagged
        if certain is None:
            untagged, tagged = self.emit.label(), self.emit.label()
            self.tag.ask(tagged, untagged)
            self.emit.enter(tagged)
            body.write(TaggedValues(self.emit, self.no_way, self.tag.read(), OUT_OF_BAND), labels)
            self.emit.enter(untagged)
            body.write(Values(self.emit, self.no_way), labels)
            return
        untold = {exit: self.emit.label() for exit in body.exits if exit != certain}
        told = {**labels, **untold}
        body.write(Values(self.emit, told[body.exits[-1]]), told)
        for exit, label in untold.items():
            self.emit.enter(label)
            self.tag.ask(labels[certain], labels[exit])

    def redirect(self, *, tagged: bool) -> None:
        """Redirect to the socket of the packet's queue, unless nobody reads there, or it does not fit a frame.

        `tagged`: a tag may be restored after that.
        """
        claimed, failed = self.emit.label(), self.emit.label()
        queue = self.builder.zext(self.target.context(Context.RX_QUEUE_INDEX), I64)
        if self.spec.hidden_queue is not None:
            queue = self._check_arrival(queue, self.spec.hidden_queue)
        else:
            queue = self.emit.bounded(queue, self.spec.queues - 1, failed)
        if self.spec.stall_ns is not None:
            self._check_heartbeat(queue, self.spec.stall_ns)
        if self.spec.longest is not None:
            self._check_length(self.spec.longest, tagged=tagged)
        sockets = self.target.map(MapSlot.SOCKETS)
        result = self.target.helper(Helper.REDIRECT_MAP, sockets, queue, const(Verdict.PASS))
        verdict = self.builder.trunc(result, I32)
        self.emit.branch(self.builder.icmp_unsigned("==", verdict, const(Verdict.CLAIM, I32)), claimed, failed)
        self.emit.enter(failed)
        self.give_up("redirect_failed")
        self.emit.enter(claimed)

    def _look_up_counters(self) -> ir.Value:
        """The address of this CPU's counters. The lookup cannot fail, but the verifier wants a check."""
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
        """Add one to the counter. It is not atomic: one CPU runs one packet at a time."""
        address = self.builder.add(self.counters, const(8 * self.spec.counters.index(counter)))
        pointer = self.builder.inttoptr(address, POINTER)
        self.builder.store(self.builder.add(self.builder.load(pointer, typ=I64), const(1)), pointer)

    def _check_heartbeat(self, queue: ir.Value, stall_ns: int) -> None:
        """Packets end here if their queue's reader was not seen for longer than `stall_ns`."""
        heartbeats = self.target.map_value(MapSlot.HEARTBEATS)
        address = self.builder.add(heartbeats, self.builder.shl(queue, const(3)))
        heartbeat = self.builder.load(self.builder.inttoptr(address, POINTER), typ=I64)
        age = self.builder.sub(self.target.helper(Helper.KTIME_GET_COARSE_NS), heartbeat)
        stalled, alive = self.emit.label(), self.emit.label()
        self.emit.branch(self.builder.icmp_signed(">", age, const(stall_ns)), stalled, alive)
        self.emit.enter(stalled)
        self.give_up("stalled")
        self.emit.enter(alive)

    def _check_length(self, longest: int, *, tagged: bool) -> None:
        """Packets end here if their frame, with its tag, is longer than `longest`. The tag is asked for only if it
        matters.
        """
        too_long, fits = self.emit.label(), self.emit.label()
        length = self.target.barrier(self.builder.sub(self.target.end, self.target.data))
        if tagged:
            beyond, near, room = self.emit.label(), self.emit.label(), const(longest - TAG_BYTES)
            self.emit.branch(self.builder.icmp_unsigned("<=", length, room), fits, beyond)
            self.emit.enter(beyond)
            self.emit.branch(self.builder.icmp_unsigned("<=", length, const(longest)), near, too_long)
            self.emit.enter(near)
            self.tag.ask(too_long, fits)
        else:
            self.emit.branch(self.builder.icmp_unsigned("<=", length, const(longest)), fits, too_long)
        self.emit.enter(too_long)
        self.give_up("too_long")
        self.emit.enter(fits)

    def _check_arrival(self, queue: ir.Value, hidden: int) -> ir.Value:
        """Packets that the NIC has brought to another queue end here. Returns the queue of the others."""
        missed, brought = self.emit.label(), self.emit.label()
        self.emit.branch(self.builder.icmp_unsigned("==", queue, const(hidden)), brought, missed)
        self.emit.enter(missed)
        self.give_up("missed_by_nic")
        self.emit.enter(brought)
        return const(hidden)
