// The layers of lib/: what may import what. No other place says it.

/** From the bottom. Rooms on one floor do not import each other. */
const FLOORS = [
  ['base'],
  ['hpt'],
  ['frames', 'records'],
  ['vm'],
  ['io'],
  ['precopy', 'transport'],
  ['snapshot'],
  ['migration'],
  ['inspect', 'qemu'],
  ['cli'],
];
const COMMANDS =
  'advise|check|completion|demo|diff|doctor|export|extract|fit|inspect|load|probe|receive|relay|report-page|resolve|rewrite|save|send|watch';

/** @param {string[]} rooms */
const inside = (...rooms) => `^lib/(${rooms.join('|')})/`;

const floors = FLOORS.flatMap((rooms, floor) =>
  rooms.map((room) => ({
    name: `floor-of-${room}`,
    comment: `${room} imports from the floors below it only`,
    from: { path: inside(room) },
    to: { path: inside(...FLOORS.slice(floor).flat()), pathNot: inside(room) },
  })),
);

/**
 * Neighbours in one room that do not import each other.
 *
 * @type {[name: string, from: string, to: string][]}
 */
const apart = [
  ['backends', '^lib/vm/(emulated|image|kvm)/', '^lib/vm/(emulated|image|kvm)/'],
  ['sides', '^lib/migration/(source|destination)/', '^lib/migration/(source|destination)/'],
  ['commands', `^lib/cli/(${COMMANDS})/`, `^lib/cli/(${COMMANDS})/`],
];

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    ...floors.map((rule) => ({ ...rule, severity: /** @type {const} */ ('error') })),
    ...apart.map(([name, from, to]) => ({
      name: `${name}-apart`,
      severity: /** @type {const} */ ('error'),
      from: { path: from },
      to: { path: to, pathNot: '^lib/[^/]+/$1/' },
    })),
    {
      name: 'no-circle',
      comment: 'also among types, and inside a folder',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'wire-below-the-sides',
      severity: 'error',
      from: { path: '^lib/migration/wire/' },
      to: { path: '^lib/migration/(source|destination)/' },
    },
    {
      name: 'journal-below-the-wire',
      severity: 'error',
      from: { path: '^lib/migration/journal/' },
      to: { path: '^lib/migration/(source|destination|wire)/' },
    },
    {
      name: 'commands-on-top',
      comment: 'what commands share knows none of them',
      severity: 'error',
      from: { path: '^lib/cli/(options|table|guest|report|errors)/' },
      to: { path: `^lib/cli/((${COMMANDS})/|main|program)` },
    },
    {
      name: 'testing-apart',
      comment: 'what others test with: only its entry point imports it, the demo and the doctor',
      severity: 'error',
      from: { path: '^lib/', pathNot: '^lib/(testing(/|\\.ts$)|cli/(demo|doctor)/)' },
      to: { path: '^lib/testing(/|\\.ts$)' },
    },
    {
      name: 'agent-on-its-own',
      comment: 'the agent of the documentation knows of a migration only what any agent does',
      severity: 'error',
      from: { path: '^lib/testing/agent/' },
      to: {
        path: '^lib/',
        pathNot:
          '^lib/(testing/agent|migration/(rest|errors)\\.ts|transport/(message-link|dial)|frames|hpt|base)',
      },
    },
    {
      name: 'testing-on-io',
      severity: 'error',
      from: { path: '^lib/testing(/|\\.ts$)', pathNot: '^lib/testing/agent/' },
      to: { path: '^lib/', pathNot: '^lib/(testing|io|vm|records|hpt|base)/' },
    },
    {
      name: 'no-way-in-but-the-entries',
      comment: 'nothing imports an entry point',
      severity: 'error',
      from: { path: '^lib/' },
      to: { path: '^lib/(index|testing|cli/main)\\.ts$' },
    },
    {
      name: 'index-without-cli',
      severity: 'error',
      from: { path: '^lib/index\\.ts$' },
      to: { path: '^lib/cli/' },
    },
    {
      name: 'libraries-of-commands',
      comment: 'who imports the library waits for none of what the commands use',
      severity: 'error',
      from: { path: '^lib/', pathNot: '^lib/cli/' },
      to: { path: '^node_modules/(cli-progress|commander|pngjs|prom-client|uplot)/' },
    },
    {
      name: 'page-on-its-own',
      comment: 'the script of a report runs in a browser',
      severity: 'error',
      from: { path: '^lib/cli/report-page/page/' },
      to: {
        path: '^lib/',
        pathNot: '^lib/cli/(report-page/(page/|page-data\\.ts)|report/map\\.ts)',
      },
    },
    {
      name: 'pure',
      comment: 'a table, its records and frames touch no file, socket or process',
      severity: 'error',
      from: { path: inside('hpt', 'frames', 'records') },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(os|crypto|zlib)$' },
    },
    {
      name: 'lib-alone',
      comment: 'what is published needs neither tests nor scripts',
      severity: 'error',
      from: { path: '^lib/' },
      to: { path: '^(test|scripts|dist)/' },
    },
    {
      name: 'known-rooms',
      comment: 'a new room needs a floor above',
      severity: 'error',
      from: {},
      to: { path: '^lib/[^/]+/', pathNot: inside(...FLOORS.flat(), 'testing') },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
  },
};
