/*
 * Disks that are not raw, each in its format made by qemu-img: what the guest writes is what QEMU's
 * tools read, and what cannot be served is refused with words that help.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/image-fixture.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define DISK_SECTORS (16 * MIB_SECTORS)

/* What PARAMS say, the role, and a frontend. */
static struct blkfront *start_disk(struct fixture *f, const char *params)
{
    image_use_directory(f);
    image_attach(f, params, NULL);
    fixture_start_role(f);
    return fixture_connect(f, 0, NULL);
}

static void end_role(struct fixture *f)
{
    kill(f->role, SIGTERM);
    fixture_wait_role(f, 0, NULL);
    image_assert_directory_clean(f);
}

/* Writes here and there and reads it as the guest, then as QEMU. */
static void check_format(struct fixture *f, const char *format, const char *params)
{
    struct blkfront *front = image_start(f, format, params, DISK_SECTORS);
    g_autofree char *reason = NULL;
    uint8_t expected[64 * SECTOR], zero[SECTOR] = { 0 };

    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, DISK_SECTORS);
    g_assert_cmpuint(blkfront_disk(front)->sector_size, ==, SECTOR);
    g_assert_true(blkfront_disk(front)->flush);
    if (!blkfront_verify(front, 0, 1001, 8192, 1, &reason) ||
        !blkfront_verify(front, 0, DISK_SECTORS - 64, 64, 2, &reason))
        g_error("%s: %s", format, reason);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
    g_autofree char *manner = g_strconcat(format, " through qemu-storage-daemon", NULL);
    g_assert_true(fixture_role_said(f, manner));
    end_role(f);

    g_autofree uint8_t *data = image_read(f, format, DISK_SECTORS);
    for (unsigned i = 0; i < 8192; i += 64) {
        blkfront_pattern(expected, 1001 + i, sizeof(expected), 1);
        g_assert_cmpmem(data + (1001 + i) * SECTOR, sizeof(expected), expected, sizeof(expected));
    }
    blkfront_pattern(expected, DISK_SECTORS - 64, sizeof(expected), 2);
    g_assert_cmpmem(data + (DISK_SECTORS - 64) * SECTOR, sizeof(expected), expected,
                    sizeof(expected));
    g_assert_cmpmem(data, SECTOR, zero, SECTOR);
}

static void test_qcow2(struct fixture *f)
{
    check_format(f, "qcow2", "qcow2");
    image_run("qemu-img check -q -f qcow2 %s", f->disks[0].path);
}

static void test_qcow(struct fixture *f)
{
    check_format(f, "qcow", "qcow");
}

static void test_qed(struct fixture *f)
{
    check_format(f, "qed", "qed");
}

static void test_vhdx(struct fixture *f)
{
    check_format(f, "vhdx", "vhdx");
}

static void test_vmdk(struct fixture *f)
{
    check_format(f, "vmdk", "vmdk");
}

/* The format has its own idea of sizes. */
static void test_vhd(struct fixture *f)
{
    const char *path = image_new_path(f);
    g_autofree char *params = g_strconcat("vhd:", path, NULL);
    g_autofree char *reason = NULL;

    image_run("qemu-img create -q -f vpc -o force_size=on %s 16M", path);
    struct blkfront *front = start_disk(f, params);
    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, DISK_SECTORS);
    if (!blkfront_verify(front, 0, 0, 4096, 1, &reason))
        g_error("%s", reason);
    fixture_close(front);
    end_role(f);
    image_run("qemu-img compare -q -f vpc -F vpc %s %s", path, path);
}

