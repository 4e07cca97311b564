#ifndef KVM_HTAB_NATIVE_ARGUMENTS_H_
#define KVM_HTAB_NATIVE_ARGUMENTS_H_

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

namespace kvm_htab {

// Arguments are checked here whoever calls. Each function fills `out`, or gives false with a
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

inline bool StringArgument(const Napi::Value& value, std::string* out) {
  if (!value.IsString()) return RefuseArgument(value, "a string");
  *out = value.As<Napi::String>().Utf8Value();
  return true;
}

// The caller's memory during one call; the reference keeps it from being collected meanwhile.
struct Bytes {
  Napi::Reference<Napi::Uint8Array> array;
  uint8_t* data = nullptr;
  size_t length = 0;
};

inline bool BytesArgument(const Napi::Value& value, Bytes* out) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    return RefuseArgument(value, "a Uint8Array");
  }
  auto array = value.As<Napi::Uint8Array>();
  const Napi::Value memory = array.ArrayBuffer();
  // SAFETY: the pool uses this memory while JavaScript runs. Shared memory may change under the
  // kernel and resizable memory may shrink, so both stay out.
  if (!memory.IsArrayBuffer()) return RefuseArgument(value, "memory that is not shared");
  if (memory.As<Napi::ArrayBuffer>().IsDetached()) {
    return RefuseArgument(value, "memory that is not detached");
  }
  if (memory.As<Napi::Object>().Get("resizable").ToBoolean().Value()) {
    return RefuseArgument(value, "memory of fixed size");
  }
  out->array = Napi::Reference<Napi::Uint8Array>::New(array, 1);
  out->data = array.Data();
  out->length = array.ByteLength();
  return true;
}

}  // namespace kvm_htab

#endif  // KVM_HTAB_NATIVE_ARGUMENTS_H_
