# SPDX-License-Identifier: Apache-2.0
"""Oracles, which know the right answer: libpcap, a reference interpreter, and a comparison of both
with compiled code.
"""