/* What is not in the image comes from the one below it, which stays as it was. */
static void test_backing_chain(struct fixture *f)
{
    g_autofree char *base = g_strconcat(f->directory, "/base", NULL);
    g_autofree char *middle = g_strconcat(f->directory, "/middle", NULL);
    const char *path = image_new_path(f);
    g_autofree char *params = g_strconcat("qcow2:", path, NULL);
    uint8_t read[GUEST_PAGE], expected[GUEST_PAGE];

    image_run("qemu-img create -q -f raw %s 16M && "
              "qemu-io -f raw -c 'write -q -P 0x11 0 16M' %s && cp %s %s.copy",
              base, base, base, base);
    image_run("qemu-img create -q -f qcow2 -F raw -b %s %s && "
              "qemu-io -f qcow2 -c 'write -q -P 0x22 1M 1M' %s",
              base, middle, middle);
    image_run("qemu-img create -q -f qcow2 -F qcow2 -b %s %s", middle, path);
    struct blkfront *front = start_disk(f, params);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpint(blkfront_read(front, 0, i * MIB_SECTORS, read, sizeof(read)), ==,
                        BLKIF_RSP_OKAY);
        memset(expected, i == 1 ? 0x22 : 0x11, sizeof(expected));
        g_assert_cmpmem(read, sizeof(read), expected, sizeof(expected));
    }
    memset(expected, 0x33, sizeof(expected));
    g_assert_cmpint(blkfront_write(front, 0, MIB_SECTORS, expected, sizeof(expected)), ==,
                    BLKIF_RSP_OKAY);
    fixture_close(front);
    end_role(f);
    image_run("cmp %s %s.copy", base, base);
    image_run("qemu-io -f qcow2 -r -c 'read -q -P 0x33 1M 4k' -c 'read -q -P 0x22 1028k 4k' %s "
              "| { ! grep .; }",
              path);
    image_run("rm %s %s.copy %s", base, base, middle);
}

/* An image that is not ours to write is not opened for writing, and others may read it too. */
static void test_read_only(struct fixture *f)
{
    const char *path = image_new_path(f);
    g_autofree char *params = g_strconcat("qcow2:", path, NULL);
    struct toolstack_disk disk = { .read_only = true };
    uint8_t read[SECTOR], expected[SECTOR];

    image_run("qemu-img create -q -f qcow2 %s 16M && "
              "qemu-io -f qcow2 -c 'write -q -P 0x44 0 1M' %s && chmod a-w %s",
              path, path, path);
    image_use_directory(f);
    image_attach(f, params, &disk);
    fixture_start_role(f);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    g_assert_cmpuint(blkfront_disk(front)->info, ==, VDISK_READONLY);
    g_assert_false(blkfront_disk(front)->discard);
    g_assert_cmpint(blkfront_read(front, 0, 7, read, SECTOR), ==, BLKIF_RSP_OKAY);
    memset(expected, 0x44, SECTOR);
    g_assert_cmpmem(read, SECTOR, expected, SECTOR);
    g_assert_cmpint(blkfront_write(front, 0, 7, read, SECTOR), ==, BLKIF_RSP_ERROR);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    image_run("qemu-img info -f qcow2 %s >%s.info", path, path);
    image_run("rm %s.info", path);
    fixture_close(front);
    end_role(f);
}

/* Space goes back to the host, and what was there reads as zero. */
static void test_discard(struct fixture *f)
{
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    const size_t length = 8 << 20;
    g_autofree uint8_t *data = g_malloc(length), *zero = g_malloc0(length);

    g_assert_true(blkfront_disk(front)->discard);
    blkfront_pattern(data, 0, length, 1);
    g_assert_cmpint(blkfront_write(front, 0, 0, data, length), ==, BLKIF_RSP_OKAY);
    g_assert_cmpint(blkfront_discard(front, 0, 0, length / SECTOR, false), ==, BLKIF_RSP_OKAY);
    g_assert_cmpint(blkfront_discard(front, 0, 0, DISK_SECTORS, true), ==, BLKIF_RSP_EOPNOTSUPP);
    g_assert_cmpint(blkfront_read(front, 0, 0, data, length), ==, BLKIF_RSP_OKAY);
    g_assert_cmpmem(data, length, zero, length);
    fixture_close(front);
    end_role(f);
    image_run("test $(du -k %s | cut -f1) -lt 2048", f->disks[0].path);
}

/* Every queue has a connection of its own. */
static void test_queues(struct fixture *f)
{
    static const struct blkfront_options options = { .queues = 4, .indirect = 256 };
    const char *path = image_new_path(f);
    g_autofree char *params = g_strconcat("qcow2:", path, NULL);
    struct blkfront_load load = { .write = true, .random = true, .block = 4096, .depth = 8 };

    f->options[0] = "max-queues=4";
    image_run("qemu-img create -q -f qcow2 %s 16M", path);
    image_use_directory(f);
    image_attach(f, params, NULL);
    fixture_start_role(f);
    struct blkfront *front = fixture_connect(f, 0, &options);
    g_assert_cmpuint(blkfront_queues(front), ==, 4);
    load.requests = 4000;
    struct blkfront_result result = blkfront_run(front, &load);
    g_assert_cmpuint(result.errors, ==, 0);
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *reason = NULL;
        if (!blkfront_verify(front, i, i * 1000, 4096, i + 1, &reason))
            g_error("queue %u: %s", i, reason);
    }
    fixture_close(front);
    end_role(f);
    image_run("qemu-img check -q -f qcow2 %s", path);
}

