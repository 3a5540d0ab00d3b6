"""The programs that the rows of bench/rows.py time."""

TRAIN = """
train M {
  data      npy("x.npy")
  loss      mean(square(y))
  optimizer adamw(lr: constant(0.001)), clip_norm 1.0
  epochs    1
}
"""

# Cells that no framework has built in.
USER_CELLS = {
    # [Zhou et al. 2016], the minimal gated unit.
    "mgu": """
cell mgu[I, H](x: real[I], h: real[H]) {
  param Wf, Wn: real[I, H] ~ xavier
  param Uf, Un: real[H, H] ~ orthogonal
  param bf, bn: real[H]    ~ zeros
  f = sigmoid(x @ Wf + h @ Uf + bf)
  n = tanh(x @ Wn + (f * h) @ Un + bn)
  h = (1 - f) * h + f * n
  yield h, h
}
""",
    # [van der Westhuizen and Lasenby 2018], an LSTM with a forget gate alone.
    "janet": """
cell janet[I, H](x: real[I], h: real[H]) {
  param Wf, Wn: real[I, H] ~ xavier
  param Uf, Un: real[H, H] ~ orthogonal
  param bf, bn: real[H]    ~ zeros
  s = x @ Wf + h @ Uf + bf
  h = sigmoid(s) * h + (1 - sigmoid(s - 1)) * tanh(x @ Wn + h @ Un + bn)
  yield h, h
}
""",
    # [Kusupati et al. 2018], one product for gate and proposal.
    "fastgrnn": """
cell fastgrnn[I, H](x: real[I], h: real[H]) {
  param W: real[I, H]  ~ xavier
  param U: real[H, H]  ~ orthogonal
  param bz, bn: real[H] ~ zeros
  s = x @ W + h @ U
  z = sigmoid(s + bz)
  h = (0.9 * (1 - z) + 0.1) * tanh(s + bn) + z * h
  yield h, h
}
""",
    # [Krause et al. 2016], the multiplicative LSTM.
    "mlstm": """
cell mlstm[I, H](x: real[I], (h, c): (real[H], real[H])) {
  param Wm: real[I, H]   ~ xavier
  param Um: real[H, H]   ~ orthogonal
  param W: real[I, 4*H]  ~ xavier
  param U: real[H, 4*H]  ~ orthogonal
  param b: real[4*H]     ~ zeros
  m = (x @ Wm) * (h @ Um)
  i, f, g, o = split(x @ W + m @ U + b, 4)
  c = sigmoid(f) * c + sigmoid(i) * tanh(g)
  h = sigmoid(o) * tanh(c)
  yield h, (h, c)
}
""",
}

# The library's LSTM as others would write it.
LSTM_VARIANTS = {
    "lstm_renamed": """
cell lstm_renamed[I, H](row: real[I], (output, memory): (real[H], real[H])) {
  param from_row: real[I, 4*H]    ~ xavier
  param from_state: real[H, 4*H]  ~ orthogonal
  param offset: real[4*H]         ~ zeros
  write, keep, proposal, show = split(row @ from_row + output @ from_state + offset, 4)
  memory = sigmoid(keep) * memory + sigmoid(write) * tanh(proposal)
  output = sigmoid(show) * tanh(memory)
  yield output, (output, memory)
}
""",
    "lstm_reordered": """
cell lstm_reordered[I, H](x: real[I], (h, c): (real[H], real[H])) {
  param W: real[I, 4*H] ~ xavier
  param U: real[H, 4*H] ~ orthogonal
  param b: real[4*H]    ~ zeros
  o, g, i, f = split(b + h @ U + x @ W, 4)
  c = tanh(g) * sigmoid(i) + c * sigmoid(f)
  h = tanh(c) * sigmoid(o)
  yield h, (h, c)
}
""",
    "lstm_separate": """
cell lstm_separate[I, H](x: real[I], (state, memory): (real[H], real[H])) {
  param Wout, Wnew, Wkeep, Wadd: real[I, H] ~ xavier
  param Uout, Unew, Ukeep, Uadd: real[H, H] ~ orthogonal
  param bout, bnew, bkeep, badd: real[H]    ~ zeros
  keep = sigmoid(x @ Wkeep + state @ Ukeep + bkeep)
  add = sigmoid(x @ Wadd + state @ Uadd + badd)
  new = tanh(x @ Wnew + state @ Unew + bnew)
  out = sigmoid(x @ Wout + state @ Uout + bout)
  memory = keep * memory + add * new
  state = out * tanh(memory)
  yield state, (state, memory)
}
""",
    # With the gates' look at the memory, and a scaled, shifted memory.
    "lstm_more_terms": """
cell lstm_more_terms[I, H](x: real[I], (h, c): (real[H], real[H])) {
  param W: real[I, 4*H]     ~ xavier
  param U: real[H, 4*H]     ~ orthogonal
  param b: real[4*H]        ~ zeros
  param pi, pf, po: real[H] ~ zeros
  param gain, shift: real[H] ~ zeros
  i, f, g, o = split(x @ W + h @ U + b, 4)
  c = sigmoid(f + pf * c) * c + sigmoid(i + pi * c) * tanh(g)
  h = sigmoid(o + po * c) * tanh((1 + gain) * c + shift)
  yield h, (h, c)
}
""",
}


def recurrent(cell, inputs, hidden):
    written = {**USER_CELLS, **LSTM_VARIANTS}.get(cell, "")
    return (written + f"model M(x: real[T, {inputs}]) {{\n"
            f"  y, _ = scan {cell}[{inputs}, {hidden}] over x\n  return y: y\n}}\n" + TRAIN)


def two_layers(width):
    return (f"model M(x: real[T, {width}]) {{\n"
            f"  z, _ = scan LSTM[{width}, {width}] over x\n"
            f"  y, _ = scan LSTM[{width}, {width}] over z\n  return y: y\n}}\n" + TRAIN)


def attention(causal, gradient):
    mask = ", mask: causal_mask[T]()" if causal else ""
    text = ("model M(q: real[N, T, D], k: real[N, T, D], v: real[N, T, D]"
            + (", w: real[N, T, D]" if gradient else "") + f") {{\n  y = attention(q, k, v{mask})\n")
    if gradient:
        text += ("  dq, dk, dv = grad(sum(y * w), (q, k, v))\n"
                 "  return y: y, dq: dq, dk: dk, dv: dv\n}\n")
    else:
        text += "  return y: y\n}\n"
    return text


CHARACTERS = """
model M(text: token(65)[T]) {
  x, _ = scan LSTM[256, 256] over embedding[256](text)
  x, _ = scan LSTM[256, 256] over x
  return logits: dense[65](x)
}
train M {
  data      text("input.txt"), window 128
  loss      cross_entropy(logits, next)
  optimizer adamw(lr: constant(0.001))
  epochs    1
}
"""


def gpt(layers, heads, width, window):
    return f"""
model M(text: token(65)[T]) {{
  x = learned_positions[{window}](embedding[{width}, 65](text))
  x = Encoder[{layers}, {heads}, feed_forward[{4 * width}, gelu]](x, mask: causal_mask[T]())
  return logits: dense[65](x)
}}
train M {{
  data      text("input.txt"), window {window}
  loss      cross_entropy(logits, next)
  optimizer adamw(lr: constant(0.001))
  epochs    1
}}
"""
