"""docs/performance.md from the JSON that bench/compare.py writes.

    python3 bench/report.py [docs/performance.json [docs/performance.md]]

Needs Python alone. tests/bench holds the document against the JSON.
"""
import json
import os
import statistics
import sys

import curves
import targets
import where

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEERS = ["torch", "torch.padded", "torch.compile", "jax", "onnxruntime", "openvino", "onednn",
         "library", "full", "one"]


def number(value):
    """three digits"""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def peak_of(results):
    """The best of all readings of a run."""
    return max((peak for row in results["rows"] for peak in row.get("peaks", [])), default=0)


def rate(row):
    return row["flops"] / (row["milliseconds"]["median"] * 1e-3)


def rate_text(row):
    return f"{rate(row) / 1e9:.0f}" if row["flops"] else "-"


def share_text(row):
    if "share" not in row:
        return "-"
    median, low, high = (100 * row["share"][key] for key in ("median", "low", "high"))
    return f"{median:.0f} % ({low:.0f} - {high:.0f})"


def peak_text(row):
    return f"{statistics.median(row['peaks']) / 1e9:.0f}" if "share" in row else "-"


def range_text(values, suffix=""):
    return (f"{number(values['median'])}{suffix} "
            f"({number(values['low'])} - {number(values['high'])})")


def peer_text(peer):
    if peer is None or "ratio" not in peer:
        why = (peer or {}).get("failed", "")
        return why if why.startswith("differs") else "-"
    return f"{number(peer['milliseconds']['median'])}: {range_text(peer['ratio'], 'x')}"


def reached(row):
    """What a row reached of each of its targets."""
    out = []
    for target in row["targets"]:
        value = targets.measured(target, row)
        if value is None:
            out.append("-")
        elif target["kind"] == "share":
            out.append(f"{100 * value:.0f} % of peak")
        elif target["kind"] == "bound":
            out.append(f"{value:.2f} of it")
        elif target["kind"] == "number":
            out.append(with_unit(value, row["numbers"][target["number"]]["unit"]))
        else:
            out.append(f"{value:.2f}x")
    return ", ".join(out)


def with_unit(value, unit):
    return f"{number(value)}{'' if unit == 'x' else ' '}{unit}".strip()


def numbers_text(row):
    parts = [f"{name} {with_unit(value['median'], value['unit'])}"
             + (f" ({number(value['low'])} - {number(value['high'])})"
                if value["rounds"] > 1 else "")
             for name, value in row["numbers"].items()]
    return ", ".join(parts) or row["note"]


def target_line(row):
    if not row["targets"]:
        return ""
    return (f"\n    target {targets.targets_text(row)}; reached {reached(row)}: "
            f"{targets.verdict(row)}")


def line(row):
    """What compare.py prints of a row."""
    if "numbers" in row:
        return f"{row['name']}: {numbers_text(row)}" + target_line(row)
    peers = "; ".join(f"{targets.PEER_NAMES[name]} {peer_text(peer)}"
                      for name, peer in row["peers"].items())
    return (f"{row['name']}: {range_text(row['milliseconds'])} ms, {rate_text(row)} GFLOP/s, "
            f"{share_text(row)} of a peak of {peak_text(row)}\n    {peers}" + target_line(row))


def summary(results):
    peak = peak_of(results)
    verdicts = [targets.verdict(row) for row in results["rows"] if row["targets"]]
    words = {"met": "met", "MISSED": "MISSED", "-": "without what decides"}
    counts = ", ".join(f"{verdicts.count(v)} {word}" for v, word in words.items() if v in verdicts)
    return f"{len(verdicts)} targets: {counts}" + (
        f"; peak {peak / 1e9:.0f} GFLOP/s" if peak else "")


def table_of(lines):
    lines = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def numbers_table(rows):
    if not any(row["targets"] for row in rows):
        return table_of([["work", "measured"]] + [[row["name"], numbers_text(row)] for row in rows])
    return table_of([["work", "measured", "target", "reached", ""]] + [
        [row["name"], numbers_text(row), targets.targets_text(row), reached(row),
         targets.verdict(row)] for row in rows])


