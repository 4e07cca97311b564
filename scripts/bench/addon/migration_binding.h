#ifndef KVM_HTAB_BENCH_MIGRATION_BINDING_H_
#define KVM_HTAB_BENCH_MIGRATION_BINDING_H_

#include <napi.h>

// What JavaScript sees of the baseline of a migration; scripts/bench/baseline.mjs has the types.

namespace kvm_htab::bench {

void DefineMigration(Napi::Env env, Napi::Object exports);

}  // namespace kvm_htab::bench

#endif  // KVM_HTAB_BENCH_MIGRATION_BINDING_H_
