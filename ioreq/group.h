/*
 * A group of vCPUs and the thread that serves them: it sleeps until Xen sends an event, looks at
 * the slots of its vCPUs, has their requests done and tells Xen.
 *
 * While requests come quickly it looks at the slots without sleeping (xen/poll.h).  Events that
 * come meanwhile are left pending, and so cost nobody anything; before it sleeps it takes them,
 * lets their ports fire again and then looks once more.  A request is there if the slot says so,
 * whatever events came: none is lost, and none is served twice.
 *
 * Source: Xen's common/ioreq.c; xenevtchn.h.
 * Threads: a group belongs to the thread that made it; its callbacks run in the group's own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef IOREQ_GROUP_H
#define IOREQ_GROUP_H

#include <stdbool.h>
#include <glib.h>
#include <xenevtchn.h>
#include <xen/hvm/ioreq.h>

/*
 * The most vCPUs of a group.  Their slots are 4 cache lines, so that one look at all of them is
 * cheap, and a device serves them one at a time anyway: another thread only saves waking up.
 */
#define IOREQ_GROUP_VCPUS 8

struct ioreq_group_config {
    unsigned domid;
    unsigned first;               /* number of its first vCPU */
    unsigned vcpus;               /* 1 to IOREQ_GROUP_VCPUS */
    volatile struct ioreq *slots; /* of its first vCPU; Xen has filled in vp_eport */
    evtchn_port_t buffered; /* Xen's port for buffered requests, if this group has them; or 0 */
    bool poll;              /* look without sleeping where it pays */

    /* Answers what is in the slot of a vCPU (by its number in the guest) and leaves it answered. */
    void (*serve)(void *opaque, unsigned vcpu);

    /* Does buffered requests; true if there may be more.  For a group that has them. */
    bool (*drain)(void *opaque);

    void *opaque;
};

struct ioreq_group;

/* Starts to serve: also what came before. */
struct ioreq_group *ioreq_group_start(const struct ioreq_group_config *config, GError **error);

/*
 * Has the thread come round since the last call, and so hangs in no callback?  Asks it to come
 * round again, and does not wait for it.
 */
bool ioreq_group_check(struct ioreq_group *group);

/* Ends the thread, after what it is doing.  What is in the slots then is left there. */
void ioreq_group_stop(struct ioreq_group *group);

/* For a group that was stopped, in this thread: answers what is in the slots now. */
void ioreq_group_finish(struct ioreq_group *group);

/* Stops it if need be; NULL is fine. */
void ioreq_group_free(struct ioreq_group *group);

#endif
