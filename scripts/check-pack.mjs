// Runs before `npm pack`: npm itself packs a package without code, without addons or with broken links and reports
// nothing.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root, targets } from './native/toolchain.mjs';

const shipped = ['dist/bundle/index.js', 'dist/types/index.d.ts', 'dist/man/kvm-htab.1', 'dist/page/page.js'];
const missing = shipped.filter((name) => !existsSync(path.join(root, name)));
if (missing.length > 0) throw new Error(`there is no ${missing.join(', ')}: run "npm run setup" first`);
for (const [name, { gypArch }] of Object.entries(targets)) {
  if (existsSync(path.join(root, `prebuilds/linux-${gypArch}`))) continue;
  process.stderr.write(`kvm-htab: the package will have no addon for ${name}: "npm run prebuild" makes it\n`);
}

const listed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
  cwd: root,
  encoding: 'utf8',
});
/** @type {unknown} */
const report = JSON.parse(listed);
const [tarball] = /** @type {{ files: { path: string }[] }[]} */ (report);
const packed = (tarball?.files ?? []).map(({ path: name }) => name);
if (!packed.includes('README.md')) throw new Error('the package has no README.md');
const lost = packed
  .filter((name) => name.endsWith('.md'))
  .flatMap((page) => {
    const text = readFileSync(path.join(root, page), 'utf8');
    return [...text.matchAll(/\]\((?!\w+:|#)([^)#\s]+)[^)]*\)/g)]
      .map(([, link = '']) => ({
        page,
        link,
        target: path.posix.join(path.posix.dirname(page), link).replace(/\/$/, ''),
      }))
      .filter(({ target }) => !packed.some((name) => name === target || name.startsWith(`${target}/`)));
  })
  .map(({ page, link }) => `${link} (in ${page})`);
if (lost.length > 0)
  throw new Error(`broken links, their targets are not in the package: ${lost.join(', ')}`);
