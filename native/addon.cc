#include <napi.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "arguments.h"
#include "descriptor.h"
#include "descriptor_io.h"
#include "descriptor_passing.h"
#include "job.h"
#include "kvm.h"

// What JavaScript sees: one function per system call, each but exitNow giving a promise
// (lib/vm/kvm/addon.ts has their types). No rule about tables or passes stands here.

namespace kvm_htab {
namespace {

using Napi::CallbackInfo;
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
  if (outcome.refusal) {
    Napi::Object refusal = Napi::Object::New(env);
    refusal.Set("ptex", outcome.refusal->ptex);
    refusal.Set("result", static_cast<double>(outcome.refusal->result));
    result.Set("refusal", refusal);
  }
  if (outcome.cut) {
    Napi::Object cut = Napi::Object::New(env);
    cut.Set("byteOffset", static_cast<double>(outcome.cut->byte_offset));
    cut.Set("recordIndex", outcome.cut->record_index);
    result.Set("cut", cut);
  }
  deferred.Resolve(result);
}

struct FileResult {
  Outcome outcome;
  std::string name;
};

void SettleFile(const Deferred& deferred, const FileResult& result) {
  if (result.outcome.error != 0) return RejectCall(deferred, result.outcome);
  const Napi::Env env = deferred.Env();
  Napi::Object file = Napi::Object::New(env);
  file.Set("name", result.name);
  file.Set("flags", static_cast<double>(result.outcome.value));
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
      [use = Descriptor::Use(descriptor), call = std::move(call)]() mutable {
        return call(use.fd());
      },
      std::move(settle));
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

// A JavaScript function of a descriptor and the bytes of a Uint8Array.
template <auto Function, auto Settle>
Napi::Value FromBytes(const CallbackInfo& info) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  Bytes bytes;
  if (descriptor == nullptr || !BytesArgument(info[1], &bytes)) return {};
  CopyFrom(info[1].As<Napi::Uint8Array>(), &bytes);
  return CallOn(
      descriptor,
      [bytes = std::move(bytes)](int fd) { return Function(fd, bytes.data.get(), bytes.length); },
      Settle);
}

struct FillResult {
  Outcome outcome;
  Bytes bytes;
};

// A JavaScript function of a descriptor and a Uint8Array that it fills; its result is how far.
template <auto Function>
Napi::Value IntoBytes(const CallbackInfo& info) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  Bytes bytes;
  if (descriptor == nullptr || !BytesArgument(info[1], &bytes)) return {};
  return CallOn(
      descriptor,
      [bytes = std::move(bytes)](int fd) mutable {
        const Outcome outcome = Function(fd, bytes.data.get(), bytes.length);
        return FillResult{outcome, std::move(bytes)};
      },
      [array = Napi::Persistent(info[1].As<Napi::Uint8Array>())](const Deferred& deferred,
                                                                 const FillResult& result) {
        Outcome outcome = result.outcome;
        const auto count = static_cast<size_t>(outcome.value);
        // As the kernel has it for memory that is not there: what was read is lost.
        if (!CopyTo(array.Value(), result.bytes, count)) outcome = {0, EFAULT, outcome.call};
        SettleResult(deferred, outcome);
      });
}

// ---- the calls of any other shape ----

// A JavaScript function of a path that gives a descriptor.
template <auto Function>
Napi::Value OfPath(const CallbackInfo& info) {
  std::string path;
  if (!StringArgument(info[0], &path)) return {};
  return RunJob(
      info.Env(), [path] { return Function(path.c_str()); }, SettleDescriptor);
}

struct AdoptResult {
  Outcome outcome;
  std::optional<std::string> refused;  // the name of a file that is not the one wanted
};

