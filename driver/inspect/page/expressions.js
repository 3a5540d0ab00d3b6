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
