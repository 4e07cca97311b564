#include <napi.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "arguments.h"
#include "attach.h"
#include "descriptor.h"
#include "descriptor_io.h"
#include "descriptor_passing.h"
#include "job.h"
#include "kvm.h"
#include "read_memory.h"
#include "settle.h"

// What JavaScript sees: one function per system call; each returns a promise, but for allocate and
// exitNow (lib/vm/kvm/addon.ts has their types). Rules about tables and passes are TypeScript's.

namespace kvm_htab {
namespace {

using Napi::CallbackInfo;
using sys::Outcome;

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

// A JavaScript function of a descriptor.
template <auto Function, auto Settle>
Napi::Value OfDescriptor(const CallbackInfo& info) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  if (descriptor == nullptr) return {};
  return CallOn(
      descriptor, [](int fd) { return Function(fd); }, Settle);
}

// A JavaScript function of a descriptor and a whole number.
template <typename Integer, auto Function, auto Settle>
Napi::Value WithNumber(const CallbackInfo& info) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  Integer number = 0;
  if (descriptor == nullptr || !IntegerArgument(info[1], &number)) return {};
  return CallOn(
      descriptor, [number](int fd) { return Function(fd, number); }, Settle);
}

// A JavaScript function of a descriptor and two whole numbers of 64 bits.
template <auto Function, auto Settle>
Napi::Value WithTwoNumbers(const CallbackInfo& info) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  uint64_t first = 0;
  uint64_t second = 0;
  if (descriptor == nullptr || !IntegerArgument(info[1], &first) ||
      !IntegerArgument(info[2], &second)) {
    return {};
  }
  return CallOn(
      descriptor, [first, second](int fd) { return Function(fd, first, second); }, Settle);
}

// A JavaScript function of a descriptor and the bytes of a Uint8Array.
template <auto Function, auto Settle>
Napi::Value FromBytes(const CallbackInfo& info) {
  Descriptor* descriptor = Descriptor::From(info[0]);
  Bytes bytes;
  if (descriptor == nullptr || !ArrayArgument(info[1])) return {};
  if (!AllocateFor(info[1].As<Napi::Uint8Array>(), &bytes)) return {};
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
  if (descriptor == nullptr || !ArrayArgument(info[1])) return {};
  auto array = info[1].As<Napi::Uint8Array>();
  ReadMemory::Use lent(array);
  Bytes bytes;
  if (!lent && !AllocateFor(array, &bytes)) return {};
  // SAFETY: whichever it is, the job keeps it until the call is through.
  uint8_t* data = lent ? array.Data() : bytes.data.get();
  return CallOn(
      descriptor,
      [lent = std::move(lent), bytes = std::move(bytes), data,
       length = array.ByteLength()](int fd) mutable {
        const Outcome outcome = Function(fd, data, length);
        return FillResult{outcome, std::move(bytes)};
      },
      [array = Napi::Persistent(array)](const Deferred& deferred, const FillResult& result) {
        Outcome outcome = result.outcome;
        const auto count = static_cast<size_t>(outcome.value);
        // As the kernel has it for memory that is not there: what was read is lost.
        if (!CopyTo(array.Value(), result.bytes, count)) outcome = {0, EFAULT, outcome.call};
        SettleNumber(deferred, outcome);
      });
}

// ---- the calls of any other shape ----

Napi::Value Allocate(const CallbackInfo& info) {
  uint32_t length = 0;
  if (!IntegerArgument(info[0], &length)) return {};
  return ReadMemory::Allocate(info.Env(), length);
}

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

Napi::Value OpenHtabIn(const CallbackInfo& info) {
  sys::AttachTarget target = {};
  if (!IntegerArgument(info[0], &target.pid) || !IntegerArgument(info[1], &target.tid) ||
      !IntegerArgument(info[2], &target.vm) || !IntegerArgument(info[3], &target.flags) ||
      !IntegerArgument(info[4], &target.start_index) ||
      !BooleanArgument(info[5], &target.has_seccomp_filter)) {
    return {};
  }
  return RunJob(
      info.Env(), [target] { return sys::OpenHtabIn(target); }, SettleDescriptor);
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
  define("getApiVersion", OfDescriptor<sys::GetApiVersion, SettleNumber>);
  define("checkExtension", WithNumber<uint32_t, sys::CheckExtension, SettleNumber>);
  define("createVm", WithNumber<uint64_t, sys::CreateVm, SettleDescriptor>);
  define("allocateHtab", WithNumber<uint32_t, sys::AllocateHtab, SettleNumber>);
  define("getHtabFd", WithTwoNumbers<sys::GetHtabFd, SettleDescriptor>);
  define("prepareHptResize", WithNumber<uint32_t, sys::PrepareHptResize, SettleNumber>);
  define("commitHptResize", WithNumber<uint32_t, sys::CommitHptResize, SettleVoid>);
  define("configureV3Mmu", WithTwoNumbers<sys::ConfigureV3Mmu, SettleVoid>);
  define("getSmmuInfo", IntoBytes<sys::GetSmmuInfo>);
  define("allocate", Allocate);
  define("read", IntoBytes<sys::ReadOnce>);
  define("write", FromBytes<sys::WriteOnce, SettleNumber>);
  define("writeRecords", FromBytes<sys::WriteRecords, SettleRecords>);
  define("adopt", Adopt);
  define("duplicate", OfDescriptor<sys::DuplicateFd, SettleDescriptor>);
  define("inspectFile", InspectFile);
  define("takeDescriptor", TakeDescriptor);
  define("openHtabIn", OpenHtabIn);
  define("connect", OfPath<sys::ConnectTo>);
  define("listen", OfPath<sys::ListenAt>);
  define("send", FromBytes<sys::SendOnce, SettleNumber>);
  define("receive", Receive);
  define("offer", Offer);
  define("exitNow", ExitNow);
  return exports;
}

NODE_API_MODULE(NODE_GYP_MODULE_NAME, Init)

}  // namespace
}  // namespace kvm_htab
