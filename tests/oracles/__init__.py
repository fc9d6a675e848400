# SPDX-License-Identifier: Apache-2.0
"""Who knows the right answer: libpcap, a reference interpreter, and both of them against compiled code."""
