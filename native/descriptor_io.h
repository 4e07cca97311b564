#ifndef KVM_HTAB_NATIVE_DESCRIPTOR_IO_H_
#define KVM_HTAB_NATIVE_DESCRIPTOR_IO_H_

// read(2), write(2) and close(2) on an HTAB descriptor, the loop over whole records, and what a
// descriptor number stands for.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "outcome.h"

namespace kvm_htab::sys {

// Exactly one read(2). No retry on EINTR: an HTAB read never sleeps interruptibly.
Outcome ReadOnce(int fd, uint8_t* bytes, size_t length);
// Exactly one write(2).
Outcome WriteOnce(int fd, const uint8_t* bytes, size_t length);

struct RecordsOutcome {
  // The record after those applied.
  struct Refusal {
    uint32_t ptex;
    Outcome write;  // failed, or took another length than the record's
  };
  // A record that the bytes end within; the kernel has been shown none of them then.
  struct Cut {
    size_t byte_offset;
    uint32_t record_index;
  };

  size_t bytes_applied = 0;  // whole records, in order from the first
  uint32_t records_applied = 0;
  std::optional<Refusal> refusal;
  std::optional<Cut> cut;
};

// Writes whole records with one write(2) each. More than one in a call destroys entries: the
// kernel does not step over a record's entries before it looks for the next header.
RecordsOutcome WriteRecords(int fd, const uint8_t* bytes, size_t length);

// Leaves the number invalid whatever it answers: close(2) must never be tried again on Linux.
Outcome CloseOnce(int fd);

// Finds what /proc calls the open file behind `fd`, such as "anon_inode:kvm-htab".
// value: the file's flags, of which O_ACCMODE says whether it reads or writes.
Outcome InspectFd(int fd, std::string* name);

// Makes `fd` close-on-exec. value: `fd`.
Outcome MarkCloseOnExec(int fd);
// value: a close-on-exec duplicate, which shares the file and its cursor.
Outcome DuplicateFd(int fd);

}  // namespace kvm_htab::sys

#endif  // KVM_HTAB_NATIVE_DESCRIPTOR_IO_H_
