#ifndef KVM_HTAB_NATIVE_JOB_H_
#define KVM_HTAB_NATIVE_JOB_H_

#include <napi.h>

#include <string>
#include <type_traits>
#include <utility>

#include "outcome.h"

namespace kvm_htab {

// A promise to be settled. Where the environment is ending (a worker that is being terminated) none
// can be made, and settling does nothing: Napi::Promise::Deferred would give JavaScript whatever
// stood in its memory.
class Deferred {
 public:
  explicit Deferred(Napi::Env env) : env_(env) { napi_create_promise(env, &deferred_, &promise_); }
  Napi::Env Env() const { return env_; }
  // Empty where none could be made.
  Napi::Value Promise() const { return {env_, promise_}; }
  void Resolve(napi_value value) const {
    if (deferred_ != nullptr) napi_resolve_deferred(env_, deferred_, value);
  }
  void Reject(napi_value value) const {
    if (deferred_ != nullptr) napi_reject_deferred(env_, deferred_, value);
  }

 private:
  Napi::Env env_;
  napi_deferred deferred_ = nullptr;
  napi_value promise_ = nullptr;
};

// Resolves with the kernel's own convention: the value, or minus the errno. For promises of one
// call, whose name TypeScript knows.
inline void SettleResult(const Deferred& deferred, const sys::Outcome& outcome) {
  const double result = outcome.error != 0 ? -outcome.error : static_cast<double>(outcome.value);
  deferred.Resolve(Napi::Number::New(deferred.Env(), result));
}

// Rejects with an Error that carries {errno, syscall}; TypeScript makes the error users see of it.
inline void RejectCall(const Deferred& deferred, const sys::Outcome& outcome) {
  const Napi::Env env = deferred.Env();
  Napi::Error error = Napi::Error::New(env, std::string(outcome.call) + " failed");
  error.Set("errno", Napi::Number::New(env, outcome.error));
  error.Set("syscall", Napi::String::New(env, outcome.call));
  deferred.Reject(error.Value());
}

// One trip to the thread pool: `call` runs there, `settle(deferred, result)` back on the JavaScript
// thread. What `call` and `settle` captured lives until then and is destroyed on that thread.
template <typename Call, typename Settle>
class Job final : public Napi::AsyncWorker {
 public:
  Job(Deferred deferred, Call call, Settle settle)
      : AsyncWorker(deferred.Env(), "kvm-htab"),
        deferred_(deferred),
        call_(std::move(call)),
        settle_(std::move(settle)) {}

  void Execute() override { result_ = call_(); }
  void OnOK() override { settle_(deferred_, result_); }

 private:
  Deferred deferred_;
  Call call_;
  Settle settle_;
  std::invoke_result_t<Call> result_;
};

template <typename Call, typename Settle>
void QueueJob(Deferred deferred, Call call, Settle settle) {
  auto* job = new Job<Call, Settle>(deferred, std::move(call), std::move(settle));
  job->Queue();
  // A job deletes itself once it is through.
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks)

template <typename Call, typename Settle>
Napi::Value RunJob(Napi::Env env, Call call, Settle settle) {
  const Deferred deferred(env);
  QueueJob(deferred, std::move(call), std::move(settle));
  return deferred.Promise();
}

}  // namespace kvm_htab

#endif  // KVM_HTAB_NATIVE_JOB_H_
