import { configDefaults, defineConfig } from 'vitest/config';

/**
 * Files that need a process of their own: those that replace a module, the process's platform or architecture, those
 * that measure what the process takes, and those of the addon, which leave descriptors and threads.
 */
const OWN_PROCESS = ['test/**/*.own-process.test.ts', 'test/native/**/*.test.ts'];

export default defineConfig({
  test: {
    pool: 'forks',
    testTimeout: 120_000,
    disableConsoleIntercept: true,
    projects: [
      // The others share processes: to load the library anew for each file takes longer than most of them.
      {
        extends: true,
        test: {
          name: 'shared',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...OWN_PROCESS],
          isolate: false,
        },
      },
      { extends: true, test: { name: 'own process', include: OWN_PROCESS } },
    ],
  },
});
