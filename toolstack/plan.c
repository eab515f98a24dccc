/* Which roles a guest gets: see plan.h. */

#define G_LOG_DOMAIN "plan"
#include "toolstack/plan.h"

#include <string.h>

static void plan_entry_free(gpointer opaque)
{
    struct plan_entry *entry = opaque;
    g_strfreev(entry->options);
    g_free(entry);
}

static const struct role *find_role(const struct role *const *roles, const char *name)
{
    for (; *roles; roles++) {
        if (strcmp((*roles)->name, name) == 0)
            return *roles;
    }
    return NULL;
}

static bool check_names(const struct role *const *roles, const struct dm_cmdline *cmdline,
                        GError **error)
{
    for (guint i = 0; i < cmdline->roles->len; i++) {
        const struct dm_role_request *request = g_ptr_array_index(cmdline->roles, i);
        if (find_role(roles, request->name))
            continue;
        g_autoptr(GString) known = g_string_new(roles[0]->name);
        for (const struct role *const *role = roles + 1; *role; role++)
            g_string_append_printf(known, ", %s", (*role)->name);
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "-role %s: there is no such role (the roles are: %s)", request->name,
                    known->str);
        return false;
    }
    return true;
}

/* The one request for ROLE, NULL if there is none; false if there are several. */
static bool find_request(const struct dm_cmdline *cmdline, const struct role *role,
                         const struct dm_role_request **found, GError **error)
{
    *found = NULL;
    for (guint i = 0; i < cmdline->roles->len; i++) {
        const struct dm_role_request *request = g_ptr_array_index(cmdline->roles, i);
        if (strcmp(request->name, role->name) != 0)
            continue;
        if (*found) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "-role %s is there twice; put its options into one", role->name);
            return false;
        }
        *found = request;
    }
    return true;
}

static bool has_setting(const struct dm_role_request *request, const char *option)
{
    for (guint i = 0; request && i < request->settings->len; i++) {
        const struct dm_keyval *setting = g_ptr_array_index(request->settings, i);
        size_t length = strlen(setting->key);
        if (strncmp(option, setting->key, length) == 0 && option[length] == '=')
            return true;
    }
    return false;
}

bool plan_has_nodes(const struct role *role, unsigned domid, struct xen_store *store)
{
    if (!role->backend)
        return false;
    g_autofree char *path = g_strdup_printf("backend/%s/%u", role->backend, domid);
    g_auto(GStrv) nodes = xen_store_list(store, path);
    return nodes[0] != NULL;
}

/* Refuses what would be of no use, or a race with QEMU. */
static bool check_request(const struct dm_cmdline *cmdline, const struct role *role,
                          const struct dm_role_request *request, struct xen_store *store,
                          GError **error)
{
    if (request->off && cmdline->pv && plan_has_nodes(role, cmdline->domid, store)) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "-role %s=off: nobody else serves this guest's %s devices, it has no QEMU; to "
                    "give it one, take device_model_override out of its configuration",
                    role->name, role->backend);
        return false;
    }
    if (!cmdline->pv && role->fixed_beside_qemu && has_setting(request, role->fixed_beside_qemu)) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "-role %s: for a guest with type=\"hvm\" it is always %s, because QEMU takes "
                    "the same devices; leave that option out",
                    role->name, role->fixed_beside_qemu);
        return false;
    }
    return true;
}

/* The administrator's options, and before them the role's own that they do not replace. */
static char **make_options(const struct dm_cmdline *cmdline, const struct role *role,
                           const struct dm_role_request *request)
{
    g_autoptr(GStrvBuilder) options = g_strv_builder_new();
    g_auto(GStrv) shared =
        g_strsplit(role->beside_qemu && !cmdline->pv ? role->beside_qemu : "", ",", -1);

    for (char **option = shared; *option; option++) {
        if (!has_setting(request, *option))
            g_strv_builder_add(options, *option);
    }
    if (role->fixed_beside_qemu && !cmdline->pv)
        g_strv_builder_add(options, role->fixed_beside_qemu);
    for (guint i = 0; request && i < request->settings->len; i++) {
        const struct dm_keyval *setting = g_ptr_array_index(request->settings, i);
        g_autofree char *option = g_strdup_printf("%s=%s", setting->key, setting->value);
        g_strv_builder_add(options, option);
    }
    return g_strv_builder_end(options);
}

static bool is_restored(const struct dm_cmdline *cmdline)
{
    for (guint i = 0; i < cmdline->arguments->len; i++) {
        if (strcmp(g_ptr_array_index(cmdline->arguments, i), "-incoming") == 0)
            return true;
    }
    return false;
}

GPtrArray *plan_new(const struct role *const *roles, const struct dm_cmdline *cmdline,
                    struct xen_store *store, GError **error)
{
    g_autoptr(GPtrArray) plan = g_ptr_array_new_with_free_func(plan_entry_free);

    if (!check_names(roles, cmdline, error))
        return NULL;
    for (; *roles; roles++) {
        const struct role *role = *roles;
        const struct dm_role_request *request;
        if (!find_request(cmdline, role, &request, error) ||
            (request && !check_request(cmdline, role, request, store, error)))
            return NULL;
        if (request ? request->off : !role->backend)
            continue;
        if (role->hvm_only && cmdline->pv) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "-role %s: only a guest with type=\"hvm\" has an emulated PCI bus; take "
                        "it out of device_model_args",
                        role->name);
            return NULL;
        }
        if (role->hvm_only && is_restored(cmdline)) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "-role %s: its device's state is not saved with the guest yet, so the "
                        "guest cannot be restored with it",
                        role->name);
            return NULL;
        }
        struct plan_entry *entry = g_new0(struct plan_entry, 1);
        entry->role = role;
        entry->options = make_options(cmdline, role, request);
        entry->now = !role->backend || plan_has_nodes(role, cmdline->domid, store);
        g_ptr_array_add(plan, entry);
    }
    return g_steal_pointer(&plan);
}
