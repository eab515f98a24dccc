/* The shared state, domains and faults: see hypervisor.h. */

#include "tests/sim/hypervisor/hypervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_FILE "hypervisor"
#define DOM0_PAGES (UINT64_C(1) << 16) /* what gntalloc and xenstored's ring need of it */

/* A domain's memory in this process. */
struct memory_view {
    uint8_t *address;
    uint64_t pages;
    uint32_t generation;
    _Atomic int fd; /* -1: to be opened again */
};

/* This process's view: made once, kept to its end. */
static struct {
    pthread_mutex_t lock; /* of making and changing it; taken before nothing else */
    struct sim_hypervisor *_Atomic state;
    char directory[256];
    _Atomic int directory_fd, fd; /* -1: to be opened again */
    struct memory_view *_Atomic memory[SIM_DOMAINS];
    struct memory_view *retired[SIM_DOMAINS]; /* the last one of an older domain */
} view = { .lock = PTHREAD_MUTEX_INITIALIZER, .directory_fd = -1, .fd = -1 };

static void before_fork(void)
{
    pthread_mutex_lock(&view.lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&view.lock);
}

/* A child may close what it inherits, and use the numbers for something else. */
static void forked_child(void)
{
    view.directory_fd = view.fd = -1;
    for (unsigned domid = 0; domid < SIM_DOMAINS; domid++) {
        struct memory_view *memory = atomic_load(&view.memory[domid]);
        if (memory)
            memory->fd = -1;
    }
    sim_user_forked();
    pthread_mutex_unlock(&view.lock);
}

/* Opens the view's descriptor *FD if it is not open.  View's lock not needed: the loser closes. */
static int open_once(_Atomic int *fd, int base, const char *path, int flags)
{
    int known = atomic_load_explicit(fd, memory_order_acquire), none = -1;
    if (known >= 0)
        return known;
    int opened = openat(base, path, flags | O_CLOEXEC, 0666);
    if (opened < 0)
        return -errno;
    if (atomic_compare_exchange_strong(fd, &none, opened))
        return opened;
    close(opened);
    return none;
}

int sim_directory_fd(void)
{
    return open_once(&view.directory_fd, AT_FDCWD, view.directory, O_PATH | O_DIRECTORY);
}

int sim_open(const char *name, int flags)
{
    int fd = openat(sim_directory_fd(), name, flags, 0666);
    if (fd < 0)
        return -errno;
    if (flags & O_CREAT)
        fchmod(fd, 0666); /* whatever the umask is: processes give up being root */
    return fd;
}

int sim_hypervisor_fd(void)
{
    return sim_hypervisor() ? open_once(&view.fd, sim_directory_fd(), STATE_FILE, O_RDWR) : -1;
}

const char *sim_directory(void)
{
    return view.directory;
}

/* FD becomes the view's; closed if it cannot be mapped. */
static int map_state(int fd)
{
    void *state =
        mmap(NULL, sizeof(struct sim_hypervisor), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (state == MAP_FAILED) {
        int error = errno;
        close(fd);
        return -error;
    }
    if (!atomic_load(&view.state))
        pthread_atfork(before_fork, after_fork, forked_child);
    view.fd = fd;
    atomic_store(&view.state, state);
    return 0;
}

struct sim_hypervisor *sim_hypervisor(void)
{
    struct sim_hypervisor *state = atomic_load_explicit(&view.state, memory_order_acquire);
    if (state)
        return state;
    pthread_mutex_lock(&view.lock);
    const char *directory = getenv("XENSIM");
    if (!atomic_load(&view.state) && directory) {
        snprintf(view.directory, sizeof(view.directory), "%s", directory);
        int fd = sim_open(STATE_FILE, O_RDWR | O_CLOEXEC);
        if (fd >= 0)
            map_state(fd);
    }
    state = atomic_load(&view.state);
    pthread_mutex_unlock(&view.lock);
    if (!state)
        errno = ENOENT;
    return state;
}

/* A process that died inside left the state as consistent as its last store: good enough. */
void sim_lock(struct sim_hypervisor *xen)
{
    if (pthread_mutex_lock(&xen->lock) == EOWNERDEAD)
        pthread_mutex_consistent(&xen->lock);
}

void sim_unlock(struct sim_hypervisor *xen)
{
    pthread_mutex_unlock(&xen->lock);
}

static void init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

static void memory_name(char *name, size_t size, unsigned domid, uint32_t generation)
{
    snprintf(name, size, "memory-%u.%u", domid, generation);
}

static int create_memory(unsigned domid, uint32_t generation, uint64_t pages)
{
    char name[32];
    memory_name(name, sizeof(name), domid, generation);
    int fd = sim_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC);
    if (fd < 0)
        return fd;
    int result = ftruncate(fd, pages * SIM_PAGE) < 0 ? -errno : 0;
    close(fd);
    return result;
}

