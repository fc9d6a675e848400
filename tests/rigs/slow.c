// SPDX-License-Identifier: Apache-2.0
// Preloaded: each ioctl that asks or changes an interface takes its time, as with a driver that resets its device.
//
//     SLOW_IOCTL    milliseconds before each one
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#define SIOCETHTOOL 0x8946

int ioctl(int fd, unsigned long request, ...)
{
    static int (*next)(int, unsigned long, void *);
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (!next)
        next = dlsym(RTLD_NEXT, "ioctl");
    const char *wanted = getenv("SLOW_IOCTL");
    if (request == SIOCETHTOOL && wanted) {
        long milliseconds = atol(wanted);
        struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
    return next(fd, request, argument);
}
