'use strict';

// ---- expressions over dimensions: "2*B*T", "((T + 1)/2)", "max(B, 1)", "~T" ----

function evaluate(text, extents) {
  const tokens = String(text).match(/[A-Za-z_][\w.]*|\d+|[-+*\/(),]/g) || [];
  let at = 0;
  const next = () => tokens[at++];
  function atom() {
    const token = next();
    if (token === '(') { const v = sum(); next(); return v; }
    if (token === '-') return -atom();
    if (token === 'max') {
      next();
      const a = sum(); next();
      const b = sum(); next();
      return Math.max(a, b);
    }
    if (/^\d/.test(token)) return Number(token);
    return token in extents ? extents[token] : NaN;
  }
  function term() {
    let v = atom();
    while (tokens[at] === '*' || tokens[at] === '/')
      v = next() === '*' ? v * atom() : Math.floor(v / atom());
    return v;
  }
  function sum() {
    let v = term();
    while (tokens[at] === '+' || tokens[at] === '-') v = next() === '+' ? v + term() : v - term();
    return v;
  }
  return tokens.length ? sum() : 0;
}

function short(value) {
  const units = ['', ' k', ' M', ' G', ' T', ' P'];
  let unit = 0;
  while (value >= 999.5 && unit + 1 < units.length) { value /= 1000; ++unit; }
  if (unit === 0 && Number.isInteger(value)) return String(value);
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0) + units[unit];
}

// ---- the page's data and what is chosen in it ----

const data = JSON.parse(document.getElementById('data').textContent);
const $ = (id) => document.getElementById(id);
const extents = { ...data.extents };
const state = { stage: 0, view: '', tab: 'graph', file: 0, leaving: false, order: null,
  chosen: null, line: null, words: '', kernel: null };

// An unchanged stage is drawn as the one before it.
function drawn(stage) {
  while (data.stages[stage].unchanged) --stage;
  return data.stages[stage];
}
const nodes = () => drawn(state.stage).nodes;
const view = () => drawn(state.stage).views[state.view];
const last = data.stages.length - 1;

function element(tag, attributes = {}, ...children) {
  const svg = ['svg', 'g', 'rect', 'path', 'text', 'polygon', 'title'].includes(tag);
  const out = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) out.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) out.setAttribute(name, value);
  }
  out.append(...children.filter((child) => child !== null && child !== undefined));
  return out;
}

