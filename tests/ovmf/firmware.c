/* Firmware with XENBUS: see firmware.h. */

#include "tests/ovmf/firmware.h"

#include <stdarg.h>
#include <string.h>

#include "ovmf-drivers/pvblk/xen.h"
#include "ovmf-drivers/uefi/block-io.h"
#include "ovmf-drivers/uefi/debug-port.h"
#include "ovmf-drivers/uefi/device-path.h"
#include "tests/ovmf/world-private.h"

struct firmware firmware;

void debug_port_say(struct debug_port *port, const char *format, ...)
{
    firmware.said++;
}

/* Firmware's frames have 32 bits, which is not enough for the test's. */
static uint8_t *page_at(uint32_t frame)
{
    uint8_t *memory = firmware.world->memory;
    return memory + (size_t)(uint32_t)(frame - (uintptr_t)memory / PV_PAGE) * PV_PAGE;
}

uint64_t xen_time(const struct xen *xen)
{
    return firmware.world->now;
}

void xen_yield(const struct xen *xen)
{
    struct world *world = firmware.world;
    world->platform.wait(world, 0, world->now + PV_MS);
}

bool xen_replace(const struct xen *xen, uint64_t gfn)
{
    firmware.world->platform.page_abandon(firmware.world, page_at(gfn), false);
    return true;
}

static efi_tpl EFIAPI raise_tpl(efi_tpl level)
{
    efi_tpl old = firmware.level;
    g_assert_cmpuint(level, >=, old);
    firmware.level = level;
    return old;
}

static void EFIAPI restore_tpl(efi_tpl level)
{
    firmware.level = level;
}

static efi_status EFIAPI allocate_pool(enum efi_memory_type type, size_t size, void **buffer)
{
    *buffer = g_malloc(size);
    return EFI_SUCCESS;
}

static efi_status EFIAPI free_pool(void *buffer)
{
    g_free(buffer);
    return EFI_SUCCESS;
}

static efi_status EFIAPI allocate_pages(enum efi_allocate_type how, enum efi_memory_type type,
                                        size_t pages, efi_physical_address *address)
{
    struct world *world = firmware.world;

    if (how == EFI_ALLOCATE_ADDRESS) {
        g_assert_cmpint(type, ==, EFI_RESERVED_MEMORY);
        g_assert_true((void *)*address == firmware.moved);
        firmware.moved = NULL;
        world->platform.page_abandon(world, (void *)*address, false);
        return EFI_SUCCESS;
    }
    *address =
        (efi_physical_address)world->platform.pages_new(world, pages, type == EFI_RESERVED_MEMORY);
    return *address ? EFI_SUCCESS : EFI_OUT_OF_RESOURCES;
}

static bool is_granted(struct world *world, void *page)
{
    for (unsigned i = 0; i < WORLD_GRANTS; i++) {
        if (world->table[i].flags != 0 && world->table[i].frame == world->platform.gfn(world, page))
            return true;
    }
    return false;
}

/* A page that somebody else has mapped must be of another kind at once. */
static efi_status EFIAPI free_pages(efi_physical_address address, size_t pages)
{
    struct world *world = firmware.world;

    g_assert_cmpuint(pages, >, 0);
    g_assert_null(firmware.moved);
    if (pages == 1 && is_granted(world, (void *)address)) {
        g_assert_cmpuint(firmware.level, ==, EFI_TPL_NOTIFY); /* nobody is to get it meanwhile */
        firmware.moved = (void *)address;
        return EFI_SUCCESS;
    }
    for (size_t i = 0; i < pages; i++)
        g_assert_false(is_granted(world, (void *)(address + i * PV_PAGE)));
    world->platform.pages_free(world, (void *)address, pages);
    return EFI_SUCCESS;
}

static efi_status EFIAPI install(efi_handle *handle, ...)
{
    __builtin_ms_va_list arguments;
    const struct efi_guid *guid;

    __builtin_ms_va_start(arguments, handle);
    while ((guid = __builtin_va_arg(arguments, const struct efi_guid *))) {
        void *interface = __builtin_va_arg(arguments, void *);
        g_assert_false(efi_guid_equal(guid, &efi_device_path_guid)); /* there is one */
        if (efi_guid_equal(guid, &efi_block_io_guid)) {
            g_assert_null(firmware.handle);
            firmware.handle = *handle;
        } else if (efi_guid_equal(guid, &efi_driver_binding_guid)) {
            g_assert_cmpuint(firmware.nr_bindings, <, 2);
            firmware.bindings[firmware.nr_bindings++] = interface;
        }
    }
    __builtin_ms_va_end(arguments);
    if (!*handle)
        *handle = handle;
    return EFI_SUCCESS;
}

