/*
 * blkload: measures a block backend from inside a simulated guest, or writes and verifies.
 *
 *   blkload --domid N --device DEVID [--order N] [--queues N] [--persistent] [--indirect N]
 *           [--read | --write] [--random | --sequential] [--block BYTES] [--depth N]
 *           [--seconds N | --requests N] [--verify]
 *
 * The guest, its disk and a backend that serves it must be there; any backend will do.  Prints one
 * line, `iops N mb_per_s N p50_us N p99_us N requests N errors N`; --verify prints what it did.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>

#include "tests/sim/guest/blkfront.h"

#define SECTOR 512

/* The most that --verify covers of the disk. */
#define VERIFY_BYTES (UINT64_C(64) << 20)

struct arguments {
    int domid, device;
    int order, queues, indirect;
    gboolean persistent;
    gboolean read, write, random, sequential, verify;
    int block, depth, seconds;
    gint64 requests;
};

static bool parse(struct arguments *arguments, int argc, char **argv, GError **error)
{
    GOptionEntry entries[] = {
        { "domid", 0, 0, G_OPTION_ARG_INT, &arguments->domid, "The guest", "N" },
        { "device", 0, 0, G_OPTION_ARG_INT, &arguments->device, "Its disk (51712: xvda)", "N" },
        { "order", 0, 0, G_OPTION_ARG_INT, &arguments->order, "Ring of 1 << N pages", "N" },
        { "queues", 0, 0, G_OPTION_ARG_INT, &arguments->queues, "Queues, a thread each", "N" },
        { "persistent", 0, 0, G_OPTION_ARG_NONE, &arguments->persistent, "Persistent grants",
          NULL },
        { "indirect", 0, 0, G_OPTION_ARG_INT, &arguments->indirect,
          "Segments of an indirect request", "N" },
        { "read", 0, 0, G_OPTION_ARG_NONE, &arguments->read, "Read (the default)", NULL },
        { "write", 0, 0, G_OPTION_ARG_NONE, &arguments->write, "Write", NULL },
        { "random", 0, 0, G_OPTION_ARG_NONE, &arguments->random, "Anywhere (the default)", NULL },
        { "sequential", 0, 0, G_OPTION_ARG_NONE, &arguments->sequential, "In order", NULL },
        { "block", 0, 0, G_OPTION_ARG_INT, &arguments->block, "Bytes a request", "N" },
        { "depth", 0, 0, G_OPTION_ARG_INT, &arguments->depth, "Requests in flight a queue", "N" },
        { "seconds", 0, 0, G_OPTION_ARG_INT, &arguments->seconds,
          "Measure so long, after one to warm up", "N" },
        { "requests", 0, 0, G_OPTION_ARG_INT64, &arguments->requests, "Measure so many instead",
          "N" },
        { "verify", 0, 0, G_OPTION_ARG_NONE, &arguments->verify, "Write, read back, compare",
          NULL },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return false;
    bool positive = arguments->order >= 0 && arguments->queues >= 0 && arguments->indirect >= 0 &&
                    arguments->block > 0 && arguments->depth > 0 && arguments->seconds > 0 &&
                    arguments->requests >= 0;
    if (argc == 1 && arguments->domid > 0 && arguments->device >= 0 && positive &&
        !(arguments->read && arguments->write) && !(arguments->random && arguments->sequential))
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "--domid and --device are needed; numbers are positive; --read and --write, "
                "--random and --sequential exclude each other (see --help)");
    return false;
}

static int measure(struct blkfront *front, const struct arguments *arguments)
{
    struct blkfront_load load = {
        .write = arguments->write,
        .random = !arguments->sequential,
        .block = arguments->block,
        .depth = MIN((unsigned)arguments->depth, blkfront_ring_entries(front)),
        .seconds = arguments->seconds,
        .requests = arguments->requests,
    };
    struct blkfront_result result = blkfront_run(front, &load);
    printf("iops %.0f mb_per_s %.1f p50_us %.1f p99_us %.1f requests %" G_GUINT64_FORMAT
           " errors %" G_GUINT64_FORMAT "\n",
           result.iops, result.mb_per_s, result.p50_us, result.p99_us, result.requests,
           result.errors);
    return result.errors > 0;
}

/* A queue's part of the disk. */
struct share {
    struct blkfront *front;
    unsigned queue;
    uint64_t sector, sectors;
    char *reason; /* what is wrong, or NULL */
    GThread *thread;
};

static gpointer verify_share(gpointer opaque)
{
    struct share *share = opaque;
    blkfront_verify(share->front, share->queue, share->sector, share->sectors, share->queue,
                    &share->reason);
    return NULL;
}

static int verify(struct blkfront *front)
{
    const struct blkfront_disk *disk = blkfront_disk(front);
    unsigned queues = blkfront_queues(front);
    unsigned align = MAX(disk->sector_size / SECTOR, 1);
    uint64_t share_size = MIN(disk->sectors, VERIFY_BYTES / SECTOR) / queues / align * align;
    g_autofree struct share *shares = g_new0(struct share, queues);
    int status = 0;

    for (unsigned i = 0; i < queues; i++) {
        shares[i] = (struct share){ front, i, i * share_size, share_size, NULL, NULL };
        shares[i].thread = g_thread_new("verify", verify_share, &shares[i]);
    }
    for (unsigned i = 0; i < queues; i++) {
        g_thread_join(shares[i].thread);
        if (shares[i].reason)
            fprintf(stderr, "blkload: %s\n", shares[i].reason);
        status |= shares[i].reason != NULL;
        g_free(shares[i].reason);
    }
    if (status == 0)
        printf("verified %" G_GUINT64_FORMAT " sectors\n", share_size * queues);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments arguments = { .block = 4096, .depth = 32, .seconds = 5 };
    g_autoptr(GError) error = NULL;
    g_autofree char *reason = NULL;

    if (!parse(&arguments, argc, argv, &error)) {
        fprintf(stderr, "blkload: %s\n", error->message);
        return 2;
    }
    struct guest *guest = guest_open(arguments.domid);
    struct blkfront_options options = {
        .ring_order = arguments.order,
        .queues = arguments.queues,
        .persistent = arguments.persistent,
        .indirect = arguments.indirect,
    };
    struct blkfront *front = blkfront_connect(guest, arguments.device, &options, &reason);
    if (!front) {
        fprintf(stderr, "blkload: %s\n", reason);
        return 1;
    }
    int status = arguments.verify ? verify(front) : measure(front, &arguments);
    if (!blkfront_close(front)) {
        fprintf(stderr, "blkload: the backend does not close\n");
        status = 1;
    }
    guest_close(guest);
    return status;
}
