/*
 * What every test of the disk role needs: a guest with disks, the role as a real process, and
 * requests by hand.
 *
 * A test is a function of a fixture with a fresh guest that has no disk yet.  When it returns, the
 * role is ended, if it still runs, and must have left with status 0: a finding of a sanitizer, a
 * crash or a leak fails the test there.  Its log must be short, whatever the guest did.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PROTOCOL_DISK_FIXTURE_H
#define PROTOCOL_DISK_FIXTURE_H

#include <glib.h>
#include <xen/io/xenbus.h>

#include "tests/sim/guest/blkfront.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define SECTOR 512
#define SECTORS_PER_PAGE (GUEST_PAGE / SECTOR)
#define MIB_SECTORS (1 << 20 >> 9)

/* No wait of a test is longer than that. */
#define PATIENCE_S 10
#define PATIENCE_MS (PATIENCE_S * 1000)

#define DISKS_MAX 16

struct disk_file {
    char *path;
    int fd; /* of the test, for pread */
    uint64_t sectors;
    unsigned devid;
};

struct fixture {
    struct guest *guest;
    char *directory;
    char *log;              /* of the role */
    size_t log_bytes;       /* it may have; for a test that asks for more than a guest can */
    const char *options[4]; /* KEY=VALUE of the role: for a test to set before it starts */
    pid_t role;
    struct disk_file disks[DISKS_MAX];
    unsigned nr_disks;
};

/* For a test that needs more guests than the one it has. */
void fixture_open(struct fixture *f);
void fixture_end(struct fixture *f);

typedef void fixture_test(struct fixture *f);
void fixture_add_test(const char *path, fixture_test *test);

/* main() of every program: the last argument is the path of rolemodel. */
int fixture_main(int argc, char **argv, void (*add_tests)(void));

/* --- toolstack --- */

/* An image of SECTORS, each filled with its number, attached as VDEV: its index in f->disks. */
unsigned fixture_add_disk(struct fixture *f, const char *vdev, uint64_t sectors);

/* The same with all that a toolstack can say; PARAMS is filled in. */
unsigned fixture_add_special_disk(struct fixture *f, const struct toolstack_disk *disk,
                                  uint64_t sectors);

/* An image as above that is no disk yet; to be removed, or to be put into f->disks. */
struct disk_file fixture_make_image(struct fixture *f, const char *name, uint64_t sectors);
void fixture_remove_image(struct disk_file *image);

/* Attaches a disk that was detached, or whose nodes the guest removed. */
void fixture_reattach_disk(struct fixture *f, unsigned disk);

/*
 * Starts the role and waits until it follows all disks.  At its very start it may take a frontend
 * that connects at once for one that came back, and attach to its ring once more.
 */
void fixture_start_role(struct fixture *f);

/* Starts it without waiting. */
void fixture_run_role(struct fixture *f);

/* Waits for its end, which must be with status EXPECTED; it must have said TEXT, if not NULL. */
void fixture_wait_role(struct fixture *f, int expected, const char *text);

/*
 * `rolemodel disk COMMAND GUEST ARGUMENT...` as a process; WORDS are the command and its arguments,
 * then NULL.  What it prints is on one pipe, answers and complaints.
 */
struct command {
    GPid pid;
    int output;
};
struct command fixture_command(struct fixture *f, const char *const *words);

/* Its exit status; *TEXT (g_free) is what it has said. */
int fixture_command_wait(struct command *command, char **text);

/* Its exit status must be STATUS, and it must have said something with WORDS in it. */
void fixture_command_expect(struct command *command, int status, const char *words);

/* All of that: the command and its arguments are the last. */
#define expect_command(f, status, words, ...)                                                      \
    do {                                                                                           \
        struct command command_ = fixture_command(f, (const char *const[]){ __VA_ARGS__, NULL });  \
        fixture_command_expect(&command_, status, words);                                          \
    } while (0)

/* What `rolemodel list` says; g_free() */
char *fixture_processes(void);

/* The whole line of `list` about xvda. */
void fixture_expect_list(struct fixture *f, const char *state, uint64_t mib, const char *medium);

