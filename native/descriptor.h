#ifndef KVM_HTAB_NATIVE_DESCRIPTOR_H_
#define KVM_HTAB_NATIVE_DESCRIPTOR_H_

#include <napi.h>

#include <optional>

#include "job.h"

namespace kvm_htab {

// The JavaScript object that owns one kernel descriptor. JavaScript never sees the number: what
// could be closed twice, or closed under a call and recycled, corrupts whatever file gets the
// number next.
//
// open -> closing (close() was called, calls are in flight) -> closed. Everything here runs on the
// JavaScript thread of its environment; only the number crosses to the pool, inside a Use.
class Descriptor : public Napi::ObjectWrap<Descriptor> {
 public:
  // Sets the class up in an environment, once, as its instance data: threads share nothing.
  static void Define(Napi::Env env);

  // Makes an object that owns `fd`. Empty, with `fd` closed and an exception pending, where none
  // can be made: in a worker that is being terminated, say.
  static Napi::Value Own(Napi::Env env, int fd);

  // The open descriptor behind a JavaScript value; null with an exception pending if it is not one,
  // or without where the environment is ending.
  static Descriptor* From(const Napi::Value& value);

  // Whether an object of this environment owns `fd`.
  static bool Owns(Napi::Env env, int fd);

  explicit Descriptor(const Napi::CallbackInfo& info);
  // Runs when an object is collected unclosed, and for every object left when its environment
  // ends: on the JavaScript thread, which the close may then hold up. Node waits for the pool's
  // jobs first, so that no call is in flight here. The class's data may be gone by then, or not:
  // Node-API gives no order. Whichever of the two goes first takes itself out of the other.
  ~Descriptor() override;

  // One call in flight: keeps the object alive and the descriptor open. For the JavaScript thread,
  // but for fd(), which is the pool's.
  class Use {
   public:
    explicit Use(Descriptor* descriptor);
    Use(Use&& other) noexcept;
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use();
    int fd() const { return fd_; }

   private:
    Descriptor* descriptor_;
    Napi::ObjectReference object_;
    int fd_;
  };

 private:
  // What an environment knows of the class: its instance data.
  struct ClassData;

  // Resolves once the descriptor is closed. Calls in flight end first; later ones are refused.
  Napi::Value Close(const Napi::CallbackInfo& info);
  void CloseWhenIdle();
  // Gives the number up; the caller closes it.
  int Release();

  ClassData* data_ = nullptr;  // null once the environment has dropped it
  int fd_ = -1;
  uint32_t in_flight_ = 0;
  std::optional<Deferred> closing_;
};

}  // namespace kvm_htab

#endif  // KVM_HTAB_NATIVE_DESCRIPTOR_H_
