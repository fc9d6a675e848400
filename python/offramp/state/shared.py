# SPDX-License-Identifier: Apache-2.0
"""What all sets are: a shape, memory of that shape and, once a program looks into it, a BPF map with that memory.

    made ──> memory of this process ──map()──> value of a map, for life
             native code reads it               programs and native code read it

Moving copies the memory once; readers notice nothing. Source: map_array.html of docs.kernel.org/bpf (BPF_F_MMAPABLE).
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, NoReturn

from offramp import _native

if TYPE_CHECKING:
    from offramp.bpf import Map
    from offramp.lower.expression import Fixed
    from offramp.lower.shapes import Shape

__all__ = ["FixedSet", "SharedSet", "fixed"]


class SharedSet:
    """Memory that compiled matches look into. Equal only to itself, because its contents may change."""

    def __init__(self, shape: Shape, *, numbers: bool = True) -> None:
        self._shape = shape
        self._core = _native.SetCore(shape.structure, shape.family, shape.capacity, numbers)
        self._map: Map | None = None
        self._moving = threading.Lock()

    @property
    def shape(self) -> Shape:
        """What the compiler has to know."""
        return self._shape

    @property
    def core(self) -> _native.SetCore:
        """The memory, for native code."""
        return self._core

    @property
    def nbytes(self) -> int:
        """Bytes of memory: all of them in a map; before that, those in use."""
        return self._core.size

    def map(self) -> Map:
        """The BPF map that holds this set's memory. The first call makes it, and moves the set in. Closed with the set.

        Needs CAP_BPF the first time. Minimum kernel: 6.1. Errors: PrivilegeError; KernelError (ENOMEM; EINVAL if the
        kernel was started with nohz_full=, because programs cannot be waited for then); Closed in a forked child.
        """
        with self._moving:
            if self._map is None:
                from offramp.bpf import Map, MapFlag, MapType

                made = Map.create(MapType.ARRAY, 4, self._core.size, 1, MapFlag.MMAPABLE, "offramp_set")
                try:
                    self._core.rehome(made.fd)
                except BaseException:
                    made.close()
                    raise
                weakref.finalize(self, made.close)
                self._map = made
            return self._map

    def __len__(self) -> int:
        return len(self._core)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"a {name} is memory that packets are matched against: it cannot be copied or pickled")


class FixedSet(SharedSet):
    """The values that a match spells out, if there are so many that a look-up is cheaper than tests."""

    def __init__(self, use: Fixed) -> None:
        super().__init__(use.shape)
        self._core.fix(use.ranges)

    def __repr__(self) -> str:
        return f"<{self._shape.capacity} values of a match, family {self._shape.family!r}>"


def fixed(use: Fixed) -> FixedSet:
    """The set of a match's own values. Errors: OptionError if they are too many for one map."""
    return FixedSet(use)
