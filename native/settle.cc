#include "settle.h"

#include <napi.h>

#include "descriptor.h"

namespace kvm_htab {
namespace {

Napi::Error CallError(Napi::Env env, const sys::Outcome& outcome) {
  Napi::Error error = Napi::Error::New(env, std::string(outcome.call) + " failed");
  error.Set("errno", Napi::Number::New(env, outcome.error));
  error.Set("syscall", Napi::String::New(env, outcome.call));
  return error;
}

}  // namespace

void RejectCall(const Deferred& deferred, const sys::Outcome& outcome) {
  deferred.Reject(CallError(deferred.Env(), outcome).Value());
}

void SettleVoid(const Deferred& deferred, const sys::Outcome& outcome) {
  if (outcome.error != 0) return RejectCall(deferred, outcome);
  deferred.Resolve(deferred.Env().Undefined());
}

void SettleNumber(const Deferred& deferred, const sys::Outcome& outcome) {
  if (outcome.error != 0) return RejectCall(deferred, outcome);
  deferred.Resolve(Napi::Number::New(deferred.Env(), static_cast<double>(outcome.value)));
}

void SettleDescriptor(const Deferred& deferred, const sys::Outcome& outcome) {
  if (outcome.error != 0) return RejectCall(deferred, outcome);
  const Napi::Value descriptor = Descriptor::Own(deferred.Env(), static_cast<int>(outcome.value));
  if (!descriptor.IsEmpty()) deferred.Resolve(descriptor);
}

void SettleRecords(const Deferred& deferred, const sys::RecordsOutcome& outcome) {
  const Napi::Env env = deferred.Env();
  const auto bytes_applied = static_cast<double>(outcome.bytes_applied);
  if (outcome.refusal && outcome.refusal->write.error != 0) {
    Napi::Error error = CallError(env, outcome.refusal->write);
    error.Set("ptex", Napi::Number::New(env, outcome.refusal->ptex));
    error.Set("recordIndex", Napi::Number::New(env, outcome.records_applied));
    error.Set("bytesApplied", Napi::Number::New(env, bytes_applied));
    return deferred.Reject(error.Value());
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("bytesApplied", bytes_applied);
  result.Set("recordsApplied", outcome.records_applied);
  if (outcome.refusal) {
    Napi::Object partial = Napi::Object::New(env);
    partial.Set("ptex", outcome.refusal->ptex);
    partial.Set("bytesTaken", static_cast<double>(outcome.refusal->write.value));
    result.Set("partial", partial);
  }
  if (outcome.cut) {
    Napi::Object cut = Napi::Object::New(env);
    cut.Set("byteOffset", static_cast<double>(outcome.cut->byte_offset));
    cut.Set("recordIndex", outcome.cut->record_index);
    result.Set("cut", cut);
  }
  deferred.Resolve(result);
}

void SettleFile(const Deferred& deferred, const FileResult& result) {
  if (result.outcome.error != 0) return RejectCall(deferred, result.outcome);
  const Napi::Env env = deferred.Env();
  Napi::Object file = Napi::Object::New(env);
  file.Set("name", result.name);
  file.Set("flags", static_cast<double>(result.outcome.value));
  deferred.Resolve(file);
}

void SettleReceived(const Deferred& deferred, const ReceiveResult& result) {
  if (result.outcome.error != 0) return RejectCall(deferred, result.outcome);
  const Napi::Env env = deferred.Env();
  const sys::Received& received = result.received;
  // Every descriptor is given an owner, or closed, before anything else is done.
  Napi::Array descriptors = Napi::Array::New(env);
  for (size_t i = 0; i < received.fd_count; ++i) {
    const Napi::Value descriptor = Descriptor::Own(env, received.fds[i]);
    if (!descriptor.IsEmpty()) descriptors.Set(static_cast<uint32_t>(i), descriptor);
  }
  Napi::Object message = Napi::Object::New(env);
  message.Set("descriptors", descriptors);
  message.Set("text", Napi::String::New(env, received.text, received.text_length));
  deferred.Resolve(message);
}

}  // namespace kvm_htab
