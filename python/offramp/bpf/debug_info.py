# SPDX-License-Identifier: Apache-2.0
"""What our programs tell whoever looks in, by BTF, the kernel's type information.

    bpftool prog dump xlated        shows the source above the code: each match, and its verdict
    xdpdump, and others by fentry   find the function by its name, and know its argument: int NAME(struct xdp_md *ctx)

A program is one function without calls of its own, so it has one entry for its function and one for its line. The types
are loaded beside the program, which keeps them. A kernel that refuses them gets the program without them.

Source: https://docs.kernel.org/bpf/btf.html, sections "Type Encoding" and "BPF_PROG_LOAD"; struct bpf_func_info and
bpf_line_info of include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Self

from offramp.bpf.btf import FUNC, HEADER, MAGIC
from offramp.bpf.descriptor import Descriptor
from offramp.errors import OfframpError
from offramp.syscalls.bpf import Buffer, Command, bpf, buffer
from offramp.syscalls.kept import Kept

__all__ = ["DebugInfo", "types"]

_VERSION = 1
_INT, _PTR, _STRUCT, _FUNC_PROTO = 1, 2, 4, 13
_SIGNED = 1 << 24
_GLOBAL = 1  # linkage: the verifier trusts the argument's type of a global function only

_CONTEXT = ("data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index", "egress_ifindex")  # struct xdp_md
_FUNCTION = 6  # the number of our function among the types
_FILE = "offramp"  # it stands for the file that the source is in
_LINE = 1 << 10  # line 1, column 0


class _Strings:
    """The string section. A string is named by its offset; 0 is the empty one."""

    def __init__(self) -> None:
        self.content = b"\0"

    def add(self, text: str) -> int:
        offset = len(self.content)
        self.content += text.encode("ascii", "backslashreplace").replace(b"\0", b"") + b"\0"
        return offset


def _record(name: int, kind: int, vlen: int, size_or_type: int, *more: int) -> bytes:
    return struct.pack(f"{3 + len(more)}I", name, kind << 24 | vlen, size_or_type, *more)


def types(name: str, source: str) -> tuple[bytes, int, int]:
    """The types of a program called `name`, and the offsets of its file and its source in the string section."""
    strings = _Strings()
    fields = [number for at, field in enumerate(_CONTEXT) for number in (strings.add(field), 2, 32 * at)]
    records = (
        _record(strings.add("int"), _INT, 0, 4, _SIGNED | 32),  # 1
        _record(strings.add("unsigned int"), _INT, 0, 4, 32),  # 2
        _record(strings.add("xdp_md"), _STRUCT, len(_CONTEXT), 4 * len(_CONTEXT), *fields),  # 3
        _record(0, _PTR, 0, 3),  # 4
        _record(0, _FUNC_PROTO, 1, 1, strings.add("ctx"), 4),  # 5
        _record(strings.add(name), FUNC, _GLOBAL, 5),  # 6: _FUNCTION
    )
    file, line = strings.add(_FILE), strings.add(source)
    body = b"".join(records)
    lengths = (0, len(body), len(body), len(strings.content))  # types: offset, length; strings: the same
    return HEADER.pack(MAGIC, _VERSION, 0, HEADER.size, *lengths) + body + strings.content, file, line


class DebugInfo(Descriptor):
    """The types of one program in the kernel, to be given to BPF_PROG_LOAD; closed if the kernel refused them."""

    def __init__(self, kept: Kept, function: Buffer, line: Buffer) -> None:
        super().__init__(kept)
        self._function = function
        self._line = line

    @classmethod
    def load(cls, name: str, source: str) -> Self:
        """Needs CAP_BPF. `source`: a line for people, such as the match."""
        blob, file, line = types(name, source)
        content, kept = buffer(blob), Kept()
        try:
            attributes = struct.pack("QQII", ctypes.addressof(content), 0, len(blob), 0)
            bpf(Command.BTF_LOAD, attributes, f"loading the types of program {name!r}", kept)
        except OfframpError:
            kept.close()
        return cls(kept, buffer(struct.pack("II", 0, _FUNCTION)), buffer(struct.pack("IIII", 0, file, line, _LINE)))

    def attributes(self) -> bytes:
        """The end of union bpf_attr for BPF_PROG_LOAD, from prog_btf_fd on; empty without types."""
        if self.closed:
            return b""
        function, line = ctypes.addressof(self._function), ctypes.addressof(self._line)
        return struct.pack("IIQIIQI4x", self.fd, len(self._function), function, 1, len(self._line), line, 1)

    def _describe(self) -> str:
        return "types of a program"
