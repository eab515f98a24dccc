/*
 * ioload: measures emulated accesses from inside a simulated guest.
 *
 *   ioload --domid N --slot DEVICE [--port | --memory] [--vcpus N] [--seconds N]
 *
 * Each vCPU reads 4 bytes of the PCI function at 00:DEVICE.0 in a loop: of its configuration space
 * through port 0xCFC, or of the memory that its BAR 0 decodes.  The guest and whoever emulates the
 * function must be there.  Prints one line, `accesses_per_s N p50_us N p99_us N`.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <time.h>

#include "tests/sim/guest/vcpu.h"

#define PATIENCE_MS 10000
#define COMMAND 0x04
#define BAR0 0x10
#define DECODE 0x0002
#define WINDOW 0xF0000000 /* where BAR 0 is put */
#define ADDRESS_PORT 0xCF8
#define DATA_PORT 0xCFC

/* Latencies are counted in steps of 0.1 us, the last of which is for all longer ones. */
#define STEP_NS 100
#define STEPS 100000

struct arguments {
    int domid, slot, vcpus, seconds;
    gboolean port, memory;
};

struct load {
    struct guest *guest;
    ioreq_t request;
    unsigned vcpu;
    const gint *stop; /* atomic */
    GThread *thread;
    uint64_t accesses, failures;
    uint32_t *steps;
};

static bool parse(struct arguments *arguments, int argc, char **argv, GError **error)
{
    GOptionEntry entries[] = {
        { "domid", 0, 0, G_OPTION_ARG_INT, &arguments->domid, "The guest", "N" },
        { "slot", 0, 0, G_OPTION_ARG_INT, &arguments->slot, "The function's device", "N" },
        { "port", 0, 0, G_OPTION_ARG_NONE, &arguments->port, "Port reads (the default)", NULL },
        { "memory", 0, 0, G_OPTION_ARG_NONE, &arguments->memory, "Memory reads", NULL },
        { "vcpus", 0, 0, G_OPTION_ARG_INT, &arguments->vcpus, "So many vCPUs at once (1)", "N" },
        { "seconds", 0, 0, G_OPTION_ARG_INT, &arguments->seconds, "Measure so long (2)", "N" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return false;
    if (argc == 1 && arguments->domid > 0 && arguments->slot >= 0 && arguments->slot < 32 &&
        arguments->vcpus > 0 && arguments->seconds > 0 && !(arguments->port && arguments->memory))
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "--domid and --slot are needed; numbers are positive; --port and --memory exclude "
                "each other (see --help)");
    return false;
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static gpointer read_in_a_loop(gpointer opaque)
{
    struct load *load = opaque;
    uint64_t before = clock_ns();
    while (!g_atomic_int_get(load->stop)) {
        ioreq_t request = load->request;
        if (vcpu_issue(load->guest, load->vcpu, &request, PATIENCE_MS) != VCPU_ANSWERED) {
            load->failures++;
            break;
        }
        uint64_t now = clock_ns();
        load->steps[MIN((now - before) / STEP_NS, STEPS - 1)]++;
        load->accesses++;
        before = now;
    }
    return NULL;
}

/* In us: what PERCENT of all accesses took at most. */
static double percentile(const struct load *loads, unsigned count, uint64_t all, unsigned percent)
{
    uint64_t sum = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        for (unsigned i = 0; i < count; i++)
            sum += loads[i].steps[step];
        if (sum * 100 >= all * percent)
            return (step + 1) * STEP_NS / 1000.0;
    }
    return 0;
}

static int report(const struct load *loads, unsigned count, double seconds)
{
    uint64_t all = 0, failures = 0;
    for (unsigned i = 0; i < count; i++) {
        all += loads[i].accesses;
        failures += loads[i].failures;
    }
    printf("accesses_per_s %.0f p50_us %.1f p99_us %.1f\n", all / seconds,
           percentile(loads, count, all, 50), percentile(loads, count, all, 99));
    if (failures > 0)
        fprintf(stderr, "ioload: nobody answers\n");
    return failures > 0;
}

static int measure(struct guest *guest, const struct arguments *arguments, const ioreq_t *request)
{
    g_autofree struct load *loads = g_new0(struct load, arguments->vcpus);
    gint stop = 0;

    uint64_t begin = clock_ns();
    for (int i = 0; i < arguments->vcpus; i++) {
        loads[i] = (struct load){ .guest = guest, .request = *request, .vcpu = i, .stop = &stop };
        loads[i].steps = g_new0(uint32_t, STEPS);
        loads[i].thread = g_thread_new("vcpu", read_in_a_loop, &loads[i]);
    }
    g_usleep(arguments->seconds * G_USEC_PER_SEC);
    g_atomic_int_set(&stop, 1);
    for (int i = 0; i < arguments->vcpus; i++)
        g_thread_join(loads[i].thread);
    int status = report(loads, arguments->vcpus, (clock_ns() - begin) / 1e9);
    for (int i = 0; i < arguments->vcpus; i++)
        g_free(loads[i].steps);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments arguments = { .slot = -1, .vcpus = 1, .seconds = 2 };
    g_autoptr(GError) error = NULL;

    if (!parse(&arguments, argc, argv, &error)) {
        fprintf(stderr, "ioload: %s\n", error->message);
        return 2;
    }
    struct guest *guest = guest_open(arguments.domid);
    if ((unsigned)arguments.vcpus > guest_vcpus(guest)) {
        fprintf(stderr, "ioload: the guest has %u vCPUs\n", guest_vcpus(guest));
        return 2;
    }
    ioreq_t request = { .dir = IOREQ_READ, .size = 4, .count = 1 };
    if (arguments.memory) {
        vcpu_config_write(guest, arguments.slot, 0, BAR0, 4, WINDOW);
        vcpu_config_write(guest, arguments.slot, 0, COMMAND, 2, DECODE);
        request.type = IOREQ_TYPE_COPY;
        request.addr = WINDOW;
    } else {
        vcpu_out(guest, ADDRESS_PORT, 4, UINT32_C(0x80000000) | arguments.slot << 11);
        request.type = IOREQ_TYPE_PIO;
        request.addr = DATA_PORT;
    }
    int status = measure(guest, &arguments, &request);
    guest_close(guest);
    return status;
}
