// A headless Chromium that tells of everything that is wrong with a page.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/** Debian's package first. */
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
/** Long enough for whatever comes at all, on a busy machine. */
const PATIENCE = 120_000;

/** Where pictures go, for people to look at: a folder, or nowhere. */
const pictures = process.env.QUORATE_PICTURES;

export async function open(url, options = {}) {
  const executablePath = PLACES.find((place) => existsSync(place));
  assert(executablePath, `Chromium is not installed: .setup/setup does it on Debian; elsewhere, put it or Google Chrome at one of ${PLACES.join(', ')}`);
  const folder = mkdtempSync(join(tmpdir(), 'quorate-browser-'));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath,
    headless: true,
    chromiumSandbox: false,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    viewport: { width: 1280, height: 800 },
    reducedMotion: 'reduce',
    ...options,
  });
  context.setDefaultTimeout(PATIENCE);
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const [page] = context.pages();
  const errors = [];
  page.on('console', (message) => {
    // The browser says so of a connection that was being made when the page was left or loaded again.
    if (/^WebSocket connection to .* failed: WebSocket is closed before the connection is established/.test(message.text())) return;
    if (['error', 'warning'].includes(message.type())) errors.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('requestfailed', (request) => {
    const why = request.failure()?.errorText;
    // What follows changes ends with the page.
    if (why !== 'net::ERR_ABORTED') errors.push(`${request.url()}: ${why}`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('blob:')) errors.push(`it asks another server: ${request.url()}`);
  });
  // Elements that move without anybody having done something.
  await page.addInitScript(() => {
    globalThis.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        if (entry.hadRecentInput) continue;
        // A number at the right end of its cell begins further left when it has a digit more: only elements count.
        const nodes = entry.sources.map((source) => source.node?.outerHTML?.slice(0, 120)).filter(Boolean);
        if (nodes.length) globalThis.shifts.push({ value: entry.value, nodes });
      }
    }).observe({ type: 'layout-shift', buffered: true });
  });
  let picture = 0;
  return {
    page,
    errors,
    go: (path) => page.goto(url + path, { waitUntil: 'load' }),
    /** The first view is there. */
    async live() {
      await page.locator('.link.live').waitFor();
    },
    async picture(name) {
      if (!pictures) return;
      picture += 1;
      await page.screenshot({ path: join(pictures, `${String(picture).padStart(2, '0')}-${name}.png`) });
    },
    /** What moved since this was called last. */
    async shifts() {
      return page.evaluate(() => globalThis.shifts.splice(0));
    },
    /** Nothing is wider than the window. */
    async fits() {
      const { content, window } = await page.evaluate(() => ({ content: document.documentElement.scrollWidth, window: innerWidth }));
      assert(content <= window, `${page.url()}: ${content} pixels in a window of ${window}`);
    },
    async close() {
      await context.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Whether text has enough contrast: by the formula of WCAG 2, for all elements with a text of their own. */
export async function checkContrast(page) {
  const poor = await page.evaluate(() => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const channels = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return canvas.getImageData(0, 0, 1, 1).data;
    };
    const light = ([red, green, blue]) => {
      const linear = [red, green, blue].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const back = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = channels(getComputedStyle(at).backgroundColor);
        if (colour[3] > 250) return colour;
      }
      return [255, 255, 255];
    };
    const found = [];
    for (const element of document.querySelectorAll('body *')) {
      const text = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim()).map((node) => node.data.trim()).join(' ');
      if (!text || !element.checkVisibility() || element.closest('.unseen, [aria-hidden=true], option')) continue;
      const [front, behind] = [light(channels(getComputedStyle(element).color)), light(back(element))];
      const contrast = (Math.max(front, behind) + 0.05) / (Math.min(front, behind) + 0.05);
      if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${text.slice(0, 60)} (${element.className})`);
    }
    return found;
  });
  assert.deepEqual(poor, [], `${page.url()}: too little contrast`);
}

/** Everything that can be used has a name for people who don't see it. */
export async function checkNames(page) {
  const nameless = await page.evaluate(() => {
    const name = (element) => element.getAttribute('aria-label') || element.textContent.trim() || element.title || [...(element.labels ?? [])].map((label) => label.textContent.trim()).join(' ');
    const found = [...document.querySelectorAll('a, button, input, select, [role=img], [role=region]')].filter((element) => !name(element));
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
    const doubled = ids.filter((id, at) => ids.indexOf(id) !== at);
    const heads = document.querySelectorAll('h1').length;
    return [...found.map((element) => element.outerHTML.slice(0, 160)), ...doubled.map((id) => `two of ${id}`), ...(heads === 1 ? [] : [`${heads} elements h1`])];
  });
  assert.deepEqual(nameless, [], `${page.url()}: no name`);
}
