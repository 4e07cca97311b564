#include "descriptors.h"

#include <unistd.h>

#include <cstring>

#include "table.h"

namespace kvm_htab::bench {

uint64_t ReadAll(int fd) {
  // Where it begins matters: on a Zen 3 the kernel's copy takes three times as long to an address
  // 16 bytes into a page, and that is where malloc puts a MiB.
  alignas(4096) static uint8_t buffer[1 << 20];
  uint64_t total = 0;
  for (;;) {
    const ssize_t bytes = read(fd, buffer, sizeof buffer);
    if (bytes <= 0) return total;
    total += static_cast<uint64_t>(bytes);
  }
}

bool WriteEach(int fd, const uint8_t* records, size_t size) {
  for (size_t at = 0; at < size;) {
    Header header;
    if (size - at < sizeof(Header)) return false;
    memcpy(&header, records + at, sizeof(Header));
    const size_t length = sizeof(Header) + header.valid * sizeof(Entry);
    if (size - at < length) return false;
    if (write(fd, records + at, length) != static_cast<ssize_t>(length)) return false;
    at += length;
  }
  return true;
}

}  // namespace kvm_htab::bench
