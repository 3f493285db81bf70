/* plots.js -- memory over time, the roofline, the table of kernels, the ledger: SVG and HTML as text. */
'use strict';

const link = (key, inner, extra = '') => `data-key="${escapeText(key)}" ${extra}>${inner}`;
const ticksOf = (from, to) => {
  const ticks = [];
  for (let e = Math.ceil(Math.log10(from)); e <= Math.log10(to); e++) ticks.push(10 ** e);
  return ticks;
};

/* ---- memory: kernels from left to right, addresses upwards ---- */

function memoryPlot(report, selected, width) {
  const last = report.stages.length - 1, stage = report.stage(last), {symbols} = report;
  const rows = report.plan.filter(row => row.memory === 'scratch')
    .map(row => ({...row, from: evaluate(row.offset, symbols), size: evaluate(row.bytes, symbols)})).filter(row => row.size > 0);
  if (!rows.length) return '<h2>Scratch memory</h2><p>This model needs none, or finds its sizes when it runs.</p>';
  const kernels = [...new Set(stage.items.filter(item => report.stepOf.has(item.key)).map(item => item.position))];
  const column = position => { /* of the first kernel from there on */
    let low = 0, high = kernels.length;
    while (low < high) {
      const half = (low + high) >> 1;
      if (kernels[half] < position) low = half + 1;
      else high = half;
    }
    return low;
  };
  const top = Math.max(...rows.map(row => row.from + row.size)), naive = rows.reduce((sum, row) => sum + row.size, 0);
  const [left, height, bottom] = [70, 420, 24], step = (width - left - 10) / Math.max(1, kernels.length);
  const y = address => height - address / top * (height - 10);
  const marks = rows.map(row => {
    const from = column(row.first), to = Math.max(from + 1, column(row.last + 1)), item = stage.byKey.get(keyOf(row.kernel));
    const fill = item ? CLASSES.kind[report.group(item.node)] : '#b9c2cb';
    const text = `${nameOf(row.value)} ${row.type}: ${bytesText(row.size)} at ${row.from}`;
    return `<rect class="mark${keyOf(row.kernel) === selected ? ' here' : ''}" x="${(left + from * step).toFixed(1)}" width="${Math.max(1, (to - from) * step).toFixed(1)}" y="${y(row.from + row.size).toFixed(1)}" height="${Math.max(.5, y(row.from) - y(row.from + row.size)).toFixed(1)}" fill="${fill}" ` +
      link(keyOf(row.kernel), `<title>${escapeText(text)}</title></rect>`);
  });
  const axis = [0, .25, .5, .75, 1].map(t => `<line class=axis x1="${left}" x2="${width}" y1="${y(t * top)}" y2="${y(t * top)}"/><text x="${left - 6}" y="${y(t * top) + 4}" text-anchor="end">${bytesText(t * top)}</text>`);
  return `<h2>Scratch memory: ${bytesText(top)}</h2>
<p>Each box is an intermediate result: from left to right the kernels while which it is needed, upwards its address.
All of them one after the other would be ${bytesText(naive)}, ${(naive / top).toFixed(1)} times as much.</p>
<svg role="img" aria-label="memory by kernel" width="${width}" height="${height + bottom}">${axis.join('')}${marks.join('')}
<text x="${left}" y="${height + 16}">first kernel</text><text x="${width - 10}" y="${height + 16}" text-anchor="end">last of ${kernels.length}</text></svg>`;
}

/* ---- roofline ---- */

function points(report) {
  const stage = report.stage(report.stages.length - 1);
  return report.steps.map(step => {
    const item = stage.byKey.get(keyOf(step.result)), seconds = report.seconds(step);
    return item && seconds > 0 ? {item, step, seconds, ops: report.cost[item.id].ops, bytes: report.cost[item.id].bytes} : null;
  }).filter(Boolean);
}

