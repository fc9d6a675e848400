# SPDX-License-Identifier: Apache-2.0
"""Virtual hosts, wires and floods: test handlers and ramps on real packets, without a NIC. For your own tests.

    Host           an anonymous network namespace, and its processes           (offramp/lab)
    Lab, Wire      hosts joined by veth
    Interface      one end of a wire; offloads, NAPI placement, counters
    Meter          CPU time of processes and NAPI threads; how much of the machine others used
    Flood          millions of frames a second out of an interface, for a bounded time          (offramp/gen)
    packets        valid frames as bytes
    software_nic   a NIC in memory: what its settings do to packets is a model
    pytest_plugin  the fixture `lab`

Everything lives and dies with this process, and stays in the namespaces that it makes. Needs root, and Linux 6.1.
"""

from __future__ import annotations

from offramp.gen.flood import Flood, Report
from offramp.lab import Host, Interface, Lab, Meter, Usage, Wire

__all__ = ["Flood", "Host", "Interface", "Lab", "Meter", "Report", "Usage", "Wire"]
