// One guest instruction each, with a call of the VMM behind it; the VMM sets the registers and starts
// a stub.

#define CALL_VMM li 3, 0x58; sc 1

    .rodata

    .globl stubs
stubs:

    .globl stub_hcall  // r3: number, r4..: arguments; the status comes back in r12
stub_hcall:
    sc 1
    mr 12, 3
    CALL_VMM

    .globl stub_load  // r5 := doubleword at r4
stub_load:
    ld 5, 0(4)
    CALL_VMM

    .globl stub_store  // doubleword at r4 := r5
stub_store:
    std 5, 0(4)
    CALL_VMM

    .globl stub_segment  // the one segment there is: r4 (RB) maps to r5 (RS)
stub_segment:
    isync
    slbia
    slbmte 5, 4
    isync
    CALL_VMM

    .globl stub_spin  // goes on until the VMM stops it
stub_spin:
    b stub_spin

    .globl stub_interrupt  // stands at every interrupt vector
stub_interrupt:
    CALL_VMM

    .globl stubs_end
stubs_end:
    .if stubs_end - stubs > 0x100
    .error "the stubs reach into the interrupt vectors"
    .endif

    .section .note.GNU-stack, "", @progbits
