// SPDX-License-Identifier: Apache-2.0
// Loops at C's speed around libpcap's interpreter and around offramp's native code, over the same packets.

#include <stdint.h>
#include <time.h>

typedef uint32_t interpret_function(const void *program, const uint8_t *packet, uint32_t length, uint32_t captured);
typedef void native_function(const uint8_t *const *packets, const uint32_t *captured, const uint32_t *lengths,
                             uint64_t count, uint8_t *verdicts, const uint8_t *const *sets);

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

// ns per packet, and the number of matching packets of the last round
double interpreter(interpret_function *run, const void *program, const uint8_t *const *packets,
                   const uint32_t *captured, uint64_t count, uint64_t rounds, uint64_t *matching)
{
    double start = now();
    for (uint64_t round = 0; round < rounds; round++) {
        *matching = 0;
        for (uint64_t i = 0; i < count; i++)
            *matching += run(program, packets[i], captured[i], captured[i]) != 0;
    }
    return (now() - start) / (count * rounds);
}

double native(native_function *run, const uint8_t *const *packets, const uint32_t *captured, uint64_t count,
              uint64_t rounds, uint8_t *verdicts, uint64_t *matching)
{
    double start = now();
    for (uint64_t round = 0; round < rounds; round++)
        run(packets, captured, captured, count, verdicts, 0);
    double spent = now() - start;
    *matching = 0;
    for (uint64_t i = 0; i < count; i++)
        *matching += verdicts[i];
    return spent / (count * rounds);
}
