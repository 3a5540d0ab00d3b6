"""The rows of rows.py in PyTorch."""
import numpy
import torch
from torch import sigmoid, tanh
from torch.nn import functional

from tensors import relative


def library_cell(row, tensors):
    """nn.LSTM, nn.GRU, nn.RNN"""
    cell = row.about["cell"]
    W, U = tensors.input("W"), tensors.input("U")
    layer = getattr(torch.nn, cell)(W.shape[0], U.shape[0], batch_first=True)
    return recurrent_layers(row, tensors, layer, [""])


def two_layers(row, tensors):
    """nn.LSTM of two layers"""
    width = tensors.input("lstm.U").shape[0]
    layers = torch.nn.LSTM(width, width, num_layers=2, batch_first=True)
    return recurrent_layers(row, tensors, layers, ["lstm.", "lstm_2."])


# nn's names of the parameters W, U, b, c of a layer.
OF_LAYER = {"W": "weight_ih_l{}", "U": "weight_hh_l{}", "b": "bias_ih_l{}", "c": "bias_hh_l{}"}


def recurrent_layers(row, tensors, layers, names):
    """nn's module with Treadle's parameters, whose names begin like this, a layer each."""
    def parameter(part, number):
        return getattr(layers, OF_LAYER[part].format(number))

    parts = "WUbc" if isinstance(layers, torch.nn.GRU) else "WUb"
    with torch.no_grad():
        for number, name in enumerate(names):
            parameter("c", number).zero_()
            for part in parts:
                parameter(part, number).copy_(torch.from_numpy(tensors.input(name + part).T))
    x = torch.from_numpy(tensors.input("x"))
    if row.part == "forward":
        def work():
            with torch.no_grad():
                return layers(x)[0]
        return work, lambda y: relative(y.numpy(), tensors.output("y"))

    def work():
        layers.zero_grad(set_to_none=True)
        layers(x)[0].square().mean().backward()
        return layers

    def check(_):
        # With one layer, whatever stands before the last point.
        found = {name + part: parameter(part, number).grad.numpy().T
                 for number, name in enumerate(names) for part in parts}
        return max(relative(found[key if key in found else key.split(".")[-1]], gradient)
                   for key, gradient in tensors.gradients().items())
    return work, check


# One step of each cell of programs.py: its parameters by name, a row, the state.

def lstm_from(i, f, g, o, c):
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, (h, c)


def lstm_renamed(p, x, state):
    h, c = state
    i, f, g, o = (x @ p["from_row"] + h @ p["from_state"] + p["offset"]).chunk(4, -1)
    return lstm_from(i, f, g, o, c)


def lstm_reordered(p, x, state):
    h, c = state
    o, g, i, f = (x @ p["W"] + h @ p["U"] + p["b"]).chunk(4, -1)
    return lstm_from(i, f, g, o, c)


def lstm_separate(p, x, state):
    h, c = state

    def gate(name):
        return x @ p["W" + name] + h @ p["U" + name] + p["b" + name]
    return lstm_from(gate("add"), gate("keep"), gate("new"), gate("out"), c)


def lstm_more_terms(p, x, state):
    h, c = state
    i, f, g, o = (x @ p["W"] + h @ p["U"] + p["b"]).chunk(4, -1)
    c = sigmoid(f + p["pf"] * c) * c + sigmoid(i + p["pi"] * c) * tanh(g)
    h = sigmoid(o + p["po"] * c) * tanh((1 + p["gain"]) * c + p["shift"])
    return h, (h, c)


def mgu(p, x, state):
    h = state[0]
    f = sigmoid(x @ p["Wf"] + h @ p["Uf"] + p["bf"])
    n = tanh(x @ p["Wn"] + (f * h) @ p["Un"] + p["bn"])
    h = (1 - f) * h + f * n
    return h, (h,)


def janet(p, x, state):
    h = state[0]
    s = x @ p["Wf"] + h @ p["Uf"] + p["bf"]
    h = sigmoid(s) * h + (1 - sigmoid(s - 1)) * tanh(x @ p["Wn"] + h @ p["Un"] + p["bn"])
    return h, (h,)


def fastgrnn(p, x, state):
    h = state[0]
    s = x @ p["W"] + h @ p["U"]
    z = sigmoid(s + p["bz"])
    h = (0.9 * (1 - z) + 0.1) * tanh(s + p["bn"]) + z * h
    return h, (h,)


