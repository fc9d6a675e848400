// SPDX-License-Identifier: Apache-2.0
// What a good programmer writes by hand for the five reference matches, for clang -O2 -target bpf: the yardstick for
// offramp's generated programs (bench/matching.py). Same verdicts for every whole packet. No headers are needed.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

struct xdp_md { u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; };
enum { DROP = 1, PASS = 2 };

struct eth { u8 dst[6], src[6]; u16 type; } __attribute__((packed));
struct ip4 { u8 ihl, tos; u16 length, id, fragment; u8 ttl, protocol; u16 sum; u32 src, dst; } __attribute__((packed));
struct ip6 { u32 flow; u16 length; u8 next, hops; u32 src[4], dst[4]; } __attribute__((packed));
struct ports { u16 src, dst; } __attribute__((packed));

#define HERE(context) ((u8 *)(u64)(context)->data)
#define END(context) ((u8 *)(u64)(context)->data_end)
#define BE16(number) __builtin_bswap16(number)
#define BE32(number) __builtin_bswap32(number)
#define MATCH(name) __attribute__((section(#name), used)) int name(struct xdp_md *context)

MATCH(empty) { return PASS; }

// The transport header of an IPv4 packet that is no later fragment; 0 if there is none of `size` bytes
static __attribute__((always_inline)) u8 *transport4(struct ip4 *ip, u8 *end, u32 size)
{
    if ((u8 *)(ip + 1) > end || ip->fragment & BE16(0x1fff))
        return 0;
    u8 *header = (u8 *)ip + (ip->ihl & 15) * 4;
    return header + size > end ? 0 : header;
}

MATCH(udp_dst_port_53)
{
    struct eth *eth = (void *)HERE(context);
    u8 *end = END(context);
    if ((u8 *)(eth + 1) > end)
        return PASS;
    if (eth->type == BE16(0x0800)) {
        struct ip4 *ip = (void *)(eth + 1);
        if ((u8 *)(ip + 1) > end || ip->protocol != 17)
            return PASS;
        struct ports *udp = (void *)transport4(ip, end, sizeof *udp);
        return udp && udp->dst == BE16(53) ? DROP : PASS;
    }
    if (eth->type == BE16(0x86dd)) {
        struct ip6 *ip = (void *)(eth + 1);
        struct ports *udp = (void *)(ip + 1);
        if ((u8 *)(udp + 1) > end || ip->next != 17)
            return PASS;
        return udp->dst == BE16(53) ? DROP : PASS;
    }
    return PASS;
}

MATCH(syn_only)
{
    struct eth *eth = (void *)HERE(context);
    u8 *end = END(context);
    if ((u8 *)(eth + 1) > end || eth->type != BE16(0x0800))
        return PASS;
    struct ip4 *ip = (void *)(eth + 1);
    if ((u8 *)(ip + 1) > end || ip->protocol != 6)
        return PASS;
    u8 *tcp = transport4(ip, end, 14);
    return tcp && (tcp[13] & 0x12) == 0x02 ? DROP : PASS;
}

MATCH(src_net)
{
    struct eth *eth = (void *)HERE(context);
    u8 *end = END(context);
    if ((u8 *)(eth + 1) > end)
        return PASS;
    if (eth->type == BE16(0x0800)) {
        struct ip4 *ip = (void *)(eth + 1);
        if ((u8 *)(ip + 1) > end)
            return PASS;
        return (ip->src & BE32(0xffffff00)) == BE32(0xcb007100) ? DROP : PASS;
    }
    if (eth->type == BE16(0x0806) || eth->type == BE16(0x8035)) {
        u8 *sender = (u8 *)(eth + 1) + 14;
        if (sender + 4 > end)
            return PASS;
        return (*(u32 *)sender & BE32(0xffffff00)) == BE32(0xcb007100) ? DROP : PASS;
    }
    return PASS;
}

MATCH(web_of_host)
{
    struct eth *eth = (void *)HERE(context);
    u8 *end = END(context);
    if ((u8 *)(eth + 1) > end || eth->type != BE16(0x0800))
        return PASS;
    struct ip4 *ip = (void *)(eth + 1);
    if ((u8 *)(ip + 1) > end || ip->protocol != 6)
        return PASS;
    if (ip->src != BE32(0x0a000001) && ip->dst != BE32(0x0a000001))
        return PASS;
    struct ports *tcp = (void *)transport4(ip, end, sizeof *tcp);
    if (!tcp)
        return PASS;
    u16 src = tcp->src, dst = tcp->dst;
    return src == BE16(80) || dst == BE16(80) || src == BE16(443) || dst == BE16(443) ? DROP : PASS;
}

MATCH(big_or_fragment)
{
    struct eth *eth = (void *)HERE(context);
    u8 *end = END(context);
    if ((u8 *)(eth + 1) > end || eth->type != BE16(0x0800))
        return PASS;
    struct ip4 *ip = (void *)(eth + 1);
    if ((u8 *)(ip + 1) > end)
        return PASS;
    return BE16(ip->length) > 1000 || ip->fragment & BE16(0x3fff) ? DROP : PASS;
}
