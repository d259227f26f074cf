// Drives the pages in a real headless browser: node tests/browser/run.mjs PROGRAM [--pictures FOLDER]
// ONLY=word runs the tests that have it in their names. Needs playwright-core and axe-core (NODE_PATH or beside it) and Debian's chromium. `.ci/browser` brings them.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { pathToFileURL, fileURLToPath } from 'node:url';

const require = createRequire(path.join(process.env.BROWSER_MODULES ?? process.cwd(), 'package.json'));
const { chromium } = require('playwright-core');
const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const program = path.resolve(process.argv[2]), pictures = process.argv[3] === '--pictures' ? path.resolve(process.argv[4]) : null;
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fifo-retain-browser-'));
const env = { PATH: process.env.PATH, HOME: folder, TZ: 'UTC' };

fs.mkdirSync(path.join(folder, 'policies'));
fs.mkdirSync(path.join(folder, 'main'));
const POLICY = `version: 1
policy: grandfather
description: Monthly full, weekly and daily incrementals.
select: { all: true }
timezone: Europe/Berlin
tiers:
  - { name: monthly, schedule: "0 1 1 * *", type: full, keep: 12 }
  - { name: weekly, schedule: "0 1 * * SUN", type: incremental, keep: 5 }
  - { name: daily, schedule: "0 1 * * *", type: incremental, keep: 7 }
prune: true
`;
fs.writeFileSync(path.join(folder, 'policies/grandfather.yaml'), POLICY);
fs.writeFileSync(path.join(folder, 'main/grandfather.yaml'), POLICY.replace('keep: 7', 'keep: 14'));
const YEAR = ['simulate', '--from', '2027-01-01T00:05:00Z', '--days', '362', '--prune'];
const HINDERED = ['--down', '2027-06-09..2027-06-17', '--uploads-fail', '2027-09-11..2027-09-13'];

function run(...line) {
  const ended = spawnSync(program, line, { cwd: folder, env, maxBuffer: 1 << 28 });
  assert.equal(ended.status, 0, `${line.join(' ')}: ${ended.stderr}`);
  return ended.stdout.toString();
}
function written(name, ...line) {
  const file = path.join(folder, name);
  fs.writeFileSync(file, run('--format', 'html', ...line));
  return pathToFileURL(file).href;
}
/** Starts a server and waits for the address that it prints. */
function served(pattern, ...line) {
  const child = spawn(program, line, { cwd: folder, env });
  const found = new Promise((resolve, reject) => {
    let text = '';
    const take = part => { text += part; const match = pattern.exec(text); if (match) resolve(match[1]); };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('exit', code => reject(new Error(`ended with ${code}: ${text}`)));
  });
  return { child, found };
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
let tests = 0;

/** Opens a page in one width and colour, and fails on whatever the browser complains of and on requests to elsewhere. */
async function opened(url, { width = 1440, colorScheme = 'light', scripts = true } = {}, use) {
  const context = await browser.newContext({ viewport: { width, height: width < 500 ? 812 : 900 }, colorScheme, javaScriptEnabled: scripts, reducedMotion: 'reduce', acceptDownloads: true });
  const page = await context.newPage(), complaints = [], origin = new URL(url).origin;
  page.on('console', message => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()); });
  page.on('pageerror', error => complaints.push(error.message));
  page.on('request', request => {
    const to = new URL(request.url());
    if (to.protocol !== 'blob:' && !(to.protocol === 'file:' && request.url().split('#')[0] === url.split('#')[0]) && to.origin !== origin) complaints.push(`asks ${request.url()}`);
  });
  await page.goto(url);
  await use(page);
  assert.deepEqual(complaints, [], url);
  await context.close();
}
/** In both widths, light and dark: nothing is wider than the window, and axe finds nothing at level AA. */
async function accessible(name, url, prepare = async () => {}) {
  for (const width of [375, 1440]) for (const colorScheme of ['light', 'dark']) {
    await opened(url, { width, colorScheme }, async page => {
      await prepare(page);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= width, `${name} is wider than ${width}`);
      await page.evaluate(AXE); // Over the debugger: the strict policy stays on.
      const found = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'], resultTypes: ['violations'] }));
      const violations = found.violations.map(it => `${it.id}: ${it.nodes[0].target} (${it.nodes.length})`);
      assert.deepEqual(violations, [], `${name}, ${width} px, ${colorScheme}`);
    });
  }
}
async function test(name, body) {
  if (!name.includes(process.env.ONLY ?? '')) return;
  const began = Date.now();
  await body();
  tests += 1;
  console.log(`ok  ${name} (${Date.now() - began} ms)`);
}
const now = page => page.locator('.now').first().innerText();