def mlstm(p, x, state):
    h, c = state
    m = (x @ p["Wm"]) * (h @ p["Um"])
    i, f, g, o = (x @ p["W"] + m @ p["U"] + p["b"]).chunk(4, -1)
    return lstm_from(i, f, g, o, c)


USER_STEPS = {step.__name__: step for step in (
    lstm_renamed, lstm_reordered, lstm_separate, lstm_more_terms, mgu, janet, fastgrnn, mlstm)}


def user_cell(row, tensors, compiled):
    """A loop in Python over the steps, as the cell's author would write it."""
    training = row.part == "gradient"
    p = {name.split(".")[-1]: torch.from_numpy(value).requires_grad_(training)
         for name, value in tensors.inputs().items() if name != "x"}
    x = torch.from_numpy(tensors.input("x"))
    step = USER_STEPS[row.about["cell"]]
    hidden = row.about["hidden"]

    def forward(x):
        zero = torch.zeros(x.shape[0], hidden)
        state, rows = (zero, zero), []
        for t in range(x.shape[1]):
            y, state = step(p, x[:, t], state)
            rows.append(y)
        return torch.stack(rows, 1)

    def loss(x):
        return forward(x).square().mean()

    if not training:
        def work():
            with torch.no_grad():
                return forward(x)
        return work, lambda y: relative(y, tensors.output("y"))
    if compiled:
        loss = torch.compile(loss)

    def work():
        for value in p.values():
            value.grad = None
        loss(x).backward()

    def check(_):
        return max(relative(p[name.split(".")[-1]].grad, gradient)
                   for name, gradient in tensors.gradients().items())
    return work, check


def attention(row, tensors):
    gradient = row.about["gradient"]
    q, k, v = (torch.from_numpy(tensors.input(n)).requires_grad_(gradient) for n in "qkv")

    def attend():
        return functional.scaled_dot_product_attention(q, k, v, is_causal=row.about["causal"])
    if not gradient:
        def work():
            with torch.no_grad():
                return attend()
        return work, lambda y: relative(y, tensors.output("y"))
    w = torch.from_numpy(tensors.input("w"))

    def work():
        y = attend()
        return (y.detach(), *torch.autograd.grad(y, (q, k, v), w))
    return work, lambda found: max(relative(a, tensors.output(name))
                                   for a, name in zip(found, ("y", "dq", "dk", "dv")))


class Step:
    """A training step with AdamW on parameters named as Treadle's; LSTMs are torch's own."""

    def __init__(self, tensors):
        own = {name: value for name, value in tensors.inputs().items()
               if value.dtype == numpy.float32 and not name.startswith(("m:", "v:"))
               and name not in ("learning_rate", "step", "x")}
        self.tensors = tensors
        self.p = {name: torch.from_numpy(value).requires_grad_() for name, value in own.items()}
        self.layers = {}

    def named(self, *parts):
        return next(v for k, v in self.p.items() if all(part in k for part in parts))

    def lstm_layers(self):
        for name in sorted(k.rsplit(".", 1)[0] for k in self.p if k.endswith(".U")):
            W, U, b = (self.p[f"{name}.{n}"] for n in ("W", "U", "b"))
            layer = torch.nn.LSTM(W.shape[0], U.shape[0], batch_first=True)
            with torch.no_grad():
                layer.weight_ih_l0.copy_(W.T)
                layer.weight_hh_l0.copy_(U.T)
                layer.bias_ih_l0.copy_(b)
                layer.bias_hh_l0.zero_()
            self.layers[name] = layer
        return list(self.layers.values())

    def dense(self, x):
        return x @ self.named("dense", ".W") + self.named("dense", ".b")

    def work(self, loss_of, compiled=False):
        """The step, and how its first run is held against Treadle's."""
        inside = tuple(f"{name}." for name in self.layers)
        learned = [v for k, v in self.p.items() if not (inside and k.startswith(inside))]
        learned += [v for layer in self.layers.values() for v in layer.parameters()]
        optimizer = torch.optim.AdamW(learned, 1e-4, weight_decay=0, fused=True)
        if compiled:
            loss_of = torch.compile(loss_of)

        def work():
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            optimizer.step()
            return loss
        return work, self.check

    def gradients(self):
        for name, layer in self.layers.items():
            yield f"{name}.W", layer.weight_ih_l0.grad.T
            yield f"{name}.U", layer.weight_hh_l0.grad.T
            yield f"{name}.b", layer.bias_ih_l0.grad
        yield from ((name, v.grad) for name, v in self.p.items() if v.grad is not None)

    def check(self, loss):
        """After the first step, Adam's mean of gradients is a tenth of the gradient."""
        found = dict(self.gradients())
        assert found.keys() == self.p.keys()
        return max(relative(loss.detach(), self.tensors.output("loss")),
                   *(relative(0.1 * gradient, self.tensors.output(f"next:m:{name}"))
                     for name, gradient in found.items()))


