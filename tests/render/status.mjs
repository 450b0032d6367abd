// Looks at the status page of an agent as a person would: what is on it, what keys and the mouse do, and what it asks for.
//
// It judges nothing: it prints what it saw as JSON, and whoever reads that decides.

import { mkdirSync } from 'node:fs';
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
  seen.wider.narrowSession = await photograph('session-narrow', { width: 390, height: 844 });
  await page.setViewport({ width: 1280, height: 900 });

  await page.click('.processes summary');
  await page.waitForSelector('.processes tbody tr', { timeout: 20_000 });
  seen.processes = await page.$$eval('.processes tbody tr', (rows) => rows.map((row) => row.cells[0].textContent));

  await page.click('nav a[href="#ended"]');
  await page.waitForSelector('main[data-view="ended"] tbody tr', { timeout: 20_000 });
  seen.ended = await page.$$eval('tbody tr', (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(' | ')));
  seen.wider.ended = await photograph('ended');

  await page.click('nav a[href="#agent"]');
  await page.waitForFunction(() => document.querySelector('h2')?.textContent === 'The agent');
  seen.programs = await page.$$eval('tbody tr', (rows) => rows.map((row) => row.cells[0].textContent));
  await photograph('agent');

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
  console.log(JSON.stringify({ ...seen, hosts: [...seen.hosts] }));
} finally {
  await browser.close();
}
