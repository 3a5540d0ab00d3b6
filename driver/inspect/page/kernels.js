// ---- the kernels and their roofline ----

// What a core is taken to do, in GFLOP/s and GB/s; the reader may change it.
const machine = { flops: 100, bytes: 12 };

// Of all runs of a kernel in one step. `seconds` is the least that the machine
// allows: the longer of computing and moving.
function kernelCosts(kernel) {
  const times = number(kernel.times), flops = number(kernel.flops), bytes = number(kernel.bytes);
  const computing = flops / machine.flops * 1e-9, moving = bytes / machine.bytes * 1e-9;
  return { times, flops: times * flops, bytes: times * bytes,
    intensity: bytes > 0 ? flops / bytes : NaN,
    seconds: times * Math.max(computing, moving), bound: computing > moving ? 'computing' : 'memory' };
}

function duration(seconds) {
  if (Number.isNaN(seconds)) return '?';
  for (const [unit, size] of [['s', 1], ['ms', 1e-3], ['\u00b5s', 1e-6]])
    if (seconds >= size) return (seconds / size).toPrecision(3) + ' ' + unit;
  return (seconds * 1e9).toPrecision(3) + ' ns';
}

const kernelFamily = (kernel) => ({ matmul: 'linalg', fused: 'fused' })[kernel.kind] || 'shape';

const isNear = (kernel) => Boolean(state.line) && kernelsOfLine(state.line).includes(kernel) ||
  Boolean(state.chosen && nodes()[state.chosen]) && kernelsOf(state.chosen).includes(kernel);

function renderKernels() {
  const rows = data.kernels.map((kernel, index) => ({ kernel, index, ...kernelCosts(kernel) }));
  renderRoofline(rows);
  renderTable(rows);
}

// Both axes are logarithmic. A kernel stands on the roof, at its intensity, and is
// as large as its share of the step.
function renderRoofline(rows) {
  const [width, height, left, right, top, bottom] = [680, 210, 46, 16, 14, 34];
  const ridge = machine.flops / machine.bytes;
  const known = rows.filter((row) => row.intensity > 0);
  const [low, high] = [Math.min(0.05, ...known.map((row) => row.intensity / 2)),
    Math.max(4 * ridge, ...known.map((row) => row.intensity * 2))];
  const roof = (intensity) => Math.min(machine.flops, intensity * machine.bytes);
  const [least, most] = [roof(low), machine.flops * 1.6];
  const x = (v) => left + (width - left - right) * Math.log(v / low) / Math.log(high / low);
  const y = (v) => height - bottom - (height - top - bottom) * Math.log(v / least) / Math.log(most / least);
  const marks = [];
  for (let v = 10 ** Math.ceil(Math.log10(low)); v <= high; v *= 10)
    marks.push(element('path', { class: 'grid', d: `M${x(v)} ${top}V${height - bottom}` }),
      element('text', { class: 'axis', x: x(v), y: height - bottom + 14, 'text-anchor': 'middle' }, String(Number(v.toPrecision(2)))));
  for (let v = 10 ** Math.ceil(Math.log10(least)); v <= most; v *= 10)
    marks.push(element('path', { class: 'grid', d: `M${left} ${y(v)}H${width - right}` }),
      element('text', { class: 'axis', x: left - 6, y: y(v) + 4, 'text-anchor': 'end' }, String(Number(v.toPrecision(2)))));
  const total = rows.reduce((sum, row) => sum + (row.seconds || 0), 0) || 1;
  const dots = known.sort((a, b) => b.seconds - a.seconds).map((row) => element('circle',
    { class: `dot ${kernelFamily(row.kernel)}${row.kernel === state.kernel ? ' chosen' : isNear(row.kernel) ? ' hit' : ''}`,
      cx: x(row.intensity), cy: y(roof(row.intensity)), r: 3.5 + 22 * Math.sqrt(row.seconds / total),
      onclick: () => chooseKernel(row.kernel) },
    element('title', {}, `${row.index} ${row.kernel.kind} ${row.kernel.what}\n${shown(row.intensity)} flops/byte, at least ${duration(row.seconds)}`)));
  const field = (name, unit) => element('label', {}, element('input', { type: 'number', min: 0.1, step: 'any',
    value: machine[name], 'data-machine': name, onchange: (event) => {
      const value = Number(event.target.value);
      if (value > 0) machine[name] = value;
      renderKernels();
      renderDetails();
    } }), ' ' + unit);
  $('roofline').replaceChildren(
    element('p', {}, 'With ', field('flops', 'GFLOP/s'), ' and ', field('bytes', 'GB/s'),
      ` a step takes at least `, element('b', {}, duration(rows.reduce((sum, row) => sum + row.seconds, 0))),
      '. Kernels left of the ridge wait for memory.'),
    element('svg', { viewBox: `0 0 ${width} ${height}` }, ...marks,
      element('path', { class: 'roof', d: `M${x(low)} ${y(least)}L${x(ridge)} ${y(machine.flops)}H${width - right}` }),
      element('text', { class: 'axis', x: width - right, y: height - 4, 'text-anchor': 'end' }, 'flops / byte'),
      element('text', { class: 'axis', x: left, y: 9, 'text-anchor': 'middle' }, 'GFLOP/s'), ...dots));
}

