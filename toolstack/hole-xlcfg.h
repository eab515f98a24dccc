/*
 * xl.cfg as far as `rolemodel hole` needs it: NAME = VALUE, where VALUE is a number, a quoted
 * string or a list of strings that may go over several lines; comments; ';' between assignments.
 * Of a name that is there twice the last value counts, as in xl.
 *
 * Source: xl.cfg(5), "Syntax"; tools/libs/util/libxlu_cfg_l.l.
 * Threads: any; there is no global state.
 * Errors: G_OPTION_ERROR, with the number of the line.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_HOLE_XLCFG_H
#define TOOLSTACK_HOLE_XLCFG_H

#include <stdbool.h>
#include <glib.h>

struct xlcfg;

struct xlcfg *xlcfg_parse(const char *text, GError **error);
void xlcfg_free(struct xlcfg *cfg); /* NULL is fine */

/* The value of a string or the digits of a number; FALLBACK if the name is not there. */
bool xlcfg_string(const struct xlcfg *cfg, const char *name, const char *fallback,
                  const char **value, GError **error);

/* xl takes numbers with and without quotes. */
bool xlcfg_number(const struct xlcfg *cfg, const char *name, guint64 min, guint64 max,
                  guint64 fallback, guint64 *value, GError **error);

/* The line that sets NAME, for errors; 0 if none does. */
unsigned xlcfg_line(const struct xlcfg *cfg, const char *name);

/* NULL-terminated, and empty if the name is not there; a string counts as a list of one. */
char *const *xlcfg_list(const struct xlcfg *cfg, const char *name);

#endif
