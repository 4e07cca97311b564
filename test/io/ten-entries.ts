import { ModelVm } from './model-vm.js';

/** A VM whose entries 100 to 109 are valid. */
export function tenEntries(): ModelVm {
  const vm = new ModelVm(18);
  for (let ptex = 100; ptex < 110; ptex++) vm.set(ptex);
  return vm;
}
