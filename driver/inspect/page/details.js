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
    ...list('read by', usersOf(path).map((p) => link(p))), ...list('kernels', kernelsOf(path).map(kernelLink))];
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
  const own = drawn(last).nodes[kernel.nodes[0]];
  return [element('h2', {}, kernel.kind), element('p', {}, kernel.what),
    element('dl', {}, element('dt', {}, 'runs'), element('dd', {}, `${shown(costs.times)} times on ${kernel.backend}`),
      ...costRow('flops', kernel.flops, ' each'), ...costRow('bytes', kernel.bytes, ' each'),
      element('dt', {}, 'flops/byte'), element('dd', {}, shown(costs.intensity))),
    own ? element('button', { class: 'open', onclick: () => { go({ stage: last, view: '', tab: 'graph', kernel: null }); reveal(kernel.nodes[0]); } },
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
