#ifndef KVM_HTAB_NATIVE_SETTLE_H_
#define KVM_HTAB_NATIVE_SETTLE_H_

// What the promise of a call is settled with. Every call that fails rejects in one way: with an
// Error that carries {errno, syscall}. TypeScript makes the error that users see of it.

#include <string>

#include "descriptor_io.h"
#include "descriptor_passing.h"
#include "job.h"
#include "outcome.h"

namespace kvm_htab {

void RejectCall(const Deferred& deferred, const sys::Outcome& outcome);

// Resolves with nothing, with the call's value, or with a Descriptor that owns it.
void SettleVoid(const Deferred& deferred, const sys::Outcome& outcome);
void SettleNumber(const Deferred& deferred, const sys::Outcome& outcome);
void SettleDescriptor(const Deferred& deferred, const sys::Outcome& outcome);

// Rejects with the place of the refused record too: {ptex, recordIndex, bytesApplied}.
void SettleRecords(const Deferred& deferred, const sys::RecordsOutcome& outcome);

struct FileResult {
  sys::Outcome outcome;
  std::string name;
};

void SettleFile(const Deferred& deferred, const FileResult& result);

struct ReceiveResult {
  sys::Outcome outcome;
  sys::Received received;
};

void SettleReceived(const Deferred& deferred, const ReceiveResult& result);

}  // namespace kvm_htab

#endif  // KVM_HTAB_NATIVE_SETTLE_H_
