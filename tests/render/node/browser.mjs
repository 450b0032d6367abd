// The one browser, and how a dashboard is photographed in it.

import puppeteer from 'puppeteer-core';

/** What an ordinary screen shows of Grafana at once. */
const SCREEN = { width: 1600, height: 900 };
/** A dashboard has up to forty panels, and a machine that runs tests beside it is slow. */
const PATIENCE = 120_000;

export function openBrowser(executablePath) {
  const args = ['--disable-gpu', '--hide-scrollbars', '--force-color-profile=srgb', '--font-render-hinting=none'];
  // Chromium refuses to sandbox what root starts. It opens only pages of this program.
  if (process.getuid?.() === 0) args.push('--no-sandbox');
  return puppeteer.launch({ executablePath, headless: true, args, defaultViewport: SCREEN, protocolTimeout: PATIENCE });
}

/** Opens a dashboard, takes PATH-first.png and PATH.png, and returns what the page reports of itself. */
export async function photograph(browser, url, path) {
  const pageErrors = [];
  const consoleErrors = [];
  const page = await browser.newPage();
  try {
    page.on('pageerror', (error) => pageErrors.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && consoleErrors.push(message.text()));
    await page.goto(url);
    await page.waitForFunction(() => window.sessionscope?.settled || window.sessionscope?.failed, { timeout: PATIENCE });
    const failed = await page.evaluate(() => window.sessionscope.failed);
    if (failed) throw new Error(failed);
    // Icons and fonts come after the panels that use them.
    await page.waitForNetworkIdle({ idleTime: 300, timeout: PATIENCE });
    await page.evaluate(() => document.fonts.ready);
    await page.screenshot({ path: `${path}-first.png` });
    // Tables draw only what is in sight, and have to see the whole page before it is photographed.
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewport({ ...SCREEN, height });
    await page.waitForNetworkIdle({ idleTime: 300, timeout: PATIENCE });
    const report = await page.evaluate((screen) => window.sessionscope.report(screen), SCREEN.height);
    await page.screenshot({ path: `${path}.png` });
    return { ...report, pageErrors, consoleErrors };
  } catch (error) {
    const reasons = [...pageErrors, ...consoleErrors].join('\n');
    throw new Error(`${url}: ${error.message}\n${reasons}`);
  } finally {
    await page.close();
  }
}
