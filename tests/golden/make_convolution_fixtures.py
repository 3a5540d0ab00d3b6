"""Writes convolution.safetensors: torch.nn.Conv1d and Conv2d with strides,
padding, dilation and groups, and both kinds of pooling, each with all gradients
of an asymmetric loss, in f32 and f64.

Made with torch 2.13.0. Stored the way Treadle has them: no batch, channels
last, kernels as [size..., in / groups, out]. Run it in this folder to make the
file again.
"""
import torch

from make_fixtures import write

WIDTHS = {1: (11,), 2: (7, 6)}
CONVOLUTIONS = {
    "plain": dict(kernel_size=3),
    "stride": dict(kernel_size=3, stride=2, padding=1),
    "dilation": dict(kernel_size=2, stride=2, padding=2, dilation=3),
    "groups": dict(kernel_size=3, padding=1, groups=2),
    "depthwise": dict(kernel_size=3, dilation=2, groups=4),
    "pointwise": dict(kernel_size=1),
}
POOLS = {"halves": dict(kernel_size=2), "overlap": dict(kernel_size=3, stride=2, padding=1)}


def last(tensor):  # [C, width...] -> [width..., C]
    return tensor.movedim(0, -1)


def kernel(tensor):  # [O, I, size...] -> [size..., I, O]
    return tensor.movedim(0, -1).movedim(0, -2)


def record(out, prefix, dtype, x, y, parameters):
    weight = torch.randn(y.shape, dtype=torch.float64).to(dtype)
    (weight * y).sum().backward()
    out[prefix + "x"], out[prefix + "grad:x"] = last(x[0]), last(x.grad[0])
    out[prefix + "y"], out[prefix + "weight0"] = last(y[0]), last(weight[0])
    for name, (tensor, order) in parameters.items():
        out[prefix + name], out[prefix + "grad:" + name] = order(tensor), order(tensor.grad)


def fixtures(dims, dtype, out):
    suffix = ".f32." if dtype == torch.float32 else ".f64."
    draw = lambda: torch.randn(1, 4, *WIDTHS[dims], dtype=torch.float64).to(dtype).requires_grad_()
    for name, settings in CONVOLUTIONS.items():
        torch.manual_seed(11)
        layer = getattr(torch.nn, f"Conv{dims}d")(4, 8, **settings).double().to(dtype)
        x = draw()
        call = f"correlate{dims}d."
        record(out, f"correlate{dims}d_{name}{suffix}", dtype, x, layer(x),
               {call + "kernel": (layer.weight, kernel), call + "b": (layer.bias, lambda b: b)})
    for name, settings in POOLS.items():
        for kind, ours in (("Max", "max"), ("Avg", "mean")):
            torch.manual_seed(12)
            x = draw()
            y = getattr(torch.nn, f"{kind}Pool{dims}d")(**settings)(x)
            record(out, f"{ours}_pool{dims}d_{name}{suffix}", dtype, x, y, {})


tensors = {}
for dims in (1, 2):
    for dtype in (torch.float32, torch.float64):
        fixtures(dims, dtype, tensors)
write("convolution.safetensors", tensors)
