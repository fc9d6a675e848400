# SPDX-License-Identifier: Apache-2.0
"""Expressions that people use. Names of hosts, services and protocols in the manual pages' examples became numbers."""

from __future__ import annotations

from typing import Final

__all__ = ["EXPRESSIONS"]

MANUAL_PAGES: Final = [  # pcap-filter(7) and tcpdump(8), libpcap 1.10.3
    "host 10.0.0.1",
    "net 128.3",
    "port 20",
    "portrange 6000-6008",
    "src 10.0.0.1",
    "dst net 128.3",
    "src or dst port 20",
    "ether src 02:00:00:00:00:01",
    "arp net 128.3",
    "tcp port 21",
    "udp portrange 7000-7009",
    "host 10.0.0.1 and not port 21 and not port 20",
    "tcp dst port 21 or 20 or 53",
    "tcp dst port 21 or tcp dst port 20 or tcp dst port 53",
    "ip host 10.0.0.1",
    "ether proto \\ip and host 10.0.0.1",
    "ether host 02:00:00:00:00:01 and not host 10.0.0.1",
    "not host 10.0.0.1 and 10.0.0.2",
    "not host 10.0.0.1 and host 10.0.0.2",
    "not ( host 10.0.0.1 or 10.0.0.2 )",
    "ether proto \\arp",
    "vlan 100 && vlan 200",
    "vlan && vlan 300 && ip",
    "mpls 100000 && mpls 1024",
    "mpls && mpls 1024 && host 192.9.200.1",
    "pppoes 0x27 && ip",
    "pppoes && ip",
    "ether[0] & 1 != 0",
    "ip[0] & 0xf != 5",
    "ip[6:2] & 0x1fff = 0",
    "less 576",
    "len <= 576",
    "greater 576",
    "len >= 576",
    "icmp[0] != 8 && icmp[0] != 0",
    "ip6 multicast",
    "host 10.0.0.1 and (10.0.0.2 or 192.168.7.9)",
    "host 10.0.0.1 and ( 10.0.0.2 or 192.168.7.9 )",
    "ip host 192.168.7.9 and not 10.0.0.1",
    "net 128.32",
    "ether host 02:00:00:00:00:02 and not host 192.168.7.9 and (port 21 or 20)",
    "ip and not net 192.168.7",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and not src and dst net 192.168.7",
    "tcp[tcpflags] & (tcp-rst|tcp-ack) == (tcp-rst|tcp-ack)",
    "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
    "ip[2:2] > 576",
    "ether[0] & 1 = 0 and ip[16] >= 224",
    "icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply",
    "icmp6[icmp6type] != icmp6-echo and icmp6[icmp6type] != icmp6-echoreply",
    "tcp[13] == 2",
    "tcp[13] & 2 == 2",
    "tcp[tcpflags] == tcp-syn",
]

