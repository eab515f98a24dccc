/*
 * A process of dom0 that uses the memory of a guest's shmem function (docs/shmem.rst):
 *
 *   cc -o shmem-peer shmem-peer.c -lxenstore -lxenforeignmemory
 *
 *   shmem-peer DOMID SLOT read  OFFSET LENGTH > FILE
 *   shmem-peer DOMID SLOT write OFFSET        < FILE
 *   shmem-peer DOMID SLOT fill  SEED      writes a pattern through the whole
 *   shmem-peer DOMID SLOT sum             prints a checksum of the whole
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenforeignmemory.h>
#include <xenstore.h>

#define PAGE 4096

struct shmem {
    unsigned domid;
    char path[64]; /* of the node that says where the memory is */
    struct xs_handle *store;
    xenforeignmemory_handle *foreign;
    uint8_t *memory;
    size_t size;
};

static void die(const char *what)
{
    fprintf(stderr, "shmem-peer: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* "0xGFN PAGES MOVES", or "moving PAGES MOVES" for a moment. */
static char *read_place(const struct shmem *shmem)
{
    char *place = xs_read(shmem->store, XBT_NULL, shmem->path, NULL);
    if (!place)
        die(shmem->path);
    return place;
}

static void *map(const struct shmem *shmem, uint64_t first, size_t pages)
{
    xen_pfn_t *gfns = calloc(pages, sizeof(*gfns));
    if (!gfns)
        die("memory");
    for (size_t i = 0; i < pages; i++)
        gfns[i] = first + i;
    int protection = PROT_READ | PROT_WRITE;
    void *memory =
        xenforeignmemory_map(shmem->foreign, shmem->domid, protection, pages, gfns, NULL);
    free(gfns);
    return memory;
}

/*
 * The guest may move its BAR at any time.  If the place was the same before and after, what has
 * been mapped is the memory, and stays so wherever it goes.
 */
static bool try_map(struct shmem *shmem)
{
    char *before = read_place(shmem);
    uint64_t first;
    size_t pages;
    bool same = false;

    if (sscanf(before, "0x%" SCNx64 " %zu", &first, &pages) == 2) {
        shmem->memory = map(shmem, first, pages);
        shmem->size = pages * PAGE;
        char *after = read_place(shmem);
        same = strcmp(before, after) == 0;
        if (same && !shmem->memory)
            die("cannot map the memory");
        if (!same && shmem->memory)
            xenforeignmemory_unmap(shmem->foreign, shmem->memory, pages);
        free(after);
    }
    free(before);
    return same;
}

static void open_shmem(struct shmem *shmem, unsigned domid, unsigned slot)
{
    shmem->domid = domid;
    snprintf(shmem->path, sizeof(shmem->path), "/local/domain/0/device-model/%u/shmem/%u", domid,
             slot);
    shmem->store = xs_open(0);
    if (!shmem->store)
        die("xenstore");
    shmem->foreign = xenforeignmemory_open(NULL, 0);
    if (!shmem->foreign)
        die("/dev/xen/privcmd");
    while (!try_map(shmem))
        usleep(10000);
}

/* --- what it is used for here --- */

static void copy_out(const struct shmem *shmem, size_t offset, size_t length)
{
    if (offset > shmem->size || length > shmem->size - offset) {
        errno = ERANGE;
        die("read");
    }
    if (fwrite(shmem->memory + offset, 1, length, stdout) != length || fflush(stdout) != 0)
        die("standard output");
}

static void copy_in(const struct shmem *shmem, size_t offset)
{
    if (offset > shmem->size) {
        errno = ERANGE;
        die("write");
    }
    fread(shmem->memory + offset, 1, shmem->size - offset, stdin);
    if (ferror(stdin))
        die("standard input");
}

static void fill(const struct shmem *shmem, uint64_t seed)
{
    uint64_t *word = (uint64_t *)shmem->memory;
    for (size_t i = 0; i < shmem->size / sizeof(*word); i++)
        word[i] = (seed + i) * UINT64_C(0x9E3779B97F4A7C15);
}

static uint64_t sum(const struct shmem *shmem)
{
    const uint64_t *word = (const uint64_t *)shmem->memory;
    uint64_t value = 0;
    for (size_t i = 0; i < shmem->size / sizeof(*word); i++)
        value = (value << 1 | value >> 63) ^ word[i];
    return value;
}

int main(int argc, char **argv)
{
    struct shmem shmem = { 0 };
    const char *what = argc > 3 ? argv[3] : "";

    if (argc < 4) {
        fputs("usage: shmem-peer DOMID SLOT read OFFSET LENGTH | write OFFSET | fill SEED | sum\n",
              stderr);
        return 2;
    }
    open_shmem(&shmem, atoi(argv[1]), atoi(argv[2]));
    if (argc == 6 && strcmp(what, "read") == 0)
        copy_out(&shmem, strtoull(argv[4], NULL, 0), strtoull(argv[5], NULL, 0));
    else if (argc == 5 && strcmp(what, "write") == 0)
        copy_in(&shmem, strtoull(argv[4], NULL, 0));
    else if (argc == 5 && strcmp(what, "fill") == 0)
        fill(&shmem, strtoull(argv[4], NULL, 0));
    else if (argc == 4 && strcmp(what, "sum") == 0)
        printf("%016" PRIx64 "\n", sum(&shmem));
    else
        return 2;
    return 0;
}
