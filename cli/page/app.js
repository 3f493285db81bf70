/* app.js -- the page: what is chosen, keys, links, search. The address holds all of it: #pass=fuse&node=%25y&view=memory. */
'use strict';

const byId = id => document.getElementById(id);
const KEYS = [['← →', 'pass before, after'], ['⇧← ⇧→', 'the same, only those that changed something'], ['↑ ↓', 'from node to node, in order of execution'], ['/', 'search'], ['Enter', 'in a search: next; ⇧Enter: the one before'], ['c', 'next colour'], ['1 … 5', 'views'], ['[ ]', 'node, loops, assembly'],
  ['f', 'fit the graph'], ['+ −', 'zoom (also Ctrl and wheel)'], ['t', 'light, dark'], ['Esc', 'choose nothing'], ['?', 'this']];

class App {
  constructor(report) {
    this.report = report;
    this.hasGraph = report.stages.length > 0;
    this.number = Math.max(0, report.stages.length - 1);
    this.selected = null;
    this.view = this.hasGraph ? 'graph' : 'kernels';
    this.mode = this.usualMode = report.total > 0 ? 'time' : 'change';
    this.tab = 'node';
    this.views = [['graph', 'Graph', this.hasGraph], ['memory', 'Memory', report.plan.length > 0], ['roofline', 'Roofline', this.hasGraph && report.total > 0],
      ['kernels', 'Kernels', report.steps.length > 0], ['ledger', 'Ledger', report.ledgers.length > 0]].filter(([, , there]) => there);
    report.stages.forEach((stage, i) => {
      const same = report.stages.slice(0, i).filter(other => other.pass === stage.pass).length;
      stage.id = same ? `${stage.pass}.${same + 1}` : stage.pass;
    });
    this.graph = new GraphView(byId('canvas'), this);
    this.build();
    this.readAddress();
    this.listen();
    this.update(true);
  }

  get stage() { return this.hasGraph ? this.report.stage(this.number) : null; }

  build() {
    const {model, stages, total, measured} = this.report;
    document.title = model.source + ' – tenon';
    byId('title').innerHTML = `${escapeText(model.source)}<small>${total ? `${timeText(total)} ${measured ? 'measured' : 'predicted'}` : ''}</small>`;
    byId('views').innerHTML = this.views.map(([name, text], i) => `<button role=tab data-view=${name} title="${i + 1}">${text}</button>`).join('');
    byId('colour').innerHTML = MODES.map(([name, text]) => `<option value=${name}>${text}</option>`).join('');
    byId('passes').hidden = !this.hasGraph;
    byId('finder').hidden = !this.hasGraph;
    byId('slider').max = Math.max(0, stages.length - 1);
    byId('help').innerHTML = `<h2>Keys</h2><dl>${KEYS.map(([key, text]) => `<dt>${key.split(' ').map(k => `<kbd>${k}</kbd>`).join(' ')}</dt><dd>${text}</dd>`).join('')}</dl>`;
    this.buildTicks();
  }

  /* Names under the slider, as many as there is room for; those that changed nothing give way first. */
  buildTicks() {
    const {stages} = this.report, width = byId('ticks').clientWidth, taken = [];
    const order = stages.map((_, i) => i).sort((a, b) => (b === this.number) - (a === this.number) || !!stages[b].changed - !!stages[a].changed || a - b);
    const html = [];
    for (const i of order) {
      const at = stages.length > 1 ? i / (stages.length - 1) * width : 0, half = stages[i].pass.length * 3.2 + 5;
      if (taken.some(([from, to]) => at + half > from && at - half < to)) continue;
      taken.push([at - half, at + half]);
      html.push(`<span data-pass=${i} style="left:${at}px" class="${i === this.number ? 'here' : stages[i].changed || i === 0 ? '' : 'same'}">${escapeText(stages[i].pass)}</span>`);
    }
    byId('ticks').innerHTML = html.join('');
  }

  /* ---- the address ---- */

  readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const number = this.report.stages.findIndex(stage => stage.id === given.get('pass'));
    if (number >= 0) this.number = number;
    if (this.views.some(([name]) => name === given.get('view'))) this.view = given.get('view');
    if (MODES.some(([name]) => name === given.get('colour'))) this.mode = given.get('colour');
    this.selected = given.get('node');
  }

  writeAddress() {
    const parts = new URLSearchParams();
    if (this.hasGraph) parts.set('pass', this.stage.raw.id);
    if (this.selected) parts.set('node', this.selected);
    if (this.view !== 'graph') parts.set('view', this.view);
    if (this.mode !== this.usualMode) parts.set('colour', this.mode);
    history.replaceState(null, '', '#' + parts);
  }

  /* ---- what is shown ---- */

  update(reveal) {
    const {report} = this;
    for (const button of byId('views').children) button.setAttribute('aria-selected', button.dataset.view === this.view);
    byId('sheet').hidden = this.view === 'graph';
    byId('canvas').hidden = byId('legend').hidden = this.view !== 'graph';
    byId('colour').value = this.mode;
    if (this.hasGraph) this.updateStage(reveal);
    if (this.view !== 'graph') this.updateSheet();
    this.updatePanel();
    this.writeAddress();
  }

  updateStage(reveal) {
    const {stage, graph} = this, {raw} = stage;
    byId('slider').value = this.number;
    byId('slider').setAttribute('aria-valuetext', raw.pass);
    this.buildTicks();
    const counts = [['fresh', 'new'], ['altered', 'changed'], ['gone', 'gone']].filter(([list]) => stage[list].length).map(([list, word]) => `<span class=${word}>${stage[list].length} ${word}</span>`).join(', ');
    byId('pass-text').innerHTML = `<b>${escapeText(raw.pass)}</b> ${escapeText(raw.doc || '')} ${this.number ? '· ' + (counts || 'nothing changed') : ''}`;
    byId('legend').innerHTML = this.colouring().legend();
    this.search(false);
    if (this.view !== 'graph') return;
    const item = stage.byKey.get(this.selected);
    if (graph.stage !== stage) graph.show(stage);
    if (reveal && item) graph.reveal(item);
    graph.draw();
  }

  updateSheet() {
    const draw = {memory: memoryPlot, roofline: rooflinePlot, kernels: kernelTable, ledger: ledgerTable}[this.view];
    byId('sheet').innerHTML = draw(this.report, this.selected, Math.max(420, byId('sheet').clientWidth - 40));
  }

  updatePanel() {
    const {report, stage} = this;
    const panel = byId('panel'), item = this.hasGraph && this.selected ? stage.byKey.get(this.selected) || stage.constants.get(this.selected) : null;
    panel.innerHTML = !this.hasGraph ? libraryPanel(report) : item ? nodePanel(report, stage, item, this.tab)
      : (this.selected ? `<p class=doc>${escapeText(shownKey(this.selected))} is not there after ${escapeText(stage.raw.pass)}.</p>` : '') + stagePanel(report, stage);
    panel.scrollTop = 0;
  }

  colouring() {
    if (this.colours?.mode !== this.mode || this.colours?.stage !== this.stage) this.colours = new Colouring(this.mode, this.stage);
    return this.colours;
  }

  theme() {
    if (this.themeNow) return this.themeNow;
    const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue('--' + name).trim();
    const theme = {};
    for (const name of ['paper', 'node', 'edge', 'accent', 'new', 'changed', 'soft']) theme[name] = colour(name);
    theme.dark = inkOn(theme.paper) !== '#1d2126';
    return this.themeNow = theme;
  }

  /* ---- choosing ---- */

  /* ~NAME: what came from a node of the model. */
  select(key, reveal = true) {
    if (key?.startsWith('~')) key = this.stage.items.find(item => item.node.origin?.includes(key.slice(1)))?.key ?? null;
    this.selected = key;
    if (key && this.hasGraph && !this.stage.byKey.has(key) && !this.stage.constants.has(key) && this.view !== 'graph') this.number = this.report.stages.length - 1;
    this.update(reveal);
  }

  /* What is chosen stays so, as what it becomes or came from. */
  go(number) {
    const item = this.stage.byKey.get(this.selected);
    this.chosenBefore = this.selected;
    this.number = Math.min(this.report.stages.length - 1, Math.max(0, number));
    const now = item && this.stage.counterpart(item);
    if (now) this.selected = now.key;
    this.update(false);
  }

  step(direction, onlyChanged) {
    let next = this.number + direction;
    while (onlyChanged && this.report.stages[next] && !this.report.stages[next].changed && next > 0) next += direction;
    if (this.report.stages[next]) this.go(next);
  }

  walk(direction) {
    const {items, byKey} = this.stage, at = byKey.get(this.selected)?.number ?? (direction > 0 ? -1 : items.length);
    if (items[at + direction]) this.select(items[at + direction].key);
  }

  show(view) {
    this.view = view;
    this.update(true);
  }

  colour(mode) {
    this.mode = mode;
    this.update(false);
  }

  turnTheme() {
    document.documentElement.dataset.theme = this.theme().dark ? 'light' : 'dark';
    this.themeNow = null;
    this.update(false);
  }

  tip(item, x, y) {
    const tip = byId('tip');
    tip.hidden = !item || this.graph.scale > .6;
    if (tip.hidden) return;
    tip.textContent = shownKey(item.key) + '  ' + labelOf(item).join('  ');
    tip.style.left = Math.min(x + 14, innerWidth - 300) + 'px';
    tip.style.top = y + 14 + 'px';
  }

  /* ---- search ---- */

  /* Marks what is found in the graph; typed: also lists it. */
  search(typed) {
    const text = byId('search').value, found = text.trim() ? this.stage.find(text) : null;
    this.found = found || [];
    this.graph.matches = found && new Set(found);
    if (!typed) return;
    this.foundAt = -1;
    const list = byId('found');
    list.hidden = !found;
    list.innerHTML = `<li class=count>${this.found.length} of ${this.stage.items.length} nodes</li>` + this.found.slice(0, 100).map(item => `<li data-key="${escapeText(item.key)}">${escapeText(shownKey(item.key))} <span class=c>${escapeText(labelOf(item).join('  '))}</span></li>`).join('');
    this.graph.draw();
  }

  nextFound(direction) {
    if (!this.found.length) return;
    this.foundAt = (this.foundAt + direction + this.found.length) % this.found.length;
    this.select(this.found[this.foundAt].key);
    [...byId('found').children].forEach((row, i) => row.setAttribute('aria-selected', i === this.foundAt + 1));
  }

  endSearch(clear) {
    if (clear) byId('search').value = '';
    byId('found').hidden = true;
    if (clear) this.search(true);
    byId('found').hidden = true;
    byId('canvas').focus({preventScroll: true});
  }

  /* ---- events ---- */

  listen() {
    byId('slider').addEventListener('input', event => this.go(+event.target.value));
    byId('colour').addEventListener('change', event => this.colour(event.target.value));
    byId('theme').addEventListener('click', () => this.turnTheme());
    byId('help-button').addEventListener('click', () => byId('help').showModal());
    byId('help').addEventListener('click', () => byId('help').close());
    byId('search').addEventListener('input', () => this.search(true));
    byId('search').addEventListener('focus', () => this.search(true));
    document.addEventListener('click', event => this.onClick(event));
    document.addEventListener('keydown', event => this.onKey(event));
    addEventListener('hashchange', () => { this.readAddress(); this.update(true); });
    addEventListener('resize', () => this.update(false));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { this.themeNow = null; this.update(false); });
    byId('grip').addEventListener('pointerdown', event => {
      const move = next => { byId('panel').style.width = Math.min(innerWidth - 200, Math.max(200, innerWidth - next.clientX)) + 'px'; };
      byId('grip').setPointerCapture(event.pointerId);
      byId('grip').addEventListener('pointermove', move);
      byId('grip').addEventListener('pointerup', () => { byId('grip').removeEventListener('pointermove', move); this.update(false); }, {once: true});
    });
  }

  onClick(event) {
    const at = event.target.closest?.('[data-key],[data-view],[data-tab],[data-pass]');
    if (!event.target.closest?.('#finder')) byId('found').hidden = true;
    if (!at) return;
    const {key, view, tab, pass} = at.dataset;
    if (view) this.show(view);
    else if (tab) this.tab = tab, this.updatePanel();
    else if (pass) this.go(+pass);
    else if (key) this.select(key);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open) return;
    const inSearch = event.target === byId('search');
    if (inSearch && event.key !== 'Escape' && event.key !== 'Enter') return;
    const handler = inSearch ? {Escape: () => this.endSearch(true), Enter: () => this.nextFound(event.shiftKey ? -1 : 1)}[event.key] : this.keyHandler(event);
    if (!handler) return;
    event.preventDefault();
    handler();
  }

  keyHandler(event) {
    const view = this.views[+event.key - 1];
    if (view) return () => this.show(view[0]);
    const tabs = [...document.querySelectorAll('#panel [data-tab]')], tabAt = tabs.findIndex(tab => tab.dataset.tab === this.tab);
    const turn = by => { if (tabs.length) this.tab = tabs[(Math.max(0, tabAt) + by + tabs.length) % tabs.length].dataset.tab, this.updatePanel(); };
    const always = {'?': () => byId('help').showModal(), t: () => this.turnTheme(), '[': () => turn(-1), ']': () => turn(1), Escape: () => { if (byId('search').value) this.endSearch(true); else this.select(null); }};
    if (always[event.key] || !this.hasGraph) return always[event.key];
    const graph = {
      ArrowLeft: () => this.step(-1, event.shiftKey), ArrowRight: () => this.step(1, event.shiftKey), ArrowUp: () => this.walk(-1), ArrowDown: () => this.walk(1),
      '/': () => { byId('search').focus(); byId('search').select(); }, f: () => this.graph.fit(false), '+': () => this.graph.zoom(1.3), '=': () => this.graph.zoom(1.3), '-': () => this.graph.zoom(1 / 1.3),
      c: () => this.colour(MODES[(MODES.findIndex(([name]) => name === this.mode) + 1) % MODES.length][0]),
    };
    return graph[event.key];
  }
}

unpack(byId('data').textContent).then(data => { window.app = new App(new Report(data)); }).catch(error => {
  byId('panel').textContent = 'This page cannot be shown: ' + error.message;
  throw error;
});
