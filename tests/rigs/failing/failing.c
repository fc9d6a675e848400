// SPDX-License-Identifier: Apache-2.0
// A library to be preloaded: the Nth call into libc that the armed thread makes fails, with an errno of our choice.
//
//     failing_arm(number, kind, errno, times)    from that call on, so many of that kind; number 0: none, only counted
//     failing_disarm()                           returns how many calls were made meanwhile
//     failing_failed()                           how many of them failed
//     failing_kinds(n)                           the name of call number n, "" beyond the last that is remembered
//
// Each function has the name, the arguments and the result of libc's own. What libc calls inside itself is not seen.
// read() and close() fail for files alone, not for pipes; and after close() the descriptor is gone all the same.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define REMEMBERED 65536

static volatile pid_t armed;
static long passed, first, times, failed;
static int number_of_error;
static char wanted[32];
static const char *kinds[REMEMBERED];

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static long raw(long number, long a, long b) {
    static long (*next)(long, ...);
    if (!next) next = (long (*)(long, ...))real("syscall");
    return next(number, a, b);
}

void failing_arm(long from, const char *kind, int error, long count) {
    passed = failed = 0, first = from, times = count, number_of_error = error;
    strncpy(wanted, kind, sizeof wanted - 1);
    armed = (pid_t)raw(SYS_gettid, 0, 0);
}

long failing_disarm(void) {
    armed = 0;
    return passed;
}

long failing_failed(void) { return failed; }

const char *failing_kinds(long number) {
    return number > 0 && number <= passed && number <= REMEMBERED ? kinds[number - 1] : "";
}

static int fails(const char *kind) {
    if (!armed || armed != raw(SYS_gettid, 0, 0)) return 0;
    if (passed < REMEMBERED) kinds[passed] = kind;
    passed++;
    if (!first || passed < first || failed >= times || strcmp(kind, wanted)) return 0;
    failed++;
    errno = number_of_error;
    return 1;
}

