# SPDX-License-Identifier: Apache-2.0
"""Received packets: up to 256 of one queue, as columns for arithmetic and as views for bytes.

    batch.ip.src          uint32[n]: a column; its layer is parsed once for the whole batch; a copy that outlives all
    batch[3]              memoryview: the frame itself, not copied, read-only
    batch[mask]           a Batch of some of the packets; so do batch[2:5], batch[[0, 3]] and batch.select(mask)
    batch.columns()       all columns in a dict, as pandas.DataFrame takes it
    Batch.of(frames)      a batch without a port, to test with

A batch owns its frames. They go back to the kernel when the batch, the selections made from it and the views of its
packets are all gone. So keep columns as long as you like, and batches and views no longer than needed. When too few
frames are left for the kernel to fill, the port raises `BatchInUse`.

Columns are read-only NumPy arrays. Numbers are in host byte order; addresses longer than 32 bits are bytes in wire
order. Names are scapy's where scapy has one. If a packet lacks a layer, its fields are 0 and `present` is False:

    eth    the frame's start, IEEE 802.3         dst src uint8[n,6], type uint16
    vlan   the outer tag, IEEE 802.1Q            vlan type uint16, prio uint8
    ip     behind up to two tags, RFC 791        src dst uint32, proto ttl uint8, len frag uint16
    ip6    behind up to two tags, RFC 8200       src dst uint8[n,16], nh hlim uint8, plen uint16
    tcp    RFC 9293                              sport dport window uint16, seq ack uint32, flags uint8
    udp    RFC 768                               sport dport len uint16

The transport layer is looked for behind IP options and up to eight IPv6 extension headers. Later fragments have none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, overload

from offramp.arguments import one_of, several
from offramp.errors import OptionError
from offramp.public import Public, in_numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Buffer

    from offramp import _native

__all__ = ["Batch", "Ethernet", "Ipv4", "Ipv6", "Tcp", "Udp", "Vlan", "listed"]

T = TypeVar("T", bound="np.generic")


class _Column(Generic[T]):
    """An attribute of a layer: the column of that name."""

    def __set_name__(self, owner: type[_Layer], name: str) -> None:
        self._name = f"{owner.name}.{name}"

    def __get__(self, layer: _Layer, owner: type[_Layer] | None = None) -> NDArray[T]:
        return layer._batch._column(self._name)


class _Layer(Public):
    __slots__ = ("_batch",)
    name: str

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name, value in vars(cls).items() if isinstance(value, _Column)]

    def __repr__(self) -> str:
        present = int(self._batch._column(f"{self.name}.present").sum())
        return f"<{self.name}: {present} of {in_numbers(len(self._batch), 'packet')}; {' '.join(self._names())}>"


class Ethernet(_Layer):
    """Ethernet II. `type` is the frame's own ethertype: 0x8100 if it is tagged."""

    name = "eth"
    present = _Column["np.bool_"]()
    dst = _Column["np.uint8"]()
    src = _Column["np.uint8"]()
    type = _Column["np.uint16"]()


class Vlan(_Layer):
    """The outer VLAN tag. `vlan` is the identifier (12 bits), `type` the ethertype behind the tag."""

    name = "vlan"
    present = _Column["np.bool_"]()
    vlan = _Column["np.uint16"]()
    prio = _Column["np.uint8"]()
    type = _Column["np.uint16"]()


class Ipv4(_Layer):
    """IPv4. `len` is the total length in bytes, `frag` the fragment offset in units of 8 bytes."""

    name = "ip"
    present = _Column["np.bool_"]()
    src = _Column["np.uint32"]()
    dst = _Column["np.uint32"]()
    proto = _Column["np.uint8"]()
    ttl = _Column["np.uint8"]()
    len = _Column["np.uint16"]()
    frag = _Column["np.uint16"]()


class Ipv6(_Layer):
    """IPv6. `nh` is the fixed header's next-header field, `plen` the payload length in bytes."""

    name = "ip6"
    present = _Column["np.bool_"]()
    src = _Column["np.uint8"]()
    dst = _Column["np.uint8"]()
    nh = _Column["np.uint8"]()
    hlim = _Column["np.uint8"]()
    plen = _Column["np.uint16"]()


class Tcp(_Layer):
    """TCP. `flags`: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128."""

    name = "tcp"
    present = _Column["np.bool_"]()
    sport = _Column["np.uint16"]()
    dport = _Column["np.uint16"]()
    seq = _Column["np.uint32"]()
    ack = _Column["np.uint32"]()
    flags = _Column["np.uint8"]()
    window = _Column["np.uint16"]()


