"""Causal attention beside PyTorch's scaled_dot_product_attention, in turns.

  ninja -C build treadle_bench_attention
  python bench/attention.py [--shape 4 8 512 64] [--threads 2] [--rounds 30]

Prints the median and the best time and GFLOP/s. A pair of a query and a key that
it sees counts 4 D operations forward and 14 D with the gradient (7 products).
"""

import argparse
import statistics
import subprocess
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--binary", default="build/treadle_bench_attention")
parser.add_argument("--shape", nargs=4, type=int, default=[4, 8, 512, 64])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=30)
options = parser.parse_args()
B, N, T, D = options.shape
torch.set_num_threads(options.threads)
attend = torch.nn.functional.scaled_dot_product_attention
q, k, v, w = (torch.randn(B, N, T, D, requires_grad=True) for _ in range(4))


def torch_forward():
    with torch.no_grad():
        attend(q, k, v, is_causal=True)


def torch_gradient():
    torch.autograd.grad(attend(q, k, v, is_causal=True), (q, k, v), w.detach())


def timed(work):
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def start(*more):
    command = [options.binary, *map(str, options.shape), str(options.threads), *more]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(" ".join(more) or "fused", process.stdout.readline().strip())
    return process


def ask(process, what):
    process.stdin.write(what + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


fused, unfused = start(), start("unfused")
runs = {}
for turn in range(options.rounds + 2):
    for what, work in (("forward", torch_forward), ("gradient", torch_gradient)):
        for name, ms in (
            ("treadle", ask(fused, what)),
            ("treadle unfused", ask(unfused, what)),
            ("torch", timed(work)),
        ):
            if turn >= 2:
                runs.setdefault((what, name), []).append(ms)
pairs = B * N * T * (T + 1) / 2
for (what, name), times in runs.items():
    flops = pairs * D * (4 if what == "forward" else 14)
    middle, best = statistics.median(times), min(times)
    print(
        f"{what:9} {name:16} median {middle:8.2f} ms {flops / middle / 1e6:7.1f} GFLOP/s"
        f"   best {best:8.2f} ms {flops / best / 1e6:7.1f} GFLOP/s"
    )
