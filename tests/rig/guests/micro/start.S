/*
 * Where a micro guest begins: flat 32-bit protected mode, interrupts off, no paging, and nothing
 * else that can be relied on.
 *
 * With PVH defined, Xen finds the entry in an ELF note (type="pvh", kernel=).  Without, it is the
 * ELF file's own (type="hvm", firmware_override=, which refuses files with Xen notes) and a
 * Multiboot header lets QEMU's -kernel load the same file.
 */
#include <xen/elfnote.h>

#ifdef PVH
        .section .note.xen, "a", @note
        .balign 4
        .long 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz "Xen"
        .long start
#else
#define MULTIBOOT_MAGIC 0x1BADB002
        .section .multiboot, "a"
        .balign 4
        .long MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC
#endif

#define CR0_MP (1 << 1)
#define CR0_EM (1 << 2)
#define CR0_TS (1 << 3)
#define CR4_OSFXSR (1 << 9)

        .text
        .globl start
start:
        cli
        cld
        mov $stack_top, %esp

        /* SSE, for the accesses of 8 bytes that 32-bit code has no other way to make. */
        mov %cr0, %eax
        and $~(CR0_EM | CR0_TS), %eax
        or $CR0_MP, %eax
        mov %eax, %cr0
        mov %cr4, %eax
        or $CR4_OSFXSR, %eax
        mov %eax, %cr4

        call micro_begin
        call micro_main
1:      hlt
        jmp 1b

        .bss
        .balign 16
        .skip 4096
stack_top:

        .section .note.GNU-stack, "", @progbits