// The same for all: `call` is the function, `of` the type of its result, and `bad` what it returns when it fails.
#define WRAP(of, bad, call, parameters, arguments)                  \
    of call parameters {                                            \
        static of(*next) parameters;                                \
        if (!next) next = (of(*) parameters)real(#call);            \
        return fails(#call) ? (of)(bad) : next arguments;           \
    }

// With a last argument that not every call has.
#define WRAP_MORE(of, call, parameters, arguments, last, more)      \
    of call parameters {                                            \
        static of(*next)();                                         \
        if (!next) next = (of(*)())real(#call);                     \
        va_list list;                                               \
        va_start(list, last);                                       \
        more argument = va_arg(list, more);                         \
        va_end(list);                                               \
        return fails(#call) ? (of)-1 : next arguments;              \
    }

WRAP_MORE(int, open, (const char *path, int flags, ...), (path, flags, argument), flags, mode_t)
WRAP_MORE(int, open64, (const char *path, int flags, ...), (path, flags, argument), flags, mode_t)
WRAP_MORE(int, openat, (int at, const char *path, int flags, ...), (at, path, flags, argument), flags, mode_t)
WRAP_MORE(int, openat64, (int at, const char *path, int flags, ...), (at, path, flags, argument), flags, mode_t)
WRAP_MORE(int, ioctl, (int fd, unsigned long what, ...), (fd, what, argument), what, void *)
WRAP_MORE(int, fcntl, (int fd, int what, ...), (fd, what, argument), what, void *)
WRAP_MORE(int, fcntl64, (int fd, int what, ...), (fd, what, argument), what, void *)

long syscall(long number, ...) {
    static long (*next)(long, ...);
    if (!next) next = (long (*)(long, ...))real("syscall");
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
    long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    const char *kind = number == SYS_bpf ? "bpf" : number == SYS_membarrier ? "membarrier" : "";
    return *kind && fails(kind) ? -1 : next(number, a, b, c, d, e, f);
}

WRAP(int, -1, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, -1, socketpair, (int domain, int type, int protocol, int pair[2]), (domain, type, protocol, pair))
WRAP(int, -1, bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))
WRAP(int, -1, setsockopt, (int fd, int level, int name, const void *value, socklen_t size),
     (fd, level, name, value, size))
WRAP(int, -1, getsockopt, (int fd, int level, int name, void *value, socklen_t *size), (fd, level, name, value, size))
WRAP(ssize_t, -1, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
WRAP(ssize_t, -1, recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))
WRAP(ssize_t, -1, sendto, (int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t n),
     (fd, data, size, flags, to, n))
WRAP(ssize_t, -1, recvfrom, (int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *n),
     (fd, data, size, flags, from, n))
WRAP(ssize_t, -1, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(ssize_t, -1, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP(int, -1, poll, (struct pollfd *entries, nfds_t count, int timeout), (entries, count, timeout))
WRAP(ssize_t, -1, pread64, (int fd, void *data, size_t size, off64_t offset), (fd, data, size, offset))
WRAP(ssize_t, -1, write, (int fd, const void *data, size_t size), (fd, data, size))
WRAP(void *, (void *)-1, mmap, (void *at, size_t size, int protection, int flags, int fd, off_t offset),
     (at, size, protection, flags, fd, offset))
WRAP(void *, (void *)-1, mmap64, (void *at, size_t size, int protection, int flags, int fd, off64_t offset),
     (at, size, protection, flags, fd, offset))
WRAP(int, -1, madvise, (void *at, size_t size, int advice), (at, size, advice))
WRAP(int, -1, mprotect, (void *at, size_t size, int protection), (at, size, protection))
WRAP(pid_t, -1, fork, (void), ())
WRAP(int, -1, pipe2, (int pair[2], int flags), (pair, flags))
WRAP(int, -1, setns, (int fd, int kind), (fd, kind))
WRAP(int, -1, memfd_create, (const char *name, unsigned flags), (name, flags))
WRAP(int, -1, eventfd, (unsigned count, int flags), (count, flags))
WRAP(int, -1, dup, (int fd), (fd))
WRAP(int, -1, flock, (int fd, int operation), (fd, operation))
WRAP(int, -1, fsync, (int fd), (fd))
WRAP(int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, -1, unlink, (const char *path), (path))
WRAP(int, -1, unlinkat, (int at, const char *path, int flags), (at, path, flags))
WRAP(int, -1, renameat, (int from, const char *old, int to, const char *new), (from, old, to, new))
WRAP(ssize_t, -1, readlink, (const char *path, char *to, size_t size), (path, to, size))
WRAP(int, -1, stat64, (const char *path, struct stat64 *to), (path, to))
WRAP(int, -1, fstat64, (int fd, struct stat64 *to), (fd, to))
WRAP(int, -1, fstatat64, (int at, const char *path, struct stat64 *to, int flags), (at, path, to, flags))
WRAP(void *, NULL, opendir, (const char *path), (path))
WRAP(unsigned, 0, if_nametoindex, (const char *name), (name))
WRAP(char *, NULL, if_indextoname, (unsigned index, char *name), (index, name))
WRAP(void *, NULL, if_nameindex, (void), ())

pid_t vfork(void) { return fork(); }  // one that returns twice from here would be lost

static int is_file(int fd) {
    struct stat about;
    return !raw(SYS_fstat, fd, (long)&about) && S_ISREG(about.st_mode);
}

ssize_t read(int fd, void *data, size_t size) {
    static ssize_t (*next)(int, void *, size_t);
    if (!next) next = (ssize_t(*)(int, void *, size_t))real("read");
    return is_file(fd) && fails("read") ? -1 : next(fd, data, size);
}

int close(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))real("close");
    int was_file = is_file(fd), result = next(fd);
    return was_file && fails("close") ? -1 : result;
}
