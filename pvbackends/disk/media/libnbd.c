/* Loading libnbd: see libnbd.h. */

#include "pvbackends/disk/media/libnbd.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LIBRARY "libnbd.so.0"

struct libnbd *libnbd_load(GError **error)
{
    static const struct {
        const char *name;
        size_t place;
    } calls[] = {
        { "nbd_create", offsetof(struct libnbd, create) },
        { "nbd_close", offsetof(struct libnbd, close) },
        { "nbd_get_error", offsetof(struct libnbd, get_error) },
        { "nbd_get_errno", offsetof(struct libnbd, get_errno) },
        { "nbd_set_export_name", offsetof(struct libnbd, set_export_name) },
        { "nbd_set_pread_initialize", offsetof(struct libnbd, set_pread_initialize) },
        { "nbd_set_request_structured_replies",
          offsetof(struct libnbd, set_request_structured_replies) },
        { "nbd_get_size", offsetof(struct libnbd, get_size) },
        { "nbd_get_block_size", offsetof(struct libnbd, get_block_size) },
        { "nbd_can_multi_conn", offsetof(struct libnbd, can_multi_conn) },
        { "nbd_can_trim", offsetof(struct libnbd, can_trim) },
        { "nbd_poll", offsetof(struct libnbd, poll) },
        { "nbd_aio_connect_unix", offsetof(struct libnbd, aio_connect_unix) },
        { "nbd_aio_connect_socket", offsetof(struct libnbd, aio_connect_socket) },
        { "nbd_aio_disconnect", offsetof(struct libnbd, aio_disconnect) },
        { "nbd_aio_get_fd", offsetof(struct libnbd, aio_get_fd) },
        { "nbd_aio_get_direction", offsetof(struct libnbd, aio_get_direction) },
        { "nbd_aio_notify_read", offsetof(struct libnbd, aio_notify_read) },
        { "nbd_aio_notify_write", offsetof(struct libnbd, aio_notify_write) },
        { "nbd_aio_is_ready", offsetof(struct libnbd, aio_is_ready) },
        { "nbd_aio_is_processing", offsetof(struct libnbd, aio_is_processing) },
        { "nbd_aio_is_dead", offsetof(struct libnbd, aio_is_dead) },
        { "nbd_aio_is_closed", offsetof(struct libnbd, aio_is_closed) },
        { "nbd_aio_pread", offsetof(struct libnbd, aio_pread) },
        { "nbd_aio_pwrite", offsetof(struct libnbd, aio_pwrite) },
        { "nbd_aio_flush", offsetof(struct libnbd, aio_flush) },
        { "nbd_aio_trim", offsetof(struct libnbd, aio_trim) },
        { "nbd_aio_zero", offsetof(struct libnbd, aio_zero) },
    };
    _Static_assert(G_N_ELEMENTS(calls) * sizeof(void *) == sizeof(struct libnbd), "all of them");
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    struct libnbd *lib = g_new0(struct libnbd, 1);
    bool good = library != NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(calls) && good; i++) {
        void *call = dlsym(library, calls[i].name);
        memcpy((char *)lib + calls[i].place, &call, sizeof(call));
        good = call != NULL;
    }
    if (good)
        return lib;
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                "formats other than raw need " LIBRARY " (Debian has it in libnbd0): %s",
                dlerror());
    g_free(lib);
    return NULL;
}
