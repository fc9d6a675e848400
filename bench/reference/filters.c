// SPDX-License-Identifier: Apache-2.0
// What a good programmer writes by hand for the five reference matches, for clang -O2 -target bpf: the yardstick for
// offramp's generated programs (bench/matching.py). Same verdicts for every whole packet, same account of packets: one
// counter for each that is seen, one for each that matches or does not. No headers are needed.

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

#define BE16(number) __builtin_bswap16(number)
#define BE32(number) __builtin_bswap32(number)

// The map of counters is a placeholder, as in generated programs: BPF_PSEUDO_MAP_FD, MapSlot.COUNTERS
u64 pseudo(u64 kind, u64 number) __asm__("llvm.bpf.pseudo");
static u64 *(*const lookup)(u64 map, const u32 *key) = (void *)1;
enum { SEEN = 0, MATCHING = 2, OTHER = 3 };

#define MATCH(name)                                                                                     \
    static __attribute__((always_inline)) int name##_matches(u8 *data, u8 *end);                        \
    __attribute__((section("match." #name), used)) int name(struct xdp_md *context)                     \
    {                                                                                                   \
        u32 zero = 0;                                                                                   \
        u64 *counters = lookup(pseudo(1, 1), &zero);                                                    \
        if (!counters)                                                                                  \
            return PASS;                                                                                \
        counters[SEEN]++;                                                                               \
        if (name##_matches((u8 *)(u64)context->data, (u8 *)(u64)context->data_end)) {                   \
            counters[MATCHING]++;                                                                       \
            return DROP;                                                                                \
        }                                                                                               \
        counters[OTHER]++;                                                                              \
        return PASS;                                                                                    \
    }                                                                                                   \
    static __attribute__((always_inline)) int name##_matches(u8 *data, u8 *end)

MATCH(empty)
{
    return 0;
}

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
    struct eth *eth = (void *)data;
    if ((u8 *)(eth + 1) > end)
        return 0;
    if (eth->type == BE16(0x0800)) {
        struct ip4 *ip = (void *)(eth + 1);
        if ((u8 *)(ip + 1) > end || ip->protocol != 17)
            return 0;
        struct ports *udp = (void *)transport4(ip, end, sizeof *udp);
        return udp && udp->dst == BE16(53);
    }
    if (eth->type == BE16(0x86dd)) {
        struct ip6 *ip = (void *)(eth + 1);
        struct ports *udp = (void *)(ip + 1);
        if ((u8 *)(udp + 1) > end || ip->next != 17)
            return 0;
        return udp->dst == BE16(53);
    }
    return 0;
}

MATCH(syn_only)
{
    struct eth *eth = (void *)data;
    if ((u8 *)(eth + 1) > end || eth->type != BE16(0x0800))
        return 0;
    struct ip4 *ip = (void *)(eth + 1);
    if ((u8 *)(ip + 1) > end || ip->protocol != 6)
        return 0;
    u8 *tcp = transport4(ip, end, 14);
    return tcp && (tcp[13] & 0x12) == 0x02;
}

MATCH(src_net)
{
    struct eth *eth = (void *)data;
    if ((u8 *)(eth + 1) > end)
        return 0;
    if (eth->type == BE16(0x0800)) {
        struct ip4 *ip = (void *)(eth + 1);
        if ((u8 *)(ip + 1) > end)
            return 0;
        return (ip->src & BE32(0xffffff00)) == BE32(0xcb007100);
    }
    if (eth->type == BE16(0x0806) || eth->type == BE16(0x8035)) {
        u8 *sender = (u8 *)(eth + 1) + 14;
        if (sender + 4 > end)
            return 0;
        return (*(u32 *)sender & BE32(0xffffff00)) == BE32(0xcb007100);
    }
    return 0;
}

MATCH(web_of_host)
{
    struct eth *eth = (void *)data;
    if ((u8 *)(eth + 1) > end || eth->type != BE16(0x0800))
        return 0;
    struct ip4 *ip = (void *)(eth + 1);
    if ((u8 *)(ip + 1) > end || ip->protocol != 6)
        return 0;
    if (ip->src != BE32(0x0a000001) && ip->dst != BE32(0x0a000001))
        return 0;
    struct ports *tcp = (void *)transport4(ip, end, sizeof *tcp);
    if (!tcp)
        return 0;
    u16 src = tcp->src, dst = tcp->dst;
    return src == BE16(80) || dst == BE16(80) || src == BE16(443) || dst == BE16(443);
}

MATCH(big_or_fragment)
{
    struct eth *eth = (void *)data;
    if ((u8 *)(eth + 1) > end || eth->type != BE16(0x0800))
        return 0;
    struct ip4 *ip = (void *)(eth + 1);
    if ((u8 *)(ip + 1) > end)
        return 0;
    return BE16(ip->length) > 1000 || ip->fragment & BE16(0x3fff);
}
