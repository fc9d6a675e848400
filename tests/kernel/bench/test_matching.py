# SPDX-License-Identifier: Apache-2.0
"""The benchmark of compiling times a program of its own, as text: nobody else reads it."""

from __future__ import annotations

from bench import matching


def test_a_match_is_timed_from_text_to_kernel() -> None:
    imports, first, another, instructions = matching._timed("udp dst port 53", runs=1)
    assert min(imports, first, another) > 0
    assert instructions > 10
