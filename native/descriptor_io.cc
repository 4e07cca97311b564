#include "descriptor_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace kvm_htab::sys {
namespace {

// As the kernel lays it out, in the host's byte order.
struct RecordHeader {
  uint32_t index;
  uint16_t valid_count;
  uint16_t invalid_count;
};
static_assert(sizeof(RecordHeader) == 8);

constexpr size_t kHpteBytes = 16;

// Length of the record at `bytes`, or 0 where fewer bytes are there than it needs.
size_t RecordLength(const uint8_t* bytes, size_t available) {
  RecordHeader header;
  if (available < sizeof header) return 0;
  // SAFETY: sizeof header bytes are there; a copy, because a record may begin at any address.
  std::memcpy(&header, bytes, sizeof header);
  const size_t length = sizeof header + kHpteBytes * header.valid_count;
  return length <= available ? length : 0;
}

}  // namespace

Outcome ReadOnce(int fd, uint8_t* bytes, size_t length) {
  return OutcomeOf("read", read(fd, bytes, length));
}

Outcome WriteOnce(int fd, const uint8_t* bytes, size_t length) {
  return OutcomeOf("write", write(fd, bytes, length));
}

RecordsOutcome WriteRecords(int fd, const uint8_t* bytes, size_t length) {
  RecordsOutcome outcome;
  while (outcome.bytes_applied < length) {
    const uint8_t* record = bytes + outcome.bytes_applied;
    const size_t record_length = RecordLength(record, length - outcome.bytes_applied);
    outcome.refused = true;
    if (record_length == 0) {
      outcome.refusal = -EINVAL;
      return outcome;
    }
    // SAFETY: the record lies within the caller's bytes, and is passed whole: given fewer bytes,
    // the kernel reads up to 8 past their end.
    const Outcome written = WriteOnce(fd, record, record_length);
    outcome.refusal = written.error != 0 ? -written.error : written.value;
    if (outcome.refusal != static_cast<int64_t>(record_length)) return outcome;
    outcome.refused = false;
    outcome.bytes_applied += record_length;
    ++outcome.records_applied;
  }
  return outcome;
}

Outcome CloseOnce(int fd) { return OutcomeOf("close", close(fd)); }

Outcome NameOfFd(int fd, char* name, size_t capacity) {
  char link[32];
  static_cast<void>(std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd));
  return OutcomeOf("readlink", readlink(link, name, capacity));
}

Outcome FlagsOfFd(int fd) { return OutcomeOf("fcntl", fcntl(fd, F_GETFL)); }

Outcome AdoptFd(int fd, bool duplicate) {
  if (duplicate) return OutcomeOf("fcntl", fcntl(fd, F_DUPFD_CLOEXEC, 0));
  const Outcome marked = OutcomeOf("fcntl", fcntl(fd, F_SETFD, FD_CLOEXEC));
  return marked.error != 0 ? marked : Outcome{fd, 0, "fcntl"};
}

}  // namespace kvm_htab::sys
