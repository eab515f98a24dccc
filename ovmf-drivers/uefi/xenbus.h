/*
 * A PV device as edk2's XenBusDxe offers it, on a handle with a device path.  Not of the UEFI
 * specification, and edk2 does not promise that it stays as it is.  Source: edk2-stable202211,
 * OvmfPkg/Include/Protocol/XenBus.h (the GUID, the order of members, their meaning) and
 * OvmfPkg/XenBusDxe.
 *
 * Requests to xenstore have no deadline.  They allocate memory, so they are for
 * EFI_TPL_NOTIFY at most, and there is one at a time.  Members that nobody here calls are `void *`.
 */
#pragma once

#include "ovmf-drivers/uefi/types.h"

static const struct efi_guid efi_xenbus_guid = {
    0x3d3ca290, 0xb9a5, 0x11e3, { 0xb7, 0x5d, 0xb8, 0xac, 0x6f, 0x7d, 0x65, 0xe6 }
};

/* XENSTORE_STATUS; what is not here is an error as well. */
enum efi_xenbus_status {
    EFI_XENBUS_SUCCESS = 0,
    EFI_XENBUS_NO_ENTRY = 6,
    EFI_XENBUS_IO_ERROR = 9,
};

/* XENSTORE_TRANSACTION; NULL: none. */
struct efi_xenbus_transaction;

struct efi_xenbus {
    /* *VALUE is text of the boot services' pool, the caller's to free. */
    enum efi_xenbus_status(EFIAPI *read)(struct efi_xenbus *self,
                                         const struct efi_xenbus_transaction *transaction,
                                         const char *node, void **value);
    enum efi_xenbus_status(EFIAPI *backend_read)(struct efi_xenbus *self,
                                                 const struct efi_xenbus_transaction *transaction,
                                                 const char *node, void **value);
    /* FORMAT is PrintLib's: "%a" is text of bytes. */
    enum efi_xenbus_status(EFIAPI *print)(struct efi_xenbus *self,
                                          const struct efi_xenbus_transaction *transaction,
                                          const char *directory, const char *node,
                                          const char *format, ...);
    enum efi_xenbus_status(EFIAPI *remove)(struct efi_xenbus *self,
                                           const struct efi_xenbus_transaction *transaction,
                                           const char *node);
    void *transaction_start, *transaction_end;
    void *set_state;
    /* There must be a reference left: nobody looks. */
    efi_status(EFIAPI *grant_access)(struct efi_xenbus *self, uint16_t domain, size_t frame,
                                     efi_bool read_only, uint32_t *ref);
    /* An error if the page is in use. */
    efi_status(EFIAPI *grant_end_access)(struct efi_xenbus *self, uint32_t ref);
    /* 0, or what Xen says. */
    uint32_t(EFIAPI *port_allocate)(struct efi_xenbus *self, uint16_t domain, uint32_t *port);
    uint32_t(EFIAPI *port_notify)(struct efi_xenbus *self, uint32_t port);
    uint32_t(EFIAPI *port_close)(struct efi_xenbus *self, uint32_t port);
    void *register_watch, *register_watch_backend, *unregister_watch, *wait_for_watch;

    const char *type;    /* "vbd" */
    uint16_t device_id;  /* the lower bits of it */
    const char *node;    /* "device/vbd/51712" */
    const char *backend; /* absolute */
};

_Static_assert(sizeof(struct efi_xenbus) == 20 * sizeof(void *), "edk2, XenBus.h");
