/*
 * data.js -- what cli/page.c wrote, as objects to ask.
 *
 * A node of the graph is stored once however many stages have it, so that "unchanged" is "the same number".
 * It is known across stages by its first result: a name of the model, or a number that stays the same.
 */
'use strict';

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return JSON.parse(await new Response(stream).text());
}

/* ---- sizes ---- */

/* "12*N+floordiv(H,2)" for values of the symbols; NaN when one is missing. */
function evaluate(size, symbols) {
  if (typeof size !== 'string') return size ?? 0;
  const words = size.match(/[A-Za-z_][\w.]*|"(?:[^"\\]|\\.)*"|\d+|[-+*(),]/g) || [];
  const functions = {
    floordiv: (a, b) => Math.floor(a / b), ceildiv: (a, b) => Math.ceil(a / b), min: Math.min, max: Math.max,
    bcast: (a, b) => a === 1 ? b : a,
  };
  let at = 0;
  const sum = () => {
    let value = product();
    while (words[at] === '+' || words[at] === '-') value = words[at++] === '+' ? value + product() : value - product();
    return value;
  };
  const product = () => {
    let value = atom();
    while (words[at] === '*') at++, value *= atom();
    return value;
  };
  const atom = () => {
    const word = words[at++];
    if (word === '-') return -atom();
    if (word === '(') return inner(() => sum());
    if (/^\d/.test(word)) return +word;
    if (functions[word] && words[at] === '(') {
      at++;
      return inner(() => {
        const a = sum();
        at++;
        return functions[word](a, sum());
      });
    }
    return symbols[word.replace(/"/g, '')] ?? NaN;
  };
  const inner = parse => {
    const value = parse();
    at++;
    return value;
  };
  return sum();
}

/* ---- words for numbers ---- */

function scaled(value, units, base) {
  let i = 0;
  while (Math.abs(value) >= base && i + 1 < units.length) value /= base, i++;
  const digits = value === 0 || Math.abs(value) >= 100 || (i === 0 && Number.isInteger(value)) ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits) + units[i];
}
const bytesText = n => Number.isFinite(n) ? scaled(n, [' B', ' kB', ' MB', ' GB', ' TB'], 1000) : 'depends on the sizes';
const countText = n => Number.isFinite(n) ? scaled(n, ['', ' k', ' M', ' G', ' T'], 1000) : 'depends on the sizes';
const timeText = s => s > 0 ? scaled(s * 1e9, [' ns', ' µs', ' ms', ' s'], 1000) : '–';

/* ---- nodes ---- */

