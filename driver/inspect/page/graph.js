// ---- the graph ----

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
  const within = box.kind === 'node' && box.opens ? inside(box.node).map((path) => all[path]) : [];
  const has = (what) => members.some((n) => n.change === what);
  const change = box.kind === 'output' || box.kind === 'outside' ? ''
    : members.length && members.every((n) => n.change === 'added') ? ' added'
      : has('changed') || has('added') ? ' changed' : '';
  const leaves = box.kind !== 'output' && [...members, ...within].some((n) => n.leaves);
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
      group.append(element('text', { class: 'mark a', x: x + box.w - 3, y: y - 2 }, '+'));
    if (kind.includes(' changed') && box.kind !== 'source')
      group.append(element('text', { class: 'mark c', x: x + box.w - 4, y: y - 1 }, '~'));
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
  if (!all && v.width * camera.scale > area.width) {
    // Where most of what is near the top stands.
    const near = v.boxes.filter((box) => box.y * camera.scale < area.height).map((box) => box.x);
    near.sort((a, b) => a - b);
    camera.x = area.width / 2 - near[Math.floor(near.length / 2)] * camera.scale;
    camera.x = Math.min(20, Math.max(area.width - 20 - v.width * camera.scale, camera.x));
  }
  aim();
}

function lookAt(box) {
  const area = $('canvas').getBoundingClientRect();
  camera.x = area.width / 2 - box.x * camera.scale;
  camera.y = area.height / 2 - box.y * camera.scale;
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
  const views = drawn(state.stage).views;
  $('overview').style.display = views.overview ? '' : 'none';
  $('overview').classList.toggle('on', state.view === 'overview');
  if (state.view) {
    const parent = state.view.replace(/\/?[^\/]*$/, '');
    if (parent && views[parent])
      trail.push(' \u203a ', element('a', { onclick: () => go({ view: parent }) }, views[parent].title));
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
