#ifndef KVM_HTAB_NATIVE_SYSTEM_CALL_NUMBERS_H_
#define KVM_HTAB_NATIVE_SYSTEM_CALL_NUMBERS_H_

#include <sys/syscall.h>

// The same numbers on every architecture; older C libraries do not name them.
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

#endif  // KVM_HTAB_NATIVE_SYSTEM_CALL_NUMBERS_H_
