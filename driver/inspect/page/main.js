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
  $('overview').addEventListener('click',
    () => go({ view: state.view === 'overview' ? '' : 'overview', chosen: null }));
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
