/* panel.js -- the side panel: a stage and what changed, or a node with its loops and its assembly. */
'use strict';

const MAX_LISTED = 400, MAX_COLOURED = 300000;

const mentionLink = stage => mention => {
  const key = mention === null ? null : keyOf(mention), text = escapeText(nameOf(mention));
  return key && (stage.definition.has(key) || stage.constants.has(key)) ? `<a data-key="${escapeText(key)}">${text}</a>` : text;
};

function itemList(items) {
  const rows = items.slice(0, MAX_LISTED).map(item => {
    const [title, type] = labelOf(item);
    return `<li><a data-key="${escapeText(item.key)}">${escapeText(shownKey(item.key))}</a> ${escapeText(title)} <span class=c>${escapeText(type)}</span></li>`;
  });
  const more = items.length - rows.length;
  return `<ol class=list>${rows.join('')}${more > 0 ? `<li class=c>and ${more} more</li>` : ''}</ol>`;
}

function stagePanel(report, stage) {
  const {raw} = stage, constants = [...stage.constants.values()];
  const sum = list => list.reduce((total, item) => total + (item.node.constant?.bytes || 0), 0);
  const drawn = stage.items.filter(item => item.id !== undefined), macs = drawn.reduce((total, item) => total + report.cost[item.id].macs, 0);
  const section = (name, kind, items, list) => items.length ? `<h3><span class="${kind}">${items.length} ${name}</span></h3>${list(items)}` : '';
  const goneList = nodes => `<ol class=list>${nodes.slice(0, MAX_LISTED).map(node => `<li>${escapeText(nameOf(node.results[0].name))} ${node.op} <span class=c>${escapeText(node.results[0].type)}</span></li>`).join('')}</ol>`;
  return `<h2>${stage.number ? 'after ' + escapeText(raw.pass) : 'as it was read'}</h2>
<p class=doc>${escapeText(raw.doc || '')}</p><p class=doc>${escapeText(raw.why || '')}</p>
<dl><dt>nodes</dt><dd>${drawn.length}</dd><dt>constants</dt><dd>${constants.length}, ${bytesText(sum(constants))}</dd>
<dt>multiply-accumulates</dt><dd>${countText(macs)}</dd></dl>
${section('new', 'new', stage.fresh, itemList)}${section('changed', 'changed', stage.altered, itemList)}${section('gone', 'gone', stage.gone, goneList)}
${stage.number && !stage.fresh.length && !stage.altered.length && !stage.gone.length ? '<p class=doc>No node changed, at most constants.</p>' : ''}`;
}

function costRows(report, item) {
  if (item.id === undefined || item.op === 'const') return '';
  const cost = report.cost[item.id], step = report.stepOf.get(item.key), node = report.nodes[item.id], rows = [];
  const row = (name, value) => rows.push(`<dt>${name}</dt><dd>${value}</dd>`);
  if (cost.macs) row('multiply-accumulates', countText(cost.macs));
  if (cost.bytes) row('reads, writes', `${bytesText(report.size(node.reads))}, ${bytesText(report.size(node.writes))}`);
  if (step) {
    const seconds = report.seconds(step);
    if (step.measured) row('time', `${timeText(step.measured)}, ${(100 * step.measured / report.total).toFixed(1)} % of a run`);
    if (step.predicted) row('predicted', timeText(step.predicted));
    if (seconds && cost.ops) row('speed', `${(cost.ops / seconds / 1e9).toFixed(1)} GFLOP/s, ${(cost.bytes / seconds / 1e9).toFixed(1)} GB/s`);
  } else {
    const times = (node.origin || []).map(origin => report.timeOfOrigin.get(origin)).filter(Boolean);
    if (times.length) row('time', `${timeText(Math.max(...times))} in the kernels that it became a part of`);
  }
  return rows.join('');
}

