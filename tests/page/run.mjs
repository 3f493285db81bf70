// run.mjs -- the page of `tenon show --html` in a browser: does everything on it do what it says?
//
//   node run.mjs TENON MODEL [--options of show] [--library] [--limit KB] [--within SECONDS] [--shots FOLDER]
//
// MODEL is a file, or `nodes:N` for a generated graph of N nodes. Expected numbers come from the text form of the
// same model, or are counted anew from what the page was given. Ends with "N passed, N failed".
import {execFileSync} from 'node:child_process';
import {mkdtempSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Browser} from './browser.mjs';

const [tenon, model, ...rest] = process.argv.slice(2);
const take = name => {
  const at = rest.indexOf(name);
  return at < 0 ? undefined : rest.splice(at, 2)[1];
};
const flag = name => {
  const at = rest.indexOf(name);
  return at >= 0 && rest.splice(at, 1).length > 0;
};
const library = flag('--library'), limit = +(take('--limit') ?? 1024), within = +(take('--within') ?? 10), shots = take('--shots');
const folder = mkdtempSync(join(tmpdir(), 'tenon-page-test.'));
let passed = 0, failed = 0;

function check(holds, what) {
  holds ? passed++ : failed++;
  if (!holds) console.log('does not hold: ' + what);
}
const same = (got, want, what) => check(JSON.stringify(got) === JSON.stringify(want), `${what} is ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);

// A chain with skips of several lengths, and one value that is used everywhere. The input's name is not to be markup.
function generated(count) {
  const lines = ['  %v0: f32[1,64] = relu %"x\\"><b id=evil>"'];
  for (let i = 1; i < count; i++) {
    const other = i % 11 === 0 ? Math.max(0, i - 9) : i % 101 === 0 ? Math.max(0, i - 90) : i % 53 === 0 ? 0 : -1;
    lines.push(`  %v${i}: f32[1,64] = ` + (other < 0 ? `${['tanh', 'sqrt', 'abs'][i % 3]} %v${i - 1}` : `add %v${i - 1}, %v${other}`));
  }
  return `graph generated(%"x\\"><b id=evil>": f32[1,64]) -> (%v${count - 1}: f32[1,64]) {\n${lines.join('\n')}\n  return %v${count - 1}\n}\n`;
}

let file = model;
if (model.startsWith('nodes:')) writeFileSync(file = join(folder, 'generated.tn'), generated(+model.slice(6)));
const page = join(folder, 'page.html'), started = Date.now();
execFileSync(tenon, ['show', file, '--html', page, '--quiet', ...rest], {stdio: ['ignore', 'inherit', 'inherit']});
const kilobytes = statSync(page).size / 1024;
console.log(`${kilobytes.toFixed(0)} KB in ${((Date.now() - started) / 1000).toFixed(1)} s`);
check(kilobytes <= limit, `the page has ${kilobytes.toFixed(0)} KB, more than ${limit}`);

const browser = await Browser.open();
const js = expression => browser.evaluate(expression);
const text = selector => js(`document.querySelector(${JSON.stringify(selector)})?.textContent ?? null`);
const count = selector => js(`document.querySelectorAll(${JSON.stringify(selector)}).length`);
const open = hash => browser.load('file://' + page + hash, '!!window.app');

// The same model as a library: no graph, but kernels with their times.
async function testLibrary() {
  const so = join(folder, 'library.so');
  execFileSync(tenon, ['compile', file, '-o', so, '--quiet']);
  const steps = await js('app.report.steps.map(step => step.name)');
  execFileSync(tenon, ['show', so, '--html', page, '--quiet'], {stdio: ['ignore', 'inherit', 'inherit']});
  await open('');
  same(await js('app.report.steps.map(step => step.name)'), steps, 'kernels of the library');
  same(await count('#sheet tbody tr'), steps.length, 'rows of its kernels');
  check(await js('app.report.measured'), 'it has times');
  check((await text('#panel')).includes('no graph'), 'its panel');
  same(browser.errors, [], 'errors of its page');
}

const shot = name => shots && browser.screenshot(join(shots, name + '.png'));

try {
  const milliseconds = await open('');
  console.log(`interactive after ${milliseconds} ms`);
  check(milliseconds < 1000 * within, `it takes ${milliseconds} ms until the page answers`);
  same(browser.errors, [], 'errors when opened');

  // the stages: as the text form of the model has it
  const source = execFileSync(tenon, ['opt', file, '--passes='], {maxBuffer: 1 << 30}).toString();
  const lines = source.split('\n').filter(line => /^ {2}\S/.test(line) && !/^ {2}(const|return|\})/.test(line));
  await js('app.go(0)');
  same(await js('app.stage.items.filter(item => item.id !== undefined).length'), lines.length, 'nodes as read');
  const stages = await js('app.report.stages.length');
  check(stages >= 1, 'there are stages');

  // every stage has a layout without boxes on each other, and the slider's keys go over all
  for (let i = 0; i < stages; i++) {
    same(await js('app.number'), i, 'number of the pass');
    same(await js(`(() => { const l = app.graph.layout; let bad = 0;
      for (const row of l.rows) { const s = [...row].sort((a, b) => l.x[a] - l.x[b]); for (let i = 1; i < s.length; i++) if (l.x[s[i]] - l.x[s[i - 1]] < (l.widths[s[i]] + l.widths[s[i - 1]]) / 2) bad++; }
      return bad + [...l.x, ...l.y].filter(v => !Number.isFinite(v)).length; })()`), 0, `boxes on each other at stage ${i}`);
    await browser.key('ArrowRight');
  }
  same(await js('app.number'), stages - 1, 'the last pass');
  if (stages > 1) {
    same(await js(`(() => { const s = document.getElementById('slider'); s.value = 0; s.dispatchEvent(new Event('input')); return app.number; })()`), 0, 'what the slider chose');
    await browser.key('ArrowRight', {shift: true});
    check(await js('app.report.stages[app.number].changed'), 'shift and arrow go to a pass that changed something');
    // what is told to be new is not in the stage before, and what is gone is not in this one
    check(await js(`app.report.stages.every((_, i) => { const now = app.report.stage(i), before = i && app.report.stage(i - 1);
      return !before || (now.fresh.every(item => !before.byKey.has(item.key)) && now.altered.every(item => before.raw.nodes.includes(item.was) && !now.raw.nodes.includes(item.was)) && now.gone.every(node => !now.byKey.has(keyOf(node.results[0].name)))); })`), 'changes are changes');
  }
  await shot('graph-changed');
  if (stages > 1) { // what is chosen stays chosen while it is there
    const chosen = await js('(app.go(0), app.select(app.stage.items[1].key), app.selected)'), later = await js('app.report.stage(app.number + 1).byKey.has(app.selected)');
    await browser.key('ArrowRight');
    if (later) same(await js('app.selected'), chosen, 'the node that is chosen after the next pass');
    await js('app.select(null)');
  }
  await js('app.go(app.report.stages.length - 1)');

  // a click on a box
  await js('app.graph.reveal(app.stage.items[Math.floor(app.stage.items.length / 2)])');
  const target = await js(`(() => { const item = app.stage.items[Math.floor(app.stage.items.length / 2)], g = app.graph, box = g.canvas.getBoundingClientRect();
    return {key: item.key, x: box.x + (g.layout.x[item.number] - g.left) * g.scale, y: box.y + (g.layout.y[item.number] - g.top) * g.scale}; })()`);
  await browser.click(target.x, target.y);
  same(await js('app.selected'), target.key, 'what a click chose');
  check((await js('location.hash')).includes('node=' + encodeURIComponent(target.key).replace(/%20/g, '+')), 'the address has the node');
  check((await text('#panel h2')).length > 0, 'the panel has a title');
  same(browser.errors, [], 'errors after a click');
  await shot('graph-node');

  // loops and assembly of a kernel
  const kernel = await js('app.report.steps.length ? keyOf(app.report.steps[0].result) : null');
  if (kernel) {
    await js(`app.select(${JSON.stringify(kernel)})`);
    await browser.key(']');
    check((await text('#panel pre')).startsWith('kernel '), 'the loops of a kernel');
    await browser.key(']');
    check(/\tret|\tjmp/.test(await text('#panel pre')), 'its assembly');
    await shot('graph-assembly');
    await browser.key(']');
    check((await text('#panel pre.text')).includes(' = '), 'its text');
  }

  // search, against a count of the words in what was given
  const word = await js(`(() => { const counts = {}; for (const item of app.stage.items) if (item.id !== undefined) { const inner = item.op === 'kernel' ? item.node.regions[0].nodes.filter(n => n.op !== 'const')[0].op : item.op; counts[inner] = (counts[inner] || 0) + 1; }
    return Object.entries(counts).sort((a, b) => b[1] - a[1])[0][0]; })()`);
  const want = await js(`app.report.stages[app.number].nodes.map(id => app.report.nodes[id]).filter(node => node.op !== 'const').filter(node => JSON.stringify([node.op, node.results.map(r => r.name + r.type), node.origin, node.attributes?.name, node.regions?.map(g => g.nodes.map(n => n.op))]).toLowerCase().includes(${JSON.stringify(word)})).length`);
  await browser.key('/');
  const before = Date.now();
  await browser.type(word);
  const found = +(await text('#found .count')).split(' ')[0];
  check(found >= want && found <= want + (await js('app.report.stages[0].inputs.length + app.report.stages[0].outputs.length')), `${found} found, not ${want}`);
  console.log(`search "${word}": ${found} found, ${Date.now() - before} ms for ${word.length} keys`);
  await browser.key('Enter');
  const first = await js('app.selected');
  same(first, await js('app.found[0].key'), 'the first that is found');
  await shot('graph-search');
  await browser.key('Enter');
  if (found > 1) check(await js('app.selected') !== first, 'Enter goes to the next');
  await browser.key('Escape');
  same(await js('[app.graph.matches, document.getElementById("search").value]'), [null, ''], 'an ended search');

  // the other views
  const views = await js('app.views.map(([name]) => name)');
  for (const [i, view] of views.entries()) {
    await browser.key(String(i + 1));
    same(await js('app.view'), view, 'the view of its key');
    check(view === 'graph' || (await text('#sheet h2')).length > 0, view + ' has a title');
    if (view === 'memory') same(await count('#sheet svg .mark'), await js("app.report.plan.filter(row => row.memory === 'scratch' && app.report.size(row.bytes) > 0).length"), 'boxes of memory');
    if (view === 'kernels') same(await count('#sheet tbody tr'), await js('app.report.steps.length'), 'rows of kernels');
    if (view === 'ledger') same(await count('#sheet tbody tr'), await js('app.report.ledgers.reduce((sum, l) => sum + l.rows.length + 1, 0)'), 'rows of ledgers');
    if (view === 'roofline') same(await count('#sheet svg .mark'), await js('points(app.report).filter(p => p.ops > 0).length'), 'circles of the roofline');
    if (view !== 'graph') await shot(view);
    if (view === 'kernels') {
      await js("document.querySelector('#sheet tbody tr').click()");
      check((await js('app.selected')) !== null && await count('#sheet tr.here') === 1, 'a click on a row chooses its kernel');
    }
  }
  same(browser.errors, [], 'errors in views');

  // colours, theme, help
  await browser.key('1');
  for (let i = 0; i < 6; i++) {
    await browser.key('c');
    check((await text('#legend')).length > 0, 'colours have a legend');
    await shot('colour-' + await js('app.mode'));
  }
  const paper = await js('getComputedStyle(document.body).backgroundColor');
  await browser.key('t');
  check(await js('getComputedStyle(document.body).backgroundColor') !== paper, 't turns the theme');
  await shot('graph-other-theme');
  await browser.key('t');
  await browser.key('?');
  check(await js("document.getElementById('help').open"), '? shows the keys');
  await shot('help');
  await browser.key('Escape');
  check(!await js("document.getElementById('help').open"), 'Escape closes them');

  // a deep link
  const id = await js('app.report.stages[Math.min(1, app.report.stages.length - 1)].id'), node = await js(`app.report.stage(${Math.min(1, stages - 1)}).items[1].key`);
  await open(`#pass=${id}&node=${encodeURIComponent(node)}&colour=bytes`);
  same(await js('[app.stage.raw.id, app.selected, app.mode, app.view]'), [id, node, 'bytes', 'graph'], 'what a link says');
  check(await js('app.graph.isVisible(app.stage.byKey.get(app.selected))'), 'the node of a link is on the screen');
  if (file !== model) {
    await js("app.select(app.stage.items[0].key)");
    check((await text('#panel')).includes('x"><b id=evil>') && await count('#evil') === 0, 'a name is text, whatever is in it');
  }
  same(browser.errors, [], 'errors at all');
  if (library) await testLibrary();
} catch (error) {
  failed++;
  console.log(error.stack);
} finally {
  await browser.close();
  rmSync(folder, {recursive: true, force: true});
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
