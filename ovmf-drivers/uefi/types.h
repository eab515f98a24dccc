/*
 * UEFI's base types, for 64-bit machines.  Source: UEFI 2.10, §2.3 (types, calling convention) and
 * appendix D (status codes).
 *
 * These headers are written from the specification, in this tree's style: EFI_BLOCK_IO_PROTOCOL is
 * `struct efi_block_io`, its ReadBlocks is `read_blocks`.  UINTN is size_t, CHAR16 is efi_char16
 * (so that u"text" is a string of them), BOOLEAN is efi_bool: one byte, and what a caller gives is
 * true if it is not zero.
 *
 * They compile for the host, too, where the calling convention keeps them honest: a function that
 * firmware calls has to be EFIAPI.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && !defined(_WIN32)
#define EFIAPI __attribute__((ms_abi))
#else
#define EFIAPI
#endif

typedef size_t efi_status;
typedef void *efi_handle;
typedef void *efi_event;
typedef uint16_t efi_char16;
typedef uint8_t efi_bool;
typedef uint64_t efi_lba;
/* Task priority level. */
typedef size_t efi_tpl;
typedef uint64_t efi_physical_address;

_Static_assert(sizeof(size_t) == 8, "UEFI's UINTN of a 64-bit machine");

struct efi_guid {
    uint32_t a;
    uint16_t b, c;
    uint8_t d[8];
};

_Static_assert(sizeof(struct efi_guid) == 16, "UEFI 2.10, appendix A");

static inline bool efi_guid_equal(const struct efi_guid *one, const struct efi_guid *other)
{
    return __builtin_memcmp(one, other, sizeof(*one)) == 0;
}

struct efi_table_header {
    uint64_t signature;
    uint32_t revision, header_size, crc32, reserved;
};

/* EFI_TIME, which we only step over. */
struct efi_time {
    uint16_t year;
    uint8_t month, day, hour, minute, second, pad1;
    uint32_t nanosecond;
    int16_t time_zone;
    uint8_t daylight, pad2;
};

_Static_assert(sizeof(struct efi_time) == 16, "UEFI 2.10, §8.3");

#define EFI_ERROR_CODE(number) (((efi_status)1 << 63) | (number))
#define EFI_IS_ERROR(status) (((status) >> 63) != 0)

#define EFI_SUCCESS ((efi_status)0)
/* Not errors: warnings. */
#define EFI_WARN_UNKNOWN_GLYPH ((efi_status)1)
#define EFI_WARN_WRITE_FAILURE ((efi_status)3)
#define EFI_WARN_BUFFER_TOO_SMALL ((efi_status)4)
#define EFI_WARN_STALE_DATA ((efi_status)5)

#define EFI_LOAD_ERROR EFI_ERROR_CODE(1)
#define EFI_INVALID_PARAMETER EFI_ERROR_CODE(2)
#define EFI_UNSUPPORTED EFI_ERROR_CODE(3)
#define EFI_BAD_BUFFER_SIZE EFI_ERROR_CODE(4)
#define EFI_BUFFER_TOO_SMALL EFI_ERROR_CODE(5)
#define EFI_NOT_READY EFI_ERROR_CODE(6)
#define EFI_DEVICE_ERROR EFI_ERROR_CODE(7)
#define EFI_WRITE_PROTECTED EFI_ERROR_CODE(8)
#define EFI_OUT_OF_RESOURCES EFI_ERROR_CODE(9)
#define EFI_VOLUME_CORRUPTED EFI_ERROR_CODE(10)
#define EFI_VOLUME_FULL EFI_ERROR_CODE(11)
#define EFI_NO_MEDIA EFI_ERROR_CODE(12)
#define EFI_MEDIA_CHANGED EFI_ERROR_CODE(13)
#define EFI_NOT_FOUND EFI_ERROR_CODE(14)
#define EFI_ACCESS_DENIED EFI_ERROR_CODE(15)
#define EFI_NO_RESPONSE EFI_ERROR_CODE(16)
#define EFI_NO_MAPPING EFI_ERROR_CODE(17)
#define EFI_TIMEOUT EFI_ERROR_CODE(18)
#define EFI_NOT_STARTED EFI_ERROR_CODE(19)
#define EFI_ALREADY_STARTED EFI_ERROR_CODE(20)
#define EFI_ABORTED EFI_ERROR_CODE(21)
#define EFI_PROTOCOL_ERROR EFI_ERROR_CODE(24)
#define EFI_INCOMPATIBLE_VERSION EFI_ERROR_CODE(25)
#define EFI_SECURITY_VIOLATION EFI_ERROR_CODE(26)
#define EFI_CRC_ERROR EFI_ERROR_CODE(27)
#define EFI_END_OF_MEDIA EFI_ERROR_CODE(28)
#define EFI_END_OF_FILE EFI_ERROR_CODE(31)
#define EFI_INVALID_LANGUAGE EFI_ERROR_CODE(32)
#define EFI_COMPROMISED_DATA EFI_ERROR_CODE(33)
