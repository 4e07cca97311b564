#include "layout.h"

// Entry and interrupt handlers of the checking guest. Handlers run in real mode and may use SPRG0..2
// to save what they change; SPRG3 tells the data storage handler whether a fault is expected. R13
// is the address of what the vcpu has of its own, everywhere.

#define VECTOR_BYTES 0x80
#define SPRG3 275
#define DSISR 18
#define DAR 19
#define SRR0 26
#define SRR1 27
#define TICK 0x200000  // of the time base, between decrementer interrupts

#define CALL_VMM li 3, 0x58; sc 1; b .

    .section .text.start, "ax"

    .globl _start
_start:  // r3: the vcpu's number
    lis 2, .TOC.@h
    ori 2, 2, .TOC.@l
    lis 13, VCPUS_ADDRESS@h
    sldi 4, 3, VCPU_SHIFT
    add 13, 13, 4
    lis 1, SETTINGS_ADDRESS@h
    sldi 4, 3, STACK_SHIFT
    subf 1, 4, 1
    li 0, 0
    stdu 0, -64(1)
    lis 12, RunChecker@h
    ori 12, 12, RunChecker@l
    mtctr 12
    bctrl
    b .

    // An expected fault (SPRG3 = 1) is noted, SPRG3 becomes 2 and the instruction is skipped.
    .globl handle_data_storage
handle_data_storage:
    mtsprg 0, 10
    mtsprg 1, 11
    mfcr 11
    mtsprg 2, 11
    mfspr 10, SPRG3
    cmpdi 10, 1
    bne 1f
    li 10, 2
    mtspr SPRG3, 10
    mfspr 11, DSISR
    std 11, REPORT_FAULT_DSISR(13)
    mfspr 11, DAR
    std 11, REPORT_FAULT_DAR(13)
    mfspr 10, SRR0
    addi 10, 10, 4
    mtspr SRR0, 10
    mfsprg 11, 2
    mtcr 11
    mfsprg 10, 0
    mfsprg 11, 1
    rfid
1:  li 4, -77
    li 5, 0x300
    mfspr 6, DAR
    mfspr 7, DSISR
    mfspr 8, SRR0
    mfspr 9, SRR1
    CALL_VMM
    .globl handle_data_storage_end
handle_data_storage_end:
    .if handle_data_storage_end - handle_data_storage > VECTOR_BYTES
    .error "the handler reaches into the next vector"
    .endif

    .globl handle_decrementer
handle_decrementer:
    mtsprg 1, 11
    ld 11, REPORT_TICKS(13)
    addi 11, 11, 1
    std 11, REPORT_TICKS(13)
    lis 11, TICK@h
    mtdec 11
    mfsprg 11, 1
    rfid
    .globl handle_decrementer_end
handle_decrementer_end:

    // Anything else is a failure, told to the VMM with the vector it came to.
    .globl handle_unexpected
handle_unexpected:
    li 4, -77
    bcl 20, 31, 1f
1:  mflr 5
    mfspr 6, DAR
    mfspr 7, DSISR
    mfspr 8, SRR0
    mfspr 9, SRR1
    CALL_VMM
    .globl handle_unexpected_end
handle_unexpected_end:

    .section .note.GNU-stack, "", @progbits
