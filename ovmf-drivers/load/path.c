#include "ovmf-drivers/load/path.h"
#include "ovmf-drivers/uefi/device-path.h"
#include "ovmf-drivers/uefi/memory.h"

/* Appends one character, and keeps the 0 at the end. */
static bool path_add(struct path *path, size_t *length, efi_char16 c)
{
    if (*length + 1 >= PATH_MAX_CHARS)
        return false;
    path->text[(*length)++] = c;
    path->text[*length] = 0;
    return true;
}

/* The node's characters, up to its 0; nodes are not aligned. */
static bool path_add_node(struct path *path, size_t *length, const struct efi_device_path *node)
{
    const uint8_t *bytes = (const uint8_t *)(node + 1);
    size_t size = efi_device_path_length(node) - sizeof(*node);

    if (*length > 0 && path->text[*length - 1] != u'\\' && !path_add(path, length, u'\\'))
        return false;
    for (size_t i = 0; i + 1 < size; i += 2) {
        efi_char16 c = bytes[i] | (efi_char16)(bytes[i + 1] << 8);

        if (c == 0)
            break;
        if (!path_add(path, length, c))
            return false;
    }
    return true;
}

bool path_directory(const struct efi_device_path *node, struct path *directory)
{
    size_t length = 0;

    directory->text[0] = 0;
    while (!efi_device_path_is_end(node)) {
        if (node->type != EFI_DEVICE_PATH_MEDIA ||
            node->subtype != EFI_DEVICE_PATH_MEDIA_FILE_PATH ||
            efi_device_path_length(node) < sizeof(*node) ||
            !path_add_node(directory, &length, node))
            return false;
        node = (const void *)((const uint8_t *)node + efi_device_path_length(node));
    }
    while (length > 0 && directory->text[length - 1] != u'\\')
        length--;
    directory->text[length] = 0;
    return length > 0;
}

size_t path_length(const struct path *path)
{
    size_t length = 0;

    while (path->text[length])
        length++;
    return length;
}

bool path_join(const struct path *directory, const efi_char16 *name, struct path *joined)
{
    size_t length = path_length(directory);

    memcpy(joined, directory, sizeof(*joined));
    for (; *name; name++) {
        if (!path_add(joined, &length, *name))
            return false;
    }
    return true;
}

bool path_is_image(const efi_char16 *name)
{
    static const char ending[] = ".efi";
    size_t length = 0, size = sizeof(ending) - 1;

    while (name[length])
        length++;
    if (length <= size)
        return false;
    for (size_t i = 0; i < size; i++) {
        efi_char16 c = name[length - size + i];

        if (c >= u'A' && c <= u'Z')
            c = c - u'A' + u'a';
        if (c != (efi_char16)ending[i])
            return false;
    }
    return true;
}
