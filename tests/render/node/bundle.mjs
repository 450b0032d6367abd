// Bundles the page, once for each state of its sources: a bundle takes seconds, and nearly all runs have the same.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import * as esbuild from 'esbuild';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CACHE = join(ROOT, 'node_modules', '.cache', 'sessionscope-render');

/** All files that a bundle is made of; those of packages are pinned by the lock file. */
function sources() {
  const page = readdirSync(join(ROOT, 'page'), { recursive: true }).filter((file) => /\.(jsx?|mjs)$/.test(file)).sort();
  return [...page.map((file) => join('page', file)), join('node', 'bundle.mjs'), 'package-lock.json'];
}

function fingerprint() {
  const hash = createHash('sha256');
  for (const file of sources()) hash.update(file).update('\0').update(readFileSync(join(ROOT, file)));
  return hash.digest('hex').slice(0, 16);
}

/** Returns the folder with main.js and main.css. */
export async function bundle() {
  const folder = join(CACHE, fingerprint());
  if (existsSync(join(folder, 'main.js'))) return folder;
  rmSync(CACHE, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await esbuild.build({
    absWorkingDir: ROOT,
    entryPoints: ['page/main.jsx'],
    outdir: folder,
    bundle: true,
    format: 'esm',
    jsx: 'automatic',
    logLevel: 'error',
    // Each page reads it anew, and half as much is read in half the time.
    minify: true,
    // What Grafana's packages expect of their own build.
    define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}', global: 'window' },
    loader: { '.svg': 'text', '.png': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.ttf': 'dataurl' },
  });
  return folder;
}
