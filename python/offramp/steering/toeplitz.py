# SPDX-License-Identifier: Apache-2.0
"""The hash of receive side scaling: each set bit of the input adds (XOR) the 32 bits of the key that start there.

    input: source address, destination address, source port, destination port; network order; only the hashed ones

Source: "Verifying the RSS Hash Calculation" in the Windows Driver Kit; Intel 82599 datasheet, section 7.1.2.8.1.
"""

from __future__ import annotations

from offramp.errors import OptionError

__all__ = ["MICROSOFT_KEY", "toeplitz"]

# The key of Microsoft's verification suite, which many drivers start with.
MICROSOFT_KEY = ":".join(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"[at : at + 2]
    for at in range(0, 80, 2)
)


def toeplitz(key: bytes, data: bytes) -> int:
    """The 32-bit hash. The key needs at least four bytes more than the input: 40 suffice for IPv6.
    Errors: OptionError.
    """
    if len(key) < len(data) + 4:
        raise OptionError(f"an RSS key of {len(key)} bytes", reason=f"{len(data) + 4} are needed for this input")
    bits, number = 8 * len(key), int.from_bytes(key)
    result = 0
    for position, byte in enumerate(data):
        for bit in range(8):
            if byte & 0x80 >> bit:
                result ^= number >> bits - 32 - 8 * position - bit
    return result & 0xFFFFFFFF
