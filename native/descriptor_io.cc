#include "descriptor_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <climits>
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

struct Record {
  uint32_t ptex;
  size_t length;  // 0 where fewer bytes are there than it needs
};

Record RecordAt(const uint8_t* bytes, size_t available) {
  RecordHeader header = {};
  if (available < sizeof header) return {};
  // SAFETY: sizeof header bytes are there; a copy, because a record may begin at any address.
  std::memcpy(&header, bytes, sizeof header);
  const size_t length = sizeof header + kHpteBytes * header.valid_count;
  return {header.index, length <= available ? length : 0};
}

std::optional<RecordsOutcome::Cut> FindCut(const uint8_t* bytes, size_t length) {
  size_t start = 0;
  for (uint32_t index = 0; start < length; ++index) {
    const Record record = RecordAt(bytes + start, length - start);
    if (record.length == 0) return RecordsOutcome::Cut{start, index};
    start += record.length;
  }
  return {};
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
  outcome.cut = FindCut(bytes, length);
  if (outcome.cut) return outcome;
  while (outcome.bytes_applied < length) {
    const uint8_t* start = bytes + outcome.bytes_applied;
    const Record record = RecordAt(start, length - outcome.bytes_applied);
    // SAFETY: the record lies within the caller's bytes, and is passed whole: given fewer bytes,
    // the kernel reads up to 8 past their end.
    const Outcome written = WriteOnce(fd, start, record.length);
    if (written.error != 0 || written.value != static_cast<int64_t>(record.length)) {
      outcome.refusal = {record.ptex, written};
      return outcome;
    }
    outcome.bytes_applied += record.length;
    ++outcome.records_applied;
  }
  return outcome;
}

Outcome CloseOnce(int fd) { return OutcomeOf("close", close(fd)); }

Outcome InspectFd(int fd, std::string* name) {
  // First, because it tells a number that is not open (EBADF) from a machine without /proc.
  const Outcome flags = OutcomeOf("fcntl", fcntl(fd, F_GETFL));
  if (flags.error != 0) return flags;
  char target[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const Outcome length = OutcomeOf("readlink", readlink(link.c_str(), target, sizeof target));
  if (length.error != 0) return length;
  name->assign(target, static_cast<size_t>(length.value));
  return flags;
}

Outcome MarkCloseOnExec(int fd) {
  const Outcome marked = OutcomeOf("fcntl", fcntl(fd, F_SETFD, FD_CLOEXEC));
  return marked.error != 0 ? marked : Outcome{fd, 0, "fcntl"};
}

Outcome DuplicateFd(int fd) { return OutcomeOf("fcntl", fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

}  // namespace kvm_htab::sys