OPERATIONS: Final = [
    "not port 22",
    "not arp and not stp and not port 22",
    "port 53",
    "udp port 53 and host 10.0.0.1",
    "udp dst port 53 and udp[10] & 0x80 = 0",  # DNS queries
    "udp src port 53 and udp[11] & 0x0f = 3",  # DNS: no such name
    "udp port 67 or udp port 68",  # DHCP
    "udp port 67 or 68",
    "(udp port 67 or 68) and udp[250:1] = 0x1",  # DHCP discover
    "udp port 546 or 547",  # DHCPv6
    "udp port 123",  # NTP
    "udp port 161 or udp port 162",  # SNMP
    "udp port 514 or tcp port 6514",  # syslog
    "udp portrange 33434-33523",  # traceroute
    "udp port 5353 and dst 224.0.0.251",  # mDNS
    "udp port 1900 and dst host 239.255.255.250",  # SSDP
    "udp port 1812 or 1813",  # RADIUS
    "udp port 500 or udp port 4500 or esp or ah",  # IPsec
    "udp dst port 4789 and udp[8] = 0x08",  # VXLAN, with the I flag
    "udp dst port 4789 and udp[11:4] & 0x00ffffff = 100",  # VXLAN, one VNI
    "udp port 6081",  # Geneve
    "udp port 2152",  # GTP-U
    "ip proto 47",  # GRE
    "ip proto 4 or ip proto 41",  # tunnels
    "ip proto 89 or ip6 proto 89",  # OSPF
    "tcp port 179",  # BGP
    "udp port 520 or udp port 521",  # RIP
    "udp port 3784 or 3785",  # BFD
    "vrrp or carp",
    "vrrp and dst host 224.0.0.18",
    "igmp",
    "pim and dst host 224.0.0.13",
    "ip multicast and not udp port 5353",
    "ip6 multicast and not icmp6",
    "ether proto 0x88cc",  # LLDP
    "ether proto 0x88cc and ether dst 01:80:c2:00:00:0e",
    "ether[20:2] == 0x2000",  # CDP
    "ether host 01:80:c2:00:00:00",  # STP
    "stp or ether proto 0x8809",  # STP, LACP
    "ether proto 0x888e",  # 802.1X
    "ether proto 0x8863 or ether proto 0x8864",  # PPPoE
    "pppoed or pppoes",
    "ether proto 0x88f7 or udp port 319 or udp port 320",  # PTP
    "iso proto \\isis",
    "isis",
    "llc",
    "llc and not stp",
    "arp",
    "arp[6:2] == 1 and arp host 10.0.0.1",  # who asks for it
    "arp[6:2] == 2 and ether src 02:00:00:00:00:01",
    "arp and arp[14:4] = arp[24:4]",  # gratuitous
    "rarp or udp port 67",
    "ether broadcast and not arp",
    "broadcast or multicast",
    "vlan 100",
    "vlan 100 and host 10.0.0.1",
    "vlan and not vlan 100",
    "vlan 5 and vlan 6 and tcp port 80",
    "host 10.0.0.1 or (vlan and host 10.0.0.1)",
    "tcp or (vlan and tcp) or (vlan and tcp)",
    "ether[12:2] = 0x8100 and ether[14:2] & 0x0fff = 100",
    "vlan and ether[14:2] & 0xe000 != 0",  # a priority
    "mpls 16 and ip",
    "mpls and mpls and tcp port 443",
    "mpls and ip[9] = 17",
    "vlan and mpls and host 10.0.0.1",
    "pppoes and tcp port 80",
    "vlan and pppoes 17 and ip6",
    "ip6 and not tcp",
    "ip6 host 2001:db8::1 and tcp port 443",
    "icmp6 and ip6[40] == 134",  # router advertisements
    "icmp6[icmp6type] == icmp6-neighborsolicit or icmp6[icmp6type] == icmp6-neighboradvert",
    "icmp6 and ip6[40] >= 133 and ip6[40] <= 137",
    "ip6[6] == 44",  # fragments
    "ip6[6] == 0 or ip6[6] == 43 or ip6[6] == 60",  # extension headers
    "ip6 proto 17 and ip6[40:2] = 53",
    "ip6 and ip6[6] = 6 and ip6[53] & 0x12 = 0x02",  # SYN over IPv6
    "ip6[0] & 0xf0 != 0x60",
    "net 10.0.0.0/8 and not net 10.1.0.0/16",
    "src net 192.168.7.0/24 and dst port 443",
    "src net (10.0.0.0/8 or 172.16.0.0/12 or 192.168.0.0/16)",
    "not (src net 10.0.0.0/8 or src net 172.16.0.0/12 or src net 192.168.0.0/16)",
    "src and dst net 10.0.0.0/8",
    "net 192.168.7.0 mask 255.255.255.0",
    "(src host 10.0.0.1 and dst host 10.0.0.2) or (src host 10.0.0.2 and dst host 10.0.0.1)",
    "tcp portrange 1-1023 and not port (22 or 80 or 443)",
    "tcp port (80 or 443 or 8080 or 8443)",
    "src port 4321 or dst port 4321",
    "tcp src port 80 and len > 1000",
    "sctp port 3868",
    "greater 1500",
    "len > 1514",
    "less 60",
    "ip[2:2] > len - 14",  # cut off, or a lie
    "len - 14 > ip[2:2] and ip[2:2] != 0 and greater 61",  # a trailer
]

