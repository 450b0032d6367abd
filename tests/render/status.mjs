// Looks at the status page of an agent as a person would: what is on it, what keys and the mouse do, and what it asks for.
//
// It judges nothing: it prints what it saw as JSON, and whoever reads that decides.

import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { openBrowser } from './node/browser.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    out: { type: 'string' },
    agent: { type: 'string' },
    session: { type: 'string' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
  },
});
const out = resolve(options.out);
mkdirSync(out, { recursive: true });

const browser = await openBrowser(options.chromium);
const page = await browser.newPage();
const seen = { errors: [], hosts: new Set() };
page.on('pageerror', (error) => seen.errors.push(String(error)));
page.on('console', (message) => message.type() === 'error' && seen.errors.push(`${message.text()} ${message.location().url ?? ''}`));
page.on('request', (request) => seen.hosts.add(new URL(request.url()).host));

const names = () => page.$$eval('tbody tr', (rows) => rows.map((row) => row.cells[0].textContent));
const has = (name) => page.waitForFunction((wanted) => [...document.querySelectorAll('tbody tr')].some((row) => row.cells[0].textContent === wanted), {}, name);
const photograph = async (name, { width = 1280, height = 900, dark = false } = {}) => {
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]);
  await page.screenshot({ path: join(out, `${name}.png`) });
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
};

/** What a screen reader or a weak eye stumbles over, by axe-core, in both colour schemes. */
const axe = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const faults = async (view) => {
  const found = [];
  for (const scheme of ['light', 'dark']) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    found.push(...violations.map(({ id, impact, nodes }) => `${impact} ${view} (${scheme}) ${id}: ${nodes.slice(0, 3).map((node) => node.target.join(' ')).join(', ')}`));
  }
  return found;
};

/** The page with so many sessions, which are copies of a real one: how long its frames take while it is scrolled through. */
async function crowd(rows) {
  const report = await page.evaluate(() => fetch('api/v1/sessions').then((answer) => answer.json()));
  const [one] = report.sessions;
  report.sessions = Array.from({ length: rows }, (_, number) => ({ ...one, id: number.toString(16).padStart(32, '0'), session: `desk-${number}` }));
  const crowded = await browser.newPage();
  await crowded.setViewport({ width: 1280, height: 900 });
  await crowded.setRequestInterception(true);
  crowded.on('request', (request) => (request.url().endsWith('api/v1/sessions')
    ? request.respond({ contentType: 'application/json', body: JSON.stringify(report) }) : request.continue()));
  await crowded.goto(options.url);
  await crowded.waitForFunction((wanted) => document.querySelectorAll('tbody tr').length === wanted, { timeout: 30_000 }, rows);
  const frames = await crowded.evaluate(() => new Promise((done) => {
    const times = [];
    const step = (time) => {
      times.push(time);
      scrollBy(0, 120);
      if (times.length < 240) requestAnimationFrame(step); else done(times.slice(1).map((later, at) => later - times[at]));
    };
    requestAnimationFrame(step);
  }));
  await crowded.type('#search', 'desk-77');
  const found = await crowded.$$eval('tbody tr', (all) => all.length);
  await crowded.close();
  frames.sort((a, b) => a - b);
  return { rows, found, median_ms: frames[frames.length >> 1], p95_ms: frames[Math.floor(frames.length * 0.95)] };
}

try {
  await page.setViewport({ width: 1280, height: 900 });
  const answer = await page.goto(options.url);
  seen.policy = answer.headers()['content-security-policy'];
  await has(options.session);
  seen.node = await page.$eval('#node', (node) => node.textContent);
  seen.names = await names();
  seen.images = await page.evaluate(() => document.images.length + document.querySelectorAll('main script').length);
  seen.wider = { list: await photograph('list'), narrow: await photograph('list-narrow', { width: 390, height: 844, dark: true }) };
  await page.setViewport({ width: 1280, height: 900 });

  seen.faults = await faults('list');

  // By a column, and the other way round.
  await page.click('th[data-key="session"] button');
  seen.byName = await names();
  await page.click('th[data-key="session"] button');
  seen.byNameReversed = await names();
  seen.ariaSort = await page.$eval('th[data-key="session"]', (header) => header.ariaSort ?? header.getAttribute('aria-sort'));

  await page.type('#search', options.session.toUpperCase());
  seen.found = await names();
  seen.count = await page.$eval('#count', (count) => count.textContent);

  // With keys alone: from the search to the session, and in.
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press('Tab');
    if (await page.evaluate(() => document.activeElement?.matches('tbody a'))) break;
  }
  await page.keyboard.press('Enter');
  await page.waitForSelector('.plots svg.plot path', { timeout: 30_000 });
  seen.title = await page.$eval('h2', (title) => title.textContent);
  seen.focus = await page.evaluate(() => document.activeElement?.id);
  seen.findings = await page.$$eval('.findings li', (all) => all.map((one) => one.textContent));
  seen.plots = await page.$$eval('figcaption strong', (all) => all.map((one) => one.textContent));
  seen.labels = await page.$$eval('svg.plot', (all) => all.map((one) => one.getAttribute('aria-label')));

  // One moment for all plots.
  const plot = await page.$('svg.plot');
  const box = await plot.boundingBox();
  await page.mouse.move(box.x + box.width * 0.995, box.y + box.height / 2);
  seen.crosses = await page.$$eval('.cross', (all) => all.map((line) => `${line.getAttribute('visibility')} ${line.getAttribute('x1')}`));
  seen.wider.session = await photograph('session');
  await photograph('session-dark', { dark: true });
  seen.faults.push(...await faults('session'));
  seen.wider.narrowSession = await photograph('session-narrow', { width: 390, height: 844 });
  await page.setViewport({ width: 1280, height: 900 });

  await page.click('.processes summary');
  await page.waitForSelector('.processes tbody tr', { timeout: 20_000 });
  seen.processes = await page.$$eval('.processes tbody tr', (rows) => rows.map((row) => row.cells[0].textContent));

  await page.click('nav a[href="#ended"]');
  await page.waitForSelector('main[data-view="ended"] tbody tr', { timeout: 20_000 });
  seen.ended = await page.$$eval('tbody tr', (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(' | ')));
  seen.wider.ended = await photograph('ended');
  seen.faults.push(...await faults('ended'));

  await page.click('nav a[href="#agent"]');
  await page.waitForFunction(() => document.querySelector('h2')?.textContent === 'The agent');
  seen.programs = await page.$$eval('tbody tr', (rows) => rows.map((row) => row.cells[0].textContent));
  await photograph('agent');
  seen.faults.push(...await faults('agent'));

  // An agent that is away, and back: without loading anything anew.
  await page.click('nav a[href="#"]');
  await has(options.session).catch(() => {});
  process.kill(Number(options.agent), 'SIGSTOP');
  try {
    await page.setOfflineMode(true);
    await page.waitForFunction(() => document.querySelector('#state').textContent !== '', { timeout: 20_000 });
    seen.away = await page.$eval('#state', (state) => state.textContent);
    seen.rowsWhileAway = (await names()).length;
  } finally {
    await page.setOfflineMode(false);
    process.kill(Number(options.agent), 'SIGCONT');
  }
  await page.waitForFunction(() => document.querySelector('#state').textContent === '', { timeout: 20_000 });
  seen.loads = await page.evaluate(() => performance.getEntriesByType('navigation').length);
  seen.crowd = await crowd(1000);
  console.log(JSON.stringify({ ...seen, hosts: [...seen.hosts] }));
} finally {
  await browser.close();
}