try {
  const year = written('year.html', ...YEAR, ...HINDERED);

  await test('what the script draws is what was there without it', async () => {
    const look = page => page.evaluate(() => ({
      cells: [...document.querySelectorAll('.year td[data-d]')].map(it => `${it.className} ${it.textContent}`),
      edges: [...document.querySelectorAll('.chain .tall .edge')].map(it => it.getAttribute('class')).sort(),
      chips: [...document.querySelectorAll('.chain .tall .ch')].map(it => it.textContent),
      rows: [...document.querySelectorAll('.tall tbody tr')].map(it => it.textContent),
      words: document.querySelector('.way').textContent, now: document.querySelector('.now').textContent,
      ends: [...document.querySelectorAll('.ends span')].map(it => it.textContent),
    }));
    let plain;
    const source = fs.readFileSync(path.join(folder, 'year.html'), 'utf8').replace(/<script>[^]*<\/script>/, '');
    fs.writeFileSync(path.join(folder, 'plain.html'), source);
    await opened(pathToFileURL(path.join(folder, 'plain.html')).href, {}, async page => { plain = await look(page); });
    await opened(year, {}, async page => { assert.deepEqual(await look(page), plain); });
    assert.ok(plain.cells.length === 363 && plain.chips.length > 20);
  });

  await test('slider, keys and buttons walk through the days, and hovering a node shows its way', async () => {
    await opened(year, {}, async page => {
      assert.match(await now(page), /^Wed 29 Dec 2027/);
      await page.locator('.walk input').focus();
      await page.keyboard.press('ArrowLeft');
      assert.match(await now(page), /^Tue 28 Dec 2027/);
      await page.locator('[data-go="-7"]').click();
      assert.match(await now(page), /^Tue 21 Dec 2027/);
      assert.equal(await page.locator('td.later').count(), 8);
      await page.locator('.walk input').fill('162');
      assert.match(await now(page), /^Sat 12 Jun 2027[^]*no run/);
      assert.equal(await page.locator('td.o').count(), 3, 'hatched up to that day');
      await page.locator('.walk input').fill('254');
      assert.match(await now(page), /^Sun 12 Sep 2027[^]*upload failed/);
      await page.locator('.walk input').press('End');
      const way = page.locator('.way');
      const newest = await way.innerText();
      assert.match(newest, /^Back to Wed 29 Dec 2027, 01:00: 8 backups, [\d.]+ GiB to fetch/);
      await page.locator('.wide .hit').nth(3).hover();
      const other = await way.innerText();
      assert.match(other, /^Back to Thu 1 Apr 2027, [\d:]+: 1 backup, 40\.0 GiB/);
      assert.equal(await page.locator('.wide g.on').count(), 1);
      await page.locator('.wide .hit[tabindex="0"]').focus();
      await page.keyboard.press('ArrowRight');
      assert.match(await way.innerText(), /^Back to Sat 1 May 2027/);
      await page.locator('td[data-d="300"]').click();
      assert.match(await now(page), /^Thu 28 Oct 2027/);
    });
  });

  await test('numbers in page, JSON and text are the same on every day', async () => {
    const days = JSON.parse(run('--format', 'json', ...YEAR, ...HINDERED)).policies[0].days;
    const text = run(...YEAR, ...HINDERED);
    const bytes = n => { let tenths = Math.floor(n * 10 / 1024), unit = 0; for (; tenths >= 10240; unit++) tenths = Math.floor(tenths / 1024); return `${Math.floor(tenths / 10)}.${tenths % 10} ${['KiB', 'MiB', 'GiB', 'TiB'][unit]}`; };
    await opened(year, {}, async page => {
      const seen = await page.evaluate(() => {
        const range = document.querySelector('.walk input'), all = [];
        for (let day = 0; day <= +range.max; day++) {
          range.value = day;
          range.dispatchEvent(new Event('input', { bubbles: true }));
          const ends = [...document.querySelectorAll('.ends span')].map(it => it.textContent);
          all.push([document.querySelector('.now').textContent, document.querySelectorAll('.year .k').length, document.querySelector('.way p').textContent, ends]);
        }
        return all;
      });
      assert.equal(seen.length, days.length);
      days.forEach((day, at) => {
        const [now, , way, ends] = seen[at];
        assert.ok(now.includes(`${day.stored} stored, ${bytes(day.stored_bytes)}`), `${day.date}: ${now}`);
        assert.ok(now.includes(`${day.local} on the hypervisor, ${bytes(day.local_bytes)}`), `${day.date}: ${now}`);
        // What the script adds up along the parents is what the engine counts.
        assert.ok(way.includes(`, ${bytes(day.restore_bytes)} to fetch`), `${day.date}: ${way}`);
        assert.ok(ends.includes(bytes(day.restore_bytes)));
      });
      const months = await page.locator('details td').allTextContents();
      for (const [, month, stored, size] of text.matchAll(/^ *(2027-\d\d) +(\d+) +([\d.]+ \wiB)/gm)) {
        const place = months.findIndex(cell => cell === month);
        assert.deepEqual(months.slice(place, place + 3), [month, stored, size]);
      }
      const sentences = text.slice(text.indexOf('You can go back')).trim().split('\n\n').map(it => it.replace(/\s+/g, ' '));
      assert.deepEqual((await page.locator('.says').allInnerTexts()).map(it => it.trim()), sentences);
    });
  });

  await test('a year is accessible and fits, alone and against another policy', async () => {
    await accessible('year', year);
    await accessible('against', written('against.html', ...YEAR, '--against', 'main'));
  });

  await test('an edit changes the year, a mistake stands at its line, and the file can be saved', async () => {
    const { child, found } = served(/(http:\S+)/, ...YEAR, '--listen', '127.0.0.1:0');
    try {
      const url = await found;
      await opened(url, {}, async page => {
        const kept = () => page.locator('.year .k').count(), before = await kept();
        assert.ok(before > 20);
        const yaml = page.locator('#yaml');
        await yaml.fill(POLICY.replace('keep: 5', 'keep: 2'));
        await page.waitForFunction(kept => document.querySelectorAll('.year .k').length < kept, before);
        assert.match(await page.locator('.says').first().innerText(), /any Sunday of the last 2 weeks,/);
        await yaml.fill(POLICY.replace('schedule: "0 1 1', 'shedule: "0 1 1'));
        const finding = page.locator('#findings [data-line="7"]').first();
        await finding.waitFor();
        assert.match(await page.locator('#findings').innerText(), /error, line 7:\d+: unknown field `shedule`, did you mean `schedule`\?/);
        assert.ok(await page.locator('.lines b.error').count() >= 1);
        assert.ok(await page.locator('.sim.stale').count() === 1);
        fs.writeFileSync(path.join(folder, 'broken.yaml'), await yaml.inputValue());
        const validated = spawnSync(program, ['validate', 'broken.yaml'], { cwd: folder, env }).stdout.toString();
        assert.ok(validated.includes('unknown field `shedule`, did you mean `schedule`?'), validated);
        await yaml.fill(POLICY);
        await page.locator('.sim:not(.stale)').waitFor();
        const [download] = await Promise.all([page.waitForEvent('download'), page.locator('[data-save]').click()]);
        assert.equal(download.suggestedFilename(), 'grandfather.yaml');
        assert.equal(fs.readFileSync(await download.path(), 'utf8'), POLICY);
        if (pictures) {
          // How long it took differs from machine to machine.
          await page.evaluate(() => { document.querySelector('.took').textContent = ''; });
          await page.screenshot({ path: path.join(pictures, 'simulate.png'), clip: { x: 0, y: 0, width: 1440, height: 1480 }, fullPage: true });
        }
      });
      await accessible('live', url);
      assert.deepEqual(fs.readFileSync(path.join(folder, 'policies/grandfather.yaml'), 'utf8'), POLICY, 'nothing is written');
    } finally { child.kill(); }
  });

  fs.rmSync(path.join(folder, 'policies'), { recursive: true });
  await test('the filters of the fleet are links, and no script is needed', async () => {
    const fleet = written('fleet.html', '--sandbox', 'status');
    await opened(fleet, { scripts: false }, async page => {
      const shown = () => page.locator('.fleet tbody tr:visible').count(), all = await shown();
      assert.ok(all > 10);
      await page.getByRole('link', { name: /^too old / }).click();
      assert.ok(await shown() < all && await shown() > 0);
      assert.equal(await page.locator('.fleet .safe:visible').count(), 0);
      const counted = +(await page.getByRole('link', { name: /^databases / }).innerText()).split(' ').at(-1);
      await page.getByRole('link', { name: /^databases / }).click();
      assert.equal(await shown(), counted);
      await page.getByRole('link', { name: /^[0-9a-f]{8} / }).first().click();
      assert.ok(await shown() < all && await shown() > 0);
      await page.getByRole('link', { name: /^all / }).first().click();
      assert.equal(await shown(), all);
      if (pictures) await page.screenshot({ path: path.join(pictures, 'status.png'), clip: { x: 0, y: 0, width: 1440, height: 900 } });
    });
    await accessible('fleet', fleet);
  });

  await test('a day of a VM leads to the way back, with the commands', async () => {
    const vm = written('vm.html', '--sandbox', 'show', 'web-1');
    await opened(vm, {}, async page => {
      const way = page.locator('.way').first(), newest = await way.innerText();
      const days = page.locator('.timeline [data-at]');
      await days.nth(await days.count() - 8).click();
      const other = await way.innerText();
      assert.notEqual(other, newest);
      const [, id] = /fifo vms backups \S+ restore (\S+)/.exec(other);
      assert.ok(other.includes(`${id}\n`) && /full/.test(other), other);
      const shown = JSON.parse(run('--format', 'json', '--sandbox', 'show', 'web-1')).vms[0].backups.find(it => it.backup === id);
      assert.ok(other.includes(`${shown.restore.steps} backup`), other);
      await page.setViewportSize({ width: 1200, height: 900 });
      await page.setViewportSize({ width: 1440, height: 900 });
      assert.equal(await way.innerText(), other, 'what was chosen stays');
      if (pictures) await page.screenshot({ path: path.join(pictures, 'show.png'), clip: { x: 0, y: 0, width: 1440, height: 1180 }, fullPage: true });
    });
    await opened(vm, { scripts: false }, async page => {
      await page.getByText('The way back to each of them').click();
      assert.ok(await page.locator('pre.commands:visible').count() > 5);
    });
    await accessible('vm', vm, page => page.locator('.timeline').waitFor());
  });

  await test('the page of a running program leads to each VM', async () => {
    const { child, found } = served(/a page at (http:\S+)/, '--sandbox', 'reconcile', '--every', '1h', '--listen', '127.0.0.1:0');
    try {
      const url = await found;
      await opened(url, {}, async page => {
        for (let tries = 0; tries < 100 && !await page.locator('.fleet').count(); tries++) { await page.waitForTimeout(300); await page.reload(); }
        await page.getByRole('link', { name: 'web-1', exact: true }).click();
        await page.locator('.timeline').waitFor();
        assert.match(await page.locator('.way').first().innerText(), /^Back to [^]*fifo vms backups/);
        assert.match(await page.locator('main').innerText(), /The last run that has ended\s+Ended [\d-]+ [\d:]+ UTC\. reconcile: /);
      });
      await accessible('running', url);
    } finally { child.kill(); }
  });
  console.log(`${tests} tests of pages passed`);
} finally {
  await browser.close();
  fs.rmSync(folder, { recursive: true, force: true });
}