const number = (expression) => evaluate(expression || '0', extents);
const shown = (value) => Number.isNaN(value) ? '?' : short(value);
const isExpression = (text) => /[A-Za-z]/.test(text || '');
const baseName = (path) => path.replace(/.*\//, '');

// The lines that a node stands for: its own and those of what is fused in it.
const lineCache = new Map();
function linesOf(path) {
  const all = nodes();
  const key = drawn(state.stage).name + state.stage + ' ' + path;
  if (lineCache.has(key)) return lineCache.get(key);
  const out = new Set();
  const add = (node) => { if (node.place) out.add(node.place[0] + ':' + node.place[1]); };
  add(all[path]);
  if (all[path].op === 'fused')
    for (const inner of Object.keys(all)) if (inner.startsWith(path + '/')) add(all[inner]);
  lineCache.set(key, out);
  return out;
}

function nodesOfLine(line) {
  return Object.keys(nodes()).filter((path) => linesOf(path).has(line));
}

// Kernels belong to the last stage; elsewhere a node finds them by its lines.
function kernelsOf(path) {
  const own = state.stage === last || drawn(state.stage) === drawn(last);
  const lines = linesOf(path);
  return data.kernels.filter((kernel) => own
    ? kernel.node === path || path.startsWith(kernel.node + '/') && kernel.node !== ''
    : kernel.lines.some(([file, line]) => lines.has(file + ':' + line)));
}
const kernelsOfLine = (line) => data.kernels.filter(
  (kernel) => kernel.lines.some(([file, number]) => file + ':' + number === line));

// Flops and bytes of the nodes that have no body, each as often as it runs.
function lineCosts() {
  const out = new Map(), all = nodes();
  for (const node of Object.values(all)) {
    if (!node.place || node.op === 'scan' || node.op === 'fused' || !node.flops) continue;
    const line = node.place[0] + ':' + node.place[1];
    const flops = number(node.flops) * number(node.times || '1');
    if (!Number.isNaN(flops)) out.set(line, (out.get(line) || 0) + flops);
  }
  return out;
}

// ---- what is highlighted ----

function matches(path, words) {
  const node = nodes()[path];
  const text = [node.op, node.name, node.types.join(' '), node.attributes, '%' + node.number,
    path].join(' ').toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function highlighted() {
  if (state.words) return new Set(Object.keys(nodes()).filter((p) => matches(p, state.words)));
  if (state.line) return new Set(nodesOfLine(state.line));
  if (state.chosen) {
    const out = new Set([state.chosen]), all = nodes();
    for (const [from] of all[state.chosen].operands || []) out.add(from);
    for (const [path, node] of Object.entries(all))
      if ((node.operands || []).some(([from]) => from === state.chosen)) out.add(path);
    return out;
  }
  return null;
}

// A box shows a node when it is it, holds it, or is a closed body around it.
function shows(box, set) {
  if (box.node && box.kind !== 'outside' && set.has(box.node)) return true;
  if (box.holds) for (const path of box.holds) if (set.has(path)) return true;
  if (box.opens && box.kind === 'node' && !openBodies().has(box.node))
    for (const path of set) if (path.startsWith(box.node + '/')) return true;
  return false;
}
const openBodies = () => new Set(view().clusters.map((cluster) => cluster.node));

// ---- drawing ----

function renderStages() {
  $('stages').replaceChildren(...data.stages.map((stage, i) => {
    const counts = i === 0 ? [Object.keys(stage.nodes).length + ' nodes']
      : stage.unchanged ? ['(unchanged)'] : [
        element('span', { class: 'plus' }, '+' + stage.added),
        element('span', { class: 'tilde' }, '~' + stage.changed),
        element('span', { class: 'minus' }, '\u2212' + stage.removed)];
    const on = (i === state.stage ? ' on' : '') + (stage.unchanged ? ' same' : '');
    return element('button', { class: 'stage' + on, title: stage.doc, 'data-stage': i,
      onclick: () => go({ stage: i, view: '' }) },
    element('b', {}, stage.name), element('small', {}, ...counts));
  }));
}

function colour(text) {
  const words = new Set(('dim cell block model param train eval generate test scan reverse stack of '
    + 'over from unroll yield return let state data loss optimizer validation tbptt batch epochs '
    + 'report where real token mask number graph').split(' '));
  const out = [];
  const pattern = /#.*$|"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|\d+(?:\.\d+)?|\s+|./g;
  for (const [token] of text.matchAll(pattern)) {
    const kind = token[0] === '#' ? 'c' : token[0] === '"' ? 's' : /^\d/.test(token) ? 'n'
      : words.has(token) ? 'k' : /^[A-Z]/.test(token) ? 't' : '';
    out.push(kind ? element('span', { class: kind }, token) : token);
  }
  return out;
}

function renderSource() {
  $('files').replaceChildren(...data.files.map((file, i) => element('button',
    { class: 'file' + (i === state.file ? ' on' : ''), title: file.path,
      onclick: () => go({ file: i }, false) }, baseName(file.path))));
  const costs = lineCosts();
  const most = Math.max(1, ...costs.values());
  const used = new Set();
  for (const path of Object.keys(nodes())) for (const line of linesOf(path)) used.add(line);
  const lines = (data.files[state.file] || { text: '' }).text.replace(/\n$/, '').split('\n');
  $('code').replaceChildren(...lines.map((text, i) => {
    const line = state.file + ':' + (i + 1);
    const flops = costs.get(line);
    const heat = flops ? Math.round(6 + 34 * Math.sqrt(flops / most)) : 0;
    return element('div', { class: 'row' + (used.has(line) ? ' has' : '') +
        (line === state.line ? ' on' : ''), 'data-line': line,
      onclick: used.has(line) ? () => go({ line: state.line === line ? null : line, chosen: null,
        kernel: null, words: '' }) : undefined },
    element('i', {}, String(i + 1)),
    element('u', flops ? { style: `--heat: rgba(36,89,201,${heat / 100})`,
      title: `${short(flops)} flops in this stage` } : {}, flops ? short(flops) : ''),
    element('code', {}, ...colour(text)));
  }));
  markSource();
}

// The lines of what is chosen; the first of them is brought into sight.
function markSource(scroll) {
  const lines = new Set(state.line ? [state.line] : []);
  if (state.chosen && nodes()[state.chosen]) for (const l of linesOf(state.chosen)) lines.add(l);
  if (state.kernel) for (const [file, line] of state.kernel.lines) lines.add(file + ':' + line);
  let first = null;
  for (const row of $('code').children) {
    const on = lines.has(row.dataset.line);
    row.classList.toggle('on', on);
    if (on && !first) first = row;
  }
  if (scroll && first) first.scrollIntoView({ block: 'center' });
}

function curve(points) {
  let out = `M${points[0]} ${points[1]}C`;
  const end = points.length - 2;
  for (let i = 2; i < end; i += 2) out += `${points[i]} ${points[i + 1]} `;
  return out;
}

// The arrow's head, from the curve's last point to the tip behind it.
function head(points) {
  const n = points.length;
  const [x, y, tx, ty] = [points[n - 4], points[n - 3], points[n - 2], points[n - 1]];
  const length = Math.hypot(tx - x, ty - y) || 1;
  const [dx, dy] = [(tx - x) / length * 2.6, (ty - y) / length * 2.6];
  return `${x - dy},${y + dx} ${tx},${ty} ${x + dy},${y - dx}`;
}

const camera = { x: 0, y: 0, scale: 1 };
let parts = [];

function boxClass(box) {
  const all = nodes();
  const node = box.node ? all[box.node] : null;
  const members = box.holds ? box.holds.map((path) => all[path]) : node ? [node] : [];
  const inside = box.kind === 'node' && node && (node.op === 'fused' || node.op === 'scan')
    ? Object.keys(all).filter((path) => path.startsWith(box.node + '/')).map((path) => all[path])
    : [];
  const has = (what) => members.some((n) => n.change === what);
  const change = box.kind === 'output' || box.kind === 'outside' ? ''
    : members.length && members.every((n) => n.change === 'added') ? ' added'
      : has('changed') || has('added') ? ' changed' : '';
  const leaves = box.kind !== 'output' && [...members, ...inside].some((n) => n.leaves);
  const family = box.kind === 'folded' ? 'group' : box.kind === 'output' ? 'output'
    : box.kind === 'source' && node.op === 'argument' ? 'constant' : node.family;
  return `box ${box.kind} ${family}${change}${leaves ? ' leaves' : ''}`;
}

function renderGraph() {
  const v = view();
  const root = element('g', { id: 'root' });
  parts = [];
  for (const cluster of v.clusters) {
    const label = element('text', { x: cluster.x + 12, y: cluster.y + 19,
      onclick: () => go({ chosen: cluster.node, line: null, words: '' }) }, cluster.title);
    root.append(element('g', { class: 'cluster' }, element('rect',
      { x: cluster.x, y: cluster.y, width: cluster.w, height: cluster.h }), label));
  }
  for (const [from, to, points] of v.edges) {
    const line = element('path', { class: 'edge', d: curve(points) });
    const tip = element('polygon', { class: 'tip', points: head(points) });
    root.append(line, tip);
    parts.push({ from, to, line, tip });
  }
  v.boxes.forEach((box, i) => {
    const [x, y] = [box.x - box.w / 2, box.y - box.h / 2];
    const kind = boxClass(box);
    const group = element('g', { class: kind, 'data-box': i,
      onclick: (event) => { event.stopPropagation(); choose(box); },
      ondblclick: () => { if (box.opens) go({ view: box.opens, chosen: null }); } });
    if (box.opens) group.append(element('rect', { class: 'behind', x: x + 3, y: y + 3, width: box.w, height: box.h }));
    group.append(element('rect', { class: 'face', x, y, width: box.w, height: box.h }),
      element('text', { class: 'title', x: box.x, y: box.detail ? box.y - 3 : box.y + 4 }, box.title),
      box.detail ? element('text', { class: 'detail', x: box.x, y: box.y + 11 }, box.detail) : null ?? '');
    if (kind.includes(' added') && box.kind !== 'source')
      group.append(element('text', { class: 'mark a', x: x + box.w - 4, y: y + 10 }, '+'));
    if (kind.includes(' changed') && box.kind !== 'source')
      group.append(element('text', { class: 'mark c', x: x + box.w - 5, y: y + 10 }, '~'));
    root.append(group);
    parts.push({ box, group });
  });
  $('graph').replaceChildren(root);
  $('map').setAttribute('viewBox', `-10 -10 ${v.width + 20} ${v.height + 20}`);
  $('map').replaceChildren(...v.boxes.map((box) => element('rect', { x: box.x - box.w / 2,
    y: box.y - box.h / 2, width: box.w, height: box.h })), element('rect', { class: 'seen' }));
  mark();
}

function mark() {
  const set = highlighted();
  $('graph').classList.toggle('dim', Boolean(set && set.size));
  $('graph').classList.toggle('leaving', state.leaving);
  const hit = [];
  const boxes = view().boxes;
  parts.filter((part) => part.box).forEach((part, i) => {
    hit[i] = Boolean(set) && shows(part.box, set);
    part.group.classList.toggle('hit', hit[i]);
    part.group.classList.toggle('chosen', part.box.node === state.chosen && part.box.kind !== 'outside'
      && part.box.kind !== 'output');
    $('map').children[i].classList.toggle('hit', hit[i]);
  });
  for (const part of parts) {
    if (part.box) continue;
    const touches = (box) => box.node === state.chosen;
    const on = state.chosen && !state.line && !state.words
      ? touches(boxes[part.from]) || touches(boxes[part.to]) : hit[part.from] && hit[part.to];
    part.line.classList.toggle('hit', Boolean(on));
    part.tip.classList.toggle('hit', Boolean(on));
  }
  $('found').textContent = state.words ? `${set.size}` : '';
}

function aim() {
  const root = $('root');
  if (!root) return;
  root.setAttribute('transform', `translate(${camera.x} ${camera.y}) scale(${camera.scale})`);
  $('graph').classList.toggle('far', camera.scale < 0.45);
  const area = $('canvas').getBoundingClientRect();
  const seen = $('map').lastChild;
  seen.setAttribute('x', -camera.x / camera.scale);
  seen.setAttribute('y', -camera.y / camera.scale);
  seen.setAttribute('width', area.width / camera.scale);
  seen.setAttribute('height', area.height / camera.scale);
}

function fit(all) {
  const area = $('canvas').getBoundingClientRect(), v = view();
  const whole = Math.min((area.width - 40) / v.width, (area.height - 40) / v.height, 1.25);
  camera.scale = all ? whole : Math.max(whole, 0.6);
  camera.x = (area.width - v.width * camera.scale) / 2;
  camera.y = v.height * camera.scale < area.height ? (area.height - v.height * camera.scale) / 2 : 20;
  if (!all && v.width * camera.scale > area.width) lookAt(v.boxes.find((b) => b.y < 60) || v.boxes[0], 20);
  aim();
}

function lookAt(box, top) {
  const area = $('canvas').getBoundingClientRect();
  camera.x = area.width / 2 - box.x * camera.scale;
  if (top === undefined) camera.y = area.height / 2 - box.y * camera.scale;
  aim();
}

function zoom(factor, x, y) {
  const scale = Math.min(4, Math.max(0.02, camera.scale * factor));
  camera.x = x - (x - camera.x) * scale / camera.scale;
  camera.y = y - (y - camera.y) * scale / camera.scale;
  camera.scale = scale;
  aim();
}

function renderPath() {
  const trail = [element('a', { onclick: () => go({ view: '' }) }, data.stages[state.stage].name)];
  if (state.view) {
    const parent = state.view.replace(/\/?[^\/]*$/, '');
    if (parent && drawn(state.stage).views[parent])
      trail.push(' \u203a ', element('a', { onclick: () => go({ view: parent }) }, drawn(state.stage).views[parent].title));
    trail.push(' \u203a ', view().title);
  }
  $('path').replaceChildren(...trail);
}

const families = [['linalg', 'products'], ['pointwise', 'pointwise'], ['reduce', 'reductions'],
  ['shape', 'shapes'], ['index', 'indexing'], ['fused', 'kernels'], ['parameter', 'parameters'],
  ['input', 'inputs'], ['group', 'folded (double-click)']];
function renderLegend() {
  const present = new Set(view().boxes.map((box) => boxClass(box).split(' ')[2]));
  $('legend').replaceChildren(...families.filter(([family]) => present.has(family))
    .map(([family, name]) => element('span', { class: family }, name)));
}

// ---- kernels ----

function kernelCosts(kernel) {
  const times = number(kernel.times), flops = number(kernel.flops), bytes = number(kernel.bytes);
  return { times, flops: times * flops, bytes: times * bytes,
    intensity: bytes > 0 ? flops / bytes : NaN };
}

function renderKernels() {
  const rows = data.kernels.map((kernel, index) => ({ kernel, index, ...kernelCosts(kernel) }));
  const most = (what) => Math.max(1, ...rows.map((row) => row[what] || 0));
  const [flops, bytes] = [most('flops'), most('bytes')];
  if (state.order) rows.sort((a, b) => (b[state.order] || 0) - (a[state.order] || 0));
  const columns = [['#', null], ['kernel', null], ['times', 'times'], ['flops', 'flops'],
    ['bytes', 'bytes'], ['flops / byte', 'intensity'], ['source', null]];
  const total = (what) => rows.reduce((sum, row) => sum + row[what], 0);
  const cell = (value, expression, share) => element('td', { class: 'number' }, shown(value),
    isExpression(expression) ? element('small', { title: expression }, expression) : null,
    share === undefined ? null : element('span', { class: 'meter' },
      element('b', { style: `width:${Math.min(100, 100 * share || 0)}%` })));
  const product = (kernel, expression) => kernel.times === '1' ? expression
    : isExpression(expression) || isExpression(kernel.times) ? `${kernel.times} x (${expression})` : expression;
  const body = rows.map((row) => {
    const places = new Map();
    for (const [file, line] of row.kernel.lines) {
      const name = baseName(data.files[file].path);
      places.set(name, [...(places.get(name) || []), line]);
    }
    const near = state.line && kernelsOfLine(state.line).includes(row.kernel)
      || state.chosen && nodes()[state.chosen] && kernelsOf(state.chosen).includes(row.kernel);
    const kind = row.kernel.kind === 'matmul' ? 'linalg' : row.kernel.kind === 'fused' ? 'fused' : 'shape';
    return element('tr', { class: row.kernel === state.kernel ? 'chosen' : near ? 'hit' : '',
      'data-kernel': row.index, onclick: () => chooseKernel(row.kernel) },
    element('td', { class: 'number' }, String(row.index)),
    element('td', { class: 'what' }, element('span', { class: 'kind ' + kind }, row.kernel.kind), ' ',
      row.kernel.what, row.kernel.backend === 'llvm' ? null : element('small', {}, ' on ' + row.kernel.backend)),
    cell(row.times, row.kernel.times), cell(row.flops, product(row.kernel, row.kernel.flops), row.flops / flops),
    cell(row.bytes, product(row.kernel, row.kernel.bytes), row.bytes / bytes), cell(row.intensity),
    element('td', { class: 'where' }, [...places].map(([name, lines]) => `${name}:${lines.join(',')}`).join(' ')));
  });
  $('kernels').replaceChildren(element('table', {}, element('thead', {}, element('tr', {},
    ...columns.map(([name, order]) => element('th', { class: order ? 'number' : '',
      onclick: () => go({ order: order && order !== state.order ? order : null }, false) },
    name + (order && order === state.order ? ' \u2193' : ''))))),
  element('tbody', {}, ...body, element('tr', {}, element('td'), element('td', {}, element('b', {}, 'the whole step')),
    element('td'), cell(total('flops')), cell(total('bytes')), cell(total('flops') / total('bytes')), element('td')))));
}

// ---- details ----

function link(path, note) {
  const node = nodes()[path];
  return element('span', { class: 'link', title: node.types.join(', '), onclick: () => reveal(path) },
    `%${node.number} ${node.name || node.op} `, element('small', {}, note || node.types[0] || ''));
}
function kernelLink(kernel) {
  return element('span', { class: 'link', onclick: () => { go({ tab: 'kernels' }, false); chooseKernel(kernel); } },
    `${data.kernels.indexOf(kernel)} ${kernel.kind} `, element('small', {}, kernel.what));
}
function list(title, items, most = 40) {
  if (!items.length) return [];
  const more = items.length > most ? [element('p', {}, `and ${items.length - most} more`)] : [];
  return [element('h3', {}, `${title} (${items.length})`), ...items.slice(0, most), ...more];
}
function costRow(name, expression, note) {
  if (!expression) return [];
  const value = number(expression);
  return [element('dt', {}, name), element('dd', {}, shown(value) + (note || ''),
    isExpression(expression) ? element('small', {}, '\n' + expression) : null)];
}

function nodeDetails(path) {
  const all = nodes(), node = all[path];
  const users = Object.keys(all).filter((p) => (all[p].operands || []).some(([from]) => from === path));
  const times = number(node.times || '1');
  const place = node.place && `${baseName(data.files[node.place[0]].path)}:${node.place[1]}:${node.place[2]}`;
  const shapes = node.types.map((type) => type + (isExpression(type.replace(/^\w+/, ''))
    ? '  = ' + type.replace(/\[(.*)\]/, (_, dims) => '[' + splitDims(dims).map((d) => shown(number(d))).join(', ') + ']') : ''));
  const ratio = number(node.flops) / number(node.bytes);
  const out = [element('h2', {}, node.name || node.op),
    element('p', {}, `%${node.number} ${node.op}`),
    node.change ? element('span', { class: 'badge ' + node.change },
      node.change + ' by ' + data.stages[state.stage].name) : null,
    node.leaves ? element('span', { class: 'badge leaves' }, 'removed by the next pass') : null,
    element('dl', {}, element('dt', {}, 'shape'), element('dd', {}, shapes.join('\n')),
      ...costRow('flops', node.flops, times > 1 ? `  \u00d7 ${shown(times)} steps` : ''),
      ...costRow('bytes', node.bytes, times > 1 ? `  \u00d7 ${shown(times)} steps` : ''),
      ...(node.flops && ratio ? [element('dt', {}, 'flops/byte'), element('dd', {}, shown(ratio))] : []),
      ...(place ? [element('dt', {}, 'source'), element('dd', {}, element('span', { class: 'link',
        onclick: () => go({ line: `${node.place[0]}:${node.place[1]}`, chosen: null, file: node.place[0] }) }, place))] : []),
      ...(node.attributes ? [element('dt', {}, 'settings'), element('dd', {}, node.attributes)] : []))];
  if (drawn(state.stage).views[path])
    out.push(element('button', { class: 'open', onclick: () => go({ view: path, chosen: null }) }, 'open its body'));
  return [...out, ...list('operands', (node.operands || []).map(([from]) => link(from))),
    ...list('read by', users.map((p) => link(p))), ...list('kernels', kernelsOf(path).map(kernelLink))];
}

// "B, max(T, 1), 3" at the commas that stand in no parentheses.
function splitDims(text) {
  const out = [''];
  let depth = 0;
  for (const c of text) {
    depth += c === '(' ? 1 : c === ')' ? -1 : 0;
    if (c === ',' && depth === 0) out.push('');
    else out[out.length - 1] += c;
  }
  return out;
}

function lineDetails(line) {
  const [file, at] = line.split(':').map(Number);
  const paths = nodesOfLine(line);
  const flops = lineCosts().get(line);
  return [element('h2', {}, `${baseName(data.files[file].path)}:${at}`),
    element('p', {}, data.files[file].text.split('\n')[at - 1].trim()),
    element('dl', {}, element('dt', {}, 'flops'), element('dd', {}, flops ? short(flops) : '0')),
    ...list('nodes', paths.map((path) => link(path))), ...list('kernels', kernelsOfLine(line).map(kernelLink))];
}

function kernelDetails(kernel) {
  const costs = kernelCosts(kernel);
  const own = drawn(last).nodes[kernel.node];
  return [element('h2', {}, kernel.kind), element('p', {}, kernel.what),
    element('dl', {}, element('dt', {}, 'runs'), element('dd', {}, `${shown(costs.times)} times on ${kernel.backend}`),
      ...costRow('flops', kernel.flops, ' each'), ...costRow('bytes', kernel.bytes, ' each'),
      element('dt', {}, 'flops/byte'), element('dd', {}, shown(costs.intensity))),
    own ? element('button', { class: 'open', onclick: () => { go({ stage: last, view: '', tab: 'graph', kernel: null }); reveal(kernel.node); } },
      'show it in the graph') : null,
    ...list('source', kernel.lines.map(([file, at]) => element('span', { class: 'link',
      onclick: () => go({ line: `${file}:${at}`, file, chosen: null, kernel: null }) },
    `${baseName(data.files[file].path)}:${at} `, element('small', {}, data.files[file].text.split('\n')[at - 1].trim()))))];
}

function stageDetails() {
  const stage = data.stages[state.stage], all = nodes();
  const whole = Object.entries(all).filter(([path]) => !path.includes('/'));
  const total = (what) => whole.reduce((sum, [, node]) => sum + number(node[what]), 0);
  const changed = (what) => Object.keys(all).filter((path) => all[path].change === what && !stage.unchanged);
  const before = state.stage > 0 && !stage.unchanged ? drawn(state.stage - 1).nodes : {};
  const gone = Object.entries(before).filter(([, node]) => node.leaves);
  const byOp = new Map();
  for (const [, node] of gone) byOp.set(node.op, (byOp.get(node.op) || 0) + 1);
  return [element('h2', {}, stage.name), element('p', {}, stage.doc),
    stage.unchanged ? element('span', { class: 'badge' }, '(unchanged)') : null,
    element('dl', {}, element('dt', {}, 'nodes'), element('dd', {}, String(Object.keys(all).length)),
      element('dt', {}, 'flops'), element('dd', {}, shown(total('flops'))),
      element('dt', {}, 'bytes'), element('dd', {}, shown(total('bytes')), element('small', {}, '\neach node by itself'))),
    ...list('added', changed('added').filter((p) => all[p].op !== 'constant' && all[p].op !== 'argument').map((p) => link(p)), 25),
    ...list('changed', changed('changed').map((p) => link(p)), 25),
    ...list('removed', [...byOp].sort((a, b) => b[1] - a[1]).map(([op, count]) => element('span',
      { class: 'link', onclick: () => go({ stage: state.stage - 1, view: '', leaving: true }) }, `${count} \u00d7 ${op}`)))];
}

function folderDetails(box) {
  return [element('h2', {}, box.title), element('p', {}, 'folded; double-click to look inside'),
    element('button', { class: 'open', onclick: () => go({ view: box.opens, chosen: null, folder: null }) }, 'look inside'),
    ...list('nodes', box.holds.map((path) => link(path)))];
}

function renderDetails() {
  const content = state.kernel ? kernelDetails(state.kernel)
    : state.folder ? folderDetails(state.folder)
      : state.chosen && nodes()[state.chosen] ? nodeDetails(state.chosen)
        : state.line ? lineDetails(state.line) : stageDetails();
  $('details').replaceChildren(...content.filter(Boolean));
}

// ---- moving about ----

function go(change, redraw = true) {
  const before = { ...state };
  Object.assign(state, change);
  if (!('folder' in change)) state.folder = null;
  if ('line' in change && state.line) state.file = Number(state.line.split(':')[0]);
  if (!drawn(state.stage).views[state.view]) state.view = '';
  if (state.chosen && !nodes()[state.chosen]) state.chosen = null;
  if (before.stage !== state.stage && !('chosen' in change)) state.chosen = null;
  const moved = before.view !== state.view || drawn(before.stage) !== drawn(state.stage);
  $('canvas').style.display = state.tab === 'graph' ? '' : 'none';
  $('tools').style.visibility = state.tab === 'graph' ? '' : 'hidden';
  $('kernels').style.display = state.tab === 'kernels' ? 'block' : 'none';
  for (const tab of $('tabs').children) tab.classList.toggle('on', tab.dataset.tab === state.tab);
  $('leaving').classList.toggle('on', state.leaving);
  renderStages();
  renderPath();
  if (moved || !parts.length) { renderGraph(); fit(); renderLegend(); } else { mark(); }
  renderSource();
  markSource('line' in change || 'chosen' in change || 'kernel' in change);
  if (state.tab === 'kernels') renderKernels();
  if (redraw && state.line && !('file' in change && !('line' in change)) && 'line' in change) showFirst();
  renderDetails();
}

// Brings the first highlighted box into sight when none is.
function showFirst() {
  const hits = parts.filter((part) => part.box && part.group.classList.contains('hit')).map((part) => part.box);
  if (!hits.length) return;
  const area = $('canvas').getBoundingClientRect();
  const seen = hits.some((box) => {
    const [x, y] = [box.x * camera.scale + camera.x, box.y * camera.scale + camera.y];
    return x > 0 && y > 0 && x < area.width && y < area.height;
  });
  if (!seen) lookAt(hits[0]);
}

function choose(box) {
  if (box.kind === 'folded') go({ folder: box, chosen: null, line: null, kernel: null, words: '' });
  else pick(box.node);
}
function pick(path) {
  const place = nodes()[path].place;
  const file = place ? place[0] : state.file;
  $('search').value = '';
  go({ chosen: path, line: null, kernel: null, words: '', file });
}

// Goes to the view that draws a node, and to the node in it.
function reveal(path) {
  const views = drawn(state.stage).views;
  const draws = (key) => views[key].boxes.find((box) => box.node === path && box.kind === 'node')
    || views[key].boxes.find((box) => box.node === path && box.kind === 'source');
  const key = draws(state.view) ? state.view : ['', ...Object.keys(views)].find(draws);
  state.tab = 'graph';
  if (key !== undefined && key !== state.view) go({ view: key });
  pick(path);
  if (key !== undefined) lookAt(draws(key));
}

function chooseKernel(kernel) {
  const file = kernel.lines.length ? kernel.lines[0][0] : state.file;
  go({ kernel, chosen: null, line: null, words: '', file });
}

let found = -1;
function search(step) {
  const words = $('search').value.trim();
  if (words !== state.words) { found = -1; go({ words, line: null, chosen: null, kernel: null }); }
  if (!words || !step) return;
  const paths = [...highlighted()];
  if (!paths.length) return;
  found = (found + step + paths.length) % paths.length;
  const views = drawn(state.stage).views;
  const has = (key) => views[key].boxes.find((box) => box.node === paths[found] && box.kind !== 'outside' && box.kind !== 'output');
  const key = has(state.view) ? state.view : ['', ...Object.keys(views)].find(has);
  if (key === undefined) return;
  if (key !== state.view) go({ view: key });
  lookAt(has(key));
}

function setUp() {
  $('title').textContent = data.title;
  $('extents').replaceChildren(...data.symbols.map((symbol) => element('label', {}, symbol + ' =',
    element('input', { type: 'number', min: 0, value: extents[symbol], placeholder: '?',
      'data-symbol': symbol, oninput: (event) => {
        if (event.target.value === '') delete extents[symbol];
        else extents[symbol] = Number(event.target.value);
        go({}, false);
      } }))));
  for (const tab of $('tabs').children)
    tab.addEventListener('click', () => go({ tab: tab.dataset.tab }, false));
  const centre = (factor) => {
    const area = $('canvas').getBoundingClientRect();
    zoom(factor, area.width / 2, area.height / 2);
  };
  $('larger').addEventListener('click', () => centre(1.3));
  $('smaller').addEventListener('click', () => centre(1 / 1.3));
  $('fit').addEventListener('click', () => fit(true));
  $('leaving').addEventListener('click', () => go({ leaving: !state.leaving }, false));
  $('search').addEventListener('input', () => search(0));
  $('search').addEventListener('keydown', (event) => {
    if (event.key === 'Enter') search(event.shiftKey ? -1 : 1);
    if (event.key === 'Escape') { $('search').value = ''; search(0); $('search').blur(); }
  });
  const graph = $('graph');
  let drag = null;
  graph.addEventListener('wheel', (event) => {
    event.preventDefault();
    const area = graph.getBoundingClientRect();
    if (event.ctrlKey || event.deltaMode !== 0 || Math.abs(event.deltaY) >= 50)
      zoom(Math.exp(-event.deltaY / 400), event.clientX - area.left, event.clientY - area.top);
    else { camera.x -= event.deltaX; camera.y -= event.deltaY; aim(); }
  }, { passive: false });
  graph.addEventListener('pointerdown', (event) => {
    drag = { x: event.clientX, y: event.clientY, moved: false };
  });
  window.addEventListener('pointermove', (event) => {
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    graph.classList.add('drag');
    camera.x += dx; camera.y += dy;
    drag = { x: event.clientX, y: event.clientY, moved: true };
    aim();
  });
  window.addEventListener('pointerup', () => {
    graph.classList.remove('drag');
    setTimeout(() => { drag = null; });
  });
  graph.addEventListener('click', (event) => {
    if (drag && drag.moved) return;
    if (event.target === graph) go({ chosen: null, line: null, kernel: null });
  });
  const onMap = (event) => {
    const area = $('canvas').getBoundingClientRect();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform($('map').getScreenCTM().inverse());
    camera.x = area.width / 2 - at.x * camera.scale;
    camera.y = area.height / 2 - at.y * camera.scale;
    aim();
  };
  $('map').addEventListener('pointerdown', onMap);
  $('map').addEventListener('pointermove', (event) => { if (event.buttons) onMap(event); });
  window.addEventListener('resize', aim);
  window.addEventListener('keydown', (event) => {
    if (event.target.tagName === 'INPUT' || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === '/') { event.preventDefault(); $('search').focus(); }
    if (event.key === 'f') fit(true);
    if (event.key === '+' || event.key === '=') centre(1.3);
    if (event.key === '-') centre(1 / 1.3);
    if (event.key === ']' && state.stage < last) go({ stage: state.stage + 1, view: '' });
    if (event.key === '[' && state.stage > 0) go({ stage: state.stage - 1, view: '' });
    if (event.key === 'Escape') go({ chosen: null, line: null, kernel: null, leaving: false });
  });
  window.addEventListener('hashchange', openAddress);
  go({ stage: 0, view: '' });
  openAddress();
}

// page.html#stage=5&line=12, &node=52/8, &view=52, &tab=kernels, &search=tanh
function openAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const change = {};
  if (asked.has('stage')) {
    const named = data.stages.findIndex((stage) => stage.name === asked.get('stage'));
    change.stage = named >= 0 ? named : Math.min(last, Math.max(0, Number(asked.get('stage')) || 0));
    change.view = '';
  }
  if (asked.has('view')) change.view = asked.get('view');
  if (asked.has('tab')) change.tab = asked.get('tab') === 'kernels' ? 'kernels' : 'graph';
  if (asked.has('line')) {
    const line = asked.get('line');
    Object.assign(change, { line: line.includes(':') ? line : '0:' + line, chosen: null });
  }
  go(change);
  if (asked.has('node') && nodes()[asked.get('node')]) reveal(asked.get('node'));
  if (asked.has('search')) { $('search').value = asked.get('search'); search(1); }
}

setUp();
