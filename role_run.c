/* The directory of a guest's processes: see role_run.h. */

#include "role_run.h"

#include <unistd.h>
#include <glib/gstdio.h>

#include "xen/error.h"

#define RUN_DIR "/run/rolemodel"

char *role_run_path(unsigned domid, const char *name)
{
    const char *set = g_getenv("ROLEMODEL_RUN_DIR");
    g_autofree char *number = g_strdup_printf("%u", domid);
    return g_build_filename(set ? set : RUN_DIR, number, name, NULL);
}

bool role_run_make(unsigned domid, GError **error)
{
    g_autofree char *path = role_run_path(domid, NULL);
    if (g_mkdir_with_parents(path, 0700) == 0)
        return true;
    xen_set_error(error, "cannot make the directory %s", path);
    return false;
}

void role_run_remove(unsigned domid, const char *name)
{
    g_autofree char *path = role_run_path(domid, name);
    g_autofree char *directory = role_run_path(domid, NULL);
    unlink(path);
    rmdir(directory); /* which fails while there is something in it */
}
