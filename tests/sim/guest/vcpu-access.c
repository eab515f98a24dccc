/* The usual accesses of a vCPU, and what emulators did to the guest: see vcpu.h. */

#define G_LOG_DOMAIN "vcpu"
#include "tests/sim/guest/vcpu.h"

#include "tests/sim/hypervisor/hypervisor.h"

/* --- accesses --- */

#define USUAL_TIMEOUT_MS 10000

static uint64_t ones(unsigned size)
{
    return size < 8 ? (UINT64_C(1) << (8 * size)) - 1 : UINT64_MAX;
}

static uint64_t issue(struct guest *guest, uint8_t type, bool read, uint64_t address, unsigned size,
                      uint64_t value)
{
    ioreq_t request = { .type = type,
                        .addr = address,
                        .size = size,
                        .count = 1,
                        .dir = read ? IOREQ_READ : IOREQ_WRITE,
                        .data = read ? 0 : value & ones(size) };
    enum vcpu_outcome outcome = vcpu_issue(guest, 0, &request, USUAL_TIMEOUT_MS);
    return (outcome == VCPU_ANSWERED ? request.data : UINT64_MAX) & ones(size);
}

uint64_t vcpu_in(struct guest *guest, uint16_t port, unsigned size)
{
    return issue(guest, IOREQ_TYPE_PIO, true, port, size, 0);
}

void vcpu_out(struct guest *guest, uint16_t port, unsigned size, uint32_t value)
{
    issue(guest, IOREQ_TYPE_PIO, false, port, size, value);
}

uint64_t vcpu_load(struct guest *guest, uint64_t address, unsigned size)
{
    return issue(guest, IOREQ_TYPE_COPY, true, address, size, 0);
}

void vcpu_store(struct guest *guest, uint64_t address, unsigned size, uint64_t value)
{
    issue(guest, IOREQ_TYPE_COPY, false, address, size, value);
}

static uint64_t config_address(unsigned device, unsigned function, unsigned reg)
{
    return (uint64_t)(device << 3 | function) << 32 | reg;
}

uint32_t vcpu_config_read(struct guest *guest, unsigned device, unsigned function, unsigned reg,
                          unsigned size)
{
    uint64_t address = config_address(device, function, reg);
    return issue(guest, IOREQ_TYPE_PCI_CONFIG, true, address, size, 0);
}

void vcpu_config_write(struct guest *guest, unsigned device, unsigned function, unsigned reg,
                       unsigned size, uint32_t value)
{
    uint64_t address = config_address(device, function, reg);
    issue(guest, IOREQ_TYPE_PCI_CONFIG, false, address, size, value);
}

/* --- what became of the guest --- */

const char *vcpu_crash_reason(struct guest *guest)
{
    struct sim_domain *domain = sim_domain(guest_domid(guest));
    bool crashed = domain && atomic_load(&domain->state) == SIM_DOMAIN_CRASHED;
    return crashed ? domain->crash_reason : NULL;
}

unsigned vcpu_intx_level(struct guest *guest, unsigned device, unsigned intx)
{
    struct sim_domain *domain = sim_domain(guest_domid(guest));
    g_assert(device < 32 && intx < 4);
    if (!domain)
        return 0;
    return __atomic_load_n(&domain->ioreq.intx[device], __ATOMIC_RELAXED) >> intx & 1;
}

unsigned vcpu_msi_count(struct guest *guest, uint64_t address, uint32_t data)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    struct sim_domain *domain = sim_domain(guest_domid(guest));
    unsigned count = 0;

    if (!domain)
        return 0;
    sim_lock(xen);
    for (unsigned i = 0; i < SIM_MSIS; i++) {
        if (domain->ioreq.msis[i].address == address && domain->ioreq.msis[i].data == data)
            count += domain->ioreq.msis[i].count;
    }
    sim_unlock(xen);
    return count;
}
