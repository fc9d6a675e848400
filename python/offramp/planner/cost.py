# SPDX-License-Identifier: Apache-2.0
"""What a packet costs, in ns of one core: a model of small packets on the machine of the XDP paper (3.6 GHz, 2016).

    matching, in the driver      DRIVER                            23.8 Mpps a core
    matching, to user space      DRIVER + COPY + READ               9.6 Mpps a core
    the same, zero-copy          DRIVER + READ                     18.5 Mpps a core
    dropped by the kernel        STACK                              4.8 Mpps a core
    any other packet             CHECK more than without offramp; on a zero-copy queue HAND_BACK more

It says which way is cheaper, and by about how much; a machine is measured by `make bench`. Check: a core of the article
(Cloudflare, "Kernel bypass", 2015) drops 1.4 Mpps in the kernel, and so takes ARTICLE times as long for everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["ARTICLE", "COPY", "DRIVER", "HAND_BACK", "READ", "STACK", "Cost", "break_even", "cores", "cost"]

# Høiland-Jørgensen et al., "The eXpress Data Path", CoNEXT 2018, figure 3: drops of one core. 24 Mpps by XDP, and 4.8
# in iptables' raw PREROUTING, what the driver does included.
DRIVER: Final = 42
STACK: Final = 208
# bench/RESULTS.md: AF_XDP in copy mode has 0.42 to 0.48 of the rate of a drop in the driver.
COPY: Final = 50
# bench/RESULTS.md: the native loop on the null port.
READ: Final = 12
# The XDP paper, section 4.1: a program that passes everything, before the same drop in the kernel, costs 13.3 ns.
CHECK: Final = 13
# An estimate: nobody has published it. The driver allocates a buffer, and copies the packet to it.
HAND_BACK: Final = 2 * COPY

ARTICLE_PPS: Final = 1_400_000
ARTICLE: Final = 1e9 / ARTICLE_PPS / STACK


@dataclass(frozen=True, slots=True)
class Cost:
    """ns per packet."""

    kernel: int  # a matching packet: the driver, and copying
    user: int  # a matching packet: our process
    other: int  # any other packet, more than without offramp
    handed_back: int  # one that does not match, and arrives where we read
    copying: Literal["copy", "zero-copy"] | None  # what is assumed

    @property
    def matching(self) -> int:
        return self.kernel + self.user

    @property
    def most(self) -> int:
        """Matching packets a second that one queue takes: a core for the driver, another one for the reader."""
        return round(1e9 / max(self.kernel, self.user))


def cost(mode: str, copying: Literal["copy", "zero-copy"] | None, *, hidden: bool) -> Cost:
    """`copying` None: the packet ends in the driver."""
    kernel = DRIVER if mode == "native" else STACK
    given_back = CHECK + (HAND_BACK if copying == "zero-copy" else 0)
    return Cost(
        kernel=kernel + (COPY if copying == "copy" else 0),
        user=READ if copying else 0,
        other=CHECK if hidden else given_back,
        handed_back=given_back,
        copying=copying,
    )


def break_even() -> float:
    """The share of matching packets above which zero-copy on all queues is cheaper than copying."""
    return HAND_BACK / (HAND_BACK + COPY)


def cores(rate: float, nanoseconds: float) -> float:
    """How many cores `rate` packets a second take."""
    return rate * nanoseconds / 1e9
