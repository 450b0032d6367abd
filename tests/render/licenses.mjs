// Every package that draws the dashboards has a permissive licence. Grafana's panels are AGPL and its packages are not:
// a dependency that crosses that line has to be noticed when it comes in, not when somebody reads the tree.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('.', import.meta.url));

const PERMISSIVE = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC-BY-4.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  // Of the font alone, which nothing here changes or sells.
  'OFL-1.1',
  'Python-2.0',
  'Unlicense',
  'Zlib',
]);

/** Packages that do not say their licence in package.json, and what the file beside it says. */
const FROM_THE_FILE = { 'fast-shallow-equal': 'Unlicense', 'react-universal-interface': 'Unlicense' };

/** Whether a licence expression of SPDX leaves a way that is permissive: AND binds more closely than OR. */
export function isPermissive(expression) {
  const tokens = expression.match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  const primary = () => {
    const token = tokens[at++];
    if (token !== '(') return PERMISSIVE.has(token);
    const inside = either();
    at++;
    return inside;
  };
  const all = () => {
    let allowed = primary();
    while (tokens[at] === 'AND') {
      at++;
      allowed = primary() && allowed;
    }
    return allowed;
  };
  const either = () => {
    let allowed = all();
    while (tokens[at] === 'OR') {
      at++;
      allowed = all() || allowed;
    }
    return allowed;
  };
  const allowed = either();
  // What is left over was not understood (a WITH, say), and is for a person to read.
  return allowed && at === tokens.length;
}

function licenseOf(folder, name) {
  const { license, licenses } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  // The older forms: an object, and an array of which every one applies.
  if (Array.isArray(licenses)) return licenses.map((one) => one.type ?? one).join(' AND ');
  return license?.type ?? license ?? FROM_THE_FILE[name] ?? 'none';
}

/** Packages that are installed and not for development alone, as [path, licence]. */
export function installed(root = ROOT) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(([path, { dev }]) => path !== '' && !dev)
    // Binaries for other machines are in the lock file and not in the folder.
    .filter(([path, { optional }]) => !optional || existsSync(join(root, path, 'package.json')))
    .map(([path]) => [path, licenseOf(join(root, path), path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length))]);
}

function main() {
  const all = installed();
  const offenders = all.filter(([, license]) => !isPermissive(license));
  for (const [path, license] of offenders) console.error(`${path}: ${license}`);
  console.log(`${all.length} packages, ${offenders.length} of them with a licence that is not permissive`);
  if (offenders.length > 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
