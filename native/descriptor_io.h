#ifndef KVM_HTAB_NATIVE_DESCRIPTOR_IO_H_
#define KVM_HTAB_NATIVE_DESCRIPTOR_IO_H_

// read(2), write(2) and close(2) on an HTAB descriptor, and the loop over whole records.

#include <cstddef>
#include <cstdint>

#include "outcome.h"

namespace kvm_htab::sys {

// Exactly one read(2). No retry on EINTR: an HTAB read never sleeps interruptibly.
Outcome ReadOnce(int fd, uint8_t* bytes, size_t length);
// Exactly one write(2).
Outcome WriteOnce(int fd, const uint8_t* bytes, size_t length);

struct RecordsOutcome {
  size_t bytes_applied = 0;  // whole records, in order from the first
  uint32_t records_applied = 0;
  bool refused = false;
  int64_t refusal =
      0;  // of the record after those: minus an errno, or a length that is not its own
};

// Writes whole records with one write(2) each. More than one in a call destroys entries: the
// kernel does not step over a record's entries before it looks for the next header. A last record
// that is cut is refused with EINVAL and not shown to the kernel.
RecordsOutcome WriteRecords(int fd, const uint8_t* bytes, size_t length);

// Leaves the number invalid whatever it answers: close(2) must never be tried again on Linux.
Outcome CloseOnce(int fd);

// What /proc calls the open file behind `fd`, such as "anon_inode:kvm-htab"; the name is cut at
// `capacity`. value: the name's length.
Outcome NameOfFd(int fd, char* name, size_t capacity);
// value: the open file's flags, of which O_ACCMODE says whether it reads or writes.
Outcome FlagsOfFd(int fd);

// Makes `fd` close-on-exec and returns it, or a close-on-exec duplicate that shares its file.
Outcome AdoptFd(int fd, bool duplicate);

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_DESCRIPTOR_IO_H_
