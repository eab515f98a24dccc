/*
 * A BIOS that does nothing but tell what hvmloader has left in PCI configuration space: for every
 * function of bus 0 a line `config SLOT:FUNCTION OFFSET VALUE` for each base address register and
 * the ROM's that is not 0, on the debug port.  It ends the guest by halting it.  For bios_path_override=.
 *
 * hvmloader copies it to the end of the first MiB and jumps to its last 16 bytes, in real mode.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define CR0_PE 1
#define STACK 0x7000

        .section .text.first, "ax"
        .code16
        .globl entry, gdt_pointer
entry:
        cli
        cld
        lgdtl %cs:gdt_pointer_16
        mov %cr0, %eax
        or $CR0_PE, %al
        mov %eax, %cr0
        ljmpl $8, $flat

        .code32
flat:
        mov $16, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov $STACK, %esp
        call bios_main
1:      cli
        hlt
        jmp 1b

        .balign 8
gdt:
        .quad 0
        .quad 0x00CF9A000000FFFF /* code: all 4 GiB, 32 bits */
        .quad 0x00CF92000000FFFF /* data */
gdt_pointer:
        .word . - gdt - 1
        .long gdt

        .section .reset, "ax"
        .code16
        ljmp $0xF000, $entry_16
        .balign 16

        .section .note.GNU-stack, "", @progbits
