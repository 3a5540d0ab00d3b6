"""How far one step of an LSTM over many steps makes PyTorch's process grow, in MiB.

    python bench/torch_memory.py STEPS THREADS

Forward and backward, loss on the last state: peak resident memory of the first
step less that before it, as `treadle memory --measure` does.
"""
import gc
import sys

import torch


def peak_kibibytes():
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


def main():
    steps, threads = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    layer = torch.nn.LSTM(64, 128, batch_first=True)
    x = torch.randn(32, steps, 64)
    gc.collect()
    with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
        file.write("5")  # proc(5): the peak only
    before = peak_kibibytes()
    layer(x)[0][:, -1].square().mean().backward()
    print((peak_kibibytes() - before) / 1024)


if __name__ == "__main__":
    main()
