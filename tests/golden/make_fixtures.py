"""Writes recurrent.safetensors: torch.nn.RNN, LSTM and GRU on small inputs,
with final states and all gradients of an asymmetric loss, in f32 and f64; the
same layers with two directions; the binary cross entropy.

Made with torch 2.13.0; weights are stored the way Treadle has them (transposed,
gates side by side). Run it in this folder to make the file again.
"""
import json
import struct

import torch

T, I, H = 6, 3, 4


def write(path, tensors):
    header, data = {}, b""
    for name, tensor in sorted(tensors.items()):
        raw = tensor.detach().contiguous().numpy().tobytes()
        kind = {torch.float32: "F32", torch.float64: "F64"}[tensor.dtype]
        header[name] = {"dtype": kind, "shape": list(tensor.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def fixture(kind, dtype, out):
    torch.manual_seed(7)
    layer = getattr(torch.nn, kind)(I, H).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    layer = layer.to(dtype)
    prefix = f"{kind}.{'f32' if dtype == torch.float32 else 'f64'}."
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64).to(dtype)
    x = draw(T, I).requires_grad_()
    states = [draw(H).requires_grad_() for _ in range(2 if kind == "LSTM" else 1)]
    state = tuple(s[None] for s in states)
    y, last = layer(x, state if kind == "LSTM" else state[0])
    finals = [s[0] for s in last] if kind == "LSTM" else [last[0]]
    weights = [draw(T, H)] + [draw(H) for _ in finals]
    loss = sum((w * v).sum() for w, v in zip(weights, [y] + finals))
    loss.backward()
    out[prefix + "x"], out[prefix + "grad.x"] = x, x.grad
    for i, (s, f) in enumerate(zip(states, finals)):
        out[f"{prefix}s{i}"], out[f"{prefix}grad.s{i}"], out[f"{prefix}final{i}"] = s, s.grad, f
    out[prefix + "y"] = y
    for i, w in enumerate(weights):
        out[f"{prefix}weight{i}"] = w
    out[prefix + "W"], out[prefix + "grad.W"] = layer.weight_ih_l0.T, layer.weight_ih_l0.grad.T
    out[prefix + "U"], out[prefix + "grad.U"] = layer.weight_hh_l0.T, layer.weight_hh_l0.grad.T
    if kind == "GRU":
        out[prefix + "b"], out[prefix + "grad.b"] = layer.bias_ih_l0, layer.bias_ih_l0.grad
        out[prefix + "c"], out[prefix + "grad.c"] = layer.bias_hh_l0, layer.bias_hh_l0.grad
    else:
        out[prefix + "b"] = layer.bias_ih_l0 + layer.bias_hh_l0
        out[prefix + "grad.b"] = layer.bias_ih_l0.grad


def both_directions(kind, out):
    torch.manual_seed(8)
    layer = getattr(torch.nn, kind)(I, H, bidirectional=True).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    prefix = f"Bi{kind}."
    x = torch.randn(T, I, dtype=torch.float64).requires_grad_()
    y, _ = layer(x)
    weight = torch.randn(T, 2 * H, dtype=torch.float64)
    (weight * y).sum().backward()
    out[prefix + "x"], out[prefix + "grad:x"] = x, x.grad
    out[prefix + "y"], out[prefix + "weight0"] = y, weight
    name = kind.lower()
    for call, suffix in ((f"bi_{name}.{name}", ""), (f"bi_{name}.{name}_2", "_reverse")):
        part = lambda p: getattr(layer, p + suffix)
        for ours, theirs in (("W", "weight_ih_l0"), ("U", "weight_hh_l0")):
            out[f"{prefix}{call}.{ours}"] = part(theirs).T
            out[f"{prefix}grad:{call}.{ours}"] = part(theirs).grad.T
        if kind == "GRU":
            for ours, theirs in (("b", "bias_ih_l0"), ("c", "bias_hh_l0")):
                out[f"{prefix}{call}.{ours}"] = part(theirs)
                out[f"{prefix}grad:{call}.{ours}"] = part(theirs).grad
        else:
            out[f"{prefix}{call}.b"] = part("bias_ih_l0") + part("bias_hh_l0")
            out[f"{prefix}grad:{call}.b"] = part("bias_ih_l0").grad


def binary_cross_entropy(out):
    torch.manual_seed(9)
    logits = (4 * torch.randn(7, dtype=torch.float64)).requires_grad_()
    target = torch.rand(7, dtype=torch.float64).requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    loss.backward()
    out["bce.x"], out["bce.grad:x"] = logits, logits.grad
    out["bce.target"], out["bce.grad:target"] = target, target.grad
    out["bce.y"], out["bce.weight0"] = loss, torch.ones((), dtype=torch.float64)


tensors = {}
for kind in ("RNN", "LSTM", "GRU"):
    for dtype in (torch.float32, torch.float64):
        fixture(kind, dtype, tensors)
for kind in ("RNN", "LSTM", "GRU"):
    both_directions(kind, tensors)
binary_cross_entropy(tensors)
write("recurrent.safetensors", tensors)
