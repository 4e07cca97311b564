// What of the bundle is loaded when: what every program needs at once, the rest where it is called.
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));

/** @typedef {import('rolldown').ChunkingContext} Modules */

/** What runs before a module of dist does, itself included. @param {string} module @param {Modules} modules */
function closureOf(module, modules) {
  const closure = new Set([dist + module]);
  // The loop also comes to what is added meanwhile.
  for (const id of closure)
    for (const each of modules.getModuleInfo(id)?.importedIds ?? []) closure.add(each);
  return closure;
}

/** @typedef {{ library: Set<string>, command: Set<string> }} Starts what each of the two begins with */

/** @type {Starts | undefined} */
let starts;

/** @param {Modules} modules */
const startsOf = (modules) =>
  (starts ??= { library: closureOf('index.js', modules), command: closureOf('cli/process.js', modules) });

/**
 * A chunk takes what is in no chunk before it, and what that needs: the library, when it comes to a part that the command
 * begins with, must not load the command.
 *
 * @type {[name: string, holds: (id: string, starts: Starts) => boolean][]}
 */
const STARTS = [
  ['base', (id, { library, command }) => library.has(id) && command.has(id)],
  ['library', (id, { library }) => library.has(id)],
  ['options', (id, { command }) => command.has(id) && !id.startsWith(`${dist}cli/`)],
  ['command', (id, { command }) => command.has(id)],
];

/** Those of which a program that uses a part uses most. What else the command has follows its subcommands. */
const ROOM = /dist\/(io|inspect|migration|qemu|snapshot|vm)\//;

/** @type {import('rolldown').CodeSplittingGroup[]} */
export const chunks = [
  ...STARTS.map(([name, holds], place) => ({
    debugName: name,
    name: (/** @type {string} */ id, /** @type {Modules} */ modules) =>
      holds(id, startsOf(modules)) ? name : null,
    priority: STARTS.length - place,
  })),
  { debugName: 'room', name: (id) => ROOM.exec(id)?.[1] ?? null },
];