function rooflinePlot(report, selected, width) {
  const all = points(report), {target} = report;
  if (!all.length || !target) return '<h2>Roofline</h2><p>No times: nothing was measured.</p>';
  const shown = all.filter(p => p.ops > 0 && p.bytes > 0), moving = all.filter(p => !(p.ops > 0));
  const peak = target.peak_gflops, memory = target.read_gbps, bytesPeak = peak * target.byte_gain;
  const hasBytes = shown.some(p => ['i8', 'u8'].includes(precisionOf(p.item)));
  const roof = hasBytes ? bytesPeak : peak;
  const x0 = Math.min(.1, ...shown.map(p => p.ops / p.bytes)) / 1.5, x1 = Math.max(100, ...shown.map(p => p.ops / p.bytes)) * 1.5;
  const y0 = Math.min(peak / 1000, ...shown.map(p => p.ops / p.seconds / 1e9)) / 1.5, y1 = Math.max(roof, ...shown.map(p => p.ops / p.seconds / 1e9)) * 1.6;
  const [left, height, bottom] = [64, 460, 40];
  const X = v => left + Math.log(v / x0) / Math.log(x1 / x0) * (width - left - 14), Y = v => height - Math.log(v / y0) / Math.log(y1 / y0) * (height - 12);
  const grid = ticksOf(x0, x1).map(v => `<line class=axis x1="${X(v)}" x2="${X(v)}" y1="12" y2="${height}"/><text x="${X(v)}" y="${height + 15}" text-anchor="middle">${v >= 1 ? v : v.toPrecision(1)}</text>`)
    .concat(ticksOf(y0, y1).map(v => `<line class=axis x1="${left}" x2="${width - 14}" y1="${Y(v)}" y2="${Y(v)}"/><text x="${left - 6}" y="${Y(v) + 4}" text-anchor="end">${v >= 1 ? v : v.toPrecision(1)}</text>`));
  const flat = (gflops, name) => `<path class=roof d="M${X(Math.max(x0, gflops / memory))} ${Y(gflops)}H${width - 14}"/><text x="${width - 16}" y="${Y(gflops) - 5}" text-anchor="end">${name}: ${gflops.toFixed(0)} GFLOP/s</text>`;
  const slope = `<path class=roof d="M${X(x0)} ${Y(Math.max(y0, x0 * memory))}L${X(roof / memory)} ${Y(roof)}"/><text x="${X(x0) + 8}" y="${Y(x0 * memory) - 24}">memory: ${memory.toFixed(0)} GB/s</text>`;
  const total = all.reduce((sum, p) => sum + p.seconds, 0);
  const mark = p => `<circle class="mark${p.item.key === selected ? ' here' : ''}" cx="${X(p.ops / p.bytes).toFixed(1)}" cy="${Y(p.ops / p.seconds / 1e9).toFixed(1)}" r="${(3 + 26 * Math.sqrt(p.seconds / total)).toFixed(1)}" fill="${CLASSES.kind[report.group(p.item.node)]}" fill-opacity=".75" ` +
    link(p.item.key, `<title>${escapeText(`${p.step.name}: ${timeText(p.seconds)}, ${(p.ops / p.seconds / 1e9).toFixed(1)} GFLOP/s, ${(p.ops / p.bytes).toFixed(2)} operations a byte`)}</title></circle>`);
  const winograd = shown.some(p => /^winograd/.test(p.item.node.attributes?.schedule)) ? '<p>Kernels by Winograd\'s filtering lie above the line where they do fewer operations than the sums that are counted here.</p>' : '';
  const rest = moving.length ? `<p>${moving.length} kernels only move data, and have no place here: ${timeText(moving.reduce((s, p) => s + p.seconds, 0))} in all.</p>` : '';
  return `<h2>Roofline of ${escapeText(target.cpu)}, one core</h2>
<p>Each circle is a kernel, its area the ${report.measured ? 'measured' : 'predicted'} time. To the right: operations for each byte of operands and results; upwards: operations a second.
Under the slope memory is the limit (data in caches is faster than that), under the flat line arithmetic.</p>${winograd}${rest}
<svg role="img" aria-label="roofline" width="${width}" height="${height + bottom}">${grid.join('')}${slope}${flat(peak, 'f32')}${hasBytes ? flat(bytesPeak, 'bytes') : ''}${shown.sort((a, b) => b.seconds - a.seconds).map(mark).join('')}
<text x="${width - 14}" y="${height + 32}" text-anchor="end">operations / byte</text><text x="${left - 52}" y="10">GFLOP/s</text></svg>`;
}

/* ---- tables ---- */

