"""One peer as a process that bench/compare.py asks for timings.

    python bench/peers.py PEER ROW TENSORS THREADS

Reads weights and inputs from TENSORS (what `treadle bench --tensors` wrote), runs
once, prints the largest difference from Treadle's results as a JSON line
{"difference": D, "seconds_to_start": S}; then answers "run N" with a JSON list of
milliseconds. Differences are relative to the largest element.
"""
import json
import sys
import time

import numpy
from safetensors.numpy import load_file

import programs


def relative(found, expected):
    found, expected = numpy.asarray(found), numpy.asarray(expected)
    return float(abs(found - expected).max() / max(abs(expected).max(), 1e-30))


class Tensors:
    def __init__(self, path):
        self.all = load_file(path)

    def input(self, name):
        """by its whole name, or the one that ends like this"""
        found = [value for key, value in self.all.items()
                 if key == f"input:{name}" or (key.startswith("input:") and
                                               key.endswith("." + name))]
        assert len(found) == 1, name
        return found[0]

    def inputs(self):
        return {key[6:]: value for key, value in self.all.items() if key.startswith("input:")}

    def output(self, name):
        return self.all[f"output:{name}"]

    def gradients(self):
        return {key[12:]: value for key, value in self.all.items()
                if key.startswith("output:grad:")}


# ---- PyTorch ----------------------------------------------------------------

def torch_library_cell(row, tensors, torch):
    """nn.LSTM, nn.GRU, nn.RNN"""
    cell = row.about["cell"]
    W, U, b = (torch.from_numpy(tensors.input(n)) for n in ("W", "U", "b"))
    layer = getattr(torch.nn, cell)(W.shape[0], U.shape[0], batch_first=True)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(W.T)
        layer.weight_hh_l0.copy_(U.T)
        layer.bias_ih_l0.copy_(b)
        layer.bias_hh_l0.copy_(torch.from_numpy(tensors.input("c")) if cell == "GRU"
                               else torch.zeros_like(b))
    x = torch.from_numpy(tensors.input("x"))
    if row.part == "forward":
        def work():
            with torch.no_grad():
                return layer(x)[0]
        return work, lambda y: relative(y.numpy(), tensors.output("y"))

    def work():
        layer.zero_grad(set_to_none=True)
        layer(x)[0].square().mean().backward()
        return layer

    def check(layer):
        grads = {name.split(".")[-1]: g for name, g in tensors.gradients().items()}
        return max(relative(layer.weight_ih_l0.grad.T, grads["W"]),
                   relative(layer.weight_hh_l0.grad.T, grads["U"]),
                   relative(layer.bias_ih_l0.grad, grads["b"]))
    return work, check


