/*
 * graph.js -- the graph on a canvas: drawing what is visible, moving, zooming, pointing.
 *
 * Layouts are made when a stage is first shown and kept. Rows of the layout are in order of y, so that only
 * those on the screen are looked at. When the stage changes, the box under the middle stays where it is.
 */
'use strict';

const BOX_HEIGHT = 40, FONT = 'system-ui, "DejaVu Sans", sans-serif';

class GraphView {
  constructor(canvas, app) {
    this.canvas = canvas;
    this.app = app;
    this.context = canvas.getContext('2d');
    this.scale = 1;
    this.left = this.top = 0; /* of the screen, in units of the layout */
    this.layouts = new Map();
    this.matches = null; /* a Set of items, or all */
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener('wheel', event => this.onWheel(event), {passive: false});
    canvas.addEventListener('pointerdown', event => this.onDown(event));
    canvas.addEventListener('pointermove', event => this.onMove(event));
    canvas.addEventListener('pointerleave', () => app.tip(null));
    canvas.addEventListener('dblclick', () => this.zoom(1.6));
  }

  get width() { return this.canvas.clientWidth; }
  get height() { return this.canvas.clientHeight; }

  resize() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = this.width * ratio;
    this.canvas.height = this.height * ratio;
    this.draw();
  }

  layoutOf(stage) {
    if (!this.layouts.has(stage.raw.nodes)) {
      this.context.font = `600 13px ${FONT}`;
      const widths = stage.items.map(item => {
        const [title, type] = labelOf(item);
        return Math.min(230, Math.max(70, this.context.measureText(title).width + 24, type.length * 6.2 + 24));
      });
      const layout = layoutGraph(widths, stage.edges());
      layout.widths = widths;
      layout.stubText = new Map();
      for (const [from, to] of layout.stubs) {
        const names = layout.stubText.get(to) || [];
        names.push(labelOf(stage.items[from])[0]);
        layout.stubText.set(to, names);
      }
      this.layouts.set(stage.raw.nodes, layout);
    }
    return this.layouts.get(stage.raw.nodes);
  }

  show(stage) {
    const anchor = this.stage && this.anchor();
    this.stage = stage;
    this.layout = this.layoutOf(stage);
    const item = anchor && stage.counterpart(anchor.item);
    if (item) {
      this.left = this.layout.x[item.number] - anchor.dx;
      this.top = this.layout.y[item.number] - anchor.dy;
    } else this.fit(!anchor);
    this.draw();
  }

  /* The selected box, or the one next to the middle, and where it is on the screen. */
  anchor() {
    const {layout, stage} = this, middleX = this.left + this.width / this.scale / 2, middleY = this.top + this.height / this.scale / 2;
    let best = stage.byKey.get(this.app.chosenBefore), least = Infinity;
    if (!best || !this.isVisible(best))
      for (const item of stage.items) {
        const distance = Math.hypot(layout.x[item.number] - middleX, layout.y[item.number] - middleY);
        if (distance < least) least = distance, best = item;
      }
    return best && {item: best, dx: layout.x[best.number] - this.left, dy: layout.y[best.number] - this.top};
  }

  isVisible(item) {
    const x = (this.layout.x[item.number] - this.left) * this.scale, y = (this.layout.y[item.number] - this.top) * this.scale;
    return x >= 0 && y >= 0 && x <= this.width && y <= this.height;
  }

  /* All of it, or (start) as much from the top as can be read. */
  fit(start) {
    const {layout} = this, margin = 40;
    const whole = Math.min(this.width / (layout.width + 2 * margin), this.height / (layout.height + 2 * margin), 1.2);
    this.scale = start ? Math.max(whole, Math.min(.8, this.width / (layout.width + 2 * margin)), .35) : Math.max(whole, .004);
    this.left = layout.width / 2 - this.width / this.scale / 2;
    this.top = start && whole < this.scale ? -margin : layout.height / 2 - ROW / 2 - this.height / this.scale / 2;
    if (start && this.left > 0 && layout.x.length) this.left = layout.x[0] - this.width / this.scale / 2;
    this.draw();
  }

  reveal(item) {
    if (this.scale < .35) this.scale = .7;
    else if (this.isVisible(item)) return this.draw();
    this.left = this.layout.x[item.number] - this.width / this.scale / 2;
    this.top = this.layout.y[item.number] - this.height / this.scale / 2;
    this.draw();
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.min(3, Math.max(.004, this.scale * factor));
    this.left += x / this.scale - x / scale;
    this.top += y / this.scale - y / scale;
    this.scale = scale;
    this.draw();
  }

  pan(dx, dy) {
    this.left += dx / this.scale;
    this.top += dy / this.scale;
    this.draw();
  }

  /* ---- pointing ---- */

  onWheel(event) {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 20 : 1;
    if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(-event.deltaY * unit * .006), event.offsetX, event.offsetY);
    else if (event.shiftKey && !event.deltaX) this.pan(event.deltaY * unit, 0);
    else this.pan(event.deltaX * unit, event.deltaY * unit);
  }

  onDown(event) {
    if (event.button !== 0) return;
    const start = {x: event.clientX, y: event.clientY, left: this.left, top: this.top};
    let moved = false;
    this.canvas.focus({preventScroll: true});
    this.canvas.setPointerCapture(event.pointerId);
    const move = next => {
      moved ||= Math.hypot(next.clientX - start.x, next.clientY - start.y) > 4;
      if (!moved) return;
      this.left = start.left - (next.clientX - start.x) / this.scale;
      this.top = start.top - (next.clientY - start.y) / this.scale;
      this.draw();
    };
    const up = () => {
      this.canvas.removeEventListener('pointermove', move);
      if (!moved) this.app.select(this.hit(event.offsetX, event.offsetY)?.key ?? null, false);
    };
    this.canvas.addEventListener('pointermove', move);
    this.canvas.addEventListener('pointerup', up, {once: true});
  }

  onMove(event) {
    const item = event.buttons ? null : this.hit(event.offsetX, event.offsetY);
    this.canvas.classList.toggle('on-node', !!item);
    this.app.tip(item, event.clientX, event.clientY);
  }

  hit(px, py) {
    const x = px / this.scale + this.left, y = py / this.scale + this.top, {layout} = this;
    const row = Math.round(y / ROW);
    if (!layout || Math.abs(y - row * ROW) > BOX_HEIGHT / 2) return null;
    const number = (layout.rows[row] || []).find(i => Math.abs(x - layout.x[i]) <= layout.widths[i] / 2);
    return number === undefined ? null : this.stage.items[number];
  }

  /* ---- drawing ---- */

  draw() {
    if (this.waiting || !this.layout) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.paint();
    });
  }

  paint() {
    const {context, scale, layout, stage} = this, ratio = devicePixelRatio || 1, theme = this.app.theme();
    this.colouring = this.app.colouring();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(ratio * scale, 0, 0, ratio * scale, -this.left * scale * ratio, -this.top * scale * ratio);
    const view = {left: this.left, top: this.top, right: this.left + this.width / scale, bottom: this.top + this.height / scale};
    this.paintEdges(view, theme);
    const from = Math.max(0, Math.floor(view.top / ROW)), to = Math.min(layout.rows.length - 1, Math.ceil(view.bottom / ROW));
    for (let row = from; row <= to; row++)
      for (const i of layout.rows[row])
        if (Math.abs(layout.x[i] - (view.left + view.right) / 2) <= (view.right - view.left + layout.widths[i]) / 2) this.paintBox(stage.items[i], theme);
  }

  paintEdges(view, theme) {
    const {context, layout, scale} = this, selected = this.stage.byKey.get(this.app.selected)?.number;
    const half = BOX_HEIGHT / 2, width = Math.max(1, .7 / scale);
    const lines = new Path2D(), chosen = new Path2D();
    layout.routes.forEach((points, k) => {
      if (points[points.length - 1][1] < view.top || points[0][1] > view.bottom) return;
      const [from, to] = layout.routed[k], path = from === selected || to === selected ? chosen : lines;
      points.forEach(([x, y], i) => {
        const [toX, toY] = points[i + 1] || [];
        if (i === 0) path.moveTo(x, y + half);
        if (toX === undefined) return;
        const y0 = i === 0 ? y + half : y, y1 = i + 2 === points.length ? toY - half : toY, bend = (y1 - y0) * .5;
        if (i > 0) path.lineTo(x, y0);
        if (Math.abs(x - toX) < .5) path.lineTo(toX, y1);
        else path.bezierCurveTo(x, y0 + bend, toX, y1 - bend, toX, y1);
      });
    });
    context.lineWidth = width;
    context.strokeStyle = theme.edge;
    context.stroke(lines);
    context.lineWidth = 2 * width;
    context.strokeStyle = theme.accent;
    context.stroke(chosen);
  }

  paintBox(item, theme) {
    const {context, layout, scale, matches} = this, i = item.number, width = layout.widths[i];
    const x = layout.x[i] - width / 2, y = layout.y[i] - BOX_HEIGHT / 2, fill = this.colouring.fill(item, theme);
    context.globalAlpha = matches && !matches.has(item) ? .25 : 1;
    context.fillStyle = fill;
    context.beginPath();
    context.roundRect(x, y, width, BOX_HEIGHT, item.id === undefined ? BOX_HEIGHT / 2 : 6);
    context.fill();
    const isChosen = item.key === this.app.selected;
    context.lineWidth = (isChosen ? 3 : item.change ? 1.6 : 1) * Math.max(1, .7 / scale);
    context.strokeStyle = isChosen ? theme.accent : item.change ? theme[item.change] : theme.edge;
    context.stroke();
    if (scale > .3) this.paintText(item, fill, width, theme);
    context.globalAlpha = 1;
  }

  paintText(item, fill, width) {
    const {context, layout} = this, i = item.number, x = layout.x[i], y = layout.y[i];
    const [title, type] = labelOf(item), ink = inkOn(fill), room = width - 12;
    context.textAlign = 'center';
    context.fillStyle = ink;
    context.font = `600 13px ${FONT}`;
    context.fillText(shortened(title, room / 7), x, y - 3, room);
    context.globalAlpha *= .75;
    context.font = `11px ${FONT}`;
    context.fillText(shortened(type, room / 5.6), x, y + 12, room);
    const stubs = this.layout.stubText.get(i);
    if (stubs) context.textAlign = 'left', context.fillStyle = this.app.theme().soft, context.fillText('← ' + stubs.join(', '), x + width / 2 + 6, y + 4);
  }
}

function shortened(text, letters) {
  text = String(text);
  return text.length <= letters ? text : text.slice(0, Math.max(1, Math.floor(letters) - 1)) + '…';
}