class Udp(_Layer):
    """UDP. `len` is header and payload in bytes."""

    name = "udp"
    present = _Column["np.bool_"]()
    sport = _Column["np.uint16"]()
    dport = _Column["np.uint16"]()
    len = _Column["np.uint16"]()


_LAYERS: Final = {layer.name: layer for layer in (Ethernet, Vlan, Ipv4, Ipv6, Tcp, Udp)}
_MOST: Final = 256  # packets of a batch
_SHORT: Final = 1700  # bytes, which fit a frame of 2048 with its headroom
_LONGEST: Final = 3800


def listed(frames: Buffer | Iterable[Buffer]) -> tuple[Buffer, ...]:
    """One frame or many. A matrix is both a buffer and an iterable; each of its rows is a frame."""
    try:
        is_one = memoryview(frames).ndim == 1  # type: ignore[arg-type]  # that is what we want to know
    except TypeError:
        is_one = False
    return (frames,) if is_one else several("frames", frames)  # type: ignore[return-value, arg-type]


def _place(index: Any) -> int:
    """The index of one packet. Errors: TypeError, as a list's."""
    try:
        return operator.index(index)
    except TypeError:
        kind = type(index).__name__
        raise TypeError(f"a packet's number, a slice, a mask or several numbers, not {kind}") from None


