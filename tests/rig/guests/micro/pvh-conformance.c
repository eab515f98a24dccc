/* The guest of the conformance set: makes the accesses of accesses.h, as it is led there. */

#include "micro.h"

#include <stddef.h>
#include <xen/xen.h>
#include <xen/memory.h>
#include <xen/sched.h>

#include "../../../conformance/accesses.h"

/* What an access read, or shall write. */
union value {
    uint8_t bytes[16];
    uint16_t half;
    uint32_t word;
    uint64_t whole;
};

/* Memory that the guest can do without. */
#define SPARE_MEMORY 0x900000

static uint8_t *const buffer = (uint8_t *)BUFFER;

static void in(const struct access *a, union value *value)
{
    if (a->size == 1)
        value->bytes[0] = in8(a->address);
    else if (a->size == 2)
        value->half = in16(a->address);
    else
        value->word = in32(a->address);
}

static void out(const struct access *a, const union value *value)
{
    if (a->size == 1)
        out8(a->address, value->bytes[0]);
    else if (a->size == 2)
        out16(a->address, value->half);
    else
        out32(a->address, value->word);
}

/* One instruction for each size, which the compiler must not change. */
#define MOVE(instruction, reg, from, to)                                                           \
    __asm__ volatile(instruction " (%0), " reg "\n\t" instruction " " reg ", (%1)"                 \
                     :                                                                             \
                     : "r"(from), "r"(to)                                                          \
                     : "eax", "memory")

static void move(unsigned size, const void *from, void *to)
{
    switch (size) {
    case 1:
        MOVE("movb", "%%al", from, to);
        break;
    case 2:
        MOVE("movw", "%%ax", from, to);
        break;
    case 4:
        MOVE("movl", "%%eax", from, to);
        break;
    case 8:
        MOVE("movq", "%%xmm0", from, to);
        break;
    case 16:
        MOVE("movups", "%%xmm0", from, to);
        break;
    }
}

/* A string instruction, with the direction flag as the access says. */
#define REP(a, instruction, ...)                                                                   \
    do {                                                                                           \
        if ((a)->down)                                                                             \
            __asm__ volatile("std\n\trep " instruction "\n\tcld" __VA_ARGS__);                     \
        else                                                                                       \
            __asm__ volatile("rep " instruction __VA_ARGS__);                                      \
    } while (0)

#define REP_SIZED(a, name, ...)                                                                    \
    do {                                                                                           \
        if ((a)->size == 1)                                                                        \
            REP(a, name "b", __VA_ARGS__);                                                         \
        else if ((a)->size == 2)                                                                   \
            REP(a, name "w", __VA_ARGS__);                                                         \
        else                                                                                       \
            REP(a, name "l", __VA_ARGS__);                                                         \
    } while (0)

static void string(const struct access *a)
{
    uintptr_t to = BUFFER + a->offset, from = to;
    unsigned count = a->count;

    switch (a->kind) {
    case ACCESS_INS:
        REP_SIZED(a, "ins", : "+D"(to), "+c"(count) : "d"(a->address) : "memory");
        break;
    case ACCESS_OUTS:
        REP_SIZED(a, "outs", : "+S"(from), "+c"(count) : "d"(a->address) : "memory");
        break;
    case ACCESS_LOADS:
        from = a->address;
        REP_SIZED(a, "movs", : "+D"(to), "+S"(from), "+c"(count) : : "memory");
        break;
    case ACCESS_STORES:
        to = a->address;
        REP_SIZED(a, "movs", : "+D"(to), "+S"(from), "+c"(count) : : "memory");
        break;
    case ACCESS_FILL:
        to = a->address;
        REP_SIZED(a, "stos", : "+D"(to), "+c"(count) : "a"((uint32_t)PLAIN_VALUE) : "memory");
        break;
    }
}

/* Gives back a page of memory, after which Xen sends a request to every emulator. */
static void invalidate(void)
{
    static unsigned given;
    xen_pfn_t frame = SPARE_MEMORY / 4096 + given++;
    struct xen_memory_reservation reservation = { .nr_extents = 1, .domid = DOMID_SELF };
    set_xen_guest_handle(reservation.extent_start, &frame);
    micro_hypercall(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &reservation);
}

static void make(const struct access *a, uint32_t *first, uint32_t *last)
{
    union value value = { .bytes = { 0 } };
    switch (a->kind) {
    case ACCESS_IN:
        in(a, &value);
        access_result(&value, a->size, first, last);
        break;
    case ACCESS_LOAD:
        move(a->size, (void *)a->address, &value);
        access_result(&value, a->size, first, last);
        break;
    case ACCESS_OUT:
        value.whole = access_value(a);
        out(a, &value);
        break;
    case ACCESS_STORE:
        value.whole = access_value(a);
        move(a->size, &value, (void *)a->address);
        break;
    case ACCESS_INVALIDATE:
        invalidate();
        break;
    default:
        access_prepare(a, buffer);
        string(a);
        access_string_result(a, buffer, first, last);
        break;
    }
}

void micro_main(void)
{
    say("conformance: waiting\n");
    for (;;) {
        uint32_t index = in32(SYNC_PORT), first = 0, last = 0;
        if (index >= ACCESSES) {
            micro_yield();
            continue;
        }
        make(&accesses[index], &first, &last);
        out32(RESULT_FIRST_PORT, first);
        out32(RESULT_LAST_PORT, last);
    }
}