def torch_user_cell(row, tensors, torch):
    """A loop in Python over the steps, as the cell's author would write it."""
    p = {name.split(".")[-1]: torch.from_numpy(value).requires_grad_()
         for name, value in tensors.inputs().items() if name != "x"}
    x = torch.from_numpy(tensors.input("x"))
    sigmoid, tanh = torch.sigmoid, torch.tanh
    hidden = next(v for k, v in p.items() if k.startswith("U")).shape[0]

    def my_lstm(x, state):
        h, c = state
        def gate(name):
            return x @ p["W" + name] + h @ p["U" + name] + p["b" + name]
        c = sigmoid(gate("keep")) * c + sigmoid(gate("add")) * tanh(gate("new"))
        h = sigmoid(gate("out")) * tanh(c)
        return h, (h, c)

    def mgu(x, state):
        h = state[0]
        f = sigmoid(x @ p["Wf"] + h @ p["Uf"] + p["bf"])
        n = tanh(x @ p["Wn"] + (f * h) @ p["Un"] + p["bn"])
        h = (1 - f) * h + f * n
        return h, (h,)

    def janet(x, state):
        h = state[0]
        s = x @ p["Wf"] + h @ p["Uf"] + p["bf"]
        h = sigmoid(s) * h + (1 - sigmoid(s - 1)) * tanh(x @ p["Wn"] + h @ p["Un"] + p["bn"])
        return h, (h,)

    def fastgrnn(x, state):
        h = state[0]
        s = x @ p["W"] + h @ p["U"]
        z = sigmoid(s + p["bz"])
        h = (0.9 * (1 - z) + 0.1) * tanh(s + p["bn"]) + z * h
        return h, (h,)

    def mlstm(x, state):
        h, c = state
        m = (x @ p["Wm"]) * (h @ p["Um"])
        i, f, g, o = (x @ p["W"] + m @ p["U"] + p["b"]).chunk(4, -1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return h, (h, c)

    cell = row.about["cell"]
    step = {"my_lstm": my_lstm, "mgu": mgu, "janet": janet, "fastgrnn": fastgrnn,
            "mlstm": mlstm}[cell]

    def loss(x):
        zero = torch.zeros(x.shape[0], hidden)
        state, rows = (zero, zero), []
        for t in range(x.shape[1]):
            y, state = step(x[:, t], state)
            rows.append(y)
        return torch.stack(rows, 1).square().mean()

    if row.about.get("compiled"):
        loss = torch.compile(loss)

    def work():
        for value in p.values():
            value.grad = None
        loss(x).backward()

    def check(_):
        return max(relative(p[name.split(".")[-1]].grad, g)
                   for name, g in tensors.gradients().items())
    return work, check


def torch_step(row, tensors, torch):
    """A whole training step with AdamW, on parameters named as Treadle's."""
    functional = torch.nn.functional
    slots = ("m:", "v:")
    own = {name: value for name, value in tensors.inputs().items()
           if value.dtype == numpy.float32 and not name.startswith(slots)
           and name not in ("learning_rate", "step")}
    p = {name: torch.from_numpy(value).clone().requires_grad_() for name, value in own.items()}
    text, following = (torch.from_numpy(tensors.input(n)).long() for n in ("text", "next"))
    optimizer = torch.optim.AdamW(p.values(), 1e-4, weight_decay=0, fused=True)

    def named(*ends):
        return next(v for k, v in p.items() if all(e in k for e in ends))

    if row.kind == "characters":
        layers = []
        names = sorted({k.rsplit(".", 1)[0] for k in p if k.endswith(".U")})
        for name in names:
            W, U, b = (p[f"{name}.{n}"] for n in ("W", "U", "b"))
            layer = torch.nn.LSTM(W.shape[0], U.shape[0], batch_first=True)
            with torch.no_grad():
                layer.weight_ih_l0.copy_(W.T)
                layer.weight_hh_l0.copy_(U.T)
                layer.bias_ih_l0.copy_(b)
                layer.bias_hh_l0.zero_()
            layers.append(layer)
        rest = [v for k, v in p.items() if not any(k.startswith(n) for n in names)]
        optimizer = torch.optim.AdamW(
            rest + [v for layer in layers for v in layer.parameters()], 1e-4, weight_decay=0,
            fused=True)

        def logits():
            x = named("embedding")[text]
            for layer in layers:
                x = layer(x)[0]
            return x @ named("dense", ".W") + named("dense", ".b")
    else:
        heads = row.about["heads"]

        def norm(x, name):
            return functional.layer_norm(x, x.shape[-1:], p[name + ".gain"], p[name + ".bias"])

        def logits():
            width = named("table", "embedding").shape[1]
            x = named("table", "embedding")[text] + named("positions")[:text.shape[1]]
            for i in range(row.about["layers"]):
                layer = next(k for k in p if f"layer[{i}]" in k).split(f"layer[{i}]")[0]
                layer += f"layer[{i}]."
                def split(y):
                    return y.unflatten(-1, (heads, width // heads)).transpose(1, 2)
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
            x = norm(x, last.rsplit(".", 1)[0])
            return x @ named("dense", ".W") + named("dense", ".b")

    def work():
        optimizer.zero_grad()
        loss = functional.cross_entropy(logits().flatten(0, 1), following.flatten())
        loss.backward()
        optimizer.step()
        return loss

    return work, lambda loss: relative(loss.detach().numpy(), tensors.output("loss"))


# ---- JAX ----------------------------------------------------------------------

def jax_cell(row, tensors):
    import jax
    import jax.numpy as jnp
    cell = row.about["cell"]
    names = ["W", "U", "b"] + (["c"] if cell == "GRU" else [])
    weights = {n: jnp.asarray(tensors.input(n)) for n in names}
    x = jnp.asarray(tensors.input("x").swapaxes(0, 1))
    hidden = weights["U"].shape[0]

    def forward(w, x):
        zero = jnp.zeros((x.shape[1], hidden))
        projected = x @ w["W"] + w["b"]

        def lstm(state, row):
            h, c = state
            i, f, g, o = jnp.split(row + h @ w["U"], 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        def gru(h, row):
            xr, xz, xn = jnp.split(row, 3, -1)
            hr, hz, hn = jnp.split(h @ w["U"] + w["c"], 3, -1)
            z = jax.nn.sigmoid(xz + hz)
            h = (1 - z) * jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn) + z * h
            return h, h

        def rnn(h, row):
            h = jnp.tanh(row + h @ w["U"])
            return h, h

        step, start = {"LSTM": (lstm, (zero, zero)), "GRU": (gru, zero), "RNN": (rnn, zero)}[cell]
        return jax.lax.scan(step, start, projected)[1]

    if row.part == "forward":
        compiled = jax.jit(forward)
        return (lambda: jax.block_until_ready(compiled(weights, x)),
                lambda y: relative(numpy.swapaxes(y, 0, 1), tensors.output("y")))
    compiled = jax.jit(jax.grad(lambda w, x: jnp.square(forward(w, x)).mean()))
    grads = {name.split(".")[-1]: g for name, g in tensors.gradients().items()}
    return (lambda: jax.block_until_ready(compiled(weights, x)),
            lambda found: max(relative(found[n], grads[n]) for n in names))


# ---- ONNX Runtime and OpenVINO ----------------------------------------------------

def onnx_model(row, tensors):
    """The cell as ONNX's own operator; gates in ONNX's order."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    cell = row.about["cell"]
    W, U, b = (tensors.input(n) for n in ("W", "U", "b"))
    hidden = U.shape[0]
    order = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}[cell]

    def reordered(a):
        parts = numpy.split(a, len(order), -1)
        return numpy.ascontiguousarray(numpy.concatenate([parts[i] for i in order], -1))

    second = reordered(tensors.input("c")) if cell == "GRU" else numpy.zeros_like(b)
    weights = {"W": reordered(W).T[None], "R": reordered(U).T[None],
               "B": numpy.concatenate([reordered(b), second])[None]}
    more = {"linear_before_reset": 1} if cell == "GRU" else {}
    batch, steps, inputs = tensors.input("x").shape
    graph = helper.make_graph(
        [helper.make_node(cell, ["X", "W", "R", "B"], ["Y"], hidden_size=hidden, **more)], "cell",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [steps, batch, inputs])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [steps, 1, batch, hidden])],
        [numpy_helper.from_array(numpy.ascontiguousarray(v), k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def check_time_major(tensors):
    return lambda y: relative(numpy.swapaxes(numpy.asarray(y)[:, 0], 0, 1), tensors.output("y"))


def onnxruntime_cell(row, tensors, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx_model(row, tensors), options,
                                           providers=["CPUExecutionProvider"])
    x = numpy.ascontiguousarray(tensors.input("x").swapaxes(0, 1))
    return lambda: session.run(["Y"], {"X": x})[0], check_time_major(tensors)


def openvino_cell(row, tensors, threads):
    import openvino
    core = openvino.Core()
    model = core.read_model(onnx_model(row, tensors))
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    x = numpy.ascontiguousarray(tensors.input("x").swapaxes(0, 1))

    def work():
        return request.infer({0: x}, share_inputs=True)[compiled.output(0)]
    return work, check_time_major(tensors)


def main():
    peer, name, path, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    row = next(r for r in programs.rows() if r.name == name)
    tensors = Tensors(path)
    start = time.perf_counter()
    if peer in ("torch", "torch.compile"):
        import torch
        torch.set_num_threads(threads)
        row.about["compiled"] = peer == "torch.compile"
        make = torch_step if row.kind != "cell" else (
            torch_library_cell if row.about["cell"] in ("LSTM", "GRU", "RNN") else torch_user_cell)
        start = time.perf_counter()
        work, check = make(row, tensors, torch)
    elif peer == "jax":
        work, check = jax_cell(row, tensors)
    elif peer == "onnxruntime":
        work, check = onnxruntime_cell(row, tensors, threads)
    else:
        work, check = openvino_cell(row, tensors, threads)
    difference = check(work())
    print(json.dumps({"difference": difference, "seconds_to_start": time.perf_counter() - start}),
          flush=True)
    work()
    for line in sys.stdin:
        times = []
        for _ in range(int(line.split()[1])):
            begin = time.perf_counter()
            work()
            times.append((time.perf_counter() - begin) * 1e3)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