SECURITY: Final = [
    "tcp[13] == 2 and src net 10",  # SYN scan
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)",
    "tcp[tcpflags] & tcp-rst != 0",
    "tcp[tcpflags] & tcp-push != 0",
    "tcp[tcpflags] & (tcp-ece|tcp-cwr) != 0",
    "tcp[13] = 0",  # null scan
    "tcp[13] = 1",  # FIN scan
    "tcp[13] & 0x3f = 0x29",  # xmas scan
    "tcp[13] & 0x3f = 0x3f",
    "tcp[13] & 3 = 3",  # SYN and FIN
    "tcp[13] & 6 = 6",  # SYN and RST
    "tcp[12] & 0x0e != 0",  # reserved bits
    "tcp[12] >> 4 < 5",  # a header too short
    "tcp[12] >> 4 > 5",  # options
    "tcp[14:2] = 0",  # window zero
    "tcp[14:2] = 1024 and tcp[13] = 2",  # nmap
    "tcp src port 0 or tcp dst port 0 or udp src port 0",
    "tcp[0:2] = tcp[2:2] and ip[12:4] = ip[16:4]",  # land
    "ip[12:4] = ip[16:4]",
    "ip[12:4] & 0xffffff00 = ip[16:4] & 0xffffff00",
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",  # GET
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x504f5354",  # POST
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x5353482d",  # SSH-
    "tcp[((tcp[12:1] & 0xf0) >> 2):2] = 0x1603 and tcp[((tcp[12:1] & 0xf0) >> 2)+5:1] = 0x01",  # TLS ClientHello
    "tcp port 80 and tcp[((tcp[12:1] & 0xf0) >> 2):4] != 0x48545450",
    "tcp[20:4] = 0x47455420",
    "udp[8:4] = 0x53495020",
    "icmp",
    "icmp[0] = 8 or icmp[0] = 0",
    "icmp[icmptype] = icmp-unreach",
    "icmp[icmptype] = icmp-unreach and icmp[icmpcode] = 3",
    "icmp[0] = 3 and icmp[1] = 4 and icmp[6:2] < 576",  # path MTU
    "icmp[icmptype] = icmp-redirect",
    "icmp[icmptype] = icmp-timxceed",
    "icmp[0] = 3 and icmp[28:2] = 53",  # about a packet from port 53
    "icmp and ip[2:2] > 1000",  # large pings
    "icmp[icmptype] == icmp-tstamp or icmp[icmptype] == icmp-maskreq",
    "ip[6:2] & 0x3fff != 0",  # fragments
    "ip[6] & 0x20 != 0",
    "ip[6:2] & 0x1fff != 0 and ip[6] & 0x20 = 0",  # the last one
    "ip[6:2] & 0x1fff = 1 and ip proto 6",  # overwrites the flags
    "((ip[6:2] & 0x1fff) << 3) + ip[2:2] > 65535",  # ping of death
    "ip[6] & 0x40 != 0",  # don't fragment
    "ip[6] & 0x80 != 0",  # the evil bit, RFC 3514
    "ip[8] < 5",  # TTL
    "ip[8] = 1 and not ip multicast",
    "ip[8] != 64 and ip[8] != 128 and ip[8] != 255",
    "ip[0] & 0x0f > 5",  # options
    "ip[0] & 0x0f > 5 and ip[20] = 0x83",  # source routing
    "ip[0] >> 4 != 4",
    "ip[1] & 0xfc != 0",  # DSCP
    "ip[1] & 0xfc >> 2 = 46",
    "ip[1] & 3 = 3",  # congestion experienced
    "ip[9] > 100",
    "ip[10:2] = 0",
    "ip[4:2] = 0 and tcp",
    "ip[16:4] = 0xffffffff",
    "ip[19] = 0xff or ip[19] = 0",
    "ip[12] & 0xf0 = 0xf0",  # from class E
    "ip src net 127.0.0.0/8 or dst net 127.0.0.0/8",
    "src net 0.0.0.0/8 or net 169.254.0.0/16 or net 192.0.2.0/24 or src net 224.0.0.0/4",  # bogons
    "udp[4:2] < 8",
    "udp and udp[4:2] != ip[2:2] - ((ip[0] & 0xf) << 2)",
    "udp[6:2] = 0",  # no checksum
    "udp and greater 1000 and src port (19 or 53 or 123 or 389 or 1900 or 11211)",  # amplification
    "tcp and ip[2:2] = (((ip[0] & 0x0f) << 2) + ((tcp[12] & 0xf0) >> 2)) and tcp[13] & 0x10 != 0",  # bare ACKs
    "len > 60 and ip[2:2] < 46",
    "ether src ff:ff:ff:ff:ff:ff or ether[6] & 1 = 1",
    "ether[0:4] = 0xffffffff and ether[4:2] = 0xffff and not ip and not arp",
    "ether proto 0x8100 or ether proto 0x88a8 or ether proto 0x9100",
    "not ip and not ip6 and not arp and not vlan",
]

EXPRESSIONS: Final = MANUAL_PAGES + OPERATIONS + SECURITY