/* Most of a domain is tables that are hardly used: holes in the state's file, which are zero. */
static void clear_domain(struct sim_domain *domain, uint32_t generation)
{
    bool used = generation > 1;
    if (used && madvise(domain, sizeof(*domain), MADV_REMOVE) < 0)
        memset(domain, 0, sizeof(*domain));
}

static int init_domain(struct sim_hypervisor *xen, unsigned domid, unsigned vcpus, uint64_t pages,
                       bool hvm)
{
    struct sim_domain *domain = &xen->domains[domid];
    uint32_t generation = domain->generation + 1;
    int result = create_memory(domid, generation, pages);
    if (result < 0)
        return result;
    clear_domain(domain, generation);
    domain->generation = generation;
    domain->vcpus = vcpus;
    domain->pages = pages;
    domain->hvm = hvm;
    atomic_store(&domain->state, SIM_DOMAIN_ALIVE);
    return domid;
}

static void free_memory_view(struct memory_view *memory)
{
    if (!memory)
        return;
    munmap(memory->address, memory->pages * SIM_PAGE);
    if (memory->fd >= 0)
        close(memory->fd);
    free(memory);
}

/* A process may make one host after the other: nothing of an earlier one may be found. */
static void forget_all(void)
{
    for (unsigned domid = 0; domid < SIM_DOMAINS; domid++) {
        free_memory_view(atomic_exchange(&view.memory[domid], NULL));
        free_memory_view(view.retired[domid]);
        view.retired[domid] = NULL;
    }
    if (view.fd >= 0)
        close(view.fd);
    if (view.directory_fd >= 0)
        close(view.directory_fd);
    view.fd = view.directory_fd = -1;
    sim_user_forked();
}

int sim_hypervisor_create(const char *directory)
{
    forget_all();
    snprintf(view.directory, sizeof(view.directory), "%s", directory);
    int fd = sim_open(STATE_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC);
    if (fd < 0)
        return fd;
    if (ftruncate(fd, sizeof(struct sim_hypervisor)) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    int result = map_state(fd);
    if (result < 0)
        return result;
    init_lock(&view.state->lock);
    setenv("XENSIM", directory, 1);
    return init_domain(view.state, 0, 1, DOM0_PAGES, false);
}

int sim_domain_create(unsigned vcpus, uint64_t pages, bool hvm)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    int result = -ENOSPC;

    if (!xen)
        return -ENOENT;
    if (vcpus < 1 || vcpus > SIM_VCPUS || pages < 1)
        return -EINVAL;
    sim_lock(xen);
    unsigned best = 0;
    for (unsigned domid = 1; domid < SIM_DOMAINS; domid++) {
        struct sim_domain *domain = &xen->domains[domid];
        bool younger = best == 0 || domain->generation < xen->domains[best].generation;
        if (atomic_load(&domain->state) == SIM_DOMAIN_NONE && younger)
            best = domid;
    }
    if (best)
        result = init_domain(xen, best, vcpus, pages, hvm);
    sim_unlock(xen);
    return result;
}

