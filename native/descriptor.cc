#include "descriptor.h"

#include <map>
#include <utility>

#include "descriptor_io.h"
#include "settle.h"

namespace kvm_htab {
namespace {

// Marks the objects of this class, so that no other addon's object is taken for one.
constexpr napi_type_tag kTypeTag = {0x6b766d2d68746162, 0x64657363722d3031};

}  // namespace

struct Descriptor::ClassData {
  Napi::FunctionReference constructor;
  int fd_to_own = -1;  // set only while Own() calls the constructor
  std::map<int, Descriptor*> owned;

  ClassData() = default;
  ClassData(const ClassData&) = delete;
  ClassData& operator=(const ClassData&) = delete;
  ~ClassData() {
    // SAFETY: an object leaves the map when it closes or is destroyed, so all in it are alive.
    for (const auto& [fd, descriptor] : owned) descriptor->data_ = nullptr;
  }
};

void Descriptor::Define(Napi::Env env) {
  auto* data = new ClassData;
  data->constructor = Napi::Persistent(
      DefineClass(env, "Descriptor", {InstanceMethod<&Descriptor::Close>("close")}));
  env.SetInstanceData(data);
}

Napi::Value Descriptor::Own(Napi::Env env, int fd) {
  auto* data = env.GetInstanceData<ClassData>();
  data->fd_to_own = fd;
  const Napi::Value object = data->constructor.New({});
  // SAFETY: still there means that no object took it, so no other object has the number.
  const int not_owned = std::exchange(data->fd_to_own, -1);
  if (not_owned >= 0) sys::CloseOnce(not_owned);
  return object;
}

Descriptor::Descriptor(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  auto* data = info.Env().GetInstanceData<ClassData>();
  if (data->fd_to_own < 0) {
    Napi::TypeError::New(info.Env(), "Descriptors are made by the addon's functions")
        .ThrowAsJavaScriptException();
    return;
  }
  // Without a wrap, as where the environment is ending, nothing would ever close what it owns.
  if (IsEmpty()) return;
  fd_ = std::exchange(data->fd_to_own, -1);
  data_ = data;
  data->owned[fd_] = this;
  info.This().As<Napi::Object>().TypeTag(&kTypeTag);
}

Descriptor::~Descriptor() {
  // SAFETY: no Use is alive (each holds a reference to the object), so no other object has the
  // number.
  if (fd_ >= 0) sys::CloseOnce(Release());
}

bool Descriptor::Owns(Napi::Env env, int fd) {
  return env.GetInstanceData<ClassData>()->owned.count(fd) > 0;
}

int Descriptor::Release() {
  if (data_ != nullptr) data_->owned.erase(fd_);
  return std::exchange(fd_, -1);
}

Descriptor* Descriptor::From(const Napi::Value& value) {
  const Napi::Env env = value.Env();
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kTypeTag)) {
    Napi::TypeError::New(env, "The value is not a Descriptor").ThrowAsJavaScriptException();
    return nullptr;
  }
  Descriptor* descriptor = Unwrap(value.As<Napi::Object>());
  if (descriptor == nullptr) return nullptr;
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
  const auto [deferred, promise] = Deferred::Create(info.Env());
  closing_ = deferred;
  CloseWhenIdle();
  return promise;
}

void Descriptor::CloseWhenIdle() {
  if (!closing_ || in_flight_ > 0 || fd_ < 0) return;
  // SAFETY: the last call is through and From() lets no other begin: the job is the number's only
  // user, and the object forgets it here. On the pool, because the last descriptor of a VM that is
  // closed tears the VM down.
  const int fd = Release();
  QueueJob(
      *closing_, [fd] { return sys::CloseOnce(fd); }, SettleVoid);
}

}  // namespace kvm_htab
