/*
 * Paths of files as UEFI gives them: of an image that was loaded from a file, "\EFI\x\y.efi" in the
 * file-path nodes of a device path (UEFI 2.10, §10.3.5.4).  Names are UTF-16 and end with 0.
 */
#pragma once

#include "ovmf-drivers/uefi/types.h"

struct efi_device_path;

/* Characters of a path, with the 0. */
#define PATH_MAX_CHARS 512

struct path {
    efi_char16 text[PATH_MAX_CHARS];
};

/* The directory of the file that `node` and those after it name, with the '\' at its end; false if
 * they name no file, or one whose path is too long. */
bool path_directory(const struct efi_device_path *node, struct path *directory);

/* `directory` with `name` behind it; false if that is too long. */
bool path_join(const struct path *directory, const efi_char16 *name, struct path *joined);

size_t path_length(const struct path *path);

/* Whether the name ends with ".efi", in letters of any size. */
bool path_is_image(const efi_char16 *name);
