"""Writes recurrent.safetensors: torch.nn.RNN, LSTM and GRU on small inputs,
with final states and all gradients of an asymmetric loss, in f32 and f64; the
same layers with two directions; the binary cross entropy. And
attention.safetensors: layers of transformers, in f64.

Made with torch 2.13.0; weights are stored the way Treadle has them (transposed,
gates side by side). Run it in this folder to make the file again.
"""
import json
import math
import struct

import torch
import torch.nn.functional as F

T, I, H = 6, 3, 4


def write(path, tensors):
    header, data = {}, b""
    for name, tensor in sorted(tensors.items()):
        raw = tensor.detach().contiguous().numpy().tobytes()
        kind = {torch.float32: "F32", torch.float64: "F64", torch.bool: "BOOL",
                torch.int32: "I32"}[tensor.dtype]
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


# ---- transformers ----------------------------------------------------------
#
# A case: `shapes` of the leaves, by the names that Treadle gives its inputs and
# parameters; `compute` makes the output of them, by PyTorch's own layers.

def case(out, name, shapes, compute, fixed=None):
    torch.manual_seed(11)
    leaves = {k: (torch.randn(*shape, dtype=torch.float64) * (0.5 if len(shape) > 1 else 0.3))
              .requires_grad_() for k, shape in shapes.items()}
    y = compute(dict(leaves, **(fixed or {})))
    direction = torch.randn(*y.shape, dtype=torch.float64)
    (direction * y).sum().backward()
    prefix = name + "."
    for k, leaf in leaves.items():
        out[prefix + k], out[prefix + "grad:" + k] = leaf, leaf.grad
    for k, tensor in (fixed or {}).items():
        out[prefix + k] = tensor
    out[prefix + "y"], out[prefix + "weight0"] = y, direction


def call(module, parameters, *arguments, **named):
    return torch.func.functional_call(module.double(), parameters, arguments, named)


def attention_weights(v, path, prefix=""):
    p = lambda name: v[path + name]
    same = p("Wq").shape[0] == p("Wk").shape[0]
    keys = torch.linspace(-1, 1, len(p("bq")), dtype=p("bq").dtype)  # of no effect
    out = {"in_proj_bias": torch.cat([p("bq"), keys, p("bv")]),
           "out_proj.weight": p("Wo").T, "out_proj.bias": p("bo")}
    if same:
        out["in_proj_weight"] = torch.cat([p("Wq").T, p("Wk").T, p("Wv").T])
    else:
        out |= {"q_proj_weight": p("Wq").T, "k_proj_weight": p("Wk").T, "v_proj_weight": p("Wv").T}
    return {prefix + k: t for k, t in out.items()}


def attention_shapes(path, m, k=None, w=None, o=None):
    k, w, o = k or m, w or m, o or m
    return {path + "Wq": (m, w), path + "Wk": (k, w), path + "Wv": (k, w), path + "Wo": (w, o),
            path + "bq": (w,), path + "bv": (w,), path + "bo": (o,)}


def norm_shapes(path, m):
    return {path + "gain": (m,), path + "bias": (m,)}


def forward_shapes(path, m, h):
    return {path + "W1": (m, h), path + "b1": (h,), path + "W2": (h, m), path + "b2": (m,)}


def layer_shapes(path, m, h, memory=False):
    shapes = attention_shapes(path + "attention.", m) | forward_shapes(path + "forward.", m, h)
    if memory:
        shapes |= attention_shapes(path + "cross.", m)
    for i in range(3 if memory else 2):
        shapes |= norm_shapes(f"{path}norm{i + 1}.", m)
    return shapes


def layer_weights(v, path, prefix="", memory=False):
    out = attention_weights(v, path + "attention.", prefix + "self_attn.")
    if memory:
        out |= attention_weights(v, path + "cross.", prefix + "multihead_attn.")
    for theirs, ours in (("linear1", "1"), ("linear2", "2")):
        out[f"{prefix}{theirs}.weight"] = v[f"{path}forward.W{ours}"].T
        out[f"{prefix}{theirs}.bias"] = v[f"{path}forward.b{ours}"]
    for i in range(3 if memory else 2):
        out[f"{prefix}norm{i + 1}.weight"] = v[f"{path}norm{i + 1}.gain"]
        out[f"{prefix}norm{i + 1}.bias"] = v[f"{path}norm{i + 1}.bias"]
    return out


