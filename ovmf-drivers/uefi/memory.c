/*
 * The four functions that a compiler may call in any C program.  There is no C library in firmware.
 */
#include "ovmf-drivers/uefi/memory.h"

#include <stdint.h>

/* One instruction, which processors do in cache lines. */
void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    void *out = to;

    __asm__ volatile("rep movsb" : "+D"(out), "+S"(from), "+c"(size) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    uint8_t *out = to;
    const uint8_t *in = from;

    if ((uintptr_t)to - (uintptr_t)from >= size)
        return memcpy(to, from, size);
    while (size-- > 0)
        out[size] = in[size];
    return to;
}

void *memset(void *to, int value, size_t size)
{
    void *out = to;

    __asm__ volatile("rep stosb" : "+D"(out), "+c"(size) : "a"(value) : "memory");
    return to;
}

int memcmp(const void *one, const void *other, size_t size)
{
    const uint8_t *a = one, *b = other;

    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i])
            return a[i] - b[i];
    }
    return 0;
}
