"""Treadle and its peers in one run, on the same inputs, in turns.

    python bench/compare.py [--only WORDS] [--rounds 12] [--json FILE] [--table FILE]

Every peer is first held against Treadle's results. Then all are asked for a few
runs in turn, round after round, and the machine's peak is measured in between.
Printed are medians with their 95 % intervals (order statistics), the ratio of
the peer's median to Treadle's, GFLOP/s of the products and their share of the peak.
"""
import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile

import programs

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(here)
tolerance = 2e-3  # f32 sums of another order, over up to 128 steps


class Process:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        first = self.process.stdout.readline()
        if not first:
            raise RuntimeError(self.process.stderr.read()[-2000:])
        self.about = json.loads(first)

    def ask(self, request):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def interval(values):
    values, n = sorted(values), len(values)
    half = 0.98 * math.sqrt(n)
    pick = [values[min(n - 1, max(0, math.floor(n / 2 + s * half)))] for s in (-1, 1)]
    return statistics.median(values), *pick


def measure(row, arguments, folder):
    program, tensors = f"{folder}/model.tdl", f"{folder}/tensors.safetensors"
    with open(program, "w", encoding="utf-8") as file:
        file.write(row.program)
    sizes = [word for name, value in row.extents.items() for word in ("-D", f"{name}={value}")]
    treadle = Process([arguments.treadle, "bench", program, "--part", row.part, *sizes, "--serve",
                       "--threads", str(arguments.threads), "--tensors", tensors])
    out = {"row": row.name, "product_flops": treadle.about["product_flops"],
           "other_flops": treadle.about["other_flops"], "peers": {}}
    running = {"treadle": treadle}
    for peer in row.peers + (["torch.compile"] if arguments.compile and row.kind == "cell" and
                             row.about["cell"] in programs.USER_CELLS else []):
        try:
            process = Process([sys.executable, f"{here}/peers.py", peer, row.name, tensors,
                               str(arguments.threads)])
        except RuntimeError as failure:
            out["peers"][peer] = {"failed": str(failure).strip().splitlines()[-1]}
            continue
        out["peers"][peer] = process.about
        if not process.about["difference"] < tolerance:
            out["peers"][peer]["failed"] = f"differs by {process.about['difference']:.1e}"
            process.close()
            continue
        running[peer] = process
    times, peaks = {name: [] for name in running}, []
    quick = {name: max(1, min(20, int(30 / max(p.ask("run 2")[1], 0.01))))
             for name, p in running.items()}
    for _ in range(arguments.rounds):
        for name, process in running.items():
            process.ask("run 1")
            times[name] += process.ask(f"run {quick[name]}")
        peaks.append(treadle.ask("peak"))
    for process in running.values():
        process.close()
    out["peak_flops_per_second"] = statistics.median(peaks)
    for name, values in times.items():
        median, low, high = interval(values)
        entry = out if name == "treadle" else out["peers"][name]
        entry["milliseconds"] = {"median": median, "low": low, "high": high}
    ours = out["milliseconds"]["median"]
    out["flops_per_second"] = out["product_flops"] / ours * 1e3
    out["share_of_peak"] = out["flops_per_second"] / out["peak_flops_per_second"]
    for entry in out["peers"].values():
        if "milliseconds" in entry:
            entry["ratio"] = entry["milliseconds"]["median"] / ours
    return out


def line(result):
    ms = result["milliseconds"]
    peers = ", ".join(
        f"{name} {entry['milliseconds']['median']:.2f} ms ({entry['ratio']:.2f}x)"
        if "ratio" in entry else f"{name}: {entry['failed']}"
        for name, entry in result["peers"].items())
    return (f"{result['row']}: {ms['median']:.2f} ms [{ms['low']:.2f}, {ms['high']:.2f}], "
            f"{result['flops_per_second'] / 1e9:.0f} GFLOP/s, "
            f"{100 * result['share_of_peak']:.0f} % of peak; {peers}")


def table(results):
    names = ["torch", "torch.compile", "jax", "onnxruntime", "openvino"]
    names = [n for n in names if any(n in r["peers"] for r in results)]
    lines = ["| work | Treadle, ms | GFLOP/s | of peak | " + " | ".join(names) + " |",
             "|---|---|---|---|" + "---|" * len(names)]
    for r in results:
        ms = r["milliseconds"]
        cells = []
        for n in names:
            entry = r["peers"].get(n)
            cells.append("" if entry is None else entry["failed"] if "ratio" not in entry else
                         f"{entry['milliseconds']['median']:.2f} ({entry['ratio']:.2f}x)")
        lines.append(f"| {r['row']} | {ms['median']:.2f} ({ms['low']:.2f} - {ms['high']:.2f}) | "
                     f"{r['flops_per_second'] / 1e9:.0f} | {100 * r['share_of_peak']:.0f} % | " +
                     " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="rows whose name has these words")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true",
                        help="torch.compile for the user's cells too: a minute and more each")
    parser.add_argument("--json")
    parser.add_argument("--table")
    parser.add_argument("--treadle", default=f"{root}/build/treadle")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for row in programs.rows():
            if arguments.only and not all(w in row.name for w in arguments.only.split()):
                continue
            results.append(measure(row, arguments, folder))
            print(line(results[-1]), flush=True)
    processor = next((text.split(":")[1].strip() for text in open("/proc/cpuinfo", encoding="utf-8")
                      if text.startswith("model name")), platform.processor())
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"processor": processor, "threads": arguments.threads, "rows": results}, file,
                      indent=1)
    if arguments.table:
        with open(arguments.table, "w", encoding="utf-8") as file:
            file.write(f"{processor}, {arguments.threads} threads, f32\n\n" + table(results))


main()
