// Draws every dashboard with Grafana's own components from a live Prometheus, and reports what each panel shows.
//
// It judges nothing: it exits with 0 unless it could not do its work, and whoever reads report.json decides.

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { bundle } from './node/bundle.mjs';
import { openBrowser, photograph } from './node/browser.mjs';
import { scrapeInterval } from './node/prometheus.mjs';
import { serve } from './node/server.mjs';

const USAGE = `render.mjs --prometheus URL --dashboards FOLDER --out FOLDER
  --span SECONDS     what the dashboards show, up to now; without it, what each of them asks for
  --scrape SECONDS   the scrape interval of the data source; without it, that of the job sessionscope
  --only NAME        one dashboard, as in fleet; may be given again
  --chromium PATH    the browser (default /usr/bin/chromium)`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      prometheus: { type: 'string' },
      dashboards: { type: 'string' },
      out: { type: 'string' },
      span: { type: 'string' },
      scrape: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
      chromium: { type: 'string', default: '/usr/bin/chromium' },
    },
  });
  for (const name of ['prometheus', 'dashboards', 'out']) {
    if (!values[name]) throw new Error(`--${name} is missing\n${USAGE}`);
  }
  for (const name of ['span', 'scrape']) {
    if (values[name] === undefined) continue;
    values[name] = Number(values[name]);
    if (!(values[name] > 0)) throw new Error(`--${name} is not a number of seconds\n${USAGE}`);
  }
  return values;
}

function dashboardNames(folder, only) {
  const all = readdirSync(folder).filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -'.json'.length)).sort();
  const missing = only.filter((name) => !all.includes(name));
  if (missing.length > 0) throw new Error(`there is no dashboard ${missing.join(', ')}`);
  return only.length > 0 ? only : all;
}

const since = (start) => Number(((performance.now() - start) / 1000).toFixed(1));

/** How many panels are in each state, for a person who watches. */
function summary(panels) {
  const counts = new Map();
  for (const { state } of panels) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ');
}

async function main() {
  const options = readArguments();
  const out = resolve(options.out);
  mkdirSync(out, { recursive: true });

  const start = performance.now();
  const folder = resolve(options.dashboards);
  const names = dashboardNames(folder, options.only);
  const assets = await bundle();
  const bundled = since(start);

  // One moment for all of them, so that two dashboards that ask for the same show the same.
  const setup = {
    now: Math.floor(Date.now() / 1000),
    span: options.span,
    scrape: options.scrape ?? (await scrapeInterval(options.prometheus)),
  };
  const server = await serve({ assets, dashboards: folder, prometheus: options.prometheus, setup });
  const report = { ...setup, seconds: { bundle: bundled }, dashboards: {} };
  const browser = await openBrowser(options.chromium);
  try {
    for (const name of names) {
      const begun = performance.now();
      report.dashboards[name] = await photograph(browser, `${server.url}/?dashboard=${name}`, join(out, name));
      report.seconds[name] = since(begun);
      console.log(`${name}: ${summary(report.dashboards[name].panels)} (${report.seconds[name]} s)`);
    }
  } finally {
    await browser.close();
    server.close();
  }
  report.seconds.all = since(start);
  writeFileSync(join(out, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
