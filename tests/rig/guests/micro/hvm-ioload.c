/*
 * Times emulated accesses, for ./bench ioreq: reads of a port (1 byte) and of memory (4 bytes) that
 * somebody has to answer, of three peers in turn:
 *
 *   qemu   the Xen platform device's I/O ports and memory.  Of all that QEMU emulates they do the
 *          least when they are read: they return a variable, and zero.
 *   29     the doorbell role in slot 29: a register
 *   28     the same in slot 28
 *
 * and of memory that is really there, if a shmem function has a BAR2.  All numbers of what it
 * prints are hexadecimal:
 *
 *   ioload: tsc KHZ
 *   ioload: LOAD PEER CYCLES CYCLES CYCLES  what an access takes: quartile, median, quartile
 *   ioload: bar2 N CYCLES                   what N reads of BAR2 take
 *   ioload: DONE                            or FAIL and what is wrong
 *
 * Each access is timed by itself: where the machine is taken away from Xen for a while, as happens
 * to the rig, that hits a few of them, and the median tells what they take otherwise.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "micro.h"

#include <xen/xen.h>
#include <xen/sched.h>

#define CONFIG_ADDRESS 0xCF8
#define CONFIG_DATA 0xCFC
#define CONFIG_ENABLE 0x80000000

#define SLOTS 32
#define ID 0x00
#define COMMAND 0x04
#define COMMAND_DECODE 0x0003
#define BAR(n) (0x10 + 4 * (n))

#define PLATFORM_ID 0x00015853
#define DOORBELL_ID 0x10F01AF4
#define SHMEM_ID 0x11101AF4

/* Where the BARs are put: the platform device's memory has 16 MiB. */
#define PORTS 0xC000
#define PORTS_STEP 0x100
#define MEMORY 0xF0000000
#define MEMORY_STEP 0x1000000
#define BAR2 0xE0000000

#define ROUNDS 7
#define ACCESSES 80 /* of each vCPU in one round */
#define SAMPLES (ROUNDS * ACCESSES)
#define VCPUS 2
#define BAR2_READS 1000000

struct peer {
    const char *name;
    uint32_t id;
    unsigned slot; /* 0: wherever it is */
    unsigned port_bar, memory_bar;
    uint16_t port;
    uintptr_t memory;
};

static struct peer peers[] = {
    { .name = "qemu", .id = PLATFORM_ID, .port_bar = 0, .memory_bar = 1 },
    { .name = "29", .id = DOORBELL_ID, .slot = 29, .port_bar = 1, .memory_bar = 0 },
    { .name = "28", .id = DOORBELL_ID, .slot = 28, .port_bar = 1, .memory_bar = 0 },
};
#define PEERS (sizeof(peers) / sizeof(peers[0]))

static _Noreturn void fail(const char *what, const char *of)
{
    say("ioload: FAIL %s: %s\n", of, what);
    micro_shutdown(SHUTDOWN_poweroff);
}

/* --- the peers' functions --- */

static uint32_t config(unsigned slot, unsigned reg)
{
    out32(CONFIG_ADDRESS, CONFIG_ENABLE | slot << 11 | reg);
    return in32(CONFIG_DATA);
}

static void set_config(unsigned slot, unsigned reg, uint32_t value)
{
    out32(CONFIG_ADDRESS, CONFIG_ENABLE | slot << 11 | reg);
    out32(CONFIG_DATA, value);
}

/* The slot of the first function with this id, or 0, which is the host bridge's. */
static unsigned find(uint32_t id)
{
    for (unsigned slot = 1; slot < SLOTS; slot++) {
        if (config(slot, ID) == id)
            return slot;
    }
    return 0;
}

