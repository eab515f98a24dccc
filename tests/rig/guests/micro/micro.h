/*
 * What the micro guests share: guests of a few KiB without an operating system, which start at
 * once and can use a device in ways that no driver would.
 *
 * Each has a micro_main() that never returns.  Without Xen (under QEMU, to try a guest out)
 * everything works except that the guest ends by resetting the machine.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef MICRO_H
#define MICRO_H

#include <stdbool.h>
#include <stdint.h>

void micro_main(void);

bool micro_on_xen(void);

/* How fast rdtsc counts, as Xen says; 0 without Xen. */
uint32_t micro_tsc_khz(void);

/*
 * Prints to the debug port, from which Xen takes whole lines to its own log, and to the PV
 * console.  Knows %s, %x (unsigned) and %%, and %2x for two digits at least (or another number).
 */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* REASON is a SHUTDOWN_* of sched.h. */
_Noreturn void micro_shutdown(unsigned reason);

/* Waits for ever without using the processor. */
_Noreturn void micro_idle(void);

/* Gives the processor to others for a moment. */
void micro_yield(void);

/* A hypercall of two arguments, or of three; only on Xen. */
long micro_hypercall(unsigned number, unsigned long a, const void *b);
long micro_hypercall3(unsigned number, unsigned long a, unsigned long b, const void *c);

/*
 * Has vCPU number VCPU run MAIN, which never returns, on a stack that ends at STACK; once for each
 * vCPU, and not vCPU 0.  False if there is no such vCPU; only on Xen.
 */
bool micro_start_vcpu(unsigned vcpu, void (*main)(void), void *stack);

/* Gives the processor to others until so many thousand million cycles have passed. */
void micro_wait(unsigned gigacycles);

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint16_t in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

#endif
