# SPDX-License-Identifier: Apache-2.0
"""A VLAN tag that the driver carries beside the frame: ask for it, and put it back where it was on the wire.

Source: Documentation/networking/xdp-rx-metadata.rst (bpf_xdp_metadata_rx_vlan_tag).
"""

from __future__ import annotations

from typing import Final

from llvmlite import ir

from offramp.emit.bytecode import Helper
from offramp.emit.emitter import Address, Emitter, Known, Label
from offramp.emit.intervals import FIRST_TAG
from offramp.emit.placeholders import KfuncSlot
from offramp.emit.target import I16, I32, POINTER, Bpf, const
from offramp.lower.expression import TAG_BYTES

__all__ = ["OUT_OF_BAND", "VlanTag"]

OUT_OF_BAND: Final = (0x8100, 0x88A8)  # the ethertypes of tags that Linux takes out of frames (eth_type_vlan)


class VlanTag:
    """The tag of one packet. `ask` leaves it in two places on the stack."""

    def __init__(self, emit: Emitter, target: Bpf) -> None:
        self.emit, self.target, self.builder = emit, target, emit.builder

    def ask(self, tagged: Label, untagged: Label) -> None:
        """Branch by whether there is a tag. Leaves the current place."""
        self._protocol, self._control = self.target.local(I16), self.target.local(I16)  # wire order; host order
        for place in (self._protocol, self._control):
            self.builder.store(const(0, I16), place)
        places = (self._protocol, self._control)
        status = self.target.kfunc(KfuncSlot.RX_VLAN_TAG, self.target.function.args[0], *places)
        self.emit.branch(self.builder.icmp_unsigned("==", status, const(0, I32)), tagged, untagged)

    def read(self) -> ir.Value:
        """The tag as it was on the wire, an i32."""
        ethertype = self.builder.zext(self.builder.bswap(self.builder.load(self._protocol, typ=I16)), I32)
        control = self.builder.zext(self.builder.load(self._control, typ=I16), I32)
        return self.builder.or_(self.builder.shl(ethertype, const(16, I32)), control)

    def restore(self, no_room: Label) -> None:
        """Write the tag into the frame, if there is one: the next reader of the frame has nothing else.

        This is the last thing done to a packet, because the kernel keeps the tag of packets that pass.
        """
        tagged, room, done = self.emit.label(), self.emit.label(), self.emit.label()
        self.ask(tagged, done)
        self.emit.enter(tagged)
        grown = self.target.helper(Helper.XDP_ADJUST_HEAD, self.target.function.args[0], const(-TAG_BYTES, I32))
        self.emit.branch(self.builder.icmp_signed("==", self.builder.trunc(grown, I32), const(0, I32)), room, no_room)
        self.emit.enter(room)
        self.target.find_packet()
        self.emit.facts = Known()  # all that was known was about the packet as it was before
        frame = Address(self.target.data)
        self.emit.require(frame, FIRST_TAG + TAG_BYTES, no_room)  # there always is enough; this is for the verifier
        addresses = [self._load(frame + (TAG_BYTES + at), I32) for at in range(0, FIRST_TAG, 4)]
        for number, word in enumerate(addresses):
            self._store(frame + 4 * number, word)
        self._store(frame + FIRST_TAG, self.builder.load(self._protocol, typ=I16))
        self._store(frame + (FIRST_TAG + 2), self.builder.bswap(self.builder.load(self._control, typ=I16)))
        self.emit.goto(done)
        self.emit.enter(done)

    def _load(self, address: Address, type: ir.Type) -> ir.Value:
        return self.builder.load(self._pointer(address), typ=type, align=1)

    def _store(self, address: Address, value: ir.Value) -> None:
        self.builder.store(value, self._pointer(address), align=1)

    def _pointer(self, address: Address) -> ir.Value:
        return self.builder.inttoptr(self.builder.add(address.register, const(address.offset)), POINTER)