def transformer_fixtures(out):
    t, s, m, n, h = 5, 6, 8, 2, 12
    rows, columns = torch.arange(t)[:, None], torch.arange(s)[None]
    causal, square = columns <= rows, torch.arange(t)[None] <= rows
    keep = torch.rand(t, s, generator=torch.Generator().manual_seed(3)) < 0.6
    keep[:, 2] = True

    case(out, "layer_norm", {"x": (3, t, m)} | norm_shapes("layer_norm.", m),
         lambda v: F.layer_norm(v["x"], (m,), v["layer_norm.gain"], v["layer_norm.bias"]))
    case(out, "rms_norm", {"x": (3, t, m), "rms_norm.gain": (m,)},
         lambda v: F.rms_norm(v["x"], (m,), v["rms_norm.gain"], 1e-5))
    for name in ("relu", "gelu"):
        case(out, "feed_forward_" + name, {"x": (t, m)} | forward_shapes("feed_forward.", m, h),
             lambda v: F.linear(getattr(F, name)(F.linear(
                 v["x"], v["feed_forward.W1"].T, v["feed_forward.b1"])),
                 v["feed_forward.W2"].T, v["feed_forward.b2"]))
    path = "gated_feed_forward."
    case(out, "gated", {"x": (t, m), path + "Wg": (m, h), path + "Wu": (m, h), path + "Wd": (h, m)},
         lambda v: (F.silu(v["x"] @ v[path + "Wg"]) * (v["x"] @ v[path + "Wu"])) @ v[path + "Wd"])

    qkv = {"q": (3, t, 4), "k": (3, s, 4), "v": (3, s, 7)}
    scaled = F.scaled_dot_product_attention
    case(out, "attention", qkv, lambda v: scaled(v["q"], v["k"], v["v"]))
    case(out, "attention_scale", qkv, lambda v: scaled(v["q"], v["k"], v["v"], scale=0.3))
    for name, mask in (("causal", causal), ("window", (columns - rows).abs() < 2)):
        case(out, "attention_" + name, qkv, lambda v: scaled(v["q"], v["k"], v["v"], mask))
    case(out, "attention_length", qkv,
         lambda v: scaled(v["q"], v["k"], v["v"], (columns < v["count"]).expand(t, s)),
         {"count": torch.tensor(4, dtype=torch.int32)})
    case(out, "attention_mask", qkv, lambda v: scaled(v["q"], v["k"], v["v"], v["keep"]),
         {"keep": keep})
    case(out, "attention_bias", qkv | {"bias": (t, s)},
         lambda v: scaled(v["q"], v["k"], v["v"], v["bias"]))
    case(out, "attention_both", qkv | {"bias": (3, t, s)},
         lambda v: scaled(v["q"], v["k"], v["v"],
                          v["bias"].masked_fill(~v["keep"], -math.inf)), {"keep": keep})

    path = "multi_head."
    attend = lambda v, x, memory, mask=None, **sizes: call(
        torch.nn.MultiheadAttention(m, n, batch_first=True, **sizes), attention_weights(v, path),
        x, memory, memory, attn_mask=None if mask is None else ~mask)[0]
    case(out, "multi_head", {"x": (t, m)} | attention_shapes(path, m),
         lambda v: attend(v, v["x"], v["x"]))
    case(out, "multi_head_causal", {"x": (t, m)} | attention_shapes(path, m),
         lambda v: attend(v, v["x"], v["x"], square))
    case(out, "multi_head_memory", {"x": (t, m), "memory": (s, 6)} | attention_shapes(path, m, 6),
         lambda v: attend(v, v["x"], v["memory"], v["keep"], kdim=6, vdim=6), {"keep": keep})

    def eight_heads(v):  # (2, 8) in, eight heads of (2, 3), joined (2, 24), times (24, 5)
        split = lambda z: z.unflatten(-1, (8, 3)).transpose(0, 1)
        q, k, w = (split(v["x"] @ v[path + "W" + i]) for i in "qkv")
        q, w = (z + v[path + "b" + i].view(8, 1, 3) for z, i in ((q, "q"), (w, "v")))
        return scaled(q, k, w).transpose(0, 1).flatten(1) @ v[path + "Wo"] + v[path + "bo"]
    case(out, "eight_heads", {"x": (2, m)} | attention_shapes(path, m, None, 24, 5), eight_heads)

    for norm_first in (True, False):
        for name in ("relu", "gelu"):
            layer = torch.nn.TransformerEncoderLayer(m, n, h, 0.0, name, batch_first=True,
                                                     norm_first=norm_first)
            case(out, f"encoder_layer_{name}_{'pre' if norm_first else 'post'}",
                 {"x": (t, m)} | layer_shapes("encoder_layer.", m, h),
                 lambda v: call(layer, layer_weights(v, "encoder_layer."), v["x"],
                                src_mask=~square))

    # Fewer cases from here on: what they are made of is compared above.
    m, n, h, two = 4, 2, 6, range(2)
    for norm_first in (True, False):
        layer = torch.nn.TransformerDecoderLayer(m, n, h, 0.0, batch_first=True,
                                                 norm_first=norm_first)
        case(out, f"decoder_layer_{'pre' if norm_first else 'post'}",
             {"x": (t, m), "memory": (s, m)} | layer_shapes("decoder_layer.", m, h, True),
             lambda v: call(layer, layer_weights(v, "decoder_layer.", "", True), v["x"],
                            v["memory"], tgt_mask=~square, memory_mask=~v["keep"]),
             {"keep": keep})

    def norm_weights(v, path, prefix):
        return {prefix + "weight": v[path + "gain"], prefix + "bias": v[path + "bias"]}

    def stack_shapes(path, memory):
        shapes = norm_shapes(path + "layer_norm.", m)
        for i in two:
            shapes |= layer_shapes(f"{path}layer[{i}].", m, h, memory)
        return shapes

    def stack_weights(v, path, prefix, memory):
        weights = norm_weights(v, path + "layer_norm.", prefix + "norm.")
        for i in two:
            weights |= layer_weights(v, f"{path}layer[{i}].", f"{prefix}layers.{i}.", memory)
        return weights

    layer = torch.nn.TransformerEncoderLayer(m, n, h, 0.0, batch_first=True, norm_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(m),
                                          enable_nested_tensor=False)
    case(out, "encoder", {"x": (t, m)} | stack_shapes("encoder.", False),
         lambda v: call(encoder, stack_weights(v, "encoder.", "", False), v["x"], mask=~square))
    both = torch.nn.Transformer(m, n, 2, 2, h, 0.0, batch_first=True, norm_first=True)
    case(out, "transformer", {"source": (s, m), "target": (t, m)}
         | stack_shapes("transformer.encoder.", False)
         | stack_shapes("transformer.decoder.", True),
         lambda v: call(both, stack_weights(v, "transformer.encoder.", "encoder.", False)
                        | stack_weights(v, "transformer.decoder.", "decoder.", True),
                        v["source"], v["target"], tgt_mask=~square,
                        src_key_padding_mask=~v["there"], memory_key_padding_mask=~v["there"]),
         {"there": torch.arange(s) < 4})

    def sinusoidal(v):  # as in the paper's section 3.5, one element at a time
        table = torch.tensor([[math.sin(i / 10000 ** (j / 6)) if j % 2 == 0
                               else math.cos(i / 10000 ** ((j - 1) / 6)) for j in range(6)]
                              for i in range(t)], dtype=torch.float64)
        return v["x"] + table
    case(out, "sinusoidal", {"x": (t, 6)}, sinusoidal)

    def rotary(v):  # planes (i, i + 3), turned by complex numbers
        x = torch.complex(*v["x"].chunk(2, -1))
        angle = torch.arange(t).double()[:, None] / 10000.0 ** (2 * torch.arange(3).double() / 6)
        x = x * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([x.real, x.imag], -1)
    case(out, "rotary", {"x": (2, t, 6)}, rotary)


if __name__ == "__main__":
    tensors = {}
    for kind in ("RNN", "LSTM", "GRU"):
        for dtype in (torch.float32, torch.float64):
            fixture(kind, dtype, tensors)
    for kind in ("RNN", "LSTM", "GRU"):
        both_directions(kind, tensors)
    binary_cross_entropy(tensors)
    write("recurrent.safetensors", tensors)
    transformers = {}
    transformer_fixtures(transformers)
    write("attention.safetensors", transformers)
