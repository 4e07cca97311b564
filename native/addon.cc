#include <napi.h>

#include <string>
#include <tuple>
#include <utility>

#include "arguments.h"
#include "descriptor.h"
#include "descriptor_io.h"
#include "descriptor_passing.h"
#include "job.h"
#include "kvm.h"

// What JavaScript sees: one function per system call, each giving a promise (lib/vm/kvm/addon.ts
// has their types). No rule about tables or passes stands here.

namespace kvm_htab {
namespace {

using Napi::CallbackInfo;
using Deferred = Napi::Promise::Deferred;
using sys::Outcome;

// ---- what a promise is settled with ----

void SettleDescriptor(const Deferred& deferred, const Outcome& outcome) {
  if (outcome.error != 0) return RejectCall(deferred, outcome);
  const Napi::Value descriptor = Descriptor::Own(deferred.Env(), static_cast<int>(outcome.value));
  if (!descriptor.IsEmpty()) deferred.Resolve(descriptor);
}

void SettleVoid(const Deferred& deferred, const Outcome& outcome) {
  if (outcome.error != 0) return RejectCall(deferred, outcome);
  deferred.Resolve(deferred.Env().Undefined());
}

void SettleRecords(const Deferred& deferred, const sys::RecordsOutcome& outcome) {
  const Napi::Env env = deferred.Env();
  Napi::Object result = Napi::Object::New(env);
  result.Set("bytesApplied", static_cast<double>(outcome.bytes_applied));
  result.Set("recordsApplied", outcome.records_applied);
  if (outcome.refused) result.Set("refusal", static_cast<double>(outcome.refusal));
  deferred.Resolve(result);
}

struct FileResult {
  Outcome outcome;
  int64_t flags;
  char name[64];
};

void SettleFile(const Deferred& deferred, const FileResult& result) {
  if (result.outcome.error != 0) return RejectCall(deferred, result.outcome);
  const Napi::Env env = deferred.Env();
  Napi::Object file = Napi::Object::New(env);
  file.Set("name", Napi::String::New(env, result.name, static_cast<size_t>(result.outcome.value)));
  file.Set("flags", static_cast<double>(result.flags));
  deferred.Resolve(file);
}

struct ReceiveResult {
  Outcome outcome;
  sys::Received received;
};

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

// ---- how a system call is reached ----

// Runs `call(fd)` on the pool while the descriptor is held open.
template <typename Call, typename Settle>
Napi::Value CallOn(Descriptor* descriptor, Call call, Settle settle) {
  return RunJob(
      descriptor->Env(),
      [use = Descriptor::Use(descriptor), call = std::move(call)] { return call(use.fd()); },
      settle);
}

template <typename Settle, typename... Integers, size_t... Indices>
Napi::Value CallWithIntegers(const CallbackInfo& info, Outcome (*function)(int, Integers...),
                             Settle settle, std::index_sequence<Indices...> /*positions*/) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  std::tuple<Integers...> arguments;
  if (descriptor == nullptr ||
      !(IntegerArgument(info[Indices + 1], &std::get<Indices>(arguments)) && ...)) {
    return {};
  }
  return CallOn(
      descriptor,
      [function, arguments](int fd) {
        return std::apply([&](auto... values) { return function(fd, values...); }, arguments);
      },
      settle);
}

template <typename Settle, typename... Integers>
Napi::Value CallWithIntegers(const CallbackInfo& info, Outcome (*function)(int, Integers...),
                             Settle settle) {
  return CallWithIntegers(info, function, settle, std::index_sequence_for<Integers...>());
}

// A JavaScript function of a descriptor and whole numbers.
template <auto Function, auto Settle>
Napi::Value WithIntegers(const CallbackInfo& info) {
  return CallWithIntegers(info, Function, Settle);
}

// A JavaScript function of a descriptor and a Uint8Array.
template <auto Function, auto Settle>
Napi::Value WithBytes(const CallbackInfo& info) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  Bytes bytes;
  if (descriptor == nullptr || !BytesArgument(info[1], &bytes)) return {};
  return CallOn(
      descriptor,
      [bytes = std::move(bytes)](int fd) { return Function(fd, bytes.data, bytes.length); },
      Settle);
}

