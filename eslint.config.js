import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/**
 * Files that the size rules do not hold for. An HPTE travels as four 32-bit halves: an object per entry would cost the hot
 * loops dear, and a loop that is cut into files as well.
 */
const HOT_LOOPS = [
  'lib/hpt/{copy-hptes,hash,hpte-bits,packed-block,table}.ts',
  'lib/records/{cursor,encoder,fill-records}.ts',
  'lib/vm/{emulated/hcalls,emulated/htab-file,emulated/mmu,image/flat-table,record-loop}.ts',
];

export default defineConfig(
  { ignores: ['dist', 'docs', 'build', 'coverage', 'prebuilds', 'node_modules', '.cache'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'prefer-const': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Typed arrays are indexed inside their bounds by construction; a check per access would cost the hot paths dear.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreVoidReturningFunctions: true, ignoreArrowShorthand: true },
      ],
    },
  },
  {
    // vitest.config.ts gives the other files no process of their own.
    files: ['test/**/*.test.ts'],
    ignores: ['test/**/*.own-process.test.ts', 'test/native/**'],
    rules: {
      'no-restricted-properties': [
        'error',
        ...['mock', 'doMock', 'resetModules'].map((property) => ({
          object: 'vi',
          property,
          message: 'Name the file NAME.own-process.test.ts: other tests would share the replaced module.',
        })),
      ],
    },
  },
  {
    files: ['lib/**', 'scripts/**'],
    ignores: HOT_LOOPS,
    rules: {
      'max-lines': ['error', 250],
      'max-lines-per-function': ['error', 50],
      'max-params': ['error', 4],
    },
  },
);