static efi_status EFIAPI uninstall(efi_handle handle, ...)
{
    g_assert_true(handle == firmware.handle);
    if (firmware.in_use)
        return EFI_ACCESS_DENIED;
    firmware.handle = NULL;
    return EFI_SUCCESS;
}

static efi_status EFIAPI create_event_ex(uint32_t type, efi_tpl level, efi_event_notify notify,
                                         const void *context, const struct efi_guid *group,
                                         efi_event *event)
{
    g_assert_cmpuint(type, ==, EFI_EVENT_NOTIFY_SIGNAL);
    if (efi_guid_equal(group, &efi_event_group_exit_boot_services)) {
        g_assert_cmpuint(level, >, EFI_TPL_CALLBACK); /* XenBusDxe's */
        firmware.at_exit = notify;
    } else {
        g_assert_cmpuint(level, ==, EFI_TPL_CALLBACK); /* where others still use disks */
        firmware.before_exit = notify;
    }
    firmware.context = (void *)context;
    *event = &firmware;
    return EFI_SUCCESS;
}

/* --- Xen, for the platform device, which there is none of --- */

bool xen_find(struct xen *xen)
{
    xen->tsc_khz = 1;
    return true;
}

uint64_t xen_param(const struct xen *xen, uint32_t index)
{
    return 0;
}

bool xen_latch_width(const struct xen *xen)
{
    return false;
}

bool xen_map_shared_info(const struct xen *xen, uint64_t gfn)
{
    return false;
}

bool xen_map_grant_frame(const struct xen *xen, uint32_t index, uint64_t gfn)
{
    return false;
}

void xen_unmap(const struct xen *xen, uint64_t gfn)
{
}

uint32_t xen_grant_frames_max(const struct xen *xen)
{
    return 0;
}

bool xen_grant_version_1(const struct xen *xen)
{
    return false;
}

bool xen_port_new(const struct xen *xen, uint16_t remote, uint32_t *port)
{
    return false;
}

void xen_port_close(const struct xen *xen, uint32_t port)
{
}

void xen_port_notify(const struct xen *xen, uint32_t port)
{
}

void xen_poll(const struct xen *xen, uint32_t port, uint64_t until)
{
}

/* --- the protocol --- */

/* A request has begun: what it says if it does nothing. */
static enum efi_xenbus_status begin(void)
{
    g_assert_cmpuint(firmware.level, ==, EFI_TPL_NOTIFY);
    firmware.requests++;
    g_assert_true(!firmware.dies_after || firmware.requests <= firmware.dies_after + 1);
    if (firmware.dies_after && firmware.requests > firmware.dies_after)
        return EFI_XENBUS_IO_ERROR;
    return firmware.status;
}

static enum efi_xenbus_status read_node(const char *dir, const char *node, void **value)
{
    enum efi_xenbus_status status = begin();
    const char *text = world_node(firmware.world, dir, node);

    if (status != EFI_XENBUS_SUCCESS)
        return status;
    if (!text)
        return EFI_XENBUS_NO_ENTRY;
    *value = firmware.no_text ? NULL : g_strdup(firmware.text ? firmware.text : text);
    return EFI_XENBUS_SUCCESS;
}

static enum efi_xenbus_status EFIAPI read_own(struct efi_xenbus *self,
                                              const struct efi_xenbus_transaction *transaction,
                                              const char *node, void **value)
{
    g_assert_null(transaction);
    return read_node(WORLD_FRONTEND, node, value);
}

static enum efi_xenbus_status EFIAPI read_backend(struct efi_xenbus *self,
                                                  const struct efi_xenbus_transaction *transaction,
                                                  const char *node, void **value)
{
    g_assert_null(transaction);
    return read_node(WORLD_BACKEND_PATH, node, value);
}

static enum efi_xenbus_status EFIAPI print(struct efi_xenbus *self,
                                           const struct efi_xenbus_transaction *transaction,
                                           const char *directory, const char *node,
                                           const char *format, ...)
{
    enum efi_xenbus_status status = begin();
    __builtin_ms_va_list arguments;
    char *path = g_strconcat(directory, "/", node, NULL);

    g_assert_null(transaction);
    g_assert_cmpstr(directory, ==, WORLD_FRONTEND);
    g_assert_cmpstr(format, ==, "%a");
    __builtin_ms_va_start(arguments, format);
    char *value = g_strdup(__builtin_va_arg(arguments, const char *));
    __builtin_ms_va_end(arguments);
    if (status == EFI_XENBUS_SUCCESS) {
        g_hash_table_insert(firmware.world->nodes, g_strdup(path), value);
        world_frontend_wrote(firmware.world, path);
    } else {
        g_free(value);
    }
    g_free(path);
    return status;
}

