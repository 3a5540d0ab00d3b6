"""Treadle against PyTorch, one epoch of each in turn.

    python bench/run.py mnist_rows FOLDER_OF_MNIST [--rounds 3]

Treadle's time is that of its whole process: reading the data, compiling, the
epoch, and one evaluation. PyTorch's is its training loop
alone. Prints the medians and their ratio.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(here)


def treadle(model, folder):
    begin = time.perf_counter()
    subprocess.run([f"{root}/build/treadle", "train", f"{root}/examples/{model}.tdl", "--data",
                    folder, "--epochs", "1", "--threads", "2"], check=True,
                   stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def torch(model, folder):
    out = subprocess.run([sys.executable, f"{here}/train_torch.py", model, folder, "--epochs", "1"],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])["seconds"]


parser = argparse.ArgumentParser()
parser.add_argument("model", choices=["mnist_rows", "char_lm"])
parser.add_argument("folder")
parser.add_argument("--rounds", type=int, default=3)
arguments = parser.parse_args()
ours, theirs = [], []
for _ in range(arguments.rounds):
    ours.append(treadle(arguments.model, arguments.folder))
    theirs.append(torch(arguments.model, arguments.folder))
    print(f"treadle {ours[-1]:.2f} s   torch {theirs[-1]:.2f} s", flush=True)
mine, other = statistics.median(ours), statistics.median(theirs)
print(f"median  {mine:.2f} s         {other:.2f} s   ratio {other / mine:.2f}")