/* --- QEMU's descriptions --- */

static void test_json(struct fixture *f)
{
    const char *path = image_new_path(f);
    g_autofree char *params =
        g_strdup_printf("aio:json:{\"driver\":\"qcow2\",\"lazy-refcounts\":true,"
                        "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}",
                        path);
    g_autofree char *reason = NULL;

    image_run("qemu-img create -q -f qcow2 %s 16M", path);
    struct blkfront *front = start_disk(f, params);
    if (!blkfront_verify(front, 0, 0, 4096, 1, &reason))
        g_error("%s", reason);
    fixture_close(front);
    g_assert_true(fixture_role_said(f, "json:qcow2: 16 MiB"));
    end_role(f);
    g_autofree uint8_t *data = image_read(f, "qcow2", DISK_SECTORS);
    g_autofree uint8_t *expected = g_malloc(4096 * SECTOR);
    blkfront_pattern(expected, 0, 4096 * SECTOR, 1);
    g_assert_cmpmem(data, 4096 * SECTOR, expected, 4096 * SECTOR);
}

/* An error of the storage is the guest's answer, and no more than that. */
static void test_errors(struct fixture *f)
{
    const char *path = image_new_path(f);
    g_autofree char *params = g_strdup_printf(
        "aio:json:{\"driver\":\"raw\",\"file\":{\"driver\":\"blkdebug\",\"inject-error\":["
        "{\"event\":\"none\",\"iotype\":\"write\",\"sector\":64,\"once\":true,\"errno\":28},"
        "{\"event\":\"none\",\"iotype\":\"read\",\"sector\":128},"
        "{\"event\":\"none\",\"iotype\":\"flush\",\"once\":true}],"
        "\"image\":{\"driver\":\"file\",\"filename\":\"%s\"}}}",
        path);
    uint8_t data[GUEST_PAGE], read[GUEST_PAGE];

    image_run("truncate -s 16M %s && qemu-io -f raw -c 'write -q 0 1M' %s", path, path);
    struct blkfront *front = start_disk(f, params);
    blkfront_pattern(data, 64, sizeof(data), 1);
    g_assert_cmpint(blkfront_write(front, 0, 64, data, sizeof(data)), ==, BLKIF_RSP_ERROR);
    g_assert_true(fixture_role_said(f, g_strerror(ENOSPC)));
    g_assert_cmpint(blkfront_write(front, 0, 64, data, sizeof(data)), ==, BLKIF_RSP_OKAY);
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpint(blkfront_read(front, 0, 128, read, sizeof(read)), ==, BLKIF_RSP_ERROR);
    g_assert_cmpint(blkfront_read(front, 0, 64, read, sizeof(read)), ==, BLKIF_RSP_OKAY);
    g_assert_cmpmem(read, sizeof(read), data, sizeof(data));
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_ERROR);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
    end_role(f);
}

/* --- refusals --- */

static void refuse(struct fixture *f, const char *params, const char *words)
{
    image_use_directory(f);
    image_attach(f, params, NULL);
    fixture_run_role(f);
    fixture_wait_role(f, 1, words);
    image_assert_directory_clean(f);
}

static void refuse_image(struct fixture *f, const char *format, const char *asked,
                         const char *words)
{
    const char *path = image_new_path(f);
    g_autofree char *params = g_strdup_printf("%s:%s", asked, path);
    image_run("qemu-img create -q -f %s %s 16M", format, path);
    refuse(f, params, words);
}

static void test_raw_as_qcow2(struct fixture *f)
{
    refuse_image(f, "raw", "qcow2", "not in qcow2 format (`qemu-img info` tells");
}

static void test_qcow2_as_vhd(struct fixture *f)
{
    refuse_image(f, "qcow2", "vhd", "`qemu-img info` tells");
}

static void test_qcow2_as_raw(struct fixture *f)
{
    refuse_image(f, "qcow2", "aio", "use format=qcow2");
}

