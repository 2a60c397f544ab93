// The page of many vats, which a stand-in for hosts makes up: whoever started this changes them when it is told to.
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { checkContrast, checkNames, open } from './browser.mjs';

const [url, token, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const demand = async (what) => {
  process.stdout.write(`${what}\n`);
  const { done } = await lines.next();
  assert(!done, `nobody did ${what}`);
};

const browser = await open(url);
const { page } = browser;
const [main, top] = [page.locator('main'), page.locator('.top')];
const rows = main.locator('table.list tbody tr');

try {
  await browser.go('/');
  await browser.live();
  await main.getByText(`1–50 of ${count}`).waitFor();
  assert.equal(await rows.count(), 50, 'a page of them');
  await browser.picture('many-vats');

  // Bad ones first; filters and search are in the address.
  assert.match(await rows.first().innerText(), /silent|trouble/);
  await main.getByRole('button', { name: /^trouble/ }).click();
  assert.match(page.url(), /state=trouble/);
  for (const text of await rows.allInnerTexts()) assert.match(text, /trouble/);
  await page.reload();
  await browser.live();
  await main.locator('button[aria-pressed=true]', { hasText: 'trouble' }).waitFor();
  await main.getByRole('button', { name: /^trouble/ }).click();

  // Keyboard alone: to the search, a word, along to the first vat, into it, and back.
  await page.keyboard.press('/');
  await page.keyboard.type('vat-123');
  await page.waitForFunction(() => document.querySelectorAll('table.list tbody tr').length === 1);
  assert.match(page.url(), /q=vat-123/);
  const focused = () => page.evaluate(() => document.activeElement?.textContent);
  let presses = 0;
  while ((await focused()) !== 'vat-123') {
    await page.keyboard.press('Tab');
    presses += 1;
    assert(presses < 40, 'the vat is reached by the keyboard');
  }
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, 'none', 'where the focus is can be seen');
  await browser.picture('focus');
  await page.keyboard.press('Enter');
  await main.getByRole('heading', { name: 'vat-123' }).waitFor();
  await page.goBack();
  await page.waitForFunction(() => document.querySelectorAll('table.list tbody tr').length === 1);
  assert.equal(await page.locator('input[type=search]').inputValue(), 'vat-123');
  await page.locator('input[type=search]').press('Escape');
  await main.getByText(`1–50 of ${count}`).waitFor();

  // Sorting, paging.
  await main.getByRole('link', { name: 'Vat', exact: true }).click();
  assert.match(await rows.first().innerText(), /vat-0\b/);
  await main.getByRole('link', { name: 'Next →' }).click();
  await main.getByText(`51–100 of ${count}`).waitFor();
  assert.match(page.url(), /page=2/);

  // Updates, many at once: nothing moves.
  await browser.go('/?sort=Vat');
  await browser.live();
  await main.getByText(`1–50 of ${count}`).waitFor();
  const block = async () => (await rows.first().locator('td.number').nth(1).innerText()).replaceAll(',', '');
  const before = await block();
  await page.waitForTimeout(300);
  await browser.shifts();
  await demand('grow');
  await page.waitForFunction((before) => document.querySelector('table.list tbody tr td.number:nth-child(6)').textContent.replaceAll(',', '') !== before, before);
  assert.deepEqual(await browser.shifts(), [], 'nothing moves when updates come');

  // All views, in both colours, wide and narrow; those that are the owner's as well.
  await browser.go(`/?sort=Vat#token=${token}`);
  await main.getByText(`1–50 of ${count}`).waitFor();
  const first = await rows.first().getByRole('link').first().getAttribute('href');
  const views = ['/', '/hosts', '/hosts/h1', '/streams', '/follow', '/waiting', '/evidence', '/check', first, `${first}?tab=epochs`, `${first}?tab=streams`, `${first}?tab=blocks`, `${first}?tab=replicas`, `${first}?tab=objects`, `${first}?tab=proof`, '/logs', '/nowhere', '/vats/none'];
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 360]) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.setViewportSize({ width, height: 740 });
      for (const view of views) {
        await browser.go(view);
        await browser.live();
        await main.getByRole('heading', { level: 1 }).waitFor();
        await page.waitForFunction(() => !document.querySelector('main').innerText.includes('Asking'));
        await checkContrast(page);
        await checkNames(page);
        await browser.fits();
        await browser.picture(`${colorScheme}-${width}-${view.replaceAll(/[^a-z]+/g, '-').slice(0, 24)}`);
      }
    }
  }
  await page.setViewportSize({ width: 1280, height: 800 });

  // What waits is said, with the command that answers it.
  await browser.go('/waiting');
  await main.getByRole('button', { name: 'Approve for h1' }).waitFor();
  await main.getByRole('button', { name: 'Approve for h1' }).click();
  await page.getByRole('dialog').getByText('some words of a key').waitFor();
  await browser.fits();
  await browser.picture('approve-dark');
  await page.keyboard.press('Escape');
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();
  await browser.live();
  await main.getByText('vat approve vat-7 --host h1 --change').waitFor();
  await top.getByRole('link', { name: /^Waiting\s*1/ }).waitFor();

  // The switch goes before the system, and is kept.
  const dark = () => page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
  await page.emulateMedia({ colorScheme: 'light' });
  assert.equal(await dark(), 'light');
  await top.getByRole('button', { name: /^Colours/ }).click();
  await top.getByRole('button', { name: /^Colours/ }).click();
  assert.equal(await dark(), 'dark');
  await page.reload();
  await browser.live();
  assert.equal(await dark(), 'dark');

  // Ids are short, and copied whole.
  await browser.go('/?sort=Vat');
  const id = rows.first().locator('.id');
  await id.getByRole('button').click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied.length, 64);
  assert(copied.startsWith(await id.locator('code').innerText()));

  // A host that hangs, and none at all.
  await demand('hang');
  await top.getByRole('link', { name: /^Hosts/ }).click();
  await main.getByRole('row').filter({ hasText: 'h2' }).getByText('hung').waitFor();
  await demand('empty');
  await top.getByRole('link', { name: /^Vats/ }).click();
  await main.getByText('No vats yet.').waitFor();
  await browser.picture('no-vats');
  const refused = /status of (404|503)/;
  assert.deepEqual(browser.errors.filter((error) => !refused.test(error)), [], 'the page is silent');
  process.stdout.write('well\n');
} catch (error) {
  await browser.picture('failed').catch(() => undefined);
  process.stderr.write(`${page.url()}\n${(await main.innerText().catch(() => '')).slice(0, 2000)}\n${browser.errors.join('\n')}\n${error.stack}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
  process.stdin.destroy();
}