int sim_domain_destroy(unsigned domid)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    char name[32];

    if (!xen)
        return -ENOENT;
    if (domid == 0 || domid >= SIM_DOMAINS)
        return -EINVAL;
    sim_lock(xen);
    struct sim_domain *domain = &xen->domains[domid];
    int result = atomic_load(&domain->state) == SIM_DOMAIN_NONE ? -ESRCH : 0;
    if (result == 0) {
        atomic_store(&domain->state, SIM_DOMAIN_NONE);
        sim_ioreq_domain_gone(xen, domid);
        sim_evtchn_domain_gone(xen, domid);
        memory_name(name, sizeof(name), domid, domain->generation);
        unlinkat(sim_directory_fd(), name, 0); /* who has it mapped keeps the pages */
    }
    sim_unlock(xen);
    if (result == 0)
        sim_evtchn_raise_virq_dom_exc(xen);
    return result;
}

void sim_domain_crash(unsigned domid, const char *reason)
{
    struct sim_domain *domain = sim_domain(domid);
    uint32_t alive = SIM_DOMAIN_ALIVE;
    if (!domain || !atomic_compare_exchange_strong(&domain->state, &alive, SIM_DOMAIN_CRASHED))
        return;
    snprintf(domain->crash_reason, sizeof(domain->crash_reason), "%s", reason);
    sim_evtchn_raise_virq_dom_exc(sim_hypervisor());
}

struct sim_domain *sim_domain(unsigned domid)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen || domid >= SIM_DOMAINS)
        return NULL;
    struct sim_domain *domain = &xen->domains[domid];
    return atomic_load(&domain->state) == SIM_DOMAIN_NONE ? NULL : domain;
}

static struct memory_view *map_memory(unsigned domid, const struct sim_domain *domain)
{
    char name[32];
    memory_name(name, sizeof(name), domid, domain->generation);
    int fd = sim_open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct memory_view *memory = calloc(1, sizeof(*memory));
    void *address = mmap(NULL, domain->pages * SIM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!memory || address == MAP_FAILED) {
        close(fd);
        free(memory);
        return NULL;
    }
    *memory = (struct memory_view){
        .address = address, .pages = domain->pages, .generation = domain->generation, .fd = fd
    };
    return memory;
}

/* The view of an older domain is kept until the next one: other threads may be copying with it. */
static struct memory_view *renew_memory(unsigned domid, const struct sim_domain *domain)
{
    pthread_mutex_lock(&view.lock);
    struct memory_view *memory = atomic_load(&view.memory[domid]);
    if (!memory || memory->generation != domain->generation) {
        struct memory_view *fresh = map_memory(domid, domain);
        if (fresh) {
            free_memory_view(view.retired[domid]);
            view.retired[domid] = memory;
            atomic_store(&view.memory[domid], fresh);
        }
        memory = fresh;
    }
    pthread_mutex_unlock(&view.lock);
    return memory;
}

static struct memory_view *memory_of(unsigned domid)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain)
        return NULL;
    struct memory_view *memory = atomic_load_explicit(&view.memory[domid], memory_order_acquire);
    return memory && memory->generation == domain->generation ? memory
                                                              : renew_memory(domid, domain);
}

uint8_t *sim_domain_memory(unsigned domid)
{
    struct memory_view *memory = memory_of(domid);
    return memory ? memory->address : NULL;
}

int sim_domain_memory_fd(unsigned domid)
{
    struct memory_view *memory = memory_of(domid);
    char name[32];

    if (!memory)
        return -1;
    memory_name(name, sizeof(name), domid, memory->generation);
    return open_once(&memory->fd, sim_directory_fd(), name, O_RDWR);
}

bool sim_struck(const char *call, struct sim_struck *fault)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    uint32_t delay_us = 0;
    bool struck = false;

    if (!xen || atomic_load_explicit(&xen->faults_set, memory_order_relaxed) == 0)
        return false;
    sim_lock(xen);
    for (unsigned i = 0; i < SIM_FAULTS && !struck; i++) {
        struct sim_fault_entry *entry = &xen->faults[i];
        if (strcmp(entry->call, call) != 0 || entry->struck == entry->times)
            continue;
        if (entry->skip > 0) {
            entry->skip--;
            continue;
        }
        entry->struck++;
        struck = true;
        delay_us = entry->delay_us;
        *fault = (struct sim_struck){ .error = entry->error, .short_by = entry->short_by };
    }
    sim_unlock(xen);
    if (delay_us)
        usleep(delay_us);
    return struck;
}
