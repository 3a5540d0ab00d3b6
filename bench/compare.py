"""Treadle and its peers in one run, on the same inputs, in turns.

    python bench/compare.py [--only WORDS] [--quick] [--compile] [--output FILE]

Every peer is first held against Treadle's results. Then all are asked for a few
runs in turn, round after round, and the machine's peak is measured in between.
A row prints its target, what was reached, and met or MISSED; report.py makes
docs/performance.md of the file.
"""
import argparse
import datetime
import json
import os
import sys
import tempfile
import time

import costs
import machine
import report
import rows
import timed

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(here)


def parse():
    parser = argparse.ArgumentParser(prog="./dev bench",
                                     description="Treadle and its peers, in turns, on this machine")
    parser.add_argument("--only", metavar="WORDS",
                        help="rows whose group and name have all these words, in any case")
    parser.add_argument("--list", action="store_true", help="the rows' names, and nothing else")
    parser.add_argument("--quick", action="store_true",
                        help="three rounds of each row, without intervals of 95 %%")
    parser.add_argument("--rounds", type=int, default=15, help="of a row, at most")
    parser.add_argument("--seconds", type=float, default=6,
                        help="that a row may take, unless six rounds need more")
    parser.add_argument("--passes", type=int, default=1, metavar="N",
                        help="through all rows, each with its part of the rounds: others that use "
                             "the machine for some minutes then reach a part of a row's rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default="torch,jax,onnxruntime,openvino,onednn",
                        help="which, with commas between; the others are left out")
    parser.add_argument("--compile", action="store_true",
                        help="torch.compile, too: it compiles for minutes")
    parser.add_argument("--data", metavar="FOLDER",
                        help="with mnist/ and tinyshakespeare/: whole epochs, too, some minutes")
    parser.add_argument("--output", metavar="FILE",
                        help="results as JSON, for bench/report.py")
    parser.add_argument("--merge", action="store_true",
                        help="keep the rows of FILE that are not measured now")
    parser.add_argument("--treadle", default=f"{root}/build/treadle")
    parser.add_argument("--programs", metavar="FOLDER",
                        help="write the rows' programs there and measure nothing")
    settings = parser.parse_args()
    settings.least_rounds = 6  # fewer give no interval of 95 %
    if settings.quick:
        settings.rounds, settings.least_rounds, settings.seconds = 3, 3, 2
    if settings.passes < 1:
        parser.error("--passes is at least 1")
    settings.rounds = -(-settings.rounds // settings.passes)
    settings.least_rounds = -(-settings.least_rounds // settings.passes)
    settings.seconds /= settings.passes
    settings.peers = settings.peers.split(",") + (["torch.compile"] if settings.compile else [])
    if "torch" in settings.peers:
        settings.peers.append("torch.padded")
    return settings


def chosen(words):
    wanted = (words or "").lower().split()
    return [row for row in rows.rows()
            if all(word in f"{row.group} {row.name}".lower() for word in wanted)]


def write_programs(selected, folder):
    """One file a row, and an index of how each is run."""
    os.makedirs(folder, exist_ok=True)
    index = []
    for number, row in enumerate(row for row in selected if isinstance(row, rows.Row)):
        path = f"{folder}/{number}.tdl"
        with open(path, "w", encoding="utf-8") as file:
            file.write(row.program)
        index.append({"name": row.name, "file": path, "part": row.part, "extents": row.extents,
                      "flops": row.flops})
    with open(f"{folder}/index.json", "w", encoding="utf-8") as file:
        json.dump(index, file)


def write(path, results):
    """The whole file or nothing: the run may be interrupted."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    os.replace(path + ".part", path)


def numbers(row, settings, folder):
    return {"name": row.name, "group": row.group, "targets": row.targets, "rule": row.rule,
            **row.take(settings, folder)}


def earlier(settings, names):
    """What of the file's rows stays; each was checked and timed by an earlier run."""
    results = {"machine": {}, "threads": settings.threads, "rows": []}
    if settings.merge and settings.output and os.path.exists(settings.output):
        with open(settings.output, encoding="utf-8") as file:
            results = json.load(file)
        if results["threads"] != settings.threads:
            sys.exit(f"{settings.output} was measured with --threads {results['threads']}")
        results["rows"] = [row for row in results["rows"] if row["name"] in names]
    return results


def measure_all(selected, settings):
    names = [row.name for row in rows.rows()]
    results = earlier(settings, names)
    errors = open(f"{root}/build/bench_peers.log", "w", encoding="utf-8")
    peers = timed.Peers(settings, errors)
    peers.versions.update(results["machine"].get("peers", {}))
    begin, group = time.perf_counter(), None
    readings = {row.name: [] for row in selected}
    with tempfile.TemporaryDirectory() as folder:
        for number, row in [(n, row) for n in range(settings.passes) for row in selected]:
            last = number + 1 == settings.passes
            if isinstance(row, costs.Numbers) and not last:
                continue  # its own rounds are few and short
            if row.group != group:
                group = row.group
                of = f" (pass {number + 1} of {settings.passes})" if settings.passes > 1 else ""
                print(f"\n{group}{of}", flush=True)
            if isinstance(row, costs.Numbers):
                result = numbers(row, settings, folder)
            else:
                readings[row.name].append(timed.read(row, peers, settings, folder))
                result = timed.result(row, readings[row.name])
                if last:
                    result.update(timed.shares(row, settings, folder))
            result["date"] = datetime.date.today().isoformat()
            results["rows"] = [r for r in results["rows"] if r["name"] != row.name] + [result]
            results["rows"].sort(key=lambda r: names.index(r["name"]))
            results["machine"] = machine.describe(settings.treadle, peers.versions)
            if settings.output:
                write(settings.output, results)
            print(report.line(result), flush=True)
    peers.close()
    print("\n" + report.summary(results))
    print(f"{len(selected)} rows in {(time.perf_counter() - begin) / 60:.1f} minutes")


def main():
    settings = parse()
    selected = chosen(settings.only)
    if not selected:
        sys.exit(f"no row has the words '{settings.only}'; --list shows them")
    if settings.list:
        print("\n".join(f"{row.group}: {row.name}" for row in selected))
    elif settings.programs:
        write_programs(selected, settings.programs)
    else:
        measure_all(selected, settings)


if __name__ == "__main__":
    main()