function table(heads, rows) {
  return `<table><thead><tr>${heads.map(([name, kind]) => `<th class="${kind || ''}">${name}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}
const cells = (values, heads) => values.map((value, i) => `<td class="${heads[i][1] || ''}">${value}</td>`).join('');

const originCell = origin => `<span title="${escapeText(origin.join('\n'))}">${escapeText(origin.join(', '))}</span>`;

function kernelTable(report, selected) {
  const heads = [['share', 'num'], [''], ['time', 'num'], ['predicted', 'num'], ['GFLOP/s', 'num'], ['bytes', 'num'], ['kernel'], ['schedule'], ['nodes of the model', 'long']];
  const stage = report.stages.length ? report.stage(report.stages.length - 1) : null;
  const rows = report.steps.map(step => ({step, item: stage?.byKey.get(keyOf(step.result)), seconds: report.seconds(step)}))
    .sort((a, b) => b.seconds - a.seconds);
  const body = rows.map(({step, item, seconds}) => {
    const share = report.total ? seconds / report.total : 0, cost = item ? report.cost[item.id] : {ops: 2 * (step.macs || 0), bytes: NaN};
    return `<tr class="${item && item.key === selected ? 'here' : ''}" ` + link(item?.key ?? '', cells([
      report.total ? (100 * share).toFixed(1) + ' %' : '', `<span class=bar style="width:${(120 * share).toFixed(1)}px"></span>`, report.measured ? timeText(step.measured) : '', step.predicted ? timeText(step.predicted) : '',
      seconds > 0 && cost.ops ? (cost.ops / seconds / 1e9).toFixed(1) : '', Number.isFinite(cost.bytes) ? bytesText(cost.bytes) : '', escapeText(step.name),
      escapeText(item?.node.attributes?.schedule ?? ''), originCell(step.origin || []),
    ], heads) + '</tr>');
  });
  const run = report.measured ? `One run takes ${timeText(report.total)} in kernels, the least of ${report.runs} runs of each, one thread.` : report.total ? 'Nothing was measured: times are the cost model\'s.' : '';
  return `<h2>${report.steps.length} kernels</h2><p>${run} ${report.note ? escapeText(report.note) : ''}</p>` + table(heads, body);
}

/* What quantization and pruning did to each layer, and what that costs. Columns that say nothing are left out. */
function ledgerTable(report) {
  return report.ledgers.map(oneLedger).join('<br>');
}

function oneLedger(ledger) {
  const decibels = x => x ? x.toFixed(1) + ' dB' : '', change = (before, after, text) => before || after ? `${text(before)} → ${text(after)}` : '';
  const columns = [[['layer'], r => escapeText(r.name)], [['kind'], r => escapeText(r.kind ?? '')], [['precision'], r => escapeText(r.precision ?? '')], [['kept'], r => escapeText(r.form ?? '')],
    [['cut', 'num'], r => decibels(r.cut)], [['refit', 'num'], r => decibels(r.refit)], [['alone costs the outputs', 'num'], r => decibels(r.sqnr)],
    [['bytes', 'num'], r => change(r.bytes_before, r.bytes_after, bytesText)], [['predicted', 'num'], r => change(r.predicted_before, r.predicted_after, timeText)],
    [['measured', 'num'], r => change(r.measured_before, r.measured_after, timeText)], [['why', 'long'], r => escapeText(r.reason ?? '')]];
  const rows = [...ledger.rows, {...ledger.total, name: 'everything', kind: ''}];
  const used = columns.filter(([, text]) => rows.some(row => text(row))), heads = used.map(([head]) => head);
  const share = x => (100 * x).toFixed(2) + ' %';
  const summary = `${ledger.likeness}: ${ledger.likeness === 'labels right' ? share(ledger.before) + ' → ' : ''}${share(ledger.after)}, ${ledger.samples} samples${ledger.sqnr ? '; outputs ' + decibels(ledger.sqnr) : ''}`;
  return `<h2>${ledger.title}</h2><p>${escapeText(summary)}</p>${ledger.effects.map(text => `<p>${escapeText(text)}</p>`).join('')}` +
    table(heads, rows.map(row => `<tr ${link('~' + row.name, cells(used.map(([, text]) => text(row)), heads))}</tr>`));
}