static void test_unknown_format(struct fixture *f)
{
    refuse_image(f, "raw", "foo", "QEMU does not know this format");
}

static void test_odd_format(struct fixture *f)
{
    refuse_image(f, "raw", "q,cow2", "name of an image format");
}

static void test_no_file(struct fixture *f)
{
    refuse(f, "qcow2:/nonexistent/a.qcow2", "check the path");
}

static void test_bad_json(struct fixture *f)
{
    refuse(f, "aio:json:{\"driver\":", "not JSON");
}

static void test_json_without_driver(struct fixture *f)
{
    refuse(f, "aio:json:[1]", "not an object with a \"driver\"");
}

static void test_nbd_address(struct fixture *f)
{
    refuse(f, "aio:nbd:host:10809", "nbd://HOST:PORT/EXPORT");
}

/* A server that has the image, by its address. */
static void test_nbd(struct fixture *f)
{
    const char *path = image_new_path(f);
    g_autofree char *socket = g_strconcat(f->directory, "/nbd", NULL);
    g_autofree char *params = g_strdup_printf("aio:nbd+unix:///name?socket=%s", socket);
    g_autofree uint8_t *expected = g_malloc(4096 * SECTOR);
    g_autofree char *reason = NULL;

    image_run("truncate -s 16M %s", path);
    image_run("qemu-nbd --fork --pid-file=%s.pid -t -f raw -x name -k %s %s", socket, socket, path);
    struct blkfront *front = start_disk(f, params);
    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, DISK_SECTORS);
    if (!blkfront_verify(front, 0, 0, 4096, 1, &reason))
        g_error("%s", reason);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
    g_assert_true(fixture_role_said(f, "nbd through qemu-storage-daemon"));
    end_role(f);
    image_run("p=$(cat %s.pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.01; done; "
              "rm -f %s %s.pid",
              socket, socket, socket);
    g_autofree uint8_t *data = image_read(f, "raw", DISK_SECTORS);
    blkfront_pattern(expected, 0, 4096 * SECTOR, 1);
    g_assert_cmpmem(data, 4096 * SECTOR, expected, 4096 * SECTOR);
}

/* Somebody else has the image: with QEMU's locks, as another guest's daemon has them. */
static void test_in_use(struct fixture *f)
{
    const char *path = image_new_path(f);
    g_autofree char *params = g_strconcat("qcow2:", path, NULL);
    struct fixture other;

    image_run("qemu-img create -q -f qcow2 %s 16M", path);
    image_use_directory(f);
    fixture_open(&other);
    other.disks[0].devid = toolstack_attach_disk(
        other.guest, &(struct toolstack_disk){ .vdev = "xvda", .params = params });
    fixture_run_role(&other);
    fixture_expect_backend(&other, 0, XenbusStateInitWait);
    refuse(f, params, "another process is using the image");
    fixture_end(&other);
}

/* --- keys --- */

/* A key in the directory of secrets, with MODE, and a luks image of 16 MiB that is locked with it.
 */
static const char *make_encrypted(struct fixture *f, const char *mode)
{
    const char *path = image_new_path(f);

    g_setenv("ROLEMODEL_SECRETS_DIR", f->directory, TRUE);
    image_run("printf 'a key' >%s/vm1 && chmod %s %s/vm1", f->directory, mode, f->directory);
    image_run(
        "for i in $(seq 50); do rm -f %s; qemu-img create -q -f luks --object "
        "secret,id=vm1,file=%s/vm1 -o key-secret=vm1,iter-time=10 %s 16M && exit; done; exit 1",
        path, f->directory, path);
    return path;
}

static char *encrypted(const char *path, const char *secret)
{
    return g_strdup_printf("aio:json:{\"driver\":\"luks\",\"key-secret\":\"%s\",\"file\":"
                           "{\"driver\":\"file\",\"filename\":\"%s\"}}",
                           secret, path);
}