Napi::Value Adopt(const CallbackInfo& info) {
  int fd = 0;
  bool duplicate = false;
  std::string wanted;
  if (!IntegerArgument(info[0], &fd) || !BooleanArgument(info[1], &duplicate)) return {};
  if (!info[2].IsUndefined() && !StringArgument(info[2], &wanted)) return {};
  return RunJob(
      info.Env(),
      [fd, duplicate, wanted] {
        if (!wanted.empty()) {
          std::string name;
          const Outcome inspected = sys::InspectFd(fd, &name);
          if (inspected.error != 0 || name != wanted) return AdoptResult{inspected, name};
        }
        return AdoptResult{duplicate ? sys::DuplicateFd(fd) : sys::MarkCloseOnExec(fd), {}};
      },
      [fd, duplicate](const Deferred& deferred, const AdoptResult& result) {
        if (result.outcome.error == 0 && result.refused) {
          return deferred.Resolve(Napi::String::New(deferred.Env(), *result.refused));
        }
        // Two owners would both close the number, and the second whatever file has it then.
        if (result.outcome.error == 0 && !duplicate && Descriptor::Owns(deferred.Env(), fd)) {
          return RejectCall(deferred, {0, EBUSY, "fcntl"});
        }
        SettleDescriptor(deferred, result.outcome);
      });
}

Napi::Value InspectFile(const CallbackInfo& info) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  if (descriptor == nullptr) return {};
  return CallOn(
      descriptor,
      [](int fd) {
        FileResult result;
        result.outcome = sys::InspectFd(fd, &result.name);
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

Napi::Value Receive(const CallbackInfo& info) {
  Descriptor* peer = Descriptor::From(info[0]);
  if (peer == nullptr) return {};
  return CallOn(
      peer,
      [](int fd) {
        ReceiveResult result = {};
        result.outcome = sys::ReceiveMessage(fd, &result.received);
        return result;
      },
      SettleReceived);
}

Napi::Value Offer(const CallbackInfo& info) {
  Descriptor* listener = Descriptor::From(info[0]);
  Descriptor* offered = listener == nullptr ? nullptr : Descriptor::From(info[1]);
  if (offered == nullptr) return {};
  return CallOn(
      listener,
      [offered = Descriptor::Use(offered)](int fd) { return sys::OfferFd(fd, offered.fd()); },
      SettleVoid);
}

// exit(3) waits for the threads of the pool, of which one may never come back from its system call.
Napi::Value ExitNow(const CallbackInfo& info) {
  int code = 0;
  if (IntegerArgument(info[0], &code)) _exit(code);
  return {};
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  Descriptor::Define(env);
  const auto define = [&](const char* name, auto function) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  define("openKvm", OfPath<sys::OpenKvm>);
  define("getApiVersion", WithIntegers<sys::GetApiVersion, SettleResult>);
  define("checkExtension", WithIntegers<sys::CheckExtension, SettleResult>);
  define("createVm", WithIntegers<sys::CreateVm, SettleDescriptor>);
  define("allocateHtab", WithIntegers<sys::AllocateHtab, SettleResult>);
  define("getHtabFd", WithIntegers<sys::GetHtabFd, SettleDescriptor>);
  define("prepareHptResize", WithIntegers<sys::PrepareHptResize, SettleResult>);
  define("commitHptResize", WithIntegers<sys::CommitHptResize, SettleResult>);
  define("configureV3Mmu", WithIntegers<sys::ConfigureV3Mmu, SettleResult>);
  define("getSmmuInfo", IntoBytes<sys::GetSmmuInfo>);
  define("read", IntoBytes<sys::ReadOnce>);
  define("write", FromBytes<sys::WriteOnce, SettleResult>);
  define("writeRecords", FromBytes<sys::WriteRecords, SettleRecords>);
  define("adopt", Adopt);
  define("duplicate", WithIntegers<sys::DuplicateFd, SettleDescriptor>);
  define("inspectFile", InspectFile);
  define("takeDescriptor", TakeDescriptor);
  define("connect", OfPath<sys::ConnectTo>);
  define("listen", OfPath<sys::ListenAt>);
  define("send", FromBytes<sys::SendOnce, SettleResult>);
  define("receive", Receive);
  define("offer", Offer);
  define("exitNow", ExitNow);
  return exports;
}

NODE_API_MODULE(NODE_GYP_MODULE_NAME, Init)

}  // namespace
}  // namespace kvm_htab
