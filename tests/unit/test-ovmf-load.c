/* Which directory LoadDrivers takes drivers from, and which files. */

#include <string.h>
#include <glib.h>

#include "ovmf-drivers/load/path.h"
#include "ovmf-drivers/uefi/device-path.h"

static void put_node(GByteArray *bytes, uint8_t type, uint8_t subtype, const char *text)
{
    struct efi_device_path head;
    glong length = 0;
    g_autofree gunichar2 *wide = text ? g_utf8_to_utf16(text, -1, NULL, &length, NULL) : NULL;
    size_t size = text ? (length + 1) * 2 : 0;

    efi_device_path_set(&head, type, subtype, sizeof(head) + size);
    g_byte_array_append(bytes, (const uint8_t *)&head, sizeof(head));
    if (wide)
        g_byte_array_append(bytes, (const uint8_t *)wide, size);
}

/* The directory of a path of these nodes, "" if there is none; NULL closes the list. */
static char *directory_of(const char *first, ...) G_GNUC_NULL_TERMINATED;
static char *directory_of(const char *first, ...)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct path directory;
    va_list args;

    va_start(args, first);
    for (const char *text = first; text; text = va_arg(args, const char *))
        put_node(bytes, EFI_DEVICE_PATH_MEDIA, EFI_DEVICE_PATH_MEDIA_FILE_PATH, text);
    va_end(args);
    put_node(bytes, EFI_DEVICE_PATH_END, EFI_DEVICE_PATH_END_ENTIRE, NULL);
    if (!path_directory((const struct efi_device_path *)bytes->data, &directory))
        return g_strdup("");
    return g_utf16_to_utf8(directory.text, -1, NULL, NULL, NULL);
}

static void expect_directory(char *is, const char *expected)
{
    g_assert_cmpstr(is, ==, expected);
    g_free(is);
}

static void test_directory(void)
{
    expect_directory(directory_of("\\EFI\\xen\\LoadDrivers.efi", NULL), "\\EFI\\xen\\");
    expect_directory(directory_of("\\LoadDrivers.efi", NULL), "\\");
    expect_directory(directory_of("LoadDrivers.efi", NULL), "");
    /* A node for each directory, with and without separators of their own. */
    expect_directory(directory_of("\\EFI", "xen", "a.efi", NULL), "\\EFI\\xen\\");
    expect_directory(directory_of("\\EFI\\", "\\xen\\", "a.efi", NULL), "\\EFI\\\\xen\\");
    expect_directory(directory_of(NULL, NULL), "");
}

static void test_directory_of_others(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct path directory;

    put_node(bytes, EFI_DEVICE_PATH_MEDIA, 0x01, "\\a\\b.efi"); /* a partition */
    put_node(bytes, EFI_DEVICE_PATH_END, EFI_DEVICE_PATH_END_ENTIRE, NULL);
    g_assert_false(path_directory((const struct efi_device_path *)bytes->data, &directory));

    /* A node that would end before it begins. */
    bytes->data[1] = EFI_DEVICE_PATH_MEDIA_FILE_PATH;
    bytes->data[2] = 3;
    g_assert_false(path_directory((const struct efi_device_path *)bytes->data, &directory));
}

static void test_long(void)
{
    g_autofree char *fits = g_strnfill(PATH_MAX_CHARS - 2, 'x');
    g_autofree char *too_long = g_strnfill(PATH_MAX_CHARS - 1, 'x');
    g_autofree char *path = g_strconcat("\\", fits, NULL);
    g_autofree char *long_path = g_strconcat("\\", too_long, NULL);
    struct path joined, root = { .text = u"\\" };
    g_autofree gunichar2 *name = g_utf8_to_utf16(fits, -1, NULL, NULL, NULL);
    g_autofree gunichar2 *long_name = g_utf8_to_utf16(too_long, -1, NULL, NULL, NULL);

    expect_directory(directory_of(path, NULL), "\\");
    expect_directory(directory_of(long_path, NULL), "");
    g_assert_true(path_join(&root, name, &joined));
    g_assert_cmpuint(path_length(&joined), ==, PATH_MAX_CHARS - 1);
    g_assert_false(path_join(&root, long_name, &joined));
}

static void test_image(void)
{
    g_assert_true(path_is_image(u"XenPvBlk.efi"));
    g_assert_true(path_is_image(u"XENACPI.EFI"));
    g_assert_false(path_is_image(u".efi"));
    g_assert_false(path_is_image(u"efi"));
    g_assert_false(path_is_image(u""));
    g_assert_false(path_is_image(u"XenAcpi.efi.old"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/load/directory", test_directory);
    g_test_add_func("/load/directory-of-others", test_directory_of_others);
    g_test_add_func("/load/long", test_long);
    g_test_add_func("/load/image", test_image);
    return g_test_run();
}
