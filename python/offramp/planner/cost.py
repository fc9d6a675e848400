# SPDX-License-Identifier: Apache-2.0
"""What a packet costs, in ns of one core: a model of small packets on the machine of the XDP paper (3.6 GHz, 2016).

    matching, in the driver      DRIVER                            23.8 Mpps a core
    matching, to user space      DRIVER + COPY + READ               9.6 Mpps a core
    the same, zero-copy          DRIVER + READ                     18.5 Mpps a core
    dropped by the kernel        STACK                              4.8 Mpps a core
    any other packet             CHECK more than without offramp; HAND_BACK more on a zero-copy queue

The model says which way is cheaper, and by about how much; `make bench` measures a machine. Check: a core of the
article (Cloudflare, "Kernel bypass", 2015) drops 1.4 Mpps in the kernel, so everything takes ARTICLE times as long.
"""

from __future__ import annotations

from typing import Final, Literal

from offramp.immutable import immutable

__all__ = ["ARTICLE", "COPY", "DRIVER", "HAND_BACK", "READ", "STACK", "Cost", "break_even", "cores", "cost"]

# Høiland-Jørgensen et al., "The eXpress Data Path", CoNEXT 2018, figure 3: one core drops 24 Mpps by XDP, and 4.8 in
# iptables' raw PREROUTING. Both include the driver's work.
DRIVER: Final = 42
STACK: Final = 208
# AF_XDP in copy mode had 0.42 to 0.48 of the rate of a drop in the driver, by `python -m bench drop` on an AMD EPYC.
COPY: Final = 50
# The native loop on the null port, by `python -m bench framework` on the same.
READ: Final = 12
# The XDP paper, section 4.1: a program that passes everything, before the same drop in the kernel, costs 13.3 ns.
CHECK: Final = 13
# An estimate: no published figure is known. The driver allocates a buffer, and copies the packet to it.
HAND_BACK: Final = 2 * COPY

ARTICLE_PPS: Final = 1_400_000
ARTICLE: Final = 1e9 / ARTICLE_PPS / STACK


@immutable
class Cost:
    """Nanoseconds of a core for each packet."""

    kernel: int  # a matching packet: the driver, and the copy if there is one
    user: int  # a matching packet: our process
    other: int  # any other packet: what it costs more than without offramp
    handed_back: int  # a packet that does not match, and arrives where we read
    copying: Literal["copy", "zero-copy"] | None  # the assumption made

    @property
    def matching(self) -> int:
        return self.kernel + self.user

    @property
    def most(self) -> int:
        """Matching packets per second that one queue takes: one core for the driver, another for the reader."""
        return round(1e9 / max(self.kernel, self.user))


def cost(mode: str, copying: Literal["copy", "zero-copy"] | None, *, hidden: bool) -> Cost:
    """`copying` is None if the packet ends in the driver."""
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
    """How many cores it takes to handle `rate` packets per second."""
    return rate * nanoseconds / 1e9
