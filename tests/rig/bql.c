/*
 * bql.so: preloaded into the QEMU that runs the rig, to cure an abort.
 *
 * When a nested guest writes CR8, TCG's SVM calls cpu_interrupt() on the vCPU thread without QEMU's big lock, and
 * tcg_handle_interrupt() asserts that it is held: "assertion failed: (qemu_mutex_iothread_locked())". 64-bit firmware
 * does that at once. In Debian's QEMU the function lives in a module and is reached through the dynamic linker, which
 * finds this one first: it takes the lock where it is missing and calls the module's.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define MODULE "/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so"

bool qemu_mutex_iothread_locked(void);
void qemu_mutex_lock_iothread_impl(const char *file, int line);
void qemu_mutex_unlock_iothread(void);

static void (*module_handle_interrupt(void))(void *cpu, int mask)
{
    void *module = dlopen(MODULE, RTLD_LAZY | RTLD_NOLOAD);
    void *function = module ? dlsym(module, "tcg_handle_interrupt") : NULL;

    if (!function) {
        fprintf(stderr, "bql.so: %s\n", dlerror());
        abort();
    }
    return (void (*)(void *, int))function;
}

void tcg_handle_interrupt(void *cpu, int mask)
{
    static _Atomic(void (*)(void *, int)) real;
    bool locked = qemu_mutex_iothread_locked();

    if (!real)
        real = module_handle_interrupt();
    if (!locked)
        qemu_mutex_lock_iothread_impl(__FILE__, __LINE__);
    real(cpu, mask);
    if (!locked)
        qemu_mutex_unlock_iothread();
}