static enum efi_xenbus_status EFIAPI remove_own(struct efi_xenbus *self,
                                                const struct efi_xenbus_transaction *transaction,
                                                const char *node)
{
    enum efi_xenbus_status status = begin();
    g_autofree char *path = g_strconcat(WORLD_FRONTEND "/", node, NULL);

    g_assert_null(transaction);
    if (status != EFI_XENBUS_SUCCESS)
        return status;
    return g_hash_table_remove(firmware.world->nodes, path) ? EFI_XENBUS_SUCCESS
                                                            : EFI_XENBUS_NO_ENTRY;
}

static efi_status EFIAPI grant_access(struct efi_xenbus *self, uint16_t domain, size_t frame,
                                      efi_bool read_only, uint32_t *ref)
{
    struct world *world = firmware.world;
    uint32_t gfn = world->platform.gfn(world, page_at(frame));

    g_assert_cmpuint(firmware.level, ==, EFI_TPL_NOTIFY);
    g_assert_false(read_only);
    if (firmware.one_ref || firmware.toolstack_refs) {
        *ref = firmware.one_ref ? 100 : 1;
        world->table[*ref] = (struct grant_entry_v1){ GTF_permit_access, domain, gfn };
        return EFI_SUCCESS;
    }
    g_assert_true(pv_grants_make(&world->grants, domain, gfn, ref));
    if (firmware.grabs > 0 && --firmware.grabs < 3)
        world->table[*ref].flags |= GTF_reading | GTF_writing;
    return EFI_SUCCESS;
}

static efi_status EFIAPI grant_end_access(struct efi_xenbus *self, uint32_t ref)
{
    if (firmware.one_ref && ref == 100) {
        firmware.world->table[ref].flags = 0;
        return EFI_SUCCESS;
    }
    return pv_grants_end(&firmware.world->grants, ref) ? EFI_SUCCESS : EFI_NOT_READY;
}

static uint32_t EFIAPI port_allocate(struct efi_xenbus *self, uint16_t domain, uint32_t *port)
{
    struct world *world = firmware.world;
    *port = 77;
    return firmware.no_port || !world->platform.port_new(world, domain, port);
}

static uint32_t EFIAPI port_notify(struct efi_xenbus *self, uint32_t port)
{
    g_assert_cmpuint(port, !=, 0);
    return 0;
}

static uint32_t EFIAPI port_close(struct efi_xenbus *self, uint32_t port)
{
    firmware.world->platform.port_close(firmware.world, port);
    return 0;
}

static efi_status EFIAPI open_protocol(efi_handle handle, const struct efi_guid *protocol,
                                       void **interface, efi_handle agent, efi_handle controller,
                                       uint32_t attributes)
{
    g_assert_true(efi_guid_equal(protocol, &efi_xenbus_guid));
    g_assert_true(agent == firmware.bindings[0]->binding && controller == handle);
    g_assert_true(handle == &firmware.bus);
    g_assert_cmpuint(attributes, ==, EFI_OPEN_BY_DRIVER);
    if (firmware.opened)
        return EFI_ALREADY_STARTED;
    firmware.opened++;
    *interface = &firmware.bus;
    return EFI_SUCCESS;
}

static efi_status EFIAPI close_protocol(efi_handle handle, const struct efi_guid *protocol,
                                        efi_handle agent, efi_handle controller)
{
    g_assert_cmpuint(firmware.opened, ==, 1);
    firmware.opened--;
    return EFI_SUCCESS;
}

/* --- all of it --- */

void firmware_start(void)
{
    memset(&firmware, 0, sizeof(firmware));
    firmware.world = world_new();
    firmware.level = EFI_TPL_APPLICATION;
    firmware.boot = (struct efi_boot_services){
        .raise_tpl = raise_tpl,
        .restore_tpl = restore_tpl,
        .allocate_pages = allocate_pages,
        .free_pages = free_pages,
        .allocate_pool = allocate_pool,
        .free_pool = free_pool,
        .install_multiple_protocol_interfaces = install,
        .uninstall_multiple_protocol_interfaces = uninstall,
        .create_event_ex = create_event_ex,
        .open_protocol = open_protocol,
        .close_protocol = close_protocol,
    };
    firmware.bus = (struct efi_xenbus){
        .read = read_own,
        .backend_read = read_backend,
        .print = print,
        .remove = remove_own,
        .grant_access = grant_access,
        .grant_end_access = grant_end_access,
        .port_allocate = port_allocate,
        .port_notify = port_notify,
        .port_close = port_close,
        .type = "vbd",
        .node = WORLD_FRONTEND,
        .backend = WORLD_BACKEND_PATH,
    };
    firmware.system.boot = &firmware.boot;
    g_assert_cmpuint(efi_main(&firmware, &firmware.system), ==, EFI_SUCCESS);
    firmware.said = 0;
}
