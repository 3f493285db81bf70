/* colour.js -- what the boxes' colours say. Heat is viridis; classes are Okabe and Ito's, which everybody can tell apart. */
'use strict';

const VIRIDIS = ['#440154', '#482878', '#3e4989', '#31688e', '#26828e', '#1f9e89', '#35b779', '#6ece58', '#b5de2b', '#fde725'];
const CLASSES = {
  kind: {products: '#56b4e9', reductions: '#cc79a7', elements: '#f0e442', movement: '#b9c2cb', other: '#e8ebee'},
  precision: {f32: '#56b4e9', f64: '#0072b2', f16: '#009e73', bf16: '#009e73', 'f8': '#66c2a5', i8: '#e69f00', u8: '#e69f00', 'i4': '#d55e00', bool: '#e8ebee', integers: '#b9c2cb', other: '#e8ebee'},
};
const MODES = [['change', 'change'], ['kind', 'kind'], ['time', 'time'], ['bytes', 'bytes'], ['macs', 'arithmetic'], ['precision', 'precision']];

function mix(a, b, t) {
  const part = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  return '#' + [0, 1, 2].map(i => Math.round(part(a, i) * (1 - t) + part(b, i) * t).toString(16).padStart(2, '0')).join('');
}

function heat(share) {
  const at = Math.min(1, Math.max(0, share)) * (VIRIDIS.length - 1), i = Math.min(VIRIDIS.length - 2, Math.floor(at));
  return mix(VIRIDIS[i], VIRIDIS[i + 1], at - i);
}

function precisionOf(item) {
  const dtype = (item.node.operands.length || !item.node.results.length ? null : item.node.results[0].dtype) ?? widest(item.node);
  if (/^f8|^f4/.test(dtype)) return 'f8';
  if (/^[iu][24]$/.test(dtype)) return 'i4';
  if (dtype in CLASSES.precision) return dtype;
  return /^[iu]/.test(dtype) ? 'integers' : 'other';
}

/* What a node computes with: the products in it read that, else what it gives. */
function widest(node) {
  const types = new Map();
  const inside = node.op === 'kernel' ? node.regions[0] : null;
  for (const value of inside?.inputs || []) types.set(keyOf(value.name), value.dtype);
  for (const inner of inside?.nodes || []) for (const r of inner.results) types.set(keyOf(r.name), r.dtype);
  const product = inside?.nodes.find(inner => inner.macs && inner.operands.length);
  return (product && types.get(keyOf(product.operands[0]))) || node.results[0]?.dtype || '';
}

/* item -> {fill, share} in a stage. */
class Colouring {
  constructor(mode, stage) {
    this.mode = mode;
    this.stage = stage;
    this.report = stage.report;
    this.largest = 0;
    if (['time', 'bytes', 'macs'].includes(mode))
      for (const item of stage.items) this.largest = Math.max(this.largest, this.amount(item) || 0);
  }

  /* Seconds, bytes or operations. Before there are kernels, a node has the time of what it becomes a part of. */
  amount(item) {
    const {report} = this;
    if (item.id === undefined) return NaN;
    if (this.mode === 'bytes') return report.cost[item.id].bytes;
    if (this.mode === 'macs') return report.cost[item.id].ops;
    this.hasKernels ??= this.stage.items.some(other => other.op === 'kernel');
    if (this.hasKernels) return report.stepOf.has(item.key) ? report.seconds(report.stepOf.get(item.key)) : NaN;
    const times = (item.node.origin || []).map(origin => report.timeOfOrigin.get(origin)).filter(t => t !== undefined);
    return times.length ? Math.max(...times) : NaN;
  }

  fill(item, theme) {
    if (this.mode === 'change') return item.change ? mix(theme.node, theme[item.change], theme.dark ? .35 : .2) : theme.node;
    if (this.mode in CLASSES) {
      if (item.id === undefined && this.mode === 'kind') return theme.node;
      const name = this.mode === 'kind' ? this.report.group(item.node) : precisionOf(item);
      return CLASSES[this.mode][name];
    }
    const amount = this.amount(item);
    return amount >= 0 && this.largest > 0 ? heat(Math.sqrt(amount / this.largest)) : theme.node;
  }

  legend() {
    const {mode, stage} = this;
    if (mode === 'change') {
      if (stage.number === 0) return 'as it was read';
      return `<i style="background:var(--new)"></i>new <i style="background:var(--changed)"></i>changed by ${escapeText(stage.raw.pass)}`;
    }
    if (mode in CLASSES) {
      const seen = new Set(stage.items.filter(i => i.id !== undefined).map(i => mode === 'kind' ? this.report.group(i.node) : precisionOf(i)));
      return Object.entries(CLASSES[mode]).filter(([name]) => seen.has(name)).map(([name, fill]) => `<i style="background:${fill}"></i>${name}`).join('');
    }
    const text = {time: timeText, bytes: bytesText, macs: n => countText(n) + ' operations'}[mode](this.largest);
    const what = {time: this.report.measured ? 'time, measured' : 'time, predicted', bytes: 'bytes read and written', macs: 'arithmetic'}[mode];
    return `${what} 0<span class=ramp style="background:linear-gradient(90deg,${[0, .25, .5, .75, 1].map(heat)})"></span>${text} (square root)`;
  }
}

/* Black or white on a colour. */
function inkOn(fill) {
  const [r, g, b] = [1, 3, 5].map(i => parseInt(fill.slice(i, i + 2), 16) / 255);
  return .3 * r + .59 * g + .11 * b > .55 ? '#1d2126' : '#f4f6f8';
}
