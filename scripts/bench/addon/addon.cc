#include <napi.h>
#include <time.h>

#include <cstring>
#include <utility>

#include "../../../native/job.h"
#include "descriptors.h"
#include "hypercalls.h"
#include "migration_binding.h"
#include "stats.h"
#include "table.h"

// What JavaScript sees of the baselines; scripts/bench/baseline.mjs has the types. The bench calls
// them with what it made itself: arguments are not checked.

namespace kvm_htab::bench {
namespace {

using Napi::CallbackInfo;

// A table made of two Uint32Arrays, four words an entry and four for its marks.
class FlatTable final : public Napi::ObjectWrap<FlatTable> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "FlatTable",
                       {InstanceMethod<&FlatTable::Read>("read"),
                        InstanceMethod<&FlatTable::ReadOnPool>("readOnPool"),
                        InstanceMethod<&FlatTable::Store>("store"),
                        InstanceMethod<&FlatTable::Change>("enterAndRemove"),
                        InstanceMethod<&FlatTable::CountAll>("stats")});
  }

  explicit FlatTable(const CallbackInfo& info) : ObjectWrap(info) {
    auto entries = info[0].As<Napi::Uint32Array>();
    auto marks = info[1].As<Napi::Uint32Array>();
    entries_ = Napi::Persistent(entries);
    marks_ = Napi::Persistent(marks);
    table_ = {reinterpret_cast<Entry*>(entries.Data()), reinterpret_cast<Mark*>(marks.Data()),
              entries.ElementLength() / 4};
  }

 private:
  // Goes on from `state` (index, first) and brings it up to date.
  static size_t ReadOnce(const Table& table, double* state, uint8_t* out, size_t size) {
    Cursor cursor = {static_cast<uint64_t>(state[0]), state[1] != 0};
    const size_t bytes = bench::Read(table, &cursor, out, size);
    state[0] = static_cast<double>(cursor.index);
    state[1] = cursor.first ? 1 : 0;
    return bytes;
  }

  // read(state: Float64Array, buffer): bytes
  Napi::Value Read(const CallbackInfo& info) {
    auto state = info[0].As<Napi::Float64Array>();
    auto buffer = info[1].As<Napi::Uint8Array>();
    const size_t bytes = ReadOnce(table_, state.Data(), buffer.Data(), buffer.ElementLength());
    return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  }

  // readOnPool(state, buffer): a promise of the same; the caller touches neither until it settles
  Napi::Value ReadOnPool(const CallbackInfo& info) {
    auto state = info[0].As<Napi::Float64Array>();
    auto buffer = info[1].As<Napi::Uint8Array>();
    // SAFETY: the references keep what the pool reads and writes until the job is destroyed.
    auto settle = [self = Napi::Persistent(info.This().As<Napi::Object>()),
                   kept_state = Napi::Persistent(state),
                   kept_buffer = Napi::Persistent(buffer)](const Deferred& deferred, size_t bytes) {
      deferred.Resolve(Napi::Number::New(deferred.Env(), static_cast<double>(bytes)));
    };
    return RunJob(
        info.Env(),
        [table = table_, state = state.Data(), out = buffer.Data(), size = buffer.ElementLength()] {
          return ReadOnce(table, state, out, size);
        },
        std::move(settle));
  }

  // store(records): whether they were good
  Napi::Value Store(const CallbackInfo& info) {
    const auto bytes = info[0].As<Napi::Uint8Array>();
    Counts counts = {};
    return Napi::Boolean::New(
        info.Env(), bench::Store(table_, bytes.Data(), bytes.ElementLength(), Host::kAny, &counts));
  }

  // enterAndRemove(places: Uint32Array, tracked): entries made
  Napi::Value Change(const CallbackInfo& info) {
    const auto places = info[0].As<Napi::Uint32Array>();
    const size_t count =
        EnterAndRemove(table_, places.Data(), places.ElementLength(), info[1].As<Napi::Boolean>());
    return Napi::Number::New(info.Env(), static_cast<double>(count));
  }

  // stats(): all counts, in the order of struct Stats
  Napi::Value CountAll(const CallbackInfo& info) {
    const Stats stats = bench::CountAll(table_);
    static_assert(sizeof(Stats) % sizeof(double) == 0);
    const size_t count = sizeof(Stats) / sizeof(double);
    auto counts = Napi::Float64Array::New(info.Env(), count);
    memcpy(counts.Data(), &stats, sizeof(Stats));
    return counts;
  }

  Napi::Reference<Napi::Uint32Array> entries_;
  Napi::Reference<Napi::Uint32Array> marks_;
  Table table_;
};

// decode(records, count, totals: Float64Array(4)): whether they were good
Napi::Value DecodeRecords(const CallbackInfo& info) {
  const auto bytes = info[0].As<Napi::Uint8Array>();
  const auto count = static_cast<uint64_t>(info[1].As<Napi::Number>().DoubleValue());
  double* sums = info[2].As<Napi::Float64Array>().Data();
  Counts counts = {};
  const bool good = Decode(bytes.Data(), bytes.ElementLength(), count, &counts);
  sums[0] += static_cast<double>(counts.records);
  sums[1] += static_cast<double>(counts.valid);
  sums[2] += static_cast<double>(counts.invalid);
  sums[3] += static_cast<double>(counts.index_sum);
  return Napi::Boolean::New(info.Env(), good);
}

// readAll(fd): bytes
Napi::Value ReadWholeFile(const CallbackInfo& info) {
  const uint64_t bytes = ReadAll(info[0].As<Napi::Number>());
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

// writeEach(fd, records): whether all were taken
Napi::Value WriteEachRecord(const CallbackInfo& info) {
  const auto records = info[1].As<Napi::Uint8Array>();
  return Napi::Boolean::New(
      info.Env(), WriteEach(info[0].As<Napi::Number>(), records.Data(), records.ElementLength()));
}

// threadCpuTime(): ns this thread has run
Napi::Value ThreadCpuTime(const CallbackInfo& info) {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return Napi::Number::New(
      info.Env(), static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("FlatTable", FlatTable::Define(env));
  exports.Set("readAll", Napi::Function::New(env, ReadWholeFile));
  exports.Set("writeEach", Napi::Function::New(env, WriteEachRecord));
  exports.Set("decode", Napi::Function::New(env, DecodeRecords));
  exports.Set("threadCpuTime", Napi::Function::New(env, ThreadCpuTime));
  DefineMigration(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(baseline, Init)

}  // namespace kvm_htab::bench
