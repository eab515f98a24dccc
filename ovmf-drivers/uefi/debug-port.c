#include "ovmf-drivers/uefi/debug-port.h"
#include "ovmf-drivers/uefi/types.h"

#include <stdarg.h>

struct line {
    size_t length;
    char text[DEBUG_PORT_LINE];
};

static void port_write(char byte)
{
    __asm__ volatile("outb %0, %1" : : "a"(byte), "Nd"((uint16_t)0xe9));
}

static void line_char(struct line *line, char c)
{
    if (line->length < sizeof(line->text))
        line->text[line->length++] = c >= ' ' && c <= '~' ? c : '?';
}

static void line_string(struct line *line, const char *string)
{
    for (; *string && line->length < sizeof(line->text); string++)
        line_char(line, *string);
}

static void line_number(struct line *line, uint64_t value, uint32_t base)
{
    char digits[20];
    size_t count = 0;

    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    while (count > 0)
        line_char(line, digits[--count]);
}

static void line_format(struct line *line, const char *format, va_list args)
{
    for (; *format; format++) {
        bool is_long;

        if (*format != '%') {
            line_char(line, *format);
            continue;
        }
        is_long = format[1] == 'l' && format[2] == 'l';
        format += is_long ? 3 : 1;
        switch (*format) {
        case 's':
            line_string(line, va_arg(args, const char *));
            break;
        case 'c':
            line_char(line, va_arg(args, int));
            break;
        case 'u':
        case 'x':
            line_number(line, is_long ? va_arg(args, unsigned long long) : va_arg(args, unsigned),
                        *format == 'x' ? 16 : 10);
            break;
        case '%':
            line_char(line, '%');
            break;
        default: /* What cannot be read cannot be skipped either. */
            return;
        }
    }
}

void debug_port_say(struct debug_port *port, const char *format, ...)
{
    struct line line = { 0 };
    va_list args;

    if (port->lines >= DEBUG_PORT_LINES)
        return;
    line_string(&line, port->name);
    line_string(&line, ": ");
    if (++port->lines == DEBUG_PORT_LINES) {
        line_string(&line, "no more lines from here");
    } else {
        va_start(args, format);
        line_format(&line, format, args);
        va_end(args);
    }
    for (size_t i = 0; i < line.length; i++)
        port_write(line.text[i]);
    port_write('\n');
}
