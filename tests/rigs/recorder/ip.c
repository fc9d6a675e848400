// SPDX-License-Identifier: Apache-2.0
// LD_PRELOAD for ip(8): writes every netlink message that it sends to $RECORD, each behind its length (u32).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
	ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
	int file = open(getenv("RECORD"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	uint32_t size = 0;
	for (size_t i = 0; i < message->msg_iovlen; i++)
		size += message->msg_iov[i].iov_len;
	if (file < 0 || write(file, &size, 4) != 4)
		abort();
	for (size_t i = 0; i < message->msg_iovlen; i++)
		if (write(file, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len) < 0)
			abort();
	close(file);
	return real(socket, message, flags);
}
