/* Keys and passwords of storage: see secrets.h. */

#include "pvbackends/disk/media/secrets.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DIRECTORY "/etc/rolemodel/secrets"
#define SUFFIX "-secret"

/* What QEMU takes for an id; no path leads out of the directory with it. */
static bool is_id(const char *name)
{
    return g_ascii_isalpha(name[0]) &&
           strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-._") == strlen(name);
}

static bool check_file(const char *path, GError **error)
{
    struct stat status;
    if (stat(path, &status) < 0)
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "the secret %s: %s (make it: umask 077; mkdir -p %s; printf %%s KEY >%s)", path,
                    g_strerror(errno), DIRECTORY, path);
    else if (!S_ISREG(status.st_mode))
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "the secret %s: not a file", path);
    else if (status.st_mode & (S_IRWXG | S_IRWXO))
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_PERM,
                    "the secret %s: others than its owner may use it (chmod 600)", path);
    else
        return true;
    return false;
}

/* Adds what makes secret NAME to OBJECTS, once. */
static bool add(GPtrArray *objects, const char *name, GError **error)
{
    const char *directory = g_getenv("ROLEMODEL_SECRETS_DIR");
    g_autofree char *path = g_build_filename(directory ? directory : DIRECTORY, name, NULL);

    if (!is_id(name)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "\"%s\" is not the name of a secret: a letter, then letters, digits, -._",
                    name);
        return false;
    }
    if (!check_file(path, error))
        return false;
    json_t *object = json_pack("{s:s, s:s, s:s}", "qom-type", "secret", "id", name, "file", path);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: not UTF-8, which QEMU wants",
                    path);
    else if (!g_ptr_array_find_with_equal_func(objects, text, g_str_equal, NULL))
        g_ptr_array_add(objects, g_strdup(text));
    bool good = text != NULL;
    free(text);
    return good;
}

/* Adds those of NODE, and of what is in it: no deeper than jansson reads. */
static bool collect(json_t *node, GPtrArray *objects, GError **error)
{
    const char *key;
    json_t *value;
    size_t i;

    json_array_foreach(node, i, value)
    {
        if (!collect(value, objects, error))
            return false;
    }
    json_object_foreach(node, key, value)
    {
        bool named = json_is_string(value) && g_str_has_suffix(key, SUFFIX);
        if (named ? !add(objects, json_string_value(value), error)
                  : !collect(value, objects, error))
            return false;
    }
    return true;
}

char **disk_secrets_objects(const char *blockdev, GError **error)
{
    g_autoptr(GPtrArray) objects = g_ptr_array_new_with_free_func(g_free);
    json_t *node = json_loads(blockdev, 0, NULL);
    bool good = collect(node, objects, error);

    json_decref(node);
    if (!good)
        return NULL;
    g_ptr_array_add(objects, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&objects), FALSE);
}
