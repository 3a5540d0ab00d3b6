// ---- the stages and the source ----

function renderStages() {
  $('stages').replaceChildren(...data.stages.map((stage, i) => {
    const counts = i === 0 ? [Object.keys(stage.nodes).length + ' nodes']
      : stage.unchanged ? ['(unchanged)'] : [
        element('span', { class: 'plus' }, '+' + stage.added),
        element('span', { class: 'tilde' }, '~' + stage.changed),
        element('span', { class: 'minus' }, '\u2212' + stage.removed)];
    const on = (i === state.stage ? ' on' : '') + (stage.unchanged ? ' same' : '');
    return element('button', { class: 'stage' + on, title: stage.doc, 'data-stage': i,
      onclick: () => go({ stage: i, view: state.view === 'overview' ? 'overview' : '' }) },
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
  const used = new Set(index().nodes.keys());
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
