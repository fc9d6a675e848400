# SPDX-License-Identifier: Apache-2.0
"""libpcap by ctypes: the oracle for what a match means.

    with Filter("udp dst port 53") as filter:
        filter(frame)              -> bool
        filter(frame, length=1500) -> bool, for a frame that the capture cut off

Compiling and running need no privileges. pcap_compile is thread-safe since libpcap 1.8 (pcap_compile(3PCAP)); a Filter
belongs to one thread. Needs libpcap.so.0.8 (Debian: libpcap0.8).
"""

from __future__ import annotations

import ctypes
from functools import cache
from types import TracebackType
from typing import Self

DLT_EN10MB = 1
SNAPLEN = 262144  # tcpdump's
NETMASK_UNKNOWN = 0xFFFF_FFFF


class Refused(ValueError):
    """libpcap refuses the expression; this is its message."""


class RejectsAll(Refused):
    """libpcap's optimiser found that no packet can match."""


class _Program(ctypes.Structure):  # struct bpf_program
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


class _Header(ctypes.Structure):  # struct pcap_pkthdr
    _fields_ = (
        ("seconds", ctypes.c_long),
        ("microseconds", ctypes.c_long),
        ("captured", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
    )


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libpcap.so.0.8")
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_open_dead.argtypes = [ctypes.c_int, ctypes.c_int]
    library.pcap_close.restype = None
    library.pcap_close.argtypes = [ctypes.c_void_p]
    library.pcap_geterr.restype = ctypes.c_char_p
    library.pcap_geterr.argtypes = [ctypes.c_void_p]
    library.pcap_compile.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(_Program),
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint32,
    ]
    library.pcap_freecode.restype = None
    library.pcap_freecode.argtypes = [ctypes.POINTER(_Program)]
    library.pcap_offline_filter.argtypes = [ctypes.POINTER(_Program), ctypes.POINTER(_Header), ctypes.c_char_p]
    library.pcap_lib_version.restype = ctypes.c_char_p
    return library


def version() -> str:
    """Its version, such as "libpcap version 1.10.3 (with TPACKET_V3)"."""
    return _text(_library().pcap_lib_version())


class Filter:
    """A compiled tcpdump expression for Ethernet frames; close it, or use it as a context manager.

    `netmask` is for `ip broadcast`; 255.255.255.0 is 0xffffff00, as libpcap compares it with numbers.
    """

    def __init__(self, expression: str, *, optimize: bool = True, netmask: int = NETMASK_UNKNOWN) -> None:
        self._program = _Program()
        self._header = _Header()
        library = _library()
        handle = library.pcap_open_dead(DLT_EN10MB, SNAPLEN)
        if not handle:
            raise MemoryError("pcap_open_dead")
        try:
            arguments = (ctypes.byref(self._program), expression.encode(), int(optimize), netmask)
            if library.pcap_compile(handle, *arguments) != 0:
                message = _text(library.pcap_geterr(handle))
                raise (RejectsAll if "rejects all packets" in message else Refused)(message)
        finally:
            library.pcap_close(handle)

    def __call__(self, frame: bytes, length: int | None = None) -> bool:
        """Whether `frame` matches; `length` is its length on the wire, if some of it was not captured."""
        header = self._header
        header.captured = len(frame)
        header.length = len(frame) if length is None else length
        run = _library().pcap_offline_filter
        return bool(run(ctypes.byref(self._program), ctypes.byref(header), frame))

    def close(self) -> None:
        _library().pcap_freecode(ctypes.byref(self._program))  # which also empties it: a second call does nothing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _text(message: bytes) -> str:
    return message.decode(errors="replace")
