// What of the bundle is loaded when: what every program needs at once, the rest where it is called.
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));

/**
 * Has each asynchronous function of the library load its module when it is first called: a program that looks at a
 * snapshot does not wait for what migrates. Classes and other functions are there at once.
 *
 * @param {string} entry the library's compiled entry
 * @returns {Promise<import('rolldown').Plugin>}
 */
export async function lazyLibrary(entry) {
  /** @type {unknown} */
  const exports = await import(entry);
  const library = /** @type {Record<string, unknown>} */ (exports);
  /** @param {string} name @param {string} module */
  const exported = (name, module) =>
    Object.prototype.toString.call(library[name]) === '[object AsyncFunction]'
      ? `export async function ${name}(...args) { return (await import('${module}')).${name}(...args); }`
      : `export { ${name} } from '${module}';`;
  return {
    name: 'lazy-library',
    transform: (code, id) =>
      id !== entry
        ? undefined
        : code.replace(
            /^export \{(.*)\} from '(.*)';$/gm,
            (_, /** @type {string} */ names, /** @type {string} */ module) =>
              (names.match(/\w+/g) ?? []).map((name) => exported(name, module)).join('\n'),
          ),
  };
}

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
