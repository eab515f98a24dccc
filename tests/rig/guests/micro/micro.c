/* The micro guests' ground: see micro.h.  Sources: public/arch-x86/cpuid.h, public/io/console.h. */

#include "micro.h"

#include <cpuid.h>
#include <stdarg.h>
#include <stddef.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/hvm_vcpu.h>
#include <xen/hvm/params.h>
#include <xen/io/console.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

#define DEBUG_PORT 0xE9
#define KEYBOARD_CONTROLLER 0x64
#define KEYBOARD_RESET 0xFE

#define CPUID_HYPERVISORS 0x40000000
#define CPUID_HYPERVISORS_END 0x40010000
#define CPUID_HYPERVISORS_STEP 0x100

#define EFLAGS_FIXED 0x2
#define CR0_PE 0x1
#define CR0_ET 0x10
#define SEGMENT_CODE 0xC9B /* 32 bits, in pages, present, read; as in hvm_vcpu.h */
#define SEGMENT_DATA 0xC93
#define SEGMENT_TASK 0x8B

#define PAGE_SIZE 4096
#define HYPERCALL_SIZE 32

/* Filled in by Xen: code for each hypercall. */
static uint8_t hypercalls[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static bool on_xen;
static uint32_t tsc_khz;

static struct xencons_interface *console;
static evtchn_port_t console_port;

long micro_hypercall3(unsigned number, unsigned long a, unsigned long b, const void *c)
{
    long result;
    __asm__ volatile("call *%[entry]"
                     : "=a"(result), "+b"(a), "+c"(b), "+d"(c)
                     : [entry] "r"(hypercalls + number * HYPERCALL_SIZE)
                     : "memory");
    return result;
}

long micro_hypercall(unsigned number, unsigned long a, const void *b)
{
    return micro_hypercall3(number, a, (unsigned long)b, NULL);
}

/* The base of Xen's CPUID leaves, which need not be the first hypervisor's; 0 without Xen. */
static uint32_t find_xen(void)
{
    for (uint32_t leaf = CPUID_HYPERVISORS; leaf < CPUID_HYPERVISORS_END;
         leaf += CPUID_HYPERVISORS_STEP) {
        uint32_t max, b, c, d;
        __cpuid(leaf, max, b, c, d);
        /* "XenVMMXenVMM" */
        if (b == 0x566E6558 && c == 0x65584D4D && d == 0x4D4D566E && max >= leaf + 3)
            return leaf;
    }
    return 0;
}

static uint64_t hvm_param(uint32_t index)
{
    struct xen_hvm_param param = { .domid = DOMID_SELF, .index = index };
    return micro_hypercall(__HYPERVISOR_hvm_op, HVMOP_get_param, &param) == 0 ? param.value : 0;
}

void micro_begin(void);
void micro_begin(void)
{
    uint32_t leaf = find_xen();
    uint32_t a, b, c, d, pages, msr;
    if (!leaf)
        return;
    on_xen = true;
    __cpuid_count(leaf + 3, 0, a, b, tsc_khz, d);
    __cpuid(leaf + 2, pages, msr, c, d);
    __asm__ volatile("wrmsr" : : "c"(msr), "a"(hypercalls), "d"(0) : "memory");

    console = (void *)(uintptr_t)(hvm_param(HVM_PARAM_CONSOLE_PFN) * PAGE_SIZE);
    console_port = hvm_param(HVM_PARAM_CONSOLE_EVTCHN);
}

bool micro_on_xen(void)
{
    return on_xen;
}

uint32_t micro_tsc_khz(void)
{
    return tsc_khz;
}

/* A console that nobody empties must not stop the guest: what does not fit is dropped. */
static void put_console(char character)
{
    if (!console)
        return;
    XENCONS_RING_IDX prod = console->out_prod;
    if (prod - *(volatile XENCONS_RING_IDX *)&console->out_cons >= sizeof(console->out))
        return;
    console->out[MASK_XENCONS_IDX(prod, console->out)] = character;
    __atomic_store_n(&console->out_prod, prod + 1, __ATOMIC_RELEASE);
}

static void put(char character)
{
    out8(DEBUG_PORT, character);
    if (character == '\n')
        put_console('\r');
    put_console(character);
}

static void put_hex(uint32_t value, unsigned digits)
{
    for (unsigned i = 8; i > 0; i--) {
        if (i <= digits || i == 1 || value >> (4 * (i - 1)))
            put("0123456789abcdef"[value >> (4 * (i - 1)) & 0xF]);
    }
}

void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        unsigned digits = 0;
        for (format++; *format >= '0' && *format <= '9'; format++)
            digits = 10 * digits + (*format - '0');
        if (*format == 'x')
            put_hex(va_arg(args, uint32_t), digits);
        else if (*format == 's')
            for (const char *text = va_arg(args, const char *); *text; text++)
                put(*text);
        else
            put(*format);
    }
    va_end(args);
    if (console_port) {
        struct evtchn_send send = { .port = console_port };
        micro_hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &send);
    }
}

_Noreturn void micro_shutdown(unsigned reason)
{
    struct sched_shutdown shutdown = { .reason = reason };
    if (on_xen)
        micro_hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, &shutdown);
    out8(KEYBOARD_CONTROLLER, KEYBOARD_RESET);
    for (;;)
        __asm__ volatile("hlt");
}

void micro_yield(void)
{
    if (on_xen)
        micro_hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield, NULL);
}

void micro_wait(unsigned gigacycles)
{
    uint64_t end = __builtin_ia32_rdtsc() + gigacycles * UINT64_C(1000000000);
    while (__builtin_ia32_rdtsc() < end)
        micro_yield();
}

/* Under Xen, hlt with interrupts off would be the end of the guest; SCHEDOP_block is not. */
_Noreturn void micro_idle(void)
{
    for (;;) {
        if (on_xen)
            micro_hypercall(__HYPERVISOR_sched_op, SCHEDOP_block, NULL);
        else
            __asm__ volatile("hlt");
    }
}

/* As start.S leaves vCPU 0: flat segments, no paging, interrupts off. */
bool micro_start_vcpu(unsigned vcpu, void (*main)(void), void *stack)
{
    struct vcpu_hvm_context context = {
        .mode = VCPU_HVM_MODE_32B,
        .cpu_regs.x86_32 = {
            .eip = (uintptr_t)main,
            .esp = (uintptr_t)stack,
            .eflags = EFLAGS_FIXED,
            .cr0 = CR0_PE | CR0_ET,
            .cs_limit = UINT32_MAX,
            .ds_limit = UINT32_MAX,
            .ss_limit = UINT32_MAX,
            .es_limit = UINT32_MAX,
            .tr_limit = 0x67,
            .cs_ar = SEGMENT_CODE,
            .ds_ar = SEGMENT_DATA,
            .ss_ar = SEGMENT_DATA,
            .es_ar = SEGMENT_DATA,
            .tr_ar = SEGMENT_TASK,
        },
    };
    return micro_hypercall3(__HYPERVISOR_vcpu_op, VCPUOP_initialise, vcpu, &context) == 0 &&
           micro_hypercall3(__HYPERVISOR_vcpu_op, VCPUOP_up, vcpu, NULL) == 0;
}
