/*
 * The guest's side of docs/examples/shmem-peer.c: memory of a PCI function, used without a driver
 * through a file that Linux has for it (/sys/bus/pci/devices/.../resource2, /dev/mem).
 *
 *   shmem-user FILE OFFSET SIZE fill SEED | check SEED | sum | rate
 *
 * OFFSET and SIZE are in bytes.  check tells whether there is what fill would have written.  rate
 * prints how many accesses of 8 bytes a second reach the memory, each to another page.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t *word;
static size_t words;

static uint64_t pattern(uint64_t seed, size_t i)
{
    return (seed + i) * UINT64_C(0x9E3779B97F4A7C15);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double rate(void)
{
    const size_t count = 1000000, step = 4096 / sizeof(*word) + 8;
    double start = now();
    for (size_t i = 0, at = 0; i < count; i++, at = (at + step) % words)
        *(volatile uint64_t *)&word[at];
    return count / (now() - start);
}

static uint64_t sum(void)
{
    uint64_t value = 0;
    for (size_t i = 0; i < words; i++)
        value = (value << 1 | value >> 63) ^ word[i];
    return value;
}

static bool run(const char *command, uint64_t seed)
{
    if (strcmp(command, "fill") == 0) {
        for (size_t i = 0; i < words; i++)
            word[i] = pattern(seed, i);
    } else if (strcmp(command, "check") == 0) {
        for (size_t i = 0; i < words; i++) {
            if (word[i] != pattern(seed, i))
                return false;
        }
    } else if (strcmp(command, "sum") == 0) {
        printf("%016" PRIx64 "\n", sum());
    } else {
        printf("%.0f\n", rate());
    }
    return true;
}

int main(int argc, char **argv)
{
    int fd = argc > 4 ? open(argv[1], O_RDWR | O_SYNC) : -1;
    if (fd < 0) {
        perror("shmem-user");
        return 2;
    }
    size_t size = strtoull(argv[3], NULL, 0);
    words = size / sizeof(*word);
    word = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, strtoull(argv[2], NULL, 0));
    if (word == MAP_FAILED) {
        perror("shmem-user: mmap");
        return 2;
    }
    return run(argv[4], argc > 5 ? strtoull(argv[5], NULL, 0) : 0) ? 0 : 1;
}
