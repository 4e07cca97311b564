#include "migration.h"

#include <openssl/evp.h>
#include <zlib.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "descriptors.h"

namespace kvm_htab::bench {
namespace {

constexpr size_t kMaxPayload = 1 << 20;
constexpr uint32_t kWindow = 8;

struct Freed {
  void operator()(uint8_t* memory) const { free(memory); }
};

std::unique_ptr<uint8_t, Freed> Buffer() {
  return std::unique_ptr<uint8_t, Freed>(static_cast<uint8_t*>(aligned_alloc(4096, kMaxPayload)));
}

enum Type : uint32_t { kData, kEnd, kApplied };

struct FrameHeader {
  uint32_t type;
  uint32_t length;
  uint32_t sequence;
  uint32_t crc;
};

uint32_t CrcOf(const FrameHeader& header, const void* payload) {
  auto* bytes = reinterpret_cast<const Bytef*>(&header);
  const auto crc = crc32(0, bytes, offsetof(FrameHeader, crc));
  return static_cast<uint32_t>(crc32(crc, static_cast<const Bytef*>(payload), header.length));
}

class Frames {
 public:
  explicit Frames(Channel* channel) : channel_(channel) {}

  bool Write(Type type, const void* payload, size_t length) {
    FrameHeader header = {type, static_cast<uint32_t>(length), written_++, 0};
    header.crc = CrcOf(header, payload);
    return channel_->Write(&header, sizeof header) && channel_->Write(payload, length);
  }

  // The next frame, whose payload is to be at most `limit` bytes.
  bool Read(FrameHeader* header, void* payload, size_t limit) {
    return channel_->Read(header, sizeof *header) && header->length <= limit &&
           channel_->Read(payload, header->length) && header->sequence == read_++ &&
           header->crc == CrcOf(*header, payload);
  }

 private:
  Channel* channel_;
  uint32_t written_ = 0;
  uint32_t read_ = 0;
};

// What both sides compare in the end.
struct Summary {
  Counts counts;
  std::array<uint8_t, 32> digest;
};

bool Same(const Summary& one, const Summary& other) {
  return one.counts.valid == other.counts.valid && one.counts.invalid == other.counts.invalid &&
         one.digest == other.digest;
}

// The table that the records so far give, with their counts and their hash.
class Copy {
 public:
  explicit Copy(const Table& table) : table_(table) {
    memset(table.entries, 0, table.count * sizeof(Entry));
    EVP_DigestInit_ex(hash_.get(), EVP_sha256(), nullptr);
  }

  bool Apply(const uint8_t* records, size_t size) {
    EVP_DigestUpdate(hash_.get(), records, size);
    return Store(table_, records, size, Host::kPower9, &counts_);
  }

  // Once, when all records have been applied.
  Summary Finish() {
    Summary summary = {counts_, {}};
    EVP_DigestFinal_ex(hash_.get(), summary.digest.data(), nullptr);
    return summary;
  }

 private:
  Table table_;
  Counts counts_ = {};
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash_ = {EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free};
};

// Whether the table reads back as it was written.
bool ReadBack(const Table& table, const Reads& reads, uint8_t* buffer) {
  Counts counts = {};
  const uint8_t* from = reads.bytes;
  for (size_t read = 0; read < reads.count; from += reads.lengths[read++]) {
    memcpy(buffer, from, reads.lengths[read]);
    if (!Agrees(table, buffer, reads.lengths[read], &counts)) return false;
  }
  return counts.valid + counts.invalid == table.count;
}

}  // namespace

bool SendTable(Channel* channel, const Reads& reads, const Table& table) {
  Frames frames(channel);
  Copy copy(table);
  const auto buffer = Buffer();
  uint32_t unapplied = 0;
  FrameHeader answer;
  uint32_t sequence;
  const auto await_applied = [&](uint32_t most) {
    for (; unapplied > most; unapplied--) {
      if (!frames.Read(&answer, &sequence, sizeof sequence) || answer.type != kApplied)
        return false;
    }
    return true;
  };
  const uint8_t* from = reads.bytes;
  for (size_t read = 0; read < reads.count; from += reads.lengths[read++]) {
    const size_t size = reads.lengths[read];
    memcpy(buffer.get(), from, size);
    if (!copy.Apply(buffer.get(), size) || !await_applied(kWindow - 1) ||
        !frames.Write(kData, buffer.get(), size)) {
      return false;
    }
    unapplied++;
  }
  const Summary sent = copy.Finish();
  Summary received;
  return await_applied(0) && frames.Write(kEnd, &sent, sizeof sent) &&
         frames.Read(&answer, &received, sizeof received) && Same(sent, received);
}

bool ReceiveTable(Channel* channel, int fd, const Reads& reads, const Table& table) {
  Frames frames(channel);
  Copy copy(table);
  const auto buffer = Buffer();
  for (;;) {
    FrameHeader header;
    if (!frames.Read(&header, buffer.get(), kMaxPayload)) return false;
    if (header.type == kEnd) break;
    if (!copy.Apply(buffer.get(), header.length) || !WriteEach(fd, buffer.get(), header.length) ||
        !frames.Write(kApplied, &header.sequence, sizeof header.sequence)) {
      return false;
    }
  }
  Summary sent;
  memcpy(&sent, buffer.get(), sizeof sent);
  const Summary received = copy.Finish();
  return Same(sent, received) && ReadBack(table, reads, buffer.get()) &&
         frames.Write(kEnd, &received, sizeof received);
}

}  // namespace kvm_htab::bench
