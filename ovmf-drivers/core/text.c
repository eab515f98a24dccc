/* Text and numbers: see text.h. */

#include "ovmf-drivers/core/text.h"

size_t pv_text_length(const char *text)
{
    const char *end = text;
    while (*end)
        end++;
    return end - text;
}

bool pv_text_equal(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool pv_number_parse(const char *text, uint64_t max, uint64_t *number)
{
    uint64_t value = 0;

    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        uint64_t digit = *text - '0';
        if (digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

char *pv_number_format(char text[PV_NUMBER_SIZE], uint64_t number)
{
    char *at = text + PV_NUMBER_SIZE - 1;

    *at = '\0';
    do {
        *--at = '0' + number % 10;
        number /= 10;
    } while (number > 0);
    return at;
}
