"""One peer as a process that bench/compare.py asks for timings.

    python bench/peers.py PEER THREADS

First prints {"version": V}. A line "row TENSORS NAME" makes the peer's program
for that row of rows.py with the weights and inputs of TENSORS (what `treadle
bench --tensors` wrote), runs it once and answers with the largest difference from
Treadle's results, relative to the largest element, {"difference": D,
"seconds_to_start": S}, or with {"failed": WHY}. "run N" is answered with a list
of the milliseconds of N runs.
"""
import gc
import json
import os
import sys
import time
import traceback

import rows
from tensors import Tensors


def maker(peer, threads):
    """The peer's version, and the function from (row, tensors) to (work, check)."""
    if peer.startswith("torch"):
        import torch
        import torch_peers
        torch.set_num_threads(threads)
        return torch.__version__, lambda row, tensors: torch_peers.make(row, tensors, peer)
    if peer == "jax":
        # XLA makes as many threads as the process may use cores.
        cores = sorted(os.sched_getaffinity(0))
        if threads < len(cores):
            os.sched_setaffinity(0, cores[:threads])
        import jax
        import jax_peers
        return jax.__version__, jax_peers.make
    import onnx_peers
    if peer == "onnxruntime":
        import onnxruntime
        return onnxruntime.__version__, lambda row, tensors: onnx_peers.onnxruntime_cell(
            row, tensors, threads)
    import openvino
    return openvino.__version__.split("-")[0], lambda row, tensors: onnx_peers.openvino_cell(
        row, tensors, threads)


def prepared(make, row, path):
    tensors = Tensors(path)
    start = time.perf_counter()
    work, check = make(row, tensors)
    result = work()
    seconds = time.perf_counter() - start
    answer = {"difference": check(result), "seconds_to_start": seconds}
    work()
    return work, answer


def main():
    peer, threads = sys.argv[1], int(sys.argv[2])
    version, make = maker(peer, threads)
    known = {row.name: row for row in rows.rows()}
    print(json.dumps({"version": version}), flush=True)
    work = None
    for line in sys.stdin:
        request, rest = line.rstrip("\n").split(" ", 1)
        if request == "row":
            work = None
            gc.collect()
            path, name = rest.split(" ", 1)
            try:
                work, answer = prepared(make, known[name], path)
            except Exception as failure:  # the row goes on without this peer
                traceback.print_exc()
                answer = {"failed": (str(failure).strip() or repr(failure)).splitlines()[-1]}
            print(json.dumps(answer), flush=True)
            continue
        times = []
        for _ in range(int(rest)):
            begin = time.perf_counter()
            work()
            times.append((time.perf_counter() - begin) * 1e3)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
