#ifndef KVM_HTAB_NATIVE_READ_MEMORY_H_
#define KVM_HTAB_NATIVE_READ_MEMORY_H_

#include <napi.h>

#include <cstddef>
#include <cstdint>

namespace kvm_htab {

// Memory that the kernel reads into and JavaScript looks at, with no copy in between.
//
// A script can take the memory of an ArrayBuffer away at any moment, and Node-API cannot prevent it
// (ArrayBuffer.prototype.transfer heeds no mark). So the last holder frees this memory: JavaScript,
// when no ArrayBuffer has it any more or its environment ends, or a call that reads into it.
//
// A worker must not use it. A script can transfer it to another thread, and the end of the worker
// frees it there too.
//
// Everything here runs on the JavaScript thread of its environment, also what JavaScript calls when
// it lets go; only the bytes cross to the pool, inside a Use.
class ReadMemory {
 public:
  ReadMemory(const ReadMemory&) = delete;
  ReadMemory& operator=(const ReadMemory&) = delete;

  // A Uint8Array over all of new memory, which is zeros. Undefined where there is none, or where
  // the runtime has no ArrayBuffer over an addon's memory (Electron); empty with an exception
  // pending.
  static Napi::Value Allocate(Napi::Env env, size_t length);

  // A call in flight: keeps the memory under an array. Keeps none, and is false, where that is not
  // memory of this class.
  class Use {
   public:
    // The array must not be detached.
    explicit Use(const Napi::Uint8Array& array);
    Use(Use&& other) noexcept;
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use();
    explicit operator bool() const { return memory_ != nullptr; }

   private:
    ReadMemory* memory_ = nullptr;
  };

 private:
  explicit ReadMemory(uint8_t* bytes) : bytes_(bytes) {}
  ~ReadMemory();
  void LetGo();

  uint8_t* bytes_;
  uint32_t holders_ = 1;  // JavaScript, and the calls in flight
};

}  // namespace kvm_htab

#endif  // KVM_HTAB_NATIVE_READ_MEMORY_H_
