# SPDX-License-Identifier: Apache-2.0
"""The lab: virtual hosts, which are network namespaces without a name, and veth wires between them.

lab.py   Lab, Wire
host.py  Host: a namespace to enter and to run programs in
end.py   Interface: one end of a wire, and what can be switched on and off there
napi.py  where its receive side runs
cpu.py   Meter: who used the CPUs meanwhile
"""

from __future__ import annotations

from offramp.lab.cpu import Meter, Usage
from offramp.lab.end import Interface
from offramp.lab.host import Host
from offramp.lab.lab import Lab, Wire

__all__ = ["Host", "Interface", "Lab", "Meter", "Usage", "Wire"]
