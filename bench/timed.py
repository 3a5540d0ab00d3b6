"""Treadle and its peers on one row: held against each other, then timed in turns."""
import os
import statistics
import sys

import ragged
import where
from processes import Process, spread

here = os.path.dirname(os.path.abspath(__file__))
tolerance = 2e-3  # f32 sums of another order, over up to 4096 terms


class Peers:
    """The processes of peers.py and oneDNN's; each serves all rows, and is started
    when first asked."""

    def __init__(self, settings, errors):
        self.settings, self.names, self.errors = settings, settings.peers, errors
        self.running, self.versions = {}, {}

    def start(self, name):
        threads = str(self.settings.threads)
        if name == "onednn":
            return Process([f"{os.path.dirname(self.settings.treadle)}/treadle_bench_onednn_lstm"],
                           self.errors, OMP_NUM_THREADS=threads)
        return Process([sys.executable, f"{here}/peers.py", name, threads], self.errors)

    def prepare(self, name, row, tensors):
        """The process, ready to run the row, and what it says about it."""
        if name not in self.names:
            return None, {"failed": "not asked for"}
        try:
            if name not in self.running:
                self.running[name] = self.start(name)
                self.versions[name] = self.running[name].about["version"]
            answer = self.running[name].ask(f"row {tensors} {row.name}")
        except (RuntimeError, OSError) as failure:  # it ended, or is not there
            self.running.pop(name, None)
            return None, {"failed": str(failure)}
        if "failed" in answer:
            return None, answer
        if not answer["difference"] < tolerance:
            return None, {**answer, "failed": f"differs by {answer['difference']:.1e}"}
        return self.running[name], answer

    def close(self):
        for process in self.running.values():
            process.close()


def written(program, folder):
    path = f"{folder}/model.tdl"
    with open(path, "w", encoding="utf-8") as file:
        file.write(program)
    return path


def treadle_process(program, part, extents, settings, folder, tensors=None, precision="f32"):
    """A program as a process of `treadle bench --serve`."""
    sizes = [word for name, value in extents.items() for word in ("-D", f"{name}={value}")]
    return Process([settings.treadle, "bench", written(program, folder), "--part", part, *sizes,
                    "--serve", "--threads", str(settings.threads), "-p", precision,
                    *(["--tensors", tensors] if tensors else [])])


def ragged_process(row, settings, folder, tensors):
    """Its training step on examples of those lengths."""
    return Process([f"{os.path.dirname(settings.treadle)}/treadle_bench_ragged",
                    written(row.program, folder), str(settings.threads), tensors,
                    *ragged.arguments(row.lengths)])


def start(row, settings, folder, tensors):
    """The row's own process, and those of our own that stand beside it."""
    if row.lengths:
        full = ragged.full_batch(row.lengths)
        return ragged_process(row, settings, folder, tensors), {
            "full": treadle_process(row.program, "step", full, settings, folder),
            "one": treadle_process(row.program, "step", {**full, "B": 1}, settings, folder)}
    return treadle_process(row.program, row.part, row.extents, settings, folder, tensors), {
        name: treadle_process(program, row.part, row.extents, settings, folder)
        for name, program in row.beside.items()}


def turns(running, treadle, settings):
    """Times of each, an entry a round (the median of its runs), and the peak at that time:
    the better of a reading before and one behind Treadle's runs."""
    once = {}
    for name, process in running.items():
        once[name] = process.ask("run 2")[1]
        process.rest()
    runs = {name: max(1, min(50, int(25 / max(ms, 0.01)))) for name, ms in once.items()}
    # What ran before has left caches and threads in another state.
    warm = {name: ms < 50 for name, ms in once.items()}
    a_round = sum((runs[name] + warm[name]) * ms + 25 for name, ms in once.items()) * 1e-3 + 0.06
    rounds = max(settings.least_rounds, min(settings.rounds, int(settings.seconds / a_round)))
    times, peaks = {name: [] for name in running}, []
    for _ in range(rounds):
        for name, process in running.items():
            if warm[name]:
                process.ask("run 1")
            before = treadle.ask("peak") if process is treadle else 0
            times[name].append(statistics.median(process.ask(f"run {runs[name]}")))
            if process is treadle:
                peaks.append(max(before, treadle.ask("peak")))
            process.rest()
    return times, peaks


def read(row, peers, settings, folder):
    """One reading of a row: {"times", "peaks", "pointwise", "peers"}."""
    tensors = f"{folder}/tensors.safetensors"
    treadle, beside = start(row, settings, folder, tensors)
    running = {"treadle": treadle, **beside}
    said = {name: {} for name in beside}
    for name in row.peers:
        process, said[name] = peers.prepare(name, row, tensors)
        if process:
            running[name] = process
    times, peaks = turns(running, treadle, settings)
    for process in (treadle, *beside.values()):
        process.close()
    os.remove(tensors)
    return {"times": times, "peaks": peaks, "peers": said,
            "pointwise": treadle.about.get("other_flops", 0)}


def together(readings, names, function):
    """Of all rounds of the readings that have all of those, what `function` makes of one."""
    return [function(*each) for reading in readings
            if all(name in reading["times"] for name in names)
            for each in zip(*(reading["times"][name] for name in names))]


def said_of(name, readings):
    """What the last reading with times of that peer says of it; else why there are none."""
    said = [reading["peers"][name] for reading in readings]
    return next((about for about in reversed(said) if "failed" not in about), said[-1])


def result(row, readings):
    """What all readings of a row say together."""
    peaks = [peak for reading in readings for peak in reading["peaks"]]
    ours = together(readings, ["treadle"], float)
    last = readings[-1]
    out = {"name": row.name, "group": row.group, "targets": row.targets, "rule": row.rule,
           "flops": row.flops, "pointwise": last["pointwise"],
           "peers": {name: dict(said_of(name, readings)) for name in last["peers"]},
           "peaks": peaks, "milliseconds": spread(ours)}
    if len(readings) > 1:
        out["readings"] = [statistics.median(reading["times"]["treadle"]) for reading in readings]
    if row.at:
        out["at"] = row.at
    if row.flops:
        out["share"] = spread([row.flops / (ms * 1e-3) / peak for ms, peak in zip(ours, peaks)])
    for name, about in out["peers"].items():
        theirs = together(readings, [name], float)
        if theirs:
            about["milliseconds"] = spread(theirs)
            about["ratio"] = spread(together(readings, [name, "treadle"], lambda x, y: x / y))
    if row.lengths:
        out["of_bound"] = spread(together(
            readings, ["treadle", "full", "one"],
            lambda *each: ragged.of_bound(*each, row.lengths)))
    return out


def shares(row, settings, folder):
    """Where the row's time goes, of rows with a target."""
    if row.targets and not row.lengths:
        return {"where": where.measure(row, settings, written(row.program, folder))}
    return {}