function renderTable(rows) {
  if (state.order) rows.sort((a, b) => (b[state.order] || 0) - (a[state.order] || 0));
  else rows.sort((a, b) => a.index - b.index);
  const slowest = Math.max(1e-30, ...rows.map((row) => row.seconds || 0));
  const cell = (value, expression) => element('td', { class: 'number' }, value,
    isExpression(expression) ? element('small', { title: expression }, expression) : null);
  const allRuns = ({ times }, expression) => times === '1' || expression === '0' ? expression
    : `${times} x (${expression})`;
  const body = rows.map((row) => {
    const { kernel } = row;
    const places = new Map();
    for (const [file, line] of kernel.lines) {
      const name = baseName(data.files[file].path);
      places.set(name, [...places.get(name) || [], line]);
    }
    const mark = kernel === state.kernel ? 'chosen' : isNear(kernel) ? 'hit' : '';
    const quotient = kernel.flops === '0' ? '' : `(${kernel.flops}) / (${kernel.bytes})`;
    return element('tr', { class: mark, 'data-kernel': row.index, onclick: () => chooseKernel(kernel) },
      element('td', { class: 'number' }, String(row.index)),
      element('td', { class: 'what' }, element('span', { class: 'kind ' + kernelFamily(kernel) }, kernel.kind),
        ' ', kernel.what, kernel.backend === 'llvm' ? null : element('small', {}, ' on ' + kernel.backend)),
      cell(shown(row.times), kernel.times), cell(shown(row.flops), allRuns(kernel, kernel.flops)),
      cell(shown(row.bytes), allRuns(kernel, kernel.bytes)), cell(shown(row.intensity), quotient),
      element('td', { class: 'number' }, duration(row.seconds), element('span', { class: `meter ${row.bound}`, title: row.bound },
        element('b', { style: `width:${100 * row.seconds / slowest || 0}%` }))),
      element('td', { class: 'where' }, [...places].map(([name, lines]) => `${name}:\u200b${lines.join(',\u200b')}`).join(' ')));
  });
  const total = (what) => rows.reduce((sum, row) => sum + row[what], 0);
  const columns = [['#', null], ['kernel', null], ['times', 'times'], ['flops', 'flops'], ['bytes', 'bytes'],
    ['flops / byte', 'intensity'], ['at least', 'seconds'], ['source', null]];
  $('table').replaceChildren(element('table', {},
    element('thead', {}, element('tr', {}, ...columns.map(([name, order]) => element('th',
      { class: order || name === '#' ? 'number' : '', onclick: () => go({ order: order !== state.order ? order : null }, false) },
      name + (order && order === state.order ? ' \u2193' : ''))))),
    element('tbody', {}, ...body, element('tr', { class: 'total' }, element('td'), element('td', {}, 'the whole step'),
      element('td'), cell(shown(total('flops'))), cell(shown(total('bytes'))),
      cell(shown(total('flops') / total('bytes'))), cell(duration(total('seconds'))), element('td')))));
}