function nodePanel(report, stage, item, tab) {
  const {node} = item, step = report.stepOf.get(item.key), kernel = step && report.kernels[step.kernel], mention = mentionLink(stage);
  const tabs = [['node', 'Node']];
  if (kernel?.loops) tabs.push(['loops', 'Loop IR']);
  if (kernel?.assembly) tabs.push(['assembly', 'Assembly']);
  if (!tabs.some(([name]) => name === tab)) tab = 'node';
  const bar = tabs.length > 1 ? `<div class=tabs role=tablist>${tabs.map(([name, text]) => `<button role=tab data-tab=${name} aria-selected=${name === tab}>${text}</button>`).join('')}</div>` : '';
  const title = item.op === 'kernel' ? node.attributes?.name || 'kernel' : item.op;
  const head = `<h2>${escapeText(title)}</h2>${item.change ? `<p class=${item.change}>${item.change} by ${escapeText(stage.raw.pass)}</p>` : ''}${bar}`;
  if (tab === 'loops') return head + codeBlock(kernel.loops, 'loops');
  if (tab === 'assembly') return head + codeBlock(kernel.assembly, 'assembly');
  return head + nodeDetails(report, stage, item, mention);
}

function nodeDetails(report, stage, item, mention) {
  const {node} = item, attributes = Object.entries(node.attributes || {});
  const list = (name, values) => values.length ? `<h3>${name}</h3><dl>${values.map(([a, b]) => `<dt>${a}</dt><dd>${b}</dd>`).join('')}</dl>` : '';
  const typed = value => [mention(value.name), `<span class=mono>${escapeText(value.type)}</span>`];
  const operand = (value, i) => {
    const key = value === null ? '' : keyOf(value), def = stage.definition.get(key) || stage.constants.get(key);
    const result = def?.node.results.find(r => keyOf(r.name) === key);
    const constant = def?.op === 'const' ? ' = ' + constantText(def.node.constant) : '';
    return [mention(value), `<span class=mono>${escapeText(result?.type ?? '')}</span>${constant}`];
  };
  const users = stage.items.filter(other => item.node.results.some(r => other.node.operands.some(o => o !== null && keyOf(o) === keyOf(r.name))));
  return `<p class=doc>${escapeText(report.ops[item.op]?.doc ?? (item.op === 'output' ? 'An output of the model.' : item.op === 'input' ? 'An input of the model.' : ''))}</p>
<dl>${costRows(report, item)}</dl>
${list('operands', node.operands.map(operand))}${list('results', node.results.map(typed))}
${list('attributes', attributes.map(([name, value]) => [name, `<span class=mono>${escapeText(Array.isArray(value) ? '[' + value.join(', ') + ']' : value)}</span>`]))}
${node.origin ? `<h3>nodes of the model</h3><p>${node.origin.map(escapeText).join('<br>')}</p>` : ''}
${users.length ? `<h3>used by</h3>${itemList(users)}` : ''}
<h3>text</h3><pre class=text>${nodeText(node, mention)}</pre>
${item.was !== undefined ? `<h3>before ${escapeText(stage.raw.pass)}</h3><pre class=text>${nodeText(report.nodes[item.was], m => escapeText(nameOf(m)))}</pre>` : ''}`;
}

/* Comments grey, keywords blue: as much as helps the eye. */
function codeBlock(text, kind) {
  let html = escapeText(text);
  if (html.length < MAX_COLOURED)
    html = kind === 'loops'
      ? html.replace(/\b(kernel|parallel|for|if|else|to|step|carry|yield|sections|section|view|local|load|store|fma|call)\b/g, '<span class=k>$1</span>')
      : html.replace(/^(\s+)(\.\w[^\n]*|&#35;[^\n]*)$/gm, '$1<span class=c>$2</span>').replace(/^(\s+)([a-z]\w*)(?=\s)/gm, '$1<span class=k>$2</span>');
  return `<pre>${html}</pre>`;
}

function libraryPanel(report) {
  const m = report.model, list = ports => ports.map(p => `<dt class=mono>${escapeText(p.name)}</dt><dd class=mono>${escapeText(p.type)}</dd>`).join('');
  return `<h2>${escapeText(m.name)}</h2><dl><dt>made from</dt><dd>${escapeText(m.source)} ${escapeText(m.producer)}</dd><dt>for</dt><dd>${escapeText(m.cpu)}</dd><dt>weights</dt><dd>${bytesText(m.weight_bytes)}</dd></dl>
<h3>inputs</h3><dl>${list(m.inputs)}</dl><h3>outputs</h3><dl>${list(m.outputs)}</dl><p class=doc>A library holds no graph. A report of the model it was made from shows more.</p>`;
}