def characters_logits(step, text):
    layers = step.lstm_layers()

    def logits():
        x = step.named("embedding")[text]
        for layer in layers:
            x = layer(x)[0]
        return step.dense(x)
    return logits


def gpt_logits(step, text, blocks, heads):
    p = step.p

    def norm(x, name):
        return functional.layer_norm(x, x.shape[-1:], p[name + ".gain"], p[name + ".bias"])

    def split(y):
        return y.unflatten(-1, (heads, y.shape[-1] // heads)).transpose(1, 2)

    def logits():
        x = step.named("table", "embedding")[text] + step.named("positions")[:text.shape[1]]
        for i in range(blocks):
            layer = next(k for k in p if f"layer[{i}]" in k).split(f"layer[{i}]")[0]
            layer += f"layer[{i}]."
            y = norm(x, layer + "norm1")
            a = layer + "attention."
            y = functional.scaled_dot_product_attention(
                split(y @ p[a + "Wq"] + p[a + "bq"]), split(y @ p[a + "Wk"]),
                split(y @ p[a + "Wv"] + p[a + "bv"]), is_causal=True)
            x = x + y.transpose(1, 2).flatten(2) @ p[a + "Wo"] + p[a + "bo"]
            f = layer + "forward."
            y = norm(x, layer + "norm2")
            y = functional.gelu(y @ p[f + "W1"] + p[f + "b1"])
            x = x + y @ p[f + "W2"] + p[f + "b2"]
        last = next(k for k in p if k.endswith(".gain") and "layer[" not in k)
        return step.dense(norm(x, last.rsplit(".", 1)[0]))
    return logits


def language_model_step(row, tensors, compiled):
    step = Step(tensors)
    text, following = (torch.from_numpy(tensors.input(n)).long() for n in ("text", "next"))
    if row.kind == "characters":
        logits = characters_logits(step, text)
    else:
        logits = gpt_logits(step, text, row.about["layers"], row.about["heads"])
    return step.work(
        lambda: functional.cross_entropy(logits().flatten(0, 1), following.flatten()), compiled)


def ragged_step(row, tensors, padded):
    """An LSTM and a dense layer on rows of different lengths: packed, or padded."""
    step = Step(tensors)
    [layer] = step.lstm_layers()
    lengths = torch.tensor(row.lengths["T"])
    active = torch.tensor([int((lengths > t).sum()) for t in range(int(lengths.max()))])
    # Treadle's rows stand as PyTorch packs them: time by time, longest first.
    x = torch.nn.utils.rnn.PackedSequence(torch.from_numpy(tensors.input("x")), active)
    # Of each row, its share of the mean over its example, and over the examples.
    shares = torch.where(torch.arange(len(active)) < lengths[:, None],
                         1 / (lengths[:, None] * len(lengths)), 0.0)
    if not padded:
        shares = torch.nn.utils.rnn.pack_padded_sequence(shares, lengths, batch_first=True).data
        if row.about["every"]:
            return step.work(
                lambda: (step.dense(layer(x)[0].data).square().mean(-1) * shares).sum())
        return step.work(lambda: step.dense(layer(x)[1][0][0]).square().mean())
    rows = torch.nn.utils.rnn.pad_packed_sequence(x, batch_first=True)[0]
    if row.about["every"]:
        return step.work(lambda: (step.dense(layer(rows)[0]).square().mean(-1) * shares).sum())
    examples = torch.arange(len(lengths))
    return step.work(
        lambda: step.dense(layer(rows)[0][examples, lengths - 1]).square().mean())


def make(row, tensors, peer):
    if row.kind == "attention":
        return attention(row, tensors)
    if row.kind == "stack":
        return two_layers(row, tensors)
    if row.kind == "ragged":
        return ragged_step(row, tensors, padded=peer == "torch.padded")
    if row.kind != "cell":
        return language_model_step(row, tensors, compiled=peer == "torch.compile")
    if row.about["cell"] in USER_STEPS:
        return user_cell(row, tensors, compiled=peer == "torch.compile")
    return library_cell(row, tensors)
