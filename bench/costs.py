"""Rows that are no race of one work: compiling, starting, memory, bf16.

Each takes numbers by name, {"median", "low", "high", "unit"}.
"""
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from typing import Callable

import machine
import programs
import timed
from processes import Process, spread
from targets import at_most

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(here)

COMPILING, STARTING, EPOCHS = "Compiling", "Starting", "Whole epochs"
MEMORY, NARROW = "Memory of backpropagation through time", "bf16"


@dataclasses.dataclass
class Numbers:
    name: str
    group: str
    take: Callable  # of (settings, folder): {"numbers": ..., and "note" where they need one}
    targets: list
    rule: str = "all"


def written(program, folder):
    path = f"{folder}/program.tdl"
    with open(path, "w", encoding="utf-8") as file:
        file.write(program)
    return path


def number(values, unit):
    return {**spread(values), "unit": unit}


# ---- compiling ----------------------------------------------------------------

LSTM_STEP = programs.recurrent("LSTM", 256, 256).replace("return y: y", "return y: dense[65](y)")
GPT_STEP = programs.gpt(6, 6, 384, 256)


def compile_process(program, settings, folder, *cache):
    return Process([f"{os.path.dirname(settings.treadle)}/treadle_bench_compile",
                    written(program, folder), *cache])


def asked(process, requests, rounds):
    """Of each request, the times of the rounds, in turns."""
    times = [[] for _ in requests]
    for _ in range(rounds):
        for found, request in zip(times, requests):
            found += process.ask(request)
    process.close()
    return times


def cold(program):
    def take(settings, folder):
        [times] = asked(compile_process(program, settings, folder), ["run 1"],
                        max(6, settings.least_rounds))
        return {"numbers": {"cold": number(times, "ms")}}
    return take


def over_length(settings, folder):
    short, long = asked(compile_process("dim T = 16\n" + LSTM_STEP, settings, folder),
                        ["run 1 T 16", "run 1 T 16384"], settings.rounds)
    return {"numbers": {"T = 16": number(short, "ms"), "T = 16,384": number(long, "ms"),
                        "ratio": number([b / a for a, b in zip(short, long)], "x")}}


def cached(settings, folder):
    process = compile_process(LSTM_STEP, settings, folder, f"{folder}/cache")
    process.ask("run 1")
    [times] = asked(process, ["run 1"], settings.rounds)
    return {"numbers": {"from the cache": number(times, "ms")}}


def compiling():
    return [
        Numbers("compile an LSTM's training step, cold", COMPILING, cold(LSTM_STEP),
                [at_most("cold", 150, "150 ms")]),
        Numbers("compile a 6-layer GPT's training step, cold", COMPILING, cold(GPT_STEP),
                [at_most("cold", 1000, "1,000 ms")]),
        Numbers("compile an LSTM's training step, T = 16,384 against T = 16", COMPILING,
                over_length, [at_most("ratio", 1.1, "1.1x")]),
        Numbers("compile an LSTM's training step, from the cache on disk", COMPILING, cached,
                [at_most("from the cache", 10, "10 ms")])]


# ---- starting -----------------------------------------------------------------

SMALL_MODEL = """
model M(x: real[8, 16]) {
  _, (h, _) = scan LSTM[16, 32] over x
  return y: dense[4](h)
}
"""


def whole_process(command):
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1e3


def starting(settings, folder):
    import numpy
    numpy.save(f"{folder}/x.npy", numpy.zeros((8, 16), numpy.float32))
    run = [settings.treadle, "run", written(SMALL_MODEL, folder), "--input", f"x={folder}/x.npy"]
    load = [sys.executable, "-c", "import torch"]
    whole_process(run), whole_process(load)
    ours, theirs = [], []
    for _ in range(settings.rounds):
        ours.append(whole_process(run))
        theirs.append(whole_process(load))
    return {"numbers": {"treadle run": number(ours, "ms"), "import torch": number(theirs, "ms")}}


# ---- whole epochs ---------------------------------------------------------------