static uint32_t read32(uintptr_t address)
{
    uint32_t value;
    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

/* Where nobody answers, Xen answers with all-ones. */
static void set_up_peer(struct peer *peer, unsigned number)
{
    if (!peer->slot)
        peer->slot = find(peer->id);
    if (!peer->slot || config(peer->slot, ID) != peer->id)
        fail("the function is not there", peer->name);
    peer->port = PORTS + number * PORTS_STEP;
    peer->memory = MEMORY + number * MEMORY_STEP;
    set_config(peer->slot, BAR(peer->port_bar), peer->port);
    set_config(peer->slot, BAR(peer->memory_bar), peer->memory);
    set_config(peer->slot, COMMAND, COMMAND_DECODE);
    if (in8(peer->port) == 0xFF)
        fail("nobody answers its ports", peer->name);
    if (read32(peer->memory) == UINT32_MAX)
        fail("nobody answers its memory", peer->name);
}

/* --- loads --- */

static void read_port(const struct peer *peer)
{
    in8(peer->port);
}

static void read_memory(const struct peer *peer)
{
    read32(peer->memory);
}

struct load {
    const char *name;
    void (*access)(const struct peer *peer);
    unsigned vcpus;
};

static const struct load alone[] = { { "pio", read_port, 1 }, { "mmio", read_memory, 1 } };
static const struct load together[] = { { "pio_2vcpus", read_port, 2 },
                                        { "mmio_2vcpus", read_memory, 2 } };
#define LOADS 2

/* Of a load and a peer: the first vCPU's, then the second's. */
static uint32_t samples[LOADS][PEERS][VCPUS * SAMPLES];

static void run(const struct load *load, const struct peer *peer, uint32_t *cycles)
{
    for (unsigned i = 0; i < ACCESSES; i++) {
        uint64_t begin = __builtin_ia32_rdtsc();
        load->access(peer);
        uint64_t took = __builtin_ia32_rdtsc() - begin;
        cycles[i] = took > UINT32_MAX ? UINT32_MAX : took;
    }
}

/* What the second vCPU does; it waits for a new number, and notes how far it is. */
static struct {
    const struct load *volatile load;
    const struct peer *volatile peer;
    uint32_t *volatile cycles;
    volatile unsigned ordered, begun, done;
} order;
static uint8_t second_stack[4096] __attribute__((aligned(16)));

static void second_main(void)
{
    for (unsigned next = 1;; next++) {
        while (order.ordered != next)
            micro_yield();
        order.begun = next;
        run(order.load, order.peer, order.cycles);
        order.done = next;
    }
}

static void run_both(const struct load *load, const struct peer *peer, uint32_t *cycles)
{
    unsigned next = order.ordered + 1;
    order.load = load;
    order.peer = peer;
    order.cycles = cycles + SAMPLES;
    order.ordered = next;
    while (order.begun != next)
        micro_yield();
    run(load, peer, cycles);
    while (order.done != next)
        micro_yield();
}

/* --- measuring --- */

/* Shell's sort. */
static void sort(uint32_t *values, unsigned count)
{
    for (unsigned gap = count / 2; gap > 0; gap /= 2) {
        for (unsigned i = gap; i < count; i++) {
            uint32_t value = values[i];
            unsigned k = i;
            for (; k >= gap && values[k - gap] > value; k -= gap)
                values[k] = values[k - gap];
            values[k] = value;
        }
    }
}

/* Nothing is printed meanwhile, since somebody would be busy with reading it. */
static void measure(const struct load loads[LOADS])
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned turn = 0; turn < PEERS; turn++) {
            unsigned peer = (round + turn) % PEERS;
            for (unsigned i = 0; i < LOADS; i++) {
                uint32_t *cycles = samples[i][peer] + round * ACCESSES;
                (loads[i].vcpus == 1 ? run : run_both)(&loads[i], &peers[peer], cycles);
            }
        }
    }
    for (unsigned i = 0; i < LOADS; i++) {
        unsigned count = loads[i].vcpus * SAMPLES;
        for (unsigned peer = 0; peer < PEERS; peer++) {
            uint32_t *cycles = samples[i][peer];
            sort(cycles, count);
            say("ioload: %s %s %x %x %x\n", loads[i].name, peers[peer].name, cycles[count / 4],
                cycles[count / 2], cycles[count * 3 / 4]);
        }
    }
}

static void measure_bar2(void)
{
    unsigned slot = find(SHMEM_ID);
    if (!slot)
        return;
    set_config(slot, BAR(2), BAR2);
    set_config(slot, BAR(3), 0);
    if (config(slot, BAR(2)) == 0)
        return;
    set_config(slot, COMMAND, COMMAND_DECODE);
    if (read32(BAR2) == UINT32_MAX)
        fail("nobody answers its memory", "bar2");
    uint64_t begin = __builtin_ia32_rdtsc();
    for (unsigned i = 0; i < BAR2_READS; i++)
        read32(BAR2);
    say("ioload: bar2 %x %x\n", BAR2_READS, (uint32_t)(__builtin_ia32_rdtsc() - begin));
}

void micro_main(void)
{
    for (unsigned i = 0; i < PEERS; i++)
        set_up_peer(&peers[i], i);
    say("ioload: tsc %x\n", micro_tsc_khz());
    measure(alone);
    measure_bar2();
    if (!micro_start_vcpu(1, second_main, second_stack + sizeof(second_stack)))
        fail("it does not start", "the second vCPU");
    measure(together);
    say("ioload: DONE\n");
    micro_shutdown(SHUTDOWN_poweroff);
}