def _of_one_dimension(column: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    if column.ndim == 1:
        return column
    rows = np.empty(len(column), object)
    rows[:] = [row.tobytes() for row in column]
    return rows


@cache
def _array_maker() -> Callable[[str, _native.Column], NDArray[Any]]:
    """The function that turns a column into an array. Made once: even an import statement costs as much."""
    import numpy as np

    from offramp import _native

    dtypes = {name: np.dtype(element) for name, element in _native.FIELDS.items()}
    frombuffer: Any = np.frombuffer  # its stubs do not know our buffer
    return lambda name, column: frombuffer(column, dtypes[name])


class Batch(Public):
    """Packets of one receive queue, in the order of their arrival."""

    @classmethod
    def of(cls, frames: Buffer | Iterable[Buffer]) -> Self:
        """A batch that holds copies of these frames (bytes from the Ethernet header on), at most 256.

        It is like a received one, but needs no port, network or privileges: test a function that takes a batch with
        it. Errors: OptionError.
        """
        from offramp import _native

        given = [memoryview(frame) for frame in listed(frames)]  # copied below, once it is known how long they are
        if len(given) > _MOST:
            raise OptionError(f"a batch of {len(given)} frames", reason=f"a batch has at most {_MOST}")
        longest = max((frame.nbytes for frame in given), default=0)
        if longest > _LONGEST:
            raise OptionError(f"a frame of {longest} bytes", reason=f"a frame has at most {_LONGEST}")
        size = 4096 if longest > _SHORT else 2048
        packets = [bytes(frame) for frame in given] or [bytes(14)]
        port = _native.Port.open("null:", packets=packets, repeat=False, frame_size=size)
        burst = port.rx(None, 0)
        port.close()
        assert burst is not None
        batch = cls(burst)
        return batch if given else cls(batch._take([])._burst)

    def __init__(self, burst: _native.Burst) -> None:
        self._burst = burst
        self._parsed: dict[str, _native.Columns] = {}  # by layer
        self._arrays: dict[str, NDArray[Any]] = {}  # by name

    @property
    def queue(self) -> int:
        """The index of the queue in the port: 0 for the first."""
        return self._burst.queue

    def __len__(self) -> int:
        return len(self._burst)

    @overload
    def __getitem__(self, index: int) -> memoryview: ...
    @overload
    def __getitem__(self, index: slice | NDArray[Any] | Sequence[Any]) -> Batch: ...
    def __getitem__(self, index: int | slice | NDArray[Any] | Sequence[Any]) -> memoryview | Batch:
        """The bytes of one packet, from the Ethernet header on, without a copy; or a Batch of several packets, by a
        slice, a mask or their numbers: batch[batch.udp.present].

        The view is read-only. The packet's frame is not recycled while the view, or an array made from it, lives.
        Errors: IndexError; OptionError for a mask of another length or kind.
        """
        count = len(self._burst)
        if isinstance(index, slice):
            return self._take(list(range(*index.indices(count))))
        if isinstance(index, (list, tuple)) or getattr(index, "ndim", None):
            return self.select(index)
        place = _place(index)
        if not -count <= place < count:
            raise IndexError(f"packet {place} of a batch of {count}")
        return memoryview(self._burst.view(place % count))

    def __iter__(self) -> Iterator[memoryview]:
        return (memoryview(self._burst.view(index)) for index in range(len(self._burst)))

    def select(self, mask: ArrayLike) -> Batch:
        """A Batch of the packets where `mask` (bool[n]) is true, or of those numbered in `mask` (integers).

        It shares the frames, but has its own columns. Errors: OptionError for a mask of another length or kind;
        IndexError.
        """
        import numpy as np

        chosen = np.asarray(mask)
        if chosen.dtype == np.bool_ and chosen.shape == (len(self),):
            return self._take(np.flatnonzero(chosen))
        if chosen.ndim == 1 and (np.issubdtype(chosen.dtype, np.integer) or not chosen.size):
            count = len(self)
            if chosen.size and not (-count <= chosen.min() and chosen.max() < count):
                raise IndexError(f"packets {chosen.min()} to {chosen.max()} of a batch of {count}")
            return self._take(chosen.astype(np.int64) % max(count, 1))
        raise OptionError(
            f"a mask of {chosen.dtype} {list(chosen.shape)}", reason=f"neither bool[{len(self)}] nor packet numbers"
        )

    def swap_addresses(self) -> None:
        """Turn the packets round: exchange source and destination of Ethernet, IP and TCP or UDP, in place.

        Checksums stay valid. Some senders leave a TCP or UDP checksum to their NIC, for example at the other end of a
        veth pair. Such a checksum is finished here, unless the packet is a fragment or has IPv6 extension headers.
        Columns read before keep the old values. Errors: OptionError for packets with live views.
        """
        self._burst.swap_addresses()
        self._parsed, self._arrays = {}, {}

    @property
    def length(self) -> NDArray[np.uint32]:
        """The length of each frame on the wire in bytes, without the checksum. It may be cut here. uint32[n]."""
        return self._column("length")

    @property
    def timestamp(self) -> NDArray[np.uint64]:
        """Nanoseconds since 1970 UTC, uint64[n]; `timestamp_source` says which moment they stand for."""
        import numpy as np

        times: Any = self._burst.timestamps()  # NumPy's stubs do not know our buffer
        if times is None:
            return np.full(len(self), self._burst.timestamp, np.uint64)
        return np.frombuffer(times, np.uint64)

    @property
    def timestamp_source(self) -> str:
        """Which moment `timestamp` stands for.

        "poll": when the batch was taken from the ring, one time for all its packets. The others have a time for each
        packet: "software": when a program on its way saw it; "hardware": when the NIC saw it; "recorded": what a file
        says.
        """
        return self._burst.timestamp_source

    @property
    def eth(self) -> Ethernet:
        """Ethernet headers."""
        return Ethernet(self)

    @property
    def vlan(self) -> Vlan:
        """Outer VLAN tags."""
        return Vlan(self)

    @property
    def ip(self) -> Ipv4:
        """IPv4 headers."""
        return Ipv4(self)

    @property
    def ip6(self) -> Ipv6:
        """IPv6 headers."""
        return Ipv6(self)

    @property
    def tcp(self) -> Tcp:
        """TCP headers."""
        return Tcp(self)

    @property
    def udp(self) -> Udp:
        """UDP headers."""
        return Udp(self)

    def columns(self, *layers: str) -> dict[str, NDArray[Any]]:
        """All columns, or those of some layers, by their names: {"length": ..., "timestamp": ..., "ip.src": ...}.

        Each is an array of one dimension, as `pandas.DataFrame(batch.columns())` takes it: addresses of 6 and 16
        bytes are `bytes`, which `ipaddress.ip_address` takes too. Errors: OptionError for a layer that does not exist.
        """
        found: dict[str, NDArray[Any]] = {"length": self.length, "timestamp": self.timestamp}
        for layer in layers or tuple(_LAYERS):
            for name in _LAYERS[one_of("layer", layer, _LAYERS)]._names():
                found[f"{layer}.{name}"] = _of_one_dimension(self._column(f"{layer}.{name}"))
        return found

    def __repr__(self) -> str:
        return f"<Batch of {in_numbers(len(self), 'packet')} of queue {self.queue}>"

    def _column(self, name: str) -> NDArray[Any]:
        array = self._arrays.get(name)
        if array is None:
            layer = name.partition(".")[0]
            columns = self._parsed.get(layer)
            if columns is None:
                columns = self._parsed[layer] = self._burst.layer_of(name)
            array = self._arrays[name] = _array_maker()(name, columns[name])
        return array

    def _take(self, indices: ArrayLike) -> Batch:
        import numpy as np

        return Batch(self._burst.select(np.asarray(indices, np.uint16).data))