def epoch(example, data):
    """Treadle's is its whole process: reading, compiling, an epoch, an evaluation; of
    PyTorch the training loop alone."""
    def take(settings, folder):
        if not settings.data:
            return {"numbers": {}, "note": f"needs --data, a folder with {data}/"}
        there = f"{settings.data}/{data}"
        ours, theirs = [], []
        for _ in range(3):
            ours.append(1e-3 * whole_process(
                [settings.treadle, "train", f"{root}/examples/{example}.tdl", "--data", there,
                 "--epochs", "1", "--threads", str(settings.threads)]))
            made = subprocess.run(
                [sys.executable, f"{here}/train_torch.py", example, there, "--epochs", "1",
                 "--threads", str(settings.threads)], check=True, capture_output=True, text=True)
            theirs.append(json.loads(made.stdout.splitlines()[-1])["seconds"])
        return {"numbers": {"Treadle": number(ours, "s"), "PyTorch": number(theirs, "s"),
                            "ratio": number([b / a for a, b in zip(ours, theirs)], "x")}}
    return take


def epochs():
    return [Numbers(f"an epoch of examples/{example}.tdl", EPOCHS, epoch(example, data), [])
            for example, data in (("mnist_rows", "mnist"), ("char_lm", "tinyshakespeare"))]


# ---- memory -------------------------------------------------------------------

def long_lstm(budget):
    remat = f" remat(budget: {budget} MiB)" if budget else ""
    return f"""
dim T = 1000
model M(x: real[T, 64]) {{
  _, (h, _) = scan LSTM[64, 128] over x{remat}
  return y: h
}}
""" + programs.TRAIN


def measured_step(settings, folder, steps, budget):
    """{"predicted", "measured"} in MiB, {"time"} in seconds"""
    out = subprocess.run(
        [settings.treadle, "memory", written(long_lstm(budget), folder), "-D", f"T={steps}",
         "--batch", "32", "--measure", "--threads", str(settings.threads)],
        check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in
            re.findall(r"^step, (\w+) +([0-9.]+)", out, re.MULTILINE)}


def torch_step(settings, steps):
    out = subprocess.run([sys.executable, f"{here}/torch_memory.py", str(steps),
                          str(settings.threads)], check=True, capture_output=True, text=True)
    return float(out.stdout)


def memory(steps, budget):
    def take(settings, folder):
        kept, again = [], []
        for _ in range(3 if steps > 4000 else 1):
            kept.append(measured_step(settings, folder, steps, 0))
            again.append(measured_step(settings, folder, steps, budget))
        theirs = torch_step(settings, steps)
        ours = again[0]["measured"]
        off = max(abs(run[0]["predicted"] / run[0]["measured"] - 1) for run in (kept, again))
        numbers = {
            "all kept": number([kept[0]["measured"]], "MiB"),
            f"remat(budget: {budget} MiB)": number([ours], "MiB"),
            "PyTorch": number([theirs], "MiB"),
            "share of PyTorch's": number([ours / theirs], ""),
            "time by remat": number([b["time"] / a["time"] for a, b in zip(kept, again)], "x"),
            "prediction off by": number([100 * off], "%")}
        return {"numbers": numbers}
    return take


def memory_rows():
    predicted = at_most("prediction off by", 10, "predicted within 10 %")
    rows = [Numbers(f"LSTM of 128, B32 I64, loss on the last state, T = {steps:,}", MEMORY,
                    memory(steps, budget), [predicted])
            for steps, budget in ((1000, 16), (4000, 64), (16000, 380))]
    rows[-1].targets = [at_most("share of PyTorch's", 1 / 8, "1/8 of PyTorch's"),
                        at_most("time by remat", 1.4, "1.4x the time"), predicted]
    return rows


# ---- bf16 ---------------------------------------------------------------------

def narrow(settings, folder):
    if "avx512_bf16" not in machine.processor()[1]:
        return {"numbers": {}, "note": "not on this machine"}
    program = programs.recurrent("LSTM", 256, 256)
    running = {precision: timed.treadle_process(program, "gradient", {"T": 50, "B": 64}, settings,
                                                folder, precision=precision)
               for precision in ("f32", "bf16")}
    times, _ = timed.turns(running, running["f32"], settings)
    for process in running.values():
        process.close()
    ratios = [bf16 / f32 for bf16, f32 in zip(times["bf16"], times["f32"])]
    return {"numbers": {"of f32's time": number(ratios, "x")}}


def rows():
    return [*compiling(),
            Numbers("treadle run of a small model, whole process", STARTING, starting,
                    [at_most("treadle run", 60, "60 ms")]),
            *epochs(),
            *memory_rows(),
            Numbers("LSTM forward + backward T50 B64 I256 H256 in bf16", NARROW, narrow,
                    [at_most("of f32's time", 1 / 1.6, "1.6x f32")])]
