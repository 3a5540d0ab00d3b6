// Run in the page itself by page.sh: what a reader does, and what must then be
// seen. The first mistake ends up in the document's title.
'use strict';

function check(condition, what) {
  if (!condition) throw new Error(what);
}
const all = (selector) => [...document.querySelectorAll(selector)];
const click = (target) => target.dispatchEvent(new MouseEvent('click', { bubbles: true }));
const stageCalled = (name) => all('.stage').find((stage) => stage.textContent.startsWith(name));
const box = (title) => all('.box').find(
  (group) => group.querySelector('.title').textContent === title);

function textStaysInItsBox(stage) {
  for (const group of all('.box')) {
    const room = Number(group.querySelector('.face').getAttribute('width'));
    for (const text of group.querySelectorAll('.title, .detail'))
      check(text.getComputedTextLength() <= room,
        `${stage}: '${text.textContent}' is wider than its box`);
  }
}

function boxesStandApart(stage) {
  const places = all('.box .face').map((face) => face.getBBox());
  places.forEach((a, i) => places.slice(i + 1).forEach((b) => check(
    a.x + a.width <= b.x + 0.2 || b.x + b.width <= a.x + 0.2 ||
    a.y + a.height <= b.y + 0.2 || b.y + b.height <= a.y + 0.2, `${stage}: boxes overlap`)));
}

function everyStageIsDrawn() {
  const stages = all('.stage').length;
  check(stages >= 8, 'stages');
  for (let i = 0; i < stages; ++i) {
    click(all('.stage')[i]);
    const name = data.stages[i].name;
    check(all('.stage')[i].classList.contains('on'), `${name} is not the one shown`);
    check(all('.box').length === view().boxes.length && view().boxes.length > 5, `${name}: boxes`);
    check(all('path.edge').length === view().edges.length, `${name}: edges`);
    textStaysInItsBox(name);
    boxesStandApart(name);
    if (data.stages[i].unchanged)
      check(all('.stage')[i].textContent.includes('(unchanged)'), `${name}: unchanged`);
  }
}

function aLineLeadsToItsNodesAndKernels() {
  click(stageCalled('one example'));
  const row = all('#code .row').find((line) => line.textContent.includes('leak  = sigmoid'));
  click(row);
  const titles = all('.box.hit .title').map((text) => text.textContent);
  check(titles.includes('sigmoid') && !titles.includes('tanh'), `hit: ${titles}`);
  check(document.querySelector('#details').textContent.includes('kernels ('), 'no kernels');
  click(document.querySelector('[data-tab=kernels]'));
  const hit = all('#kernels tr.hit');
  check(hit.length > 0 && hit.length < all('#kernels tbody tr').length, 'kernels of the line');
  click(document.querySelector('[data-tab=graph]'));
}

function aNodeLeadsToItsLine() {
  click(stageCalled('one example'));
  click(box('tanh'));
  const rows = all('#code .row.on');
  check(rows.length === 1 && rows[0].textContent.includes('new   = tanh'), 'the line of tanh');
  const text = document.querySelector('#details').textContent;
  check(text.includes('f32[24]') && text.includes('flops') && text.includes('bytes'), text);
  check(all('path.edge.hit').length === 2, 'the edges of tanh');
}

function aKernelLeadsToItsLines() {
  click(document.querySelector('[data-tab=kernels]'));
  const row = all('#kernels tbody tr').find((line) => line.textContent.includes('sigmoid'));
  click(row);
  check(all('#code .row.on').length >= 4, 'the lines of the fused cell');
  check(all('.dot.chosen').length === 1, 'the kernel on the roof');
  click(all('#details .open')[0]);
  check(all('.box.chosen').length === 1, 'the kernel in the graph');
}

function numbersFollowTheDimensions() {
  click(document.querySelector('[data-tab=kernels]'));
  const flops = () => Number(evaluate(data.kernels.find((k) => k.flops.includes('B')).flops, extents));
  const before = flops();
  const shownBefore = document.querySelector('#kernels').textContent;
  const input = document.querySelector('[data-symbol=B]');
  input.value = 64;
  input.dispatchEvent(new Event('input'));
  check(flops() === 2 * before, 'flops follow B');
  check(document.querySelector('#kernels').textContent !== shownBefore, 'the table follows B');
  click(document.querySelector('[data-tab=graph]'));
}

function expressionsAreComputed() {
  const at = { B: 5, T: 7, 'a.b': 3 };
  for (const [text, value] of [['2*B*T + 1', 71], ['((T + 1)/2)*B', 20], ['max(B - 9, 1)', 1],
    ['~T*4', 28], ['-B + T', 2], ['((-T)/2)', -4], ['0', 0], ['a.b*2', 6]])
    check(evaluate(text, at) === value, `${text} is ${evaluate(text, at)}`);
  check(Number.isNaN(evaluate('B*unknown', at)), 'a symbol without a value');
}

function foldedNodesOpen() {
  click(stageCalled('training step'));
  const folded = all('.box.folded').find((group) => group.textContent.includes('update dense.W'));
  folded.dispatchEvent(new MouseEvent('dblclick', { bubbles: true }));
  check(document.querySelector('#path').textContent.includes('update dense.W'), 'the path');
  check(box('sqrt'), 'the update has a square root');
}

function theOverviewHasALineABox() {
  click(stageCalled('training step'));
  const before = all('.box').length;
  click(document.querySelector('#overview'));
  check(all('.box').length < before / 2, 'the overview is smaller');
  textStaysInItsBox('overview');
  boxesStandApart('overview');
  click(stageCalled('fuse-gates'));
  check(document.querySelector('#overview').classList.contains('on'), 'it stays from stage to stage');
  click(document.querySelector('#overview'));
  check(all('.cluster').length === 2, 'both loops are open again');
}

function searchFinds() {
  click(stageCalled('one example'));
  const field = document.querySelector('#search');
  field.value = 'matmul [24, 24]';
  field.dispatchEvent(new Event('input'));
  check(document.querySelector('#found').textContent === '0', 'no product gives [24, 24]');
  field.value = 'sigmoid';
  field.dispatchEvent(new Event('input'));
  check(document.querySelector('#found').textContent === '2', 'two sigmoids');
  check(all('.box.hit').length === 2, 'both are marked');
}

try {
  for (const test of [expressionsAreComputed, everyStageIsDrawn, aLineLeadsToItsNodesAndKernels,
    aNodeLeadsToItsLine, aKernelLeadsToItsLines, numbersFollowTheDimensions, foldedNodesOpen,
    theOverviewHasALineABox, searchFinds]) test();
  document.title = 'checks: passed';
} catch (error) {
  document.title = 'checks: ' + error.message;
}
