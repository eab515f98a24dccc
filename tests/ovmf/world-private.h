/*
 * Between world.c and backend.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_OVMF_WORLD_PRIVATE_H
#define TESTS_OVMF_WORLD_PRIVATE_H

#include "tests/ovmf/world.h"

/* The guest's page that REF grants; NULL if the script guesses and there is no grant. */
uint8_t *world_page(struct world *world, uint32_t ref);

/* xenstored does what it can. */
void world_store_step(struct world *world);

/* The backend sees what the frontend has written to PATH; and does what it can. */
void world_frontend_wrote(struct world *world, const char *path);
void world_backend_step(struct world *world);

#endif
