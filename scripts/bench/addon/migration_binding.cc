#include "migration_binding.h"

#include <utility>

#include "../../../native/job.h"
#include "migration.h"

namespace kvm_htab::bench {
namespace {

using Napi::CallbackInfo;

// listenAt(path), connectTo(path): fd
template <int (*kOpen)(const char*)>
Napi::Value OpenAt(const CallbackInfo& info) {
  return Napi::Number::New(info.Env(), kOpen(info[0].As<Napi::String>().Utf8Value().c_str()));
}

// acceptFrom(fd): a promise of an fd
Napi::Value Accept(const CallbackInfo& info) {
  const int listening = info[0].As<Napi::Number>();
  return RunJob(
      info.Env(), [=] { return AcceptFrom(listening); },
      [](const Deferred& deferred, int fd) {
        deferred.Resolve(Napi::Number::New(deferred.Env(), fd));
      });
}

// A job that moves a table over a socket, which it closes: a promise of whether that went well.
// SAFETY: the references keep what the pool reads until the job is destroyed.
template <typename Move>
Napi::Value RunMove(const CallbackInfo& info, Move move) {
  const int fd = info[0].As<Napi::Number>();
  auto bytes = info[1].As<Napi::Uint8Array>();
  auto lengths = info[2].As<Napi::Uint32Array>();
  auto entries = info[3].As<Napi::Uint32Array>();
  const Reads reads = {bytes.Data(), lengths.Data(), lengths.ElementLength()};
  const Table table = {reinterpret_cast<Entry*>(entries.Data()), nullptr,
                       entries.ElementLength() / 4};
  return RunJob(
      info.Env(),
      [=] {
        Channel channel(fd);
        return move(&channel, reads, table);
      },
      [kept_bytes = Napi::Persistent(bytes), kept_lengths = Napi::Persistent(lengths),
       kept_entries = Napi::Persistent(entries)](const Deferred& deferred, bool agreed) {
        deferred.Resolve(Napi::Boolean::New(deferred.Env(), agreed));
      });
}

// sendTable(fd, bytes, lengths, entries, secure)
Napi::Value Send(const CallbackInfo& info) {
  const bool secure = info[4].As<Napi::Boolean>();
  return RunMove(info, [=](Channel* channel, const Reads& reads, const Table& table) {
    return (!secure || channel->SecureAsClient()) && SendTable(channel, reads, table);
  });
}

// receiveTable(fd, bytes, lengths, entries, writeFd, certificate, key)
Napi::Value Receive(const CallbackInfo& info) {
  const int write_fd = info[4].As<Napi::Number>();
  const Identity identity = {info[5].As<Napi::String>(), info[6].As<Napi::String>()};
  return RunMove(info, [=](Channel* channel, const Reads& reads, const Table& table) {
    return (identity.key.empty() || channel->SecureAsServer(identity)) &&
           ReceiveTable(channel, write_fd, reads, table);
  });
}

}  // namespace

void DefineMigration(Napi::Env env, Napi::Object exports) {
  exports.Set("listenAt", Napi::Function::New(env, OpenAt<ListenAt>));
  exports.Set("connectTo", Napi::Function::New(env, OpenAt<ConnectTo>));
  exports.Set("acceptFrom", Napi::Function::New(env, Accept));
  exports.Set("sendTable", Napi::Function::New(env, Send));
  exports.Set("receiveTable", Napi::Function::New(env, Receive));
}

}  // namespace kvm_htab::bench
