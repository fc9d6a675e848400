# SPDX-License-Identifier: Apache-2.0
"""What happens to a packet: XDP's words, and CLAIM for our own socket.

Source: enum xdp_action in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Verdict"]


class Verdict(IntEnum):
    """The numbers are those of enum xdp_action: an XDP program returns them as they are."""

    ABORTED = 0  # an error in the program: the kernel drops the packet and fires a tracepoint
    DROP = 1  # ends in the driver
    PASS = 2  # goes on to the kernel's stack, untouched
    TX = 3  # goes back out of the interface it came in on
    CLAIM = 4  # XDP_REDIRECT, always into our AF_XDP socket