static void test_encrypted(struct fixture *f)
{
    const char *path = make_encrypted(f, "600");
    g_autofree char *params = encrypted(path, "vm1");
    g_autofree char *reason = NULL;

    struct blkfront *front = start_disk(f, params);
    if (!blkfront_verify(front, 0, 0, 4096, 1, &reason))
        g_error("%s", reason);
    /* The next daemon needs the key, too. */
    kill(image_daemon(f, 0), SIGKILL);
    if (!blkfront_verify(front, 0, 4096, 4096, 1, &reason))
        g_error("%s", reason);
    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, DISK_SECTORS);
    fixture_close(front);
    end_role(f);
    image_run("qemu-img convert --object secret,id=vm1,file=%s/vm1 --image-opts "
              "driver=luks,key-secret=vm1,file.filename=%s -O raw %s.raw && mv %s.raw %s",
              f->directory, path, path, path, path);
    g_autofree uint8_t *data = image_read(f, "raw", DISK_SECTORS);
    g_autofree uint8_t *expected = g_malloc(8192 * SECTOR);
    blkfront_pattern(expected, 0, 8192 * SECTOR, 1);
    g_assert_cmpmem(data, 8192 * SECTOR, expected, 8192 * SECTOR);
    image_run("rm %s/vm1", f->directory);
}

static void refuse_encrypted(struct fixture *f, const char *mode, const char *secret,
                             const char *words)
{
    const char *path = make_encrypted(f, mode);
    g_autofree char *params = encrypted(path, secret);

    image_run("printf 'a key\\n' >%s/vm2 && chmod 600 %s/vm2", f->directory, f->directory);
    refuse(f, params, words);
    image_run("rm %s/vm1 %s/vm2", f->directory, f->directory);
}

static void test_no_secret(struct fixture *f)
{
    refuse_encrypted(f, "600", "vm3", "vm3: No such file or directory (make it: ");
}

static void test_wrong_secret(struct fixture *f)
{
    refuse_encrypted(f, "600", "vm2", "a line's end behind it");
}

static void test_open_secret(struct fixture *f)
{
    refuse_encrypted(f, "640", "vm1", "(chmod 600)");
}

static void test_odd_secret(struct fixture *f)
{
    refuse_encrypted(f, "600", "../vm1", "not the name of a secret");
}

static void test_nameless_secret(struct fixture *f)
{
    const char *path = make_encrypted(f, "600");
    g_autofree char *params = g_strconcat("luks:", path, NULL);

    refuse(f, params, "needs target=json: with the name of its key");
    image_run("rm %s/vm1", f->directory);
}

static void add_tests(void)
{
    fixture_add_test("/disk/formats/qcow2", test_qcow2);
    fixture_add_test("/disk/formats/qcow", test_qcow);
    fixture_add_test("/disk/formats/qed", test_qed);
    fixture_add_test("/disk/formats/vhdx", test_vhdx);
    fixture_add_test("/disk/formats/vmdk", test_vmdk);
    fixture_add_test("/disk/formats/vhd", test_vhd);
    fixture_add_test("/disk/formats/backing-chain", test_backing_chain);
    fixture_add_test("/disk/formats/read-only", test_read_only);
    fixture_add_test("/disk/formats/discard", test_discard);
    fixture_add_test("/disk/formats/queues", test_queues);
    fixture_add_test("/disk/formats/json", test_json);
    fixture_add_test("/disk/formats/errors", test_errors);
    fixture_add_test("/disk/formats/refused/raw-as-qcow2", test_raw_as_qcow2);
    fixture_add_test("/disk/formats/refused/qcow2-as-vhd", test_qcow2_as_vhd);
    fixture_add_test("/disk/formats/refused/qcow2-as-raw", test_qcow2_as_raw);
    fixture_add_test("/disk/formats/refused/unknown", test_unknown_format);
    fixture_add_test("/disk/formats/refused/odd", test_odd_format);
    fixture_add_test("/disk/formats/refused/no-file", test_no_file);
    fixture_add_test("/disk/formats/refused/bad-json", test_bad_json);
    fixture_add_test("/disk/formats/refused/json-without-driver", test_json_without_driver);
    fixture_add_test("/disk/formats/refused/nbd-address", test_nbd_address);
    fixture_add_test("/disk/formats/encrypted", test_encrypted);
    fixture_add_test("/disk/formats/refused/secret/none", test_no_secret);
    fixture_add_test("/disk/formats/refused/secret/wrong", test_wrong_secret);
    fixture_add_test("/disk/formats/refused/secret/open", test_open_secret);
    fixture_add_test("/disk/formats/refused/secret/odd", test_odd_secret);
    fixture_add_test("/disk/formats/refused/secret/nameless", test_nameless_secret);
    fixture_add_test("/disk/formats/refused/in-use", test_in_use);
    fixture_add_test("/disk/formats/nbd", test_nbd);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