const keyOf = mention => typeof mention === 'number' ? '#' + mention : '%' + mention;
const nameOf = mention => mention === null || mention === undefined ? '_' : '%' + mention;
const shownKey = key => key.replace(/^[#>]/, '%');

const GROUPS = {
  products: 'attention blocks conv linear linear_attention matmul rnn winograd trees',
  reductions: 'pool reduce norm search scan roi window',
  elements: 'binary unary cast quantize element',
  movement: 'movement slice gather scatter resize unfold grid_sample coupling image axes',
};
const groupOfFamily = {};
for (const [group, families] of Object.entries(GROUPS)) for (const family of families.split(' ')) groupOfFamily[family] = group;

class Report {
  constructor(data) {
    Object.assign(this, data);
    this.symbols ??= {};
    this.kernels ??= [];
    this.plan ??= [];
    this.ledgers ??= [];
    this.cost = this.nodes.map(node => ({
      macs: this.size(node.macs), bytes: this.size(node.reads) + this.size(node.writes), ops: this.operations(node),
    }));
    this.stepOf = new Map(this.steps.map(step => [keyOf(step.result), step]));
    this.steps = this.steps.filter(step => !step.once);
    this.measured = this.steps.some(step => step.measured > 0);
    this.total = this.steps.reduce((sum, step) => sum + this.seconds(step), 0);
    this.built = new Map();
    this.timeOfOrigin = new Map();
    for (const step of this.steps)
      for (const origin of step.origin || [])
        this.timeOfOrigin.set(origin, (this.timeOfOrigin.get(origin) || 0) + this.seconds(step));
  }

  size(text) { return evaluate(text, this.symbols); }
  seconds(step) { return (this.measured ? step.measured : step.predicted) || 0; }

  group(node) {
    if (node.op !== 'kernel') return groupOfFamily[this.ops[node.op]?.family] || 'other';
    const groups = node.regions[0].nodes.filter(inner => inner.op !== 'const').map(inner => this.group(inner));
    return ['products', 'reductions', 'movement', 'elements'].find(group => groups.includes(group)) || 'other';
  }

  /* Arithmetic: two for each multiply-accumulate, one for each element that an element op makes or a
     reduction reads. */
  operations(node) {
    if (node.op === 'kernel') return node.regions[0].nodes.reduce((sum, inner) => sum + this.operations(inner), 0);
    const macs = this.size(node.macs);
    if (macs) return 2 * macs;
    const elements = value => (value.shape || []).reduce((product, size) => product * this.size(size), 1);
    const group = this.group(node);
    if (group === 'elements') return elements(node.results[0]);
    if (group === 'reductions') return this.size(node.reads) / Math.max(1, this.size(node.results[0].bytes) / elements(node.results[0]));
    return 0;
  }

  stage(number) {
    if (!this.built.has(number)) this.built.set(number, new Stage(this, number));
    return this.built.get(number);
  }
}

/* The graph after one pass: what is drawn (inputs, nodes but constants, outputs), and what changed. */
class Stage {
  constructor(report, number) {
    const raw = report.stages[number], before = report.stages[number - 1];
    this.report = report;
    this.number = number;
    this.raw = raw;
    this.items = [];
    this.byKey = new Map();
    this.definition = new Map(); /* of a value: its item */
    this.constants = new Map();
    for (const value of raw.inputs) this.add({key: keyOf(value.name), op: 'input', node: {op: 'input', operands: [], results: [value]}});
    raw.nodes.forEach((id, position) => {
      const node = report.nodes[id];
      const key = node.results.length ? keyOf(node.results[0].name) : '@' + position;
      if (node.op === 'const') this.constants.set(key, {key, op: 'const', node, id, position});
      else this.add({key, op: node.op, node, id, position});
    });
    for (const output of raw.outputs)
      this.add({key: '>' + output.name, op: 'output', node: {op: 'output', operands: [output.value], results: []}, name: output.name});
    this.compare(before);
  }

  add(item) {
    item.number = this.items.length;
    this.items.push(item);
    this.byKey.set(item.key, item);
    for (const result of item.node.results) this.definition.set(keyOf(result.name), item);
  }

  compare(before) {
    this.gone = [];
    this.fresh = [];
    this.altered = [];
    if (!before || before.nodes === this.raw.nodes) return;
    const {nodes} = this.report, old = new Map();
    for (const id of before.nodes) if (nodes[id].op !== 'const' && nodes[id].results.length) old.set(keyOf(nodes[id].results[0].name), id);
    const unknown = [];
    for (const item of this.items) {
      if (item.id === undefined) continue;
      if (!old.has(item.key)) unknown.push(item);
      else if (old.get(item.key) !== item.id) this.alter(item, old.get(item.key));
      old.delete(item.key);
    }
    /* Written anew by a pass: the same op of the same nodes of the model. */
    const likeness = node => node.origin ? node.op + ' ' + node.origin.join(' + ') : null, rewritten = new Map();
    for (const [key, id] of old) if (likeness(nodes[id]) !== null && !rewritten.has(likeness(nodes[id]))) rewritten.set(likeness(nodes[id]), key);
    for (const item of unknown) {
      const key = rewritten.get(likeness(item.node));
      if (old.has(key)) this.alter(item, old.get(key)), old.delete(key);
      else item.change = 'new', this.fresh.push(item);
    }
    this.gone = [...old.values()].map(id => nodes[id]);
  }

  alter(item, was) {
    item.change = 'changed';
    item.was = was;
    this.altered.push(item);
  }

  /* What an item of another stage is here: the same value, else what came from the same node of the model. */
  counterpart(item) {
    const origin = item.node.origin?.[0], same = this.byKey.get(item.key);
    if (same || origin === undefined) return same;
    const kin = this.items.filter(other => other.node.origin?.includes(origin));
    return kin.find(other => other.op === item.op) ?? kin.find(other => other.node.macs) ?? kin[0];
  }

  /* [from, to] by number of the item, each pair once. */
  edges() {
    const edges = [];
    for (const item of this.items) {
      const sources = new Set();
      for (const mention of item.node.operands) {
        const from = mention === null ? undefined : this.definition.get(keyOf(mention));
        if (from) sources.add(from.number);
      }
      for (const from of sources) edges.push([from, item.number]);
    }
    return edges;
  }

  find(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    return this.items.filter(item => {
      item.haystack ??= [item.op, item.name, item.node.attributes?.name, ...(item.node.origin || []), ...item.node.results.map(r => '%' + r.name + ' ' + r.type),
        ...(item.op === 'kernel' ? item.node.regions[0].nodes.map(n => n.op) : [])].join(' ').toLowerCase();
      return words.every(word => item.haystack.includes(word));
    });
  }
}

/* What stands in a box: two short lines. */
function labelOf(item) {
  const {node} = item;
  if (item.op === 'output') return [item.name, 'output'];
  const type = node.results[0]?.type ?? '';
  if (item.op === 'input') return [node.results[0].name + '', type];
  if (item.op !== 'kernel') return [node.op, type];
  const ops = node.regions[0].nodes.filter(inner => inner.op !== 'const').map(inner => inner.op);
  return [ops.length > 3 ? ops.slice(0, 2).join(' + ') + ' + ' + (ops.length - 2) : ops.join(' + '), type];
}

/* ---- text form ---- */

/* As `tenon opt` prints it; mention(value) gives the HTML of a value. */
function nodeText(node, mention, indent = '') {
  const literal = value => Array.isArray(value) ? '[' + value.map(literal).join(',') + ']' : typeof value === 'string' ? JSON.stringify(value) : String(value);
  const results = node.results.map(r => `${mention(r.name)}: <span class=c>${escapeText(r.type)}</span>`).join(', ');
  if (node.op === 'const') return `${indent}<span class=k>const</span> ${results} = ${constantText(node.constant)}`;
  const parts = node.operands.map(mention);
  while (parts.length && parts[parts.length - 1] === '_') parts.pop();
  for (const [name, value] of Object.entries(node.attributes || {})) parts.push(`${name}=<span class=n>${escapeText(literal(value))}</span>`);
  let text = `${indent}${results}${results ? ' = ' : ''}<span class=k>${node.op}</span> ${parts.join(', ')}`;
  for (const region of node.regions || []) {
    const inner = region.nodes.map(n => nodeText(n, name => `<span>${escapeText(nameOf(name))}</span>`, indent + '  ')).join('\n');
    text += ` {\n${inner}\n${indent}}`;
  }
  return text;
}

function constantText(constant) {
  if (!constant) return '?';
  if (constant.splat && constant.elements) return 'splat ' + escapeText(String(constant.elements[0]));
  if (constant.elements) return '[' + escapeText(constant.elements.join(', ')) + ']';
  return `data <span class=c>(${bytesText(constant.bytes)})</span>`;
}

function escapeText(text) {
  return String(text).replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`);
}
