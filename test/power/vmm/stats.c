#include "stats.h"

#include <stdio.h>

#include "control.h"
#include "guest/layout.h"
#include "vcpu_threads.h"

#define MAX_TEXT 4096

static size_t AppendFailures(char* text, size_t size, const struct Report* report) {
  size_t length = 0;
  for (uint64_t i = 0; i < report->errors && i < MAX_FAILURES; i++) {
    const struct Failure* f = &report->failures[i];
    length +=
        snprintf(text + length, size - length, "%s\"check %lu page %lu got %lx wanted %lx at %lu\"",
                 i == 0 ? "" : ",", f->check, f->page, f->got, f->wanted, f->iteration);
  }
  return length;
}

static size_t AppendVcpu(char* text, size_t size, const struct Report* report) {
  size_t length =
      snprintf(text, size,
               "{\"phase\":%lu,\"iteration\":%lu,\"checksum\":\"%016lx\",\"errors\":%lu,"
               "\"ticks\":%lu,\"loads\":%lu,\"stores\":%lu,\"faults\":%lu,\"removals\":%lu,"
               "\"enters\":%lu,\"fullGroups\":%lu,\"protects\":%lu,\"reads\":%lu,"
               "\"clearMods\":%lu,\"failures\":[",
               report->phase, report->iteration, report->checksum, report->errors, report->ticks,
               report->loads, report->stores, report->faults, report->removals, report->enters,
               report->full_groups, report->protects, report->reads, report->clear_mods);
  length += AppendFailures(text + length, size - length, report);
  return length + snprintf(text + length, size - length, "]}");
}

void ReplyStats(int peer, const uint8_t* memory, int commits) {
  char vcpus[MAX_TEXT] = "";
  size_t length = 0;
  uint64_t count = ((const volatile struct Settings*)(memory + SETTINGS_ADDRESS))->vcpus;
  for (uint64_t i = 0; i < count && i < MAX_VCPUS; i++) {
    const uint8_t* own = memory + VCPUS_ADDRESS + (i << VCPU_SHIFT);
    const struct Report report = *(const volatile struct Report*)own;
    if (i > 0) vcpus[length++] = ',';
    length += AppendVcpu(vcpus + length, sizeof vcpus - length, &report);
  }
  Reply(peer, "{\"state\":\"%s\",\"fault\":\"%s\",\"commits\":%d,\"vcpus\":[%s]}", GuestStateName(),
        GuestFault(), commits, vcpus);
}
