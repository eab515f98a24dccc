/*
 * Text that ends with a NUL, and numbers as xenstore has them: decimal digits.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PV_TEXT_H
#define PV_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV_NUMBER_SIZE 21 /* of the longest, with its NUL */

size_t pv_text_length(const char *text);
bool pv_text_equal(const char *a, const char *b);

/* TEXT must be digits alone and no more than MAX. */
bool pv_number_parse(const char *text, uint64_t max, uint64_t *number);

/* Where it begins in TEXT. */
char *pv_number_format(char text[PV_NUMBER_SIZE], uint64_t number);

#endif
