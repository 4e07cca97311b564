#include "descriptor.h"

#include <utility>

#include "descriptor_io.h"
#include "job.h"

namespace kvm_htab {
namespace {

// Marks the objects of this class, so that no other addon's object is taken for one.
constexpr napi_type_tag kTypeTag = {0x6b766d2d68746162, 0x64657363722d3031};

}  // namespace

Napi::Function Descriptor::Define(Napi::Env env) {
  return DefineClass(env, "Descriptor", {InstanceMethod<&Descriptor::Close>("close")});
}

Napi::Value Descriptor::Own(Napi::Env env, int fd) {
  auto* constructor = env.GetInstanceData<Napi::FunctionReference>();
  const Napi::Value object = constructor->New({Napi::External<int>::New(env, &fd)});
  if (object.IsEmpty()) sys::CloseOnce(fd);
  return object;
}

Descriptor::Descriptor(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (!info[0].IsExternal()) {
    Napi::TypeError::New(info.Env(), "Descriptors are made by the addon's functions")
        .ThrowAsJavaScriptException();
    return;
  }
  // SAFETY: only Own() makes this value, and its int outlives the constructor's call.
  fd_ = *info[0].As<Napi::External<int>>().Data();
  info.This().As<Napi::Object>().TypeTag(&kTypeTag);
}

Descriptor::~Descriptor() {
  // SAFETY: no Use is alive (each holds a reference to the object), so nobody else has the number.
  if (fd_ >= 0) sys::CloseOnce(fd_);
}

Descriptor* Descriptor::From(const Napi::Value& value) {
  const Napi::Env env = value.Env();
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kTypeTag)) {
    Napi::TypeError::New(env, "The value is not a Descriptor").ThrowAsJavaScriptException();
    return nullptr;
  }
  Descriptor* descriptor = Unwrap(value.As<Napi::Object>());
  if (descriptor->fd_ < 0 || descriptor->closing_) {
    Napi::Error::New(env, "The descriptor is closed").ThrowAsJavaScriptException();
    return nullptr;
  }
  return descriptor;
}

Descriptor::Use::Use(Descriptor* descriptor)
    : descriptor_(descriptor),
      object_(Napi::Persistent(descriptor->Value())),
      fd_(descriptor->fd_) {
  ++descriptor_->in_flight_;
}

Descriptor::Use::Use(Use&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, nullptr)),
      object_(std::move(other.object_)),
      fd_(other.fd_) {}

Descriptor::Use::~Use() {
  if (descriptor_ == nullptr) return;
  --descriptor_->in_flight_;
  descriptor_->CloseWhenIdle();
}

Napi::Value Descriptor::Close(const Napi::CallbackInfo& info) {
  if (From(info.This()) == nullptr) return {};
  closing_.emplace(info.Env());
  const Napi::Promise closed = closing_->Promise();
  CloseWhenIdle();
  return closed;
}

void Descriptor::CloseWhenIdle() {
  if (!closing_ || in_flight_ > 0 || fd_ < 0) return;
  // SAFETY: the last call is through and From() lets no other begin: the job is the number's only
  // user, and the object forgets it here. On the pool, because the last descriptor of a VM that is
  // closed tears the VM down.
  const int fd = std::exchange(fd_, -1);
  RunJob(
      *closing_, [fd] { return sys::CloseOnce(fd); }, SettleResult);
}

}  // namespace kvm_htab
