// Opens a descriptor in another process, as the user that this one runs as.
// Usage: node attach-as.mjs ADDON PID DESCRIPTOR HAS-SECCOMP-FILTER; prints what it got, or why not, as JSON.
import { createRequire } from 'node:module';

const [, , file = '', pid, fd, filtered] = process.argv;
/** @type {unknown} */
const loaded = createRequire(import.meta.url)(file);
const addon = /** @type {import('../../lib/vm/kvm/addon.js').Addon} */ (loaded);
try {
  const descriptor = await addon.openHtabIn(Number(pid), Number(pid), Number(fd), 0, 0, filtered === 'true');
  const { name } = await addon.inspectFile(descriptor);
  await descriptor.close();
  console.log(JSON.stringify({ name }));
} catch (error) {
  const { errno, syscall } = /** @type {{ errno: number, syscall: string }} */ (error);
  console.log(JSON.stringify({ errno, syscall }));
}
