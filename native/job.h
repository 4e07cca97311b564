#ifndef KVM_HTAB_NATIVE_JOB_H_
#define KVM_HTAB_NATIVE_JOB_H_

#include <napi.h>

#include <type_traits>
#include <utility>

namespace kvm_htab {

// Settles a promise, once. Where the environment is ending (a worker that is being terminated) no
// promise can be made, and settling does nothing: Napi::Promise::Deferred would give JavaScript
// whatever stood in its memory.
class Deferred {
 public:
  struct WithPromise;
  // The promise goes to JavaScript at once: a napi_value is valid in its scope only, and jobs and
  // descriptors keep the Deferred longer.
  static WithPromise Create(Napi::Env env);

  Napi::Env Env() const { return env_; }
  void Resolve(napi_value value) const {
    if (deferred_ != nullptr) napi_resolve_deferred(env_, deferred_, value);
  }
  void Reject(napi_value value) const {
    if (deferred_ != nullptr) napi_reject_deferred(env_, deferred_, value);
  }

 private:
  Deferred(Napi::Env env, napi_deferred deferred) : env_(env), deferred_(deferred) {}

  Napi::Env env_;
  napi_deferred deferred_;
};

struct Deferred::WithPromise {
  Deferred deferred;
  Napi::Value promise;  // empty where none could be made
};

inline Deferred::WithPromise Deferred::Create(Napi::Env env) {
  napi_deferred deferred = nullptr;
  napi_value promise = nullptr;
  napi_create_promise(env, &deferred, &promise);
  return {Deferred(env, deferred), {env, promise}};
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
  const auto [deferred, promise] = Deferred::Create(env);
  QueueJob(deferred, std::move(call), std::move(settle));
  return promise;
}

}  // namespace kvm_htab

#endif  // KVM_HTAB_NATIVE_JOB_H_
