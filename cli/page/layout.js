/*
 * layout.js -- layered drawing of a graph whose edges all lead forward (Sugiyama's scheme).
 *
 *   1 layers        the longest path from the sources; sources move down to who uses them
 *   2 ways          what leads over several layers gets a bend in each, shared by all edges of its source
 *   3 order         in each layer by the middle of the neighbours, up and down a few times
 *   4 coordinates   in each layer as near to the neighbours as the widths allow: least squares with a minimal
 *                   distance, which is isotonic regression, by pooling adjacent violators. Boxes follow boxes
 *                   (but sources only if there are no others) and make way for nobody's bend, so that the
 *                   trunk of a network stays straight
 *
 * All steps are linear but for sorting. Networks are chains with skips, for which this is as good as optimal
 * layering by network simplex, and a graph of 5,000 nodes takes a fraction of a second. What makes graphs with
 * a value that is used everywhere unreadable and slow are its long edges: beyond a budget those become stubs.
 */
'use strict';

const ROW = 74, GAP = 26, MAX_BENDS = 20000, LONG = 40;

function layerOf(count, edges) {
  const layer = new Int32Array(count), first = new Int32Array(count).fill(count), hasSource = new Uint8Array(count);
  for (const [from, to] of edges) hasSource[to] = 1;
  for (const [from, to] of edges) layer[to] = Math.max(layer[to], layer[from] + 1); /* edges come by `to` */
  for (const [from, to] of edges) first[from] = Math.min(first[from], layer[to]);
  for (let i = 0; i < count; i++) if (!hasSource[i] && first[i] < count) layer[i] = first[i] - 1;
  return layer;
}

/* x of boxes in order, as near to `want` as widths allow. */
function spread(widths, want, weights) {
  const blocks = [];
  let offset = 0;
  const offsets = widths.map((width, i) => {
    if (i > 0) offset += (widths[i - 1] + width) / 2 + GAP;
    return offset;
  });
  for (let i = 0; i < widths.length; i++) {
    let block = {sum: (want[i] - offsets[i]) * weights[i], weight: weights[i], count: 1};
    while (blocks.length) {
      const last = blocks[blocks.length - 1];
      if (last.sum / last.weight <= block.sum / block.weight) break;
      blocks.pop();
      block = {sum: last.sum + block.sum, weight: last.weight + block.weight, count: last.count + block.count};
    }
    blocks.push(block);
  }
  const x = [];
  for (const block of blocks) for (let k = 0; k < block.count; k++) x.push(block.sum / block.weight + offsets[x.length]);
  return x;
}

function middle(values) {
  if (!values.length) return NaN;
  values.sort((a, b) => a - b);
  const half = values.length >> 1;
  return values.length % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/* widths: of the boxes; edges: [from, to], from < to, by `to`. */
function layoutGraph(widths, edges) {
  const count = widths.length, layer = layerOf(count, edges);
  let bends = 0;
  for (const [from, to] of edges) bends += Math.max(0, layer[to] - layer[from] - 1);
  const routed = bends <= MAX_BENDS ? edges : edges.filter(([from, to]) => layer[to] - layer[from] <= LONG);
  const stubs = bends <= MAX_BENDS ? [] : edges.filter(([from, to]) => layer[to] - layer[from] > LONG);

  const vertices = widths.map((width, i) => ({width, layer: layer[i], up: [], down: [], x: 0}));
  const way = new Map(); /* of a source: its bends from the next layer on */
  const join = (a, b) => {
    vertices[a].down.push(b);
    vertices[b].up.push(a);
  };
  const routes = routed.map(([from, to]) => {
    if (!way.has(from)) way.set(from, []);
    const path = way.get(from), points = [from];
    for (let at = layer[from] + 1; at < layer[to]; at++) {
      const k = at - layer[from] - 1;
      if (k === path.length) {
        path.push(vertices.length);
        vertices.push({width: 4, layer: at, up: [], down: [], x: 0});
        join(k ? path[k - 1] : from, path[k]);
      }
      points.push(path[k]);
    }
    join(points[points.length - 1], to);
    points.push(to);
    return points;
  });

  const layers = [];
  vertices.forEach((vertex, i) => (layers[vertex.layer] ??= []).push(i));
  for (let i = 0; i < layers.length; i++) layers[i] ??= [];
  const number = row => row.forEach((v, i) => vertices[v].place = i);
  layers.forEach(number);
  const order = (row, side) => {
    for (const v of row) {
      const at = middle(vertices[v][side].map(n => vertices[n].place));
      vertices[v].want = Number.isNaN(at) ? vertices[v].place : at;
    }
    row.sort((a, b) => vertices[a].want - vertices[b].want);
    number(row);
  };
  for (let sweep = 0; sweep < 6; sweep++) {
    if (sweep % 2 === 0) for (const row of layers) order(row, 'up');
    else for (let i = layers.length - 1; i >= 0; i--) order(layers[i], 'down');
  }

  const isSource = v => !vertices[v].up.length;
  const follow = side => v => {
    const near = vertices[v][side], boxes = near.filter(n => n < count), trunk = side === 'up' ? boxes.filter(n => !isSource(n)) : boxes;
    const at = middle((trunk.length ? trunk : boxes.length ? boxes : near).map(n => vertices[n].x));
    return Number.isNaN(at) ? vertices[v].x : at;
  };
  const weight = v => v >= count ? 1 : isSource(v) ? 10 : 1e4;
  const place = (row, want) => {
    const x = spread(row.map(v => vertices[v].width), row.map(want), row.map(weight));
    row.forEach((v, i) => vertices[v].x = x[i]);
  };
  const up = follow('up'), down = follow('down'), stay = v => vertices[v].x;
  for (const row of layers) place(row, stay);
  for (let sweep = 0; sweep < 4; sweep++) {
    for (const row of layers) place(row, up);
    for (let i = layers.length - 1; i >= 0; i--) place(layers[i], down);
  }
  for (const row of layers) place(row, up);
  for (const row of layers) place(row, v => isSource(v) ? down(v) : stay(v));

  let left = Infinity, right = -Infinity;
  for (const vertex of vertices) {
    left = Math.min(left, vertex.x - vertex.width / 2);
    right = Math.max(right, vertex.x + vertex.width / 2);
  }
  const y = v => vertices[v].layer * ROW;
  return {
    x: Float64Array.from(widths, (_, i) => vertices[i].x - left),
    y: Float64Array.from(widths, (_, i) => y(i)),
    rows: layers.map(row => row.filter(v => v < count)),
    routes: routes.map(points => points.map(v => [vertices[v].x - left, y(v)])),
    routed, stubs, width: count ? right - left : 0, height: layers.length * ROW,
  };
}
