#include "read_memory.h"

#include <cstdlib>
#include <utility>

namespace kvm_htab {
namespace {

// Marks the ArrayBuffers of this class: no script can mark another, or unmark one.
constexpr napi_type_tag kTypeTag = {0x6b766d2d68746162, 0x726561646d656d31};

}  // namespace

Napi::Value ReadMemory::Allocate(Napi::Env env, size_t length) {
  // Zeros: a script must not see what the memory held before.
  auto* bytes = static_cast<uint8_t*>(std::calloc(length, 1));
  if (bytes == nullptr) return env.Undefined();
  auto* memory = new ReadMemory(bytes);
  napi_value buffer = nullptr;
  // SAFETY: the runtime calls back once, on this thread, when the last ArrayBuffer over these bytes
  // is gone, or the environment ends.
  const napi_status status = napi_create_external_arraybuffer(
      env, bytes, length,
      [](napi_env, void*, void* held) { static_cast<ReadMemory*>(held)->LetGo(); }, memory,
      &buffer);
  if (status == napi_no_external_buffers_allowed) {
    memory->LetGo();
    return env.Undefined();
  }
  // Any other failure may have called back, or will: rather a leak than a second free.
  if (status != napi_ok) return {};
  // Where a mark fails the environment is ending, and the memory is like any other.
  if (napi_wrap(env, buffer, memory, nullptr, nullptr, nullptr) == napi_ok) {
    napi_type_tag_object(env, buffer, &kTypeTag);
  }
  return Napi::Uint8Array::New(env, length, Napi::ArrayBuffer(env, buffer), 0);
}

ReadMemory::~ReadMemory() { std::free(bytes_); }

void ReadMemory::LetGo() {
  if (--holders_ == 0) delete this;
}

ReadMemory::Use::Use(const Napi::Uint8Array& array) {
  const Napi::ArrayBuffer buffer = array.ArrayBuffer();
  bool is_ours = false;
  if (napi_check_object_type_tag(array.Env(), buffer, &kTypeTag, &is_ours) != napi_ok || !is_ours) {
    return;
  }
  void* memory = nullptr;
  if (napi_unwrap(array.Env(), buffer, &memory) != napi_ok) return;
  // SAFETY: an ArrayBuffer that is not detached has its memory, which JavaScript then still holds.
  memory_ = static_cast<ReadMemory*>(memory);
  ++memory_->holders_;
}

ReadMemory::Use::Use(Use&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}

ReadMemory::Use::~Use() {
  if (memory_ != nullptr) memory_->LetGo();
}

}  // namespace kvm_htab
