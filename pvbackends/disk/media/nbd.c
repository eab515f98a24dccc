/* NBD connections: see nbd.h. */

#include "pvbackends/disk/media/nbd.h"

#include "pvbackends/disk/request.h" /* DISK_SECTOR */

/* Sectors erased by one command: 1 GiB. */
#define ERASE_PIECE (UINT64_C(1) << 21)

struct nbd_handle *disk_nbd_create(const struct libnbd *lib, GError **error)
{
    struct nbd_handle *nbd = lib->create();
    /*
     * A read that fails is not delivered, so its buffer need not be cleared before.  With
     * structured replies QEMU's server asks for the holes first, and hangs up when a read fails.
     */
    if (nbd && lib->set_request_structured_replies(nbd, false) == 0 &&
        lib->set_export_name(nbd, DISK_NBD_EXPORT) == 0 &&
        lib->set_pread_initialize(nbd, false) == 0)
        return nbd;
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot set up NBD: %s",
                lib->get_error());
    lib->close(nbd);
    return NULL;
}

uint64_t disk_nbd_send_write(const struct libnbd *lib, struct nbd_handle *nbd,
                             const struct disk_write *write, uint64_t done,
                             nbd_completion_callback completion)
{
    uint64_t offset = (write->sector + done) * DISK_SECTOR;
    uint64_t sectors = write->sectors - done;
    int64_t cookie;

    if (write->kind == DISK_IO_WRITE) {
        cookie = lib->aio_pwrite(nbd, write->data, sectors * DISK_SECTOR, offset, completion, 0);
    } else {
        sectors = MIN(sectors, ERASE_PIECE);
        cookie = write->kind == DISK_IO_ZERO
                     ? lib->aio_zero(nbd, sectors * DISK_SECTOR, offset, completion, 0)
                     : lib->aio_trim(nbd, sectors * DISK_SECTOR, offset, completion, 0);
    }
    return cookie < 0 ? 0 : sectors;
}
