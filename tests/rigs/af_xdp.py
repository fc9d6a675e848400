# SPDX-License-Identifier: Apache-2.0
"""AF_XDP on a veth pair, under test: the bare port, with the test's own XDP program, and the port of a ramp."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import offramp
from offramp.bpf import Map, MapType, Program, XdpLink
from offramp.emit.bytecode import instruction
from offramp.emit.program import MapSlot
from offramp.emit.program import XdpProgram as Code
from offramp.ports import Port, open_port
from offramp.ramp.ramp import Ramp
from offramp.testing import Lab, Wire
from tests.rigs.bytecode import PASS
from tests.rigs.port_faults import FAULTS
from tests.rigs.ports import Oversized
from tests.rigs.threads import meanwhile
from tests.rigs.traffic import MATCH, PORT

__all__ = ["BareAfXdp", "RampsPort", "redirected"]

GAP = 0.0002  # seconds between two packets: a reader that reads keeps up

_ENDLESS = {"end_of_stream": "an interface never says that nothing will come any more"}


class BareAfXdp:
    """`af_xdp:eth0` on one end of a wire, with wrappers. The packets come from the other end; nobody waits for a slow
    reader.
    """

    lossless: ClassVar = False
    oversized: ClassVar[Oversized] = "never"  # by the interface's MTU
    without: ClassVar[Mapping[str, str]] = _ENDLESS

    def __init__(self, lab: Lab, around: str = "") -> None:
        self._wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
        self._around = around

    @contextmanager
    def open(self, arriving: Sequence[bytes], *, around: str = "", **options: int) -> Iterator[Port]:
        options.pop("frame_size", None)  # a packet of this MTU fits into the least one there is
        with (
            self._wire.b.host,
            open_port(f"{around}{self._around}af_xdp:eth0", **options) as port,
            redirected(self._wire.b.ifindex, port),
            fed(self._wire, arriving),
        ):
            yield port

    def close(self, port: Port) -> None:
        port.close()


class RampsPort:
    """The port that a ramp has opened."""

    lossless: ClassVar = False
    oversized: ClassVar[Oversized] = "never"
    without: ClassVar[Mapping[str, str]] = _ENDLESS | {
        case.__name__: "a ramp opens its port itself: nothing can be put around it" for case in FAULTS
    }

    def __init__(self, lab: Lab) -> None:
        self._wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
        self._ramp: Ramp | None = None

    @contextmanager
    def open(self, arriving: Sequence[bytes], *, around: str = "", **options: Any) -> Iterator[Port]:
        assert not around
        options.pop("frame_size", None)  # a ramp chooses it by the MTU
        with self._wire.b.host, offramp.open("eth0", MATCH, **options) as self._ramp, fed(self._wire, arriving):
            yield self._ramp.port

    def close(self, port: Port) -> None:
        assert self._ramp is not None
        self._ramp.close()


@contextmanager
def fed(wire: Wire, frames: Sequence[bytes]) -> Iterator[None]:
    """Meanwhile end a sends these, one by one."""
    with wire.a.host:
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sender.bind(("eth0", 0))

    def feed(over: threading.Event) -> None:
        for frame in frames:
            sender.send(frame)
            if over.wait(GAP):
                return

    with sender, meanwhile(feed):
        yield


@contextmanager
def redirected(ifindex: int, port: Port) -> Iterator[None]:
    """Meanwhile the port's sockets get the flow of `traffic.py`, each from its queue, and the kernel all else."""
    queues = port._native.pollables()
    with (
        Map.create(MapType.XSKMAP, 4, 4, len(queues), name="test_socks") as sockets,
        Program.load(Code(_REDIRECTS), name="test_redirects", maps={MapSlot.SOCKETS: sockets}) as program,
    ):
        for queue, fd in enumerate(queues):
            assert fd is not None
            sockets.update(struct.pack("I", queue), struct.pack("I", fd))
        with XdpLink.attach(program, ifindex):
            yield


_REDIRECTS = b"".join(
    [
        instruction(0xBF, 6, 1),  # r6 = the context
        instruction(0x61, 2, 1),  # r2 = data
        instruction(0x61, 3, 1, 4),  # r3 = data_end
        instruction(0xBF, 4, 2),
        instruction(0x07, 4, immediate=42),
        instruction(0x2D, 4, 3, 12),  # shorter than its headers: pass
        instruction(0x69, 4, 2, 12),
        instruction(0x55, 4, offset=10, immediate=socket.htons(0x0800)),  # no IPv4: pass
        instruction(0x71, 4, 2, 23),
        instruction(0x55, 4, offset=8, immediate=socket.IPPROTO_UDP),
        instruction(0x69, 4, 2, 36),
        instruction(0x55, 4, offset=6, immediate=socket.htons(PORT)),
        instruction(0x61, 2, 6, 16),  # r2 = rx_queue_index
        instruction(0x18, 1, 1, immediate=MapSlot.SOCKETS) + instruction(0),
        instruction(0xB7, 3, immediate=PASS),  # if there is no socket
        instruction(0x85, immediate=51),  # bpf_redirect_map
        instruction(0x95),
        instruction(0xB7, immediate=PASS),
        instruction(0x95),
    ]
)
