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
  const svg = ['svg', 'g', 'rect', 'path', 'text', 'polygon', 'circle', 'title'].includes(tag);
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

// Of each stage that is drawn: the nodes in each body, the lines that a node
// stands for (its own and those of what is fused in it), the nodes of a line.
const indexes = new Map();
function index() {
  const stage = drawn(state.stage);
  if (indexes.has(stage)) return indexes.get(stage);
  const out = { inside: new Map(), lines: new Map(), nodes: new Map(), users: new Map() };
  const add = (map, key, value) => map.has(key) ? map.get(key).push(value) : map.set(key, [value]);
  for (const [path, node] of Object.entries(stage.nodes)) {
    for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1))
      add(out.inside, path.slice(0, at), path);
    for (const from of new Set((node.operands || []).map(([operand]) => operand)))
      add(out.users, from, path);
  }
  for (const [path, node] of Object.entries(stage.nodes)) {
    const parts = node.op === 'fused' ? [path, ...out.inside.get(path) || []] : [path];
    const lines = new Set(parts.map((part) => stage.nodes[part].place).filter(Boolean)
      .map(([file, line]) => file + ':' + line));
    out.lines.set(path, lines);
    for (const line of lines) add(out.nodes, line, path);
  }
  indexes.set(stage, out);
  return out;
}
const linesOf = (path) => index().lines.get(path);
const nodesOfLine = (line) => index().nodes.get(line) || [];
const inside = (path) => index().inside.get(path) || [];
const usersOf = (path) => index().users.get(path) || [];

// Kernels belong to the last stage; elsewhere a node finds them by its lines.
function kernelsOf(path) {
  const own = state.stage === last || drawn(state.stage) === drawn(last);
  const lines = linesOf(path);
  return data.kernels.filter((kernel) => own
    ? kernel.nodes.some((node) => node === path || path.startsWith(node + '/'))
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
    const operands = (nodes()[state.chosen].operands || []).map(([from]) => from);
    return new Set([state.chosen, ...operands, ...usersOf(state.chosen)]);
  }
  return null;
}

// A box shows a node when it is it, holds it, or is a closed body around it.
function shows(box, set) {
  if (box.node && box.kind !== 'outside' && set.has(box.node)) return true;
  if (box.holds) for (const path of box.holds) if (set.has(path)) return true;
  return Boolean(box.opens) && box.kind === 'node' && !isOpen(box.node) &&
    inside(box.node).some((path) => set.has(path));
}
const isOpen = (path) => view().clusters.some((cluster) => cluster.node === path);
