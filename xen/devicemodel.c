/* Device-model operations: see devicemodel.h. */

#define G_LOG_DOMAIN "devicemodel"
#define __XEN_TOOLS__ 1 /* HVM_IOREQSRV_* */
#include "xen/devicemodel.h"

#include <inttypes.h>

#include <inttypes.h>
#include <xen/hvm/ioreq.h>

#include "xen/error.h"

struct xen_devicemodel {
    xendevicemodel_handle *handle;
    unsigned domid;
};

struct xen_devicemodel *xen_devicemodel_open(unsigned domid, GError **error)
{
    xendevicemodel_handle *handle = xendevicemodel_open(NULL, 0);
    if (!handle) {
        xen_set_error(error, "cannot open device-model operations (/dev/xen/privcmd)");
        return NULL;
    }
    struct xen_devicemodel *dm = g_new0(struct xen_devicemodel, 1);
    dm->handle = handle;
    dm->domid = domid;
    return dm;
}

void xen_devicemodel_close(struct xen_devicemodel *dm)
{
    if (!dm)
        return;
    xendevicemodel_close(dm->handle);
    g_free(dm);
}

bool xen_devicemodel_create_server(struct xen_devicemodel *dm, bool buffered, ioservid_t *id,
                                   GError **error)
{
    int buffering = buffered ? HVM_IOREQSRV_BUFIOREQ_ATOMIC : HVM_IOREQSRV_BUFIOREQ_OFF;
    if (xendevicemodel_create_ioreq_server(dm->handle, dm->domid, buffering, id) == 0)
        return true;
    if (errno == ENOSYS || errno == EOPNOTSUPP)
        xen_set_error(error, "this Xen has no ioreq servers (Xen on ARM is built without them)");
    else
        xen_set_error(error, "cannot create an ioreq server for domain %u", dm->domid);
    return false;
}

bool xen_devicemodel_buffered_port(struct xen_devicemodel *dm, ioservid_t id, evtchn_port_t *port,
                                   GError **error)
{
    if (xendevicemodel_get_ioreq_server_info(dm->handle, dm->domid, id, NULL, NULL, port) == 0)
        return true;
    xen_set_error(error, "cannot read the port of ioreq server %u of domain %u", id, dm->domid);
    return false;
}

void xen_devicemodel_destroy_server(struct xen_devicemodel *dm, ioservid_t id)
{
    xendevicemodel_destroy_ioreq_server(dm->handle, dm->domid, id);
}

bool xen_devicemodel_enable_server(struct xen_devicemodel *dm, ioservid_t id, GError **error)
{
    if (xendevicemodel_set_ioreq_server_state(dm->handle, dm->domid, id, 1) == 0)
        return true;
    xen_set_error(error, "cannot enable ioreq server %u of domain %u", id, dm->domid);
    return false;
}

void xen_devicemodel_disable_server(struct xen_devicemodel *dm, ioservid_t id)
{
    xendevicemodel_set_ioreq_server_state(dm->handle, dm->domid, id, 0);
}

bool xen_devicemodel_map_range(struct xen_devicemodel *dm, ioservid_t id, enum xen_range kind,
                               uint64_t first, uint64_t last, GError **error)
{
    if (xendevicemodel_map_io_range_to_ioreq_server(dm->handle, dm->domid, id,
                                                    kind == XEN_RANGE_MMIO, first, last) == 0)
        return true;
    xen_set_error(error, "cannot map 0x%" PRIx64 "-0x%" PRIx64 " to ioreq server %u of domain %u",
                  first, last, id, dm->domid);
    return false;
}

bool xen_devicemodel_unmap_range(struct xen_devicemodel *dm, ioservid_t id, enum xen_range kind,
                                 uint64_t first, uint64_t last, GError **error)
{
    if (xendevicemodel_unmap_io_range_from_ioreq_server(dm->handle, dm->domid, id,
                                                        kind == XEN_RANGE_MMIO, first, last) == 0)
        return true;
    xen_set_error(error,
                  "cannot unmap 0x%" PRIx64 "-0x%" PRIx64 " from ioreq server %u of domain %u",
                  first, last, id, dm->domid);
    return false;
}

bool xen_devicemodel_map_pci(struct xen_devicemodel *dm, ioservid_t id, uint8_t device,
                             uint8_t function, GError **error)
{
    if (xendevicemodel_map_pcidev_to_ioreq_server(dm->handle, dm->domid, id, 0, 0, device,
                                                  function) == 0)
        return true;
    xen_set_error(error, "cannot map PCI function 00:%02x.%u to ioreq server %u of domain %u",
                  device, function, id, dm->domid);
    return false;
}

bool xen_devicemodel_set_intx(struct xen_devicemodel *dm, uint8_t device, uint8_t pin, bool level,
                              GError **error)
{
    if (xendevicemodel_set_pci_intx_level(dm->handle, dm->domid, 0, 0, device, pin, level) == 0)
        return true;
    xen_set_error(error, "cannot set INT%c# of PCI device 00:%02x of domain %u to %d", 'A' + pin,
                  device, dm->domid, level);
    return false;
}

bool xen_devicemodel_inject_msi(struct xen_devicemodel *dm, uint64_t address, uint32_t data,
                                GError **error)
{
    if (xendevicemodel_inject_msi(dm->handle, dm->domid, address, data) == 0)
        return true;
    xen_set_error(error, "cannot send the message 0x%" PRIx32 " to 0x%" PRIx64 " of domain %u",
                  data, address, dm->domid);
    return false;
}

bool xen_devicemodel_vcpus(struct xen_devicemodel *dm, unsigned *count, GError **error)
{
    if (xendevicemodel_nr_vcpus(dm->handle, dm->domid, count) == 0)
        return true;
    xen_set_error(error, "cannot read the number of vCPUs of domain %u", dm->domid);
    return false;
}