def table(group, results):
    rows = [row for row in results["rows"] if row["group"] == group]
    if "numbers" in rows[0]:
        return numbers_table(rows)
    names = [name for name in PEERS if any(name in row["peers"] for row in rows)]
    head = ["work", "Treadle, ms", "GFLOP/s", "peak beside it", "of peak",
            *(targets.PEER_NAMES[name] for name in names), "target", "reached", ""]
    lines = [head]
    for row in rows:
        lines.append([row["name"], range_text(row["milliseconds"]), rate_text(row),
                      peak_text(row), share_text(row),
                      *(peer_text(row["peers"].get(name)) for name in names),
                      targets.targets_text(row), reached(row), targets.verdict(row)])
    if not any(row["targets"] for row in rows):
        lines = [cells[:-3] for cells in lines]
    return table_of(lines)


def machine_text(results):
    about = results["machine"]
    versions = ", ".join(f"{targets.PEER_NAMES[name]} {version}"
                         for name, version in about["peers"].items() if name != "torch.compile")
    dates = sorted({row["date"] for row in results["rows"]})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return (f"{about['processor']} ({', '.join(about['features'])}), {about['cores']} cores, "
            f"{about['second_level_cache']} of second-level cache a core; {results['threads']} "
            f"threads on both sides, f32. {about['treadle']}; {versions}; Python "
            f"{about['python']}; {when}.")


def pointwise_text(results):
    """The work that the flops of products leave out."""
    cells = [row for row in results["rows"] if row.get("pointwise") and row["flops"]]
    most = max(cells, key=lambda row: row["pointwise"] / row["flops"])
    return (f"Flops are those of products alone. Pointwise work is counted as one an element and "
            f"function, though a sigmoid costs about 27 multiply-adds; it adds at the most "
            f"{100 * most['pointwise'] / most['flops']:.1f} % ({most['name']}).")


def passes_text(results):
    most = max(len(row.get("readings", [])) for row in results["rows"])
    if most < 2:
        return ""
    return (f"Rows were read in up to {most} passes through all that were asked for, so that a "
            "row's rounds stand apart: others use the machine for minutes at a time. ")


def document(results):
    groups = list(dict.fromkeys(row["group"] for row in results["rows"]))
    parts = [
        "# Performance",
        "Written by `bench/report.py` from `docs/performance.json`, which `./dev bench --output "
        "docs/performance.json` writes. " + machine_text(results),
        "Every peer gets the same weights and inputs, and its results (of training: gradients) "
        "are compared with Treadle's before anything is timed. Then all run in turns, round "
        "after round, each when the threads of the one before sleep. " + passes_text(results) +
        "A number is the median "
        "over rounds, in brackets its 95 % interval (order "
        "statistics; of fewer than six rounds the smallest and the largest). Beside a peer's "
        "milliseconds stands how many times as long it takes, the median over rounds and its "
        "interval. Peak is the rate of a loop of multiply-adds on all threads, the better of what "
        "is read before and behind Treadle's runs of each round, since the clock and other work "
        "move it: the best "
        f"reading of the run is {peak_of(results) / 1e9:.0f} GFLOP/s, and beside each row stands "
        "the median of its own. A share is that of the peak of its round, the median over "
        "rounds and its interval. Where a share and a ratio disagree, the share decides. "
        + pointwise_text(results),
        summary(results) + "."]
    for group in groups:
        parts += [f"## {group}", table(group, results)]
        rows = [row for row in results["rows"] if row["group"] == group and "at" in row]
        for symbol in dict.fromkeys(row["at"]["curve"] for row in rows):
            parts.append(curves.text(symbol, curves.series(rows, symbol)))
    missed = [row for row in results["rows"]
              if row["targets"] and targets.verdict(row) == "MISSED"]
    if missed:
        lines, reasons = where.table(missed)
        parts += ["## What is missed, and why",
                  "Shares of the time of a step, from `treadle bench --profile`, medians of three "
                  "profiles; behind `at` the rate of those kernels as a share of the peak that was "
                  "read beside them. Why, and what was tried, stands below the table.",
                  table_of(lines), *reasons]
    return "\n\n".join(parts) + "\n"


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else f"{root}/docs/performance.json"
    goal = sys.argv[2] if len(sys.argv) > 2 else os.path.splitext(source)[0] + ".md"
    with open(source, encoding="utf-8") as file:
        results = json.load(file)
    with open(goal, "w", encoding="utf-8") as file:
        file.write(document(results))
    rows = [row for row in results["rows"] if "at" in row]
    for symbol in dict.fromkeys(row["at"]["curve"] for row in rows):
        with open(f"{os.path.dirname(goal)}/{curves.file_of(symbol)}", "w",
                  encoding="utf-8") as file:
            file.write(curves.svg(symbol, curves.series(rows, symbol)))


if __name__ == "__main__":
    main()
