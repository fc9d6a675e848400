# SPDX-License-Identifier: Apache-2.0
"""Virtual hosts, wires and floods: test handlers and ramps on real packets, without a NIC.

    host           Host: an anonymous network namespace, and its processes
    interface      Interface: one end of a wire; offloads, NAPI placement, counters
    napi           which kernel threads receive for an interface
    lab            Lab, Wire: hosts joined by veth
    packets        valid frames as bytes
    flood          Flood: millions of frames a second out of an interface, for a bounded time
    variation      the eBPF program of a flood
    generator      the process of a flood
    cpu            Meter: CPU time of processes and NAPI threads; how much of the machine others used
    pytest_plugin  the fixture `lab`

Everything lives and dies with this process and stays in the namespaces it makes.  Needs root, and Linux 6.1.
"""

from __future__ import annotations

from offramp.gen.flood import Flood, Report
from offramp.testing.cpu import Meter, Usage
from offramp.testing.end import Interface
from offramp.testing.host import Host
from offramp.testing.lab import Lab, Wire

__all__ = ["Flood", "Host", "Interface", "Lab", "Meter", "Report", "Usage", "Wire"]
