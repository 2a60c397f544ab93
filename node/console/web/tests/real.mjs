// The page of a testnet whose hosts really run. What is to happen to them, whoever started this does: it reads words from standard output,
// and writes a line when it is done.
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { readFileSync, writeFileSync } from 'node:fs';
import { checkContrast, checkNames, open } from './browser.mjs';

const [url, token, vat] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const demand = async (what) => {
  process.stdout.write(`${what}\n`);
  const { done } = await lines.next();
  assert(!done, `nobody did ${what}`);
};

const browser = await open(url);
const { page } = browser;
const [main, top] = [page.locator('main'), page.locator('.top')];
const number = async (locator) => Number((await locator.innerText()).replaceAll(',', ''));

try {
  // All vats.
  await browser.go('/');
  await browser.live();
  const row = main.getByRole('row').filter({ has: page.getByRole('link', { name: 'counter', exact: true }) });
  await row.getByText('well').or(row.getByText('trouble')).first().waitFor();
  assert.match(await row.locator('.signers .unseen').innerText(), /Block \d+ was signed by .*; 3 of 4 must sign/);
  await checkContrast(page);
  await checkNames(page);
  await browser.picture('vats');

  // One vat: who signed which block, live.
  await row.getByRole('link', { name: 'counter', exact: true }).click();
  const filled = main.locator('.matrix .square.signed');
  await filled.first().waitFor();
  const certified = main.locator('.facts div', { hasText: 'Certified' }).locator('dd');
  const before = { squares: await filled.count(), block: await number(certified) };
  await browser.shifts();
  await demand('calls');
  await page.waitForFunction((before) => document.querySelectorAll('.matrix .square.signed').length > before, before.squares);
  assert((await number(certified)) > before.block, 'the certified block goes on');
  assert.deepEqual(await browser.shifts(), [], 'nothing moves when updates come');
  const columns = main.locator('.matrix tbody tr');
  assert.equal(await columns.count(), 4, 'a row for each member');
  await checkContrast(page);
  await checkNames(page);
  await browser.picture('signatures');

  // Evidence against the member that lies: convicted, and the file holds.
  await top.getByRole('link', { name: 'Evidence' }).click();
  const convicted = main.getByRole('row').filter({ hasText: 'equivocation' }).first();
  await convicted.waitFor();
  assert.match(await convicted.locator('strong.trouble').innerText(), /gamma/);
  await main.getByRole('button', { name: 'Check all' }).click();
  await main.getByText('Everything in evidence.proof holds').waitFor();
  await main.locator('.accused').first().waitFor();
  await checkContrast(page);
  await checkNames(page);
  await browser.picture('evidence');

  // A change of members, watched live.
  await browser.go(`/vats/${vat}?tab=epochs`);
  await main.getByRole('heading', { name: 'Epoch 0' }).waitFor();
  await demand('replace');
  // It waits for owners. Everybody sees that, and only who has the token may answer.
  await top.getByRole('link', { name: /^Waiting\s*1/ }).click();
  await main.getByText('vat approve counter --host alpha').waitFor();
  assert.equal(await main.getByRole('button', { name: /^Approve for/ }).count(), 0, 'nobody may approve');
  await browser.go('/logs?of=driver');
  await main.locator('.owner', { hasText: 'with the token' }).waitFor();
  await browser.picture('for-the-owner');
  await browser.go(`/waiting#token=${token}`);
  await main.getByRole('button', { name: 'Approve for alpha' }).waitFor();
  assert(!page.url().includes(token), 'the token does not stay in the address');
  await checkContrast(page);
  await checkNames(page);
  await browser.picture('waiting');
  // Not before the owner says that the newcomer's key was compared; and not by leaving the question.
  await main.getByRole('button', { name: 'Approve for alpha' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('replace gamma by epsilon').waitFor();
  const sure = dialog.getByRole('button', { name: 'Approve' });
  assert(await sure.isDisabled(), 'the fingerprint was not compared');
  await checkContrast(page);
  await browser.picture('approve');
  await page.keyboard.press('Escape');
  await main.getByText('Waits for the owner of alpha').waitFor();
  await main.getByRole('button', { name: 'Approve for alpha' }).click();
  await dialog.getByRole('checkbox').check();
  await sure.click();
  await main.getByText('Waits for the owner of alpha').waitFor({ state: 'detached' });
  await browser.go(`/vats/${vat}?tab=epochs`);
  await main.getByRole('heading', { name: 'Epoch 1' }).waitFor();
  await demand('drive');
  const epoch = main.locator('.epochs li').first();
  assert.match(await epoch.innerText(), /\+ epsilon/);
  assert.match(await epoch.innerText(), /− gamma/);
  assert.match(await epoch.innerText(), /Certified by [34] of the 4 members of epoch 0 \(3 had to\)/);
  await checkContrast(page);
  await browser.picture('epochs');

  // What a vat printed, searched; and who can use what.
  await browser.go('/logs?of=driver');
  await main.locator('.lines tr', { hasText: 'driving the counter' }).first().waitFor();
  await page.locator('input[type=search]').fill('DRIVING');
  await main.getByText(/lines?; the newest first|of \d+ lines/).first().waitFor();
  await checkContrast(page);
  await checkNames(page);
  await browser.picture('logs');
  await page.locator('input[type=search]').fill('nothing like it');
  await main.getByText('No line is as the filters say').waitFor();
  await browser.go(`/vats/${vat}?tab=objects`);
  const root = main.getByRole('row').filter({ has: page.locator('td:first-child', { hasText: 'root' }) });
  await root.getByRole('link', { name: 'driver' }).waitFor();
  await checkContrast(page);
  await checkNames(page);
  await browser.picture('objects');

  // A message from one vat to the next.
  await browser.go(`/vats/${vat}?tab=streams`);
  await main.getByRole('row').filter({ hasText: 'driver' }).first().waitFor();
  await browser.picture('streams-of-one');
  await browser.go('/streams?q=driver');
  const stream = main.getByRole('row').filter({ has: page.locator('td:first-child', { hasText: 'driver' }) }).first();
  await stream.getByRole('link').last().click();
  await main.locator('.steps li.done', { hasText: 'Certified' }).first().waitFor();
  await main.locator('.steps li.done', { hasText: 'Taken in' }).first().waitFor();
  await main.locator('.steps li.done', { hasText: 'Acknowledged' }).first().waitFor();
  assert.match(await main.locator('.steps').first().innerText(), /delivery|deliveries/);
  await browser.picture('follow');
  await browser.go(`/vats/${vat}?tab=blocks`);
  await main.locator('.list .pair a').first().waitFor();
  await browser.picture('blocks');

  // A proof, downloaded and checked; and the same with one byte changed.
  await browser.go(`/vats/${vat}?tab=proof`);
  await main.getByRole('button', { name: 'Get and check' }).click();
  await main.getByText('Everything in counter.proof holds').waitFor();
  assert((await main.locator('.verdict').innerText()).includes(vat), 'it names the VatId');
  await browser.picture('proof');
  const [download] = await Promise.all([page.waitForEvent('download'), main.getByRole('link', { name: 'Download' }).click()]);
  const path = await download.path();
  await browser.go('/check');
  const field = page.locator('input[type=file]');
  await field.setInputFiles(path);
  await main.locator('.verdict.good').waitFor();
  const bytes = readFileSync(path);
  bytes[bytes.length - 9] ^= 1;
  const changed = `${path}.changed`;
  writeFileSync(changed, bytes);
  await field.setInputFiles(changed);
  await main.locator('.verdict.bad').waitFor();
  assert.match(await main.locator('.verdict').innerText(), /Q-V001/);
  await checkContrast(page);
  await checkNames(page);
  await browser.picture('check-refused');

  // Hosts that die: one is down, then the vat has no quorum, and says what to do.
  await browser.go('/hosts');
  await main.getByRole('row').filter({ hasText: 'alpha' }).getByText('up').first().waitFor();
  await browser.picture('hosts');
  await demand('kill');
  await main.getByRole('row').filter({ hasText: 'alpha' }).getByText('down').first().waitFor();
  await main.getByRole('row').filter({ hasText: 'beta' }).getByText('down').first().waitFor();
  await top.getByRole('link', { name: /^Vats/ }).click();
  const silent = main.getByRole('row').filter({ has: page.getByRole('link', { name: 'counter', exact: true }) });
  await silent.getByText('silent').waitFor();
  await silent.getByRole('link', { name: 'counter', exact: true }).click();
  await main.locator('.problems', { hasText: "can't order anything" }).waitFor();
  await checkContrast(page);
  await browser.picture('silent');
  await top.getByRole('link', { name: 'Hosts' }).click();
  await main.getByRole('link', { name: 'alpha' }).click();
  await main.locator('.problems', { hasText: 'vat testnet restart alpha' }).waitFor();
  await browser.picture('host-down');

  // The console itself ends.
  await demand('end');
  await page.getByText('The console does not answer').waitFor();
  await browser.picture('lost');
  const other = browser.errors.filter((error) => !error.includes('/api/events') && !error.includes('ERR_CONNECTION_REFUSED') && !error.includes('ERR_INCOMPLETE_CHUNKED_ENCODING'));
  assert.deepEqual(other, [], 'the page is silent');
  process.stdout.write('well\n');
} catch (error) {
  await browser.picture('failed').catch(() => undefined);
  process.stderr.write(`${page.url()}\n${(await main.innerText().catch(() => '')).slice(0, 2000)}\n${browser.errors.join('\n')}\n${error.stack}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
  process.stdin.destroy();
}
