#ifndef KVM_HTAB_NATIVE_ARGUMENTS_H_
#define KVM_HTAB_NATIVE_ARGUMENTS_H_

#include <napi.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>

namespace kvm_htab {

// Arguments are checked here for every caller. Each function fills `out`, or gives false with a
// TypeError pending.

inline bool RefuseArgument(const Napi::Value& value, const char* expected) {
  Napi::TypeError::New(value.Env(), std::string("Expected ") + expected)
      .ThrowAsJavaScriptException();
  return false;
}

// A whole number that `Integer` and a double both hold exactly, or a bigint where it has 64 bits.
template <typename Integer>
bool IntegerArgument(const Napi::Value& value, Integer* out) {
  if (sizeof(Integer) == 8 && value.IsBigInt()) {
    bool lossless = false;
    *out = static_cast<Integer>(value.As<Napi::BigInt>().Uint64Value(&lossless));
    return lossless || RefuseArgument(value, "a bigint of 64 bits");
  }
  constexpr double kMaxSafeInteger = 9007199254740991.0;
  constexpr double kMaximum = sizeof(Integer) == 8
                                  ? kMaxSafeInteger
                                  : static_cast<double>(std::numeric_limits<Integer>::max());
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  // Written so that NaN is refused too.
  if (!(number >= 0 && number <= kMaximum) || std::trunc(number) != number) {
    return RefuseArgument(value, "a whole number in range");
  }
  *out = static_cast<Integer>(number);
  return true;
}

// Not what coercion makes of any other value: that is not possible where the environment is ending,
// and Napi::Value::ToBoolean() aborts the process then.
inline bool BooleanArgument(const Napi::Value& value, bool* out) {
  if (!value.IsBoolean()) return RefuseArgument(value, "a boolean");
  *out = value.As<Napi::Boolean>().Value();
  return true;
}

inline bool StringArgument(const Napi::Value& value, std::string* out) {
  if (!value.IsString()) return RefuseArgument(value, "a string");
  *out = value.As<Napi::String>().Utf8Value();
  // A system call would take what stands before it for all there is.
  return out->find('\0') == std::string::npos || RefuseArgument(value, "a string without NUL");
}

// Memory of a job's own, as long as the caller's Uint8Array. The array's memory does not go to the
// pool (but for ReadMemory): JavaScript may transfer or resize it at any time, and Node-API has no
// way to keep it from being freed under a system call.
struct Bytes {
  std::unique_ptr<uint8_t[]> data;
  size_t length = 0;
};

// The kernel forgets a record's header when it checks a write's length, and takes what lies behind
// the bytes for the rest of the record (kernel-abi.md 4.2).
constexpr size_t kOverRead = 8;

inline bool ArrayArgument(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    return RefuseArgument(value, "a Uint8Array");
  }
  const auto array = value.As<Napi::Uint8Array>();
  // Other threads write to shared memory while it is copied.
  if (!array.ArrayBuffer().IsArrayBuffer()) return RefuseArgument(value, "memory not shared");
  return !array.ArrayBuffer().IsDetached() || RefuseArgument(value, "memory not detached");
}

inline bool AllocateFor(const Napi::Uint8Array& array, Bytes* out) {
  out->length = array.ByteLength();
  out->data.reset(new (std::nothrow) uint8_t[out->length + kOverRead]);
  if (out->data != nullptr) return true;
  Napi::RangeError::New(array.Env(), "No memory for the bytes of a system call")
      .ThrowAsJavaScriptException();
  return false;
}

// SAFETY (both below): the array is asked for its memory right before the copy, and no JavaScript
// runs in between.

// Behind the bytes come those that lie behind them in the caller's memory, or zeros.
inline void CopyFrom(const Napi::Uint8Array& array, Bytes* bytes) {
  const size_t behind = array.ArrayBuffer().ByteLength() - array.ByteOffset() - bytes->length;
  const size_t count = bytes->length + std::min(behind, kOverRead);
  if (count > 0) std::memcpy(bytes->data.get(), array.Data(), count);
  std::memset(bytes->data.get() + count, 0, bytes->length + kOverRead - count);
}

// False where the array has become too short: its memory was transferred away or resized. Without
// bytes of the job's own, what was read is in the array.
inline bool CopyTo(Napi::Uint8Array array, const Bytes& bytes, size_t count) {
  if (count > array.ByteLength()) return false;
  if (bytes.data != nullptr && count > 0) std::memcpy(array.Data(), bytes.data.get(), count);
  return true;
}

}  // namespace kvm_htab

#endif  // KVM_HTAB_NATIVE_ARGUMENTS_H_
