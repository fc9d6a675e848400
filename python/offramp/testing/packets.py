# SPDX-License-Identifier: Apache-2.0
"""Packets as bytes, for your own tests: `eth(ip(udp(dport=53), dst="192.0.2.1"))`. See offramp/gen/packets.py."""

from __future__ import annotations

from offramp.gen.packets import Layers, arp, checksum, eth, icmp, icmp6, ip, ip6, layers, tcp, udp, with_checksums

__all__ = ["Layers", "arp", "checksum", "eth", "icmp", "icmp6", "ip", "ip6", "layers", "tcp", "udp", "with_checksums"]
