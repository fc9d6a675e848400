// SPDX-License-Identifier: Apache-2.0
// LD_PRELOAD for ethtool(8): writes the structures of the ioctl SIOCETHTOOL that change something to $RECORD, each
// behind its length (u32), and answers in the kernel's place, as a NIC of 8 queues, 1024 free rules, a table of 128
// entries and a key of 40 bytes would. Netlink is out of order, so that ethtool falls back to the ioctl for everything.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const functions[] = {"toeplitz", "xor", "crc32"};

static void record(const void *request, uint32_t size)
{
	int file = open(getenv("RECORD"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (file < 0 || write(file, &size, 4) != 4 || write(file, request, size) != (ssize_t)size)
		abort();
	close(file);
}

static int refuse(int code)
{
	errno = code;
	return -1;
}

static int answer(void *request)
{
	struct ethtool_rxnfc *rules = request;
	struct ethtool_rxfh *rss = request;
	struct ethtool_gstrings *strings = request;
	struct ethtool_sset_info *sets = request;
	struct ethtool_channels *channels = request;
	struct ethtool_ringparam *rings = request;

	switch (*(uint32_t *)request) {
	case ETHTOOL_GRXRINGS:
		rules->data = 8;
		return 0;
	case ETHTOOL_GRXCLSRLCNT:
		rules->rule_cnt = 0;
		rules->data = 1024;
		return 0;
	case ETHTOOL_GRXCLSRLALL:
		rules->rule_cnt = 0;
		rules->data = 1024;
		return 0;
	case ETHTOOL_GRSSH:
		rss->indir_size = 128;
		rss->key_size = 40;
		rss->hfunc = 1;
		return 0;
	case ETHTOOL_GSSET_INFO:
		if (sets->sset_mask != 1 << ETH_SS_RSS_HASH_FUNCS)
			return refuse(EOPNOTSUPP);
		sets->data[0] = 3;
		return 0;
	case ETHTOOL_GSTRINGS:
		for (int i = 0; i < 3; i++)
			strncpy((char *)strings->data + i * ETH_GSTRING_LEN, functions[i], ETH_GSTRING_LEN);
		return 0;
	case ETHTOOL_GCHANNELS:
		channels->max_rx = channels->max_tx = 4;
		channels->max_other = 1;
		channels->max_combined = 16;
		channels->rx_count = channels->tx_count = 2;
		channels->other_count = 1;
		channels->combined_count = 8;
		return 0;
	case ETHTOOL_GRINGPARAM:
		rings->rx_max_pending = rings->tx_max_pending = 4096;
		rings->rx_mini_max_pending = rings->rx_jumbo_max_pending = 64;
		rings->rx_pending = rings->tx_pending = 512;
		rings->rx_mini_pending = 3;
		rings->rx_jumbo_pending = 5;
		return 0;
	case ETHTOOL_SRXCLSRLINS:
	case ETHTOOL_SRXCLSRLDEL:
	case ETHTOOL_SRXFH:
		record(request, sizeof(*rules));
		return 0;
	case ETHTOOL_SRSSH:
		record(request, sizeof(*rss) + rss->key_size +
				(rss->indir_size == ETH_RXFH_INDIR_NO_CHANGE ? 0 : 4 * rss->indir_size));
		return 0;
	case ETHTOOL_SCHANNELS:
		record(request, sizeof(*channels));
		return 0;
	case ETHTOOL_SRINGPARAM:
		record(request, sizeof(*rings));
		return 0;
	default:
		return refuse(EOPNOTSUPP);
	}
}

int ioctl(int file, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request == SIOCETHTOOL)
		return answer(((struct ifreq *)argument)->ifr_data);
	int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
	return real(file, request, argument);
}

int socket(int domain, int type, int protocol)
{
	if (domain == AF_NETLINK)
		return refuse(EAFNOSUPPORT);
	int (*real)(int, int, int) = dlsym(RTLD_NEXT, "socket");
	return real(domain, type, protocol);
}