/* Waits until xvda is in STATE, as `list` says it. */
void fixture_await_state(struct fixture *f, const char *state);

/* Has it said TEXT? */
bool fixture_role_said(struct fixture *f, const char *text);

/* A disk of 8 MiB, the role, and a frontend connected with OPTIONS (or NULL). */
struct blkfront *fixture_start(struct fixture *f, const struct blkfront_options *options);

/* Is anybody's lock on the image?  And: waits until there is none. */
bool fixture_image_locked(const struct disk_file *disk);
void fixture_await_unlocked(const struct disk_file *disk);

/* --- the image: as it was made, discarded, or LENGTH bytes of DATA --- */

void assert_untouched(const struct disk_file *disk, uint64_t sector, uint64_t sectors);
void assert_zero(const struct disk_file *disk, uint64_t sector, uint64_t sectors);
void assert_on_disk(const struct disk_file *disk, uint64_t sector, const void *data, size_t length);

/* --- frontend --- */

struct blkfront *fixture_connect(struct fixture *f, unsigned disk,
                                 const struct blkfront_options *options);
void fixture_close(struct blkfront *front);

/* Writes and verifies SECTORS from SECTOR on, and compares with the image. */
void fixture_verify(struct fixture *f, unsigned disk, struct blkfront *front, uint64_t sector,
                    uint64_t sectors);

/* Connects an orderly frontend, which must find everything in order, and closes it. */
void fixture_check_disk(struct fixture *f, unsigned disk);

/* Node of the backend; g_free(), NULL if it is not there. */
char *fixture_backend_read(struct fixture *f, unsigned disk, const char *node);

uint64_t fixture_backend_number(struct fixture *f, unsigned disk,
                                const char *node); /* it is there */

/* Waits until the backend is in STATE, or in one of STATES (bits 1 << state), and says which. */
void fixture_expect_backend(struct fixture *f, unsigned disk, enum xenbus_state state);
enum xenbus_state fixture_expect_backend_in(struct fixture *f, unsigned disk, unsigned states);

/* Writes a node of the frontend as the guest; VALUE NULL removes it. */
void fixture_set(struct fixture *f, unsigned disk, const char *node, const char *value);
void fixture_set_number(struct fixture *f, unsigned disk, const char *node, uint32_t value);
void fixture_set_state(struct fixture *f, unsigned disk, enum xenbus_state state);

/*
 * From wherever both ends are to a closed disk, so that nothing that was written before is still
 * on its way: the backend has to take two steps after it.
 */
void fixture_settle(struct fixture *f, unsigned disk);

/* --- requests by hand --- */

/* Granted pages; they stay granted and allocated to the end of the guest. */
struct pages {
    uint8_t *data;
    uint32_t refs[32];
};
struct pages fixture_pages(struct fixture *f, unsigned count, bool read_only);

/* COUNT whole pages from SECTOR on. */
blkif_request_t request_for(uint8_t operation, uint64_t id, uint64_t sector,
                            const struct pages *pages, unsigned count);

blkif_request_t request_discard(uint64_t id, uint64_t sector, uint64_t sectors, uint8_t flag);

/* Puts REQUEST alone on queue 0's ring and returns the status of its response, which is checked. */
int request_do(struct blkfront *front, const blkif_request_t *request);
void request_put(struct blkfront *front, const blkif_request_t *request);

/* The same for one page. */
int request_page(struct blkfront *front, uint8_t operation, const struct pages *pages,
                 uint64_t sector);

/* Takes COUNT responses, with ids below COUNT and no id twice; counts those with STATUS. */
unsigned request_take_all(struct blkfront *front, unsigned count, int status);

/* Reads and writes of 8 pages, a ring full of them at a time, until it is told to end. */
struct request_load {
    struct blkfront *front;
    struct pages pages;
    GThread *thread;
    gint end;           /* atomic */
    unsigned done, bad; /* requests, in the end */
};
void request_load_start(struct fixture *f, struct request_load *load, struct blkfront *front);
void request_load_end(struct request_load *load);

/* Every response that is due has been taken. */
void request_expect_none(struct blkfront *front);

#endif
