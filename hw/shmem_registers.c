/* The registers of ivshmem: see shmem_registers.h. */

#define G_LOG_DOMAIN "shmem"
#include "hw/shmem_registers.h"

#define INTR_MASK 0x0
#define INTR_STATUS 0x4
#define IV_POSITION 0x8

static uint32_t register_value(const struct shmem_registers *registers, uint64_t offset)
{
    switch (offset) {
    case INTR_MASK:
        return registers->mask;
    case INTR_STATUS:
        return registers->status;
    case IV_POSITION:
        return 0;
    default: /* Doorbell is write-only, the others are reserved */
        return UINT32_MAX;
    }
}

static uint32_t *writable_register(struct shmem_registers *registers, uint64_t offset)
{
    switch (offset) {
    case INTR_MASK:
        return &registers->mask;
    case INTR_STATUS:
        return &registers->status;
    default: /* IVPosition is read-only, and Doorbell has nobody to ring */
        return NULL;
    }
}

/* An access may have part of a register or parts of several; it is the sum of its bytes. */
static uint64_t registers_read(void *opaque, uint64_t offset, unsigned size)
{
    struct shmem_registers *registers = opaque;
    uint64_t value = 0;
    bool status_read = false;

    for (unsigned i = 0; i < size; i++) {
        uint64_t at = (offset + i) & ~UINT64_C(3);
        uint8_t byte = register_value(registers, at) >> (8 * ((offset + i) & 3));
        value |= (uint64_t)byte << (8 * i);
        status_read |= at == INTR_STATUS;
    }
    if (status_read)
        registers->status = 0;
    return value;
}

static void registers_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct shmem_registers *registers = opaque;

    for (unsigned i = 0; i < size; i++) {
        uint32_t *target = writable_register(registers, (offset + i) & ~UINT64_C(3));
        unsigned shift = 8 * ((offset + i) & 3);
        uint32_t byte = value >> (8 * i) & 0xFF;
        if (target)
            *target = (*target & ~(UINT32_C(0xFF) << shift)) | byte << shift;
    }
}

const struct ioreq_ops shmem_registers_ops = { registers_read, registers_write };
