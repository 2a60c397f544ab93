// The example page in a headless Chromium, as a person uses it: `node page.mjs URL HOST,HOST REFERENCE-FILE PROOF-FILE`. The first host lies.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { checkContrast, checkNames, open } from '../../../node/console/web/tests/browser.mjs';
import { jello, liar } from './liar.mjs';

const [url, hosts, referenceFile, proofFile] = process.argv.slice(2);
const [first, second] = hosts.split(',').map((host) => `ws://${host}`);
const proxy = await liar(first, jello);
const browser = await open(url);
const { page } = browser;
const button = (name) => page.getByRole('button', { name, exact: true });
const answers = page.locator('#answers > li');

async function call(method, args) {
  const before = await answers.count();
  await page.getByLabel('Method').fill(method);
  await page.getByLabel('Arguments').fill(args);
  await button('Call').click();
  await page.waitForFunction((count) => document.querySelectorAll('#answers > li').length > count, before);
  return answers.first();
}

try {
  await browser.go(`/index.html?host=${proxy.url}&host=${second}`);
  await page.getByText('None yet').waitFor();
  await checkContrast(page);
  await checkNames(page);
  await browser.picture('empty');

  // What is no reference is refused, and says what is one.
  await page.getByLabel('Name').fill('desk');
  await page.getByLabel('Reference', { exact: true }).fill('vat://nothing');
  await button('Add').click();
  await page.locator('#add-error', { hasText: 'vat ref new' }).waitFor();

  // A reference as a file; the host that carries the frames lies about the first answer that it can change.
  await page.getByLabel('or a file').setInputFiles(referenceFile);
  await button('Add').click();
  await page.locator('#kept', { hasText: 'desk' }).waitFor();
  const refused = page.getByRole('alert').filter({ hasText: `${new URL(proxy.url).host} lied` });
  assert.equal(await refused.count(), 0, 'it has not lied yet');
  const greeting = await call('greet', '["Ada"]');
  await greeting.locator('.result', { hasText: 'hello Ada' }).waitFor();
  await refused.waitFor();
  assert.match(await refused.innerText(), /what its vat did not say/);
  assert(!(await page.locator('body').innerText()).includes('jello'), 'nothing of the lie is shown as an answer');

  // Who signed, by name and key.
  await greeting.locator('.seal').waitFor();
  assert.match(await greeting.locator('.seal').innerText(), /^[23] of 3 signed, block \d+$/);
  const signed = greeting.locator('.members .has-signed');
  assert(await signed.count() >= 2, 'two have to');
  assert.match(await signed.first().innerText(), /(alpha|beta|gamma) [0-9a-f]{8}…/);
  assert.equal(await greeting.locator('.members li').count(), 3, 'all who may');
  await checkContrast(page);
  await checkNames(page);
  await browser.picture('a-lie');

  // The proof, as a file.
  const [download] = await Promise.all([page.waitForEvent('download'), greeting.getByRole('link', { name: 'Save the proof' }).click()]);
  assert.match(download.suggestedFilename(), /^desk-greet-\d+\.proof$/);
  await download.saveAs(proofFile);

  // An object of an answer, kept; a rejection, which is signed as well.
  const made = await call('makeCounter', '[]');
  await made.getByLabel('Keep object 1 as').fill('my counter');
  await made.getByRole('button', { name: 'Keep' }).click();
  await made.getByText('Kept as my counter').waitFor();
  const failed = await call('fail', '[]');
  await failed.locator('.rejected', { hasText: 'that is no name' }).waitFor();
  await failed.locator('.seal').waitFor();
  const calls = await answers.count();
  await page.getByLabel('Arguments').fill('Ada');
  await button('Call').click();
  await page.locator('#call-error', { hasText: 'JSON' }).waitFor();
  assert.equal(await answers.count(), calls, 'arguments that are no JSON make no call');
  await browser.picture('answers');

  // After a reload both references are there, and work; their secrets are nowhere in the page.
  const secret = readFileSync(referenceFile, 'utf8').trim().split('#')[1];
  await browser.go(`/index.html?host=${second}`);
  await page.locator('#kept').getByRole('button', { name: /^my counter/ }).click();
  await (await call('add', '[5]')).locator('.result', { hasText: '5' }).waitFor();
  await page.locator('#kept').getByRole('button', { name: /^desk/ }).click();
  await (await call('greet', '["Grace"]')).locator('.result', { hasText: 'hello Grace' }).waitFor();
  await answers.first().locator('.seal').waitFor();
  assert(!(await page.content()).includes(secret), 'the secret is not in the page');

  // Dark, narrow, by the keyboard.
  await page.emulateMedia({ colorScheme: 'dark' });
  await checkContrast(page);
  await browser.picture('dark');
  await page.setViewportSize({ width: 360, height: 740 });
  await browser.fits();
  await browser.picture('narrow-dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await browser.picture('narrow');
  await page.getByLabel('Method').focus();
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.type('greet');
  await page.keyboard.press('Tab');
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.type('["Lin"]');
  await page.keyboard.press('Enter');
  await answers.first().locator('.result', { hasText: 'hello Lin' }).waitFor();

  // What is forgotten is gone.
  await button('Forget my counter').click();
  await page.waitForFunction(() => document.querySelectorAll('#kept li').length === 1);
  await page.reload();
  await page.locator('#kept').getByRole('button', { name: /^desk/ }).waitFor();
  assert.equal(await page.locator('#kept li').count(), 1);
  assert.deepEqual(browser.errors, [], 'the page is silent');
  process.stdout.write('well\n');
} catch (error) {
  await browser.picture('failed').catch(() => undefined);
  process.stderr.write(`${page.url()}\n${(await page.locator('body').innerText().catch(() => '')).slice(0, 2000)}\n${browser.errors.join('\n')}\n${error.stack}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
  proxy.close();
}
process.exit();
