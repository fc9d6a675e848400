# SPDX-License-Identifier: Apache-2.0
"""All contenders, by name."""

from __future__ import annotations

from offramp.bench.kernel import IPTABLES_RAW, KERNEL_SOCKET
from offramp.bench.ours import OFFRAMP_DRIVER, OFFRAMP_NATIVE, OFFRAMP_USER

__all__ = ["CONTENDERS"]

CONTENDERS = {
    contender.name: contender
    for contender in (KERNEL_SOCKET, IPTABLES_RAW, OFFRAMP_USER, OFFRAMP_NATIVE, OFFRAMP_DRIVER)
}