// ---- the calls of any other shape ----

Napi::Value OpenKvm(const CallbackInfo& info) {
  std::string path;
  if (!StringArgument(info[0], &path)) return {};
  return RunJob(
      info.Env(), [path] { return sys::OpenKvm(path.c_str()); }, SettleDescriptor);
}

Napi::Value Adopt(const CallbackInfo& info) {
  int fd = 0;
  if (!IntegerArgument(info[0], &fd)) return {};
  const bool duplicate = info[1].ToBoolean().Value();
  return RunJob(
      info.Env(), [fd, duplicate] { return sys::AdoptFd(fd, duplicate); }, SettleDescriptor);
}

Napi::Value InspectFile(const CallbackInfo& info) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  if (descriptor == nullptr) return {};
  return CallOn(
      descriptor,
      [](int fd) {
        FileResult result = {};
        result.outcome = sys::FlagsOfFd(fd);
        result.flags = result.outcome.value;
        if (result.outcome.error == 0) {
          result.outcome = sys::NameOfFd(fd, result.name, sizeof result.name);
        }
        return result;
      },
      SettleFile);
}

Napi::Value TakeDescriptor(const CallbackInfo& info) {
  int pid = 0;
  int fd = 0;
  if (!IntegerArgument(info[0], &pid) || !IntegerArgument(info[1], &fd)) return {};
  return RunJob(
      info.Env(), [pid, fd] { return sys::TakeFd(pid, fd); }, SettleDescriptor);
}

Napi::Value ReceiveDescriptors(const CallbackInfo& info) {
  std::string path;
  std::string request;
  uint32_t timeout_ms = 0;
  if (!StringArgument(info[0], &path) || !StringArgument(info[1], &request) ||
      !IntegerArgument(info[2], &timeout_ms)) {
    return {};
  }
  return RunJob(
      info.Env(),
      [path, request, timeout_ms] {
        ReceiveResult result = {};
        result.outcome = sys::ReceiveFds(path.c_str(), request.data(), request.size(), timeout_ms,
                                         &result.received);
        return result;
      },
      SettleReceived);
}

Napi::Value OfferDescriptor(const CallbackInfo& info) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  std::string path;
  uint32_t timeout_ms = 0;
  if (descriptor == nullptr || !StringArgument(info[1], &path) ||
      !IntegerArgument(info[2], &timeout_ms)) {
    return {};
  }
  return CallOn(
      descriptor, [path, timeout_ms](int fd) { return sys::OfferFd(path.c_str(), fd, timeout_ms); },
      SettleVoid);
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  Descriptor::Define(env);
  const auto define = [&](const char* name, auto function) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  define("openKvm", OpenKvm);
  define("getApiVersion", WithIntegers<sys::GetApiVersion, SettleResult>);
  define("checkExtension", WithIntegers<sys::CheckExtension, SettleResult>);
  define("createVm", WithIntegers<sys::CreateVm, SettleDescriptor>);
  define("allocateHtab", WithIntegers<sys::AllocateHtab, SettleResult>);
  define("getHtabFd", WithIntegers<sys::GetHtabFd, SettleDescriptor>);
  define("prepareHptResize", WithIntegers<sys::PrepareHptResize, SettleResult>);
  define("commitHptResize", WithIntegers<sys::CommitHptResize, SettleResult>);
  define("configureV3Mmu", WithIntegers<sys::ConfigureV3Mmu, SettleResult>);
  define("getSmmuInfo", WithBytes<sys::GetSmmuInfo, SettleResult>);
  define("read", WithBytes<sys::ReadOnce, SettleResult>);
  define("write", WithBytes<sys::WriteOnce, SettleResult>);
  define("writeRecords", WithBytes<sys::WriteRecords, SettleRecords>);
  define("adopt", Adopt);
  define("inspectFile", InspectFile);
  define("takeDescriptor", TakeDescriptor);
  define("receiveDescriptors", ReceiveDescriptors);
  define("offerDescriptor", OfferDescriptor);
  return exports;
}

NODE_API_MODULE(NODE_GYP_MODULE_NAME, Init)

}  // namespace
}  // namespace kvm_htab
