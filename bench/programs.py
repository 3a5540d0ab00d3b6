"""The programs that bench/compare.py times, and how large."""

TRAIN = """
train M {
  data      npy("x.npy")
  loss      mean(square(y))
  optimizer adamw(lr: constant(0.001)), clip_norm 1.0
  epochs    1
}
"""

USER_CELLS = {
    # Gates that are declared one by one, in another order and with other names.
    "my_lstm": """
cell my_lstm[I, H](x: real[I], (state, memory): (real[H], real[H])) {
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


def recurrent(cell, inputs, hidden):
    return (USER_CELLS.get(cell, "") + f"model M(x: real[T, {inputs}]) {{\n"
            f"  y, _ = scan {cell}[{inputs}, {hidden}] over x\n  return y: y\n}}\n" + TRAIN)


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


class Row:
    """One line of the table. `peers`: names of bench/peers.py."""

    def __init__(self, name, program, part, extents, peers, kind, **about):
        self.name, self.program, self.part = name, program, part
        self.extents, self.peers, self.kind, self.about = extents, peers, kind, about


def cell_row(cell, part, steps, batch, inputs, hidden):
    peers = {"forward": {"LSTM": ["torch", "jax", "onnxruntime", "openvino"],
                         "GRU": ["torch", "jax", "onnxruntime", "openvino"],
                         "RNN": ["torch", "jax", "onnxruntime", "openvino"]},
             "gradient": {"LSTM": ["torch", "jax"], "GRU": ["torch", "jax"],
                          "RNN": ["torch", "jax"]}}[part].get(cell, ["torch"])
    return Row(f"{cell} {part} T{steps} B{batch} I{inputs} H{hidden}",
               recurrent(cell, inputs, hidden), part, {"T": steps, "B": batch}, peers, "cell",
               cell=cell)


def rows():
    out = []
    sizes = [(100, 1, 256, 256), (50, 64, 256, 256), (28, 128, 28, 128), (64, 32, 512, 512)]
    for part in ("forward", "gradient"):
        for size in sizes:
            out.append(cell_row("LSTM", part, *size))
        for cell in ("GRU", "RNN"):
            for size in sizes[:2]:
                out.append(cell_row(cell, part, *size))
    for cell in USER_CELLS:
        out.append(cell_row(cell, "gradient", 50, 64, 256, 256))
    for steps in (28, 100):
        out.append(cell_row("my_lstm", "gradient", steps, 32, 64, 128))
    out.append(Row("character LSTM 2 x 256 step T128 B32", CHARACTERS, "step",
                   {"T": 128, "B": 32}, ["torch"], "characters"))
    out.append(Row("GPT 4 x 128 step T64 B12", gpt(4, 4, 128, 64), "step", {"T": 64, "B": 12},
                   ["torch"], "gpt", layers=4, heads=4))
    out.append(Row("GPT 6 x 384 step T256 B16", gpt(6, 6, 384, 256), "step",
                   {"T": 256, "B": 16}, ["torch"], "gpt", layers=6, heads=6))
    return out
