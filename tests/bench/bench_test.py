#!/usr/bin/env python3
"""bench_test.py TREADLE: the rows of `./dev bench` without peers and without clocks.

Every program compiles and runs, and its products cost what the row says; the
document is what report.py makes of its JSON, and well formed whatever the JSON.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
import xml.etree.ElementTree

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, f"{root}/bench")

import costs  # noqa: E402
import curves  # noqa: E402
import processes  # noqa: E402
import programs  # noqa: E402
import ragged  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import targets  # noqa: E402
import timed as timing  # noqa: E402
import where  # noqa: E402

treadle = ""


def timed(**more):
    """A row as compare.py writes it: 100 ms for 1 GFLOP, a peak of about 20 GFLOP/s."""
    times = {"median": 100.0, "low": 99.0, "high": 102.0, "rounds": 6, "covers": 0.97}
    row = {"name": "a row", "group": "A group", "targets": [targets.share(0.4)], "rule": "all",
           "flops": 1e9, "pointwise": 1e6, "peers": {}, "peaks": [19e9, 21e9],
           "share": {"median": 0.5, "low": 0.45, "high": 0.55},
           "milliseconds": times, "date": "2026-01-01"}
    return {**row, **more}


def peer(ratio):
    return {"milliseconds": {"median": 100 * ratio, "low": 90, "high": 110},
            "ratio": {"median": ratio, "low": ratio - 0.1, "high": ratio + 0.1}}


def results(*measured):
    return {"threads": 2, "rows": list(measured), "machine": {
        "processor": "P", "features": ["avx2"], "cores": 2, "second_level_cache": "512 KiB",
        "third_level_cache": "?", "treadle": "treadle 0", "python": "3", "peers": {"torch": "2"}}}


def timed_rows():
    return [row for row in rows.rows() if isinstance(row, rows.Row)]


class Rests(unittest.TestCase):
    def seconds_of_rest(self, behind_an_answer):
        program = ("import time\n"
                   "print('{}', flush=True)\n"
                   "input()\n"
                   "print('[]', flush=True)\n"
                   "end = time.perf_counter() + 0.2\n"
                   f"{behind_an_answer}\n"
                   "input()")
        process = processes.Process([sys.executable, "-c", program])
        try:
            process.ask("run")
            begin = time.perf_counter()
            process.rest()
            return time.perf_counter() - begin
        finally:
            process.process.kill()
            process.close()

    @unittest.skipUnless(os.path.exists("/proc/self/schedstat"), "no schedstat")
    def test_who_looks_for_work_is_waited_for(self):
        spins = self.seconds_of_rest("while time.perf_counter() < end: pass")
        self.assertGreater(spins, 0.15)
        self.assertGreater(spins, self.seconds_of_rest("pass"))


class Rows(unittest.TestCase):
    def test_names_are_distinct(self):
        names = [row.name for row in rows.rows()]
        self.assertEqual(len(names), len(set(names)))

    def test_programs_run_and_cost_what_the_rows_say(self):
        """At small extents: the rows' own formulas, the compiler's own count."""
        seen = set()
        for row in timed_rows():
            key = (row.program, row.part)
            if key in seen:
                continue
            seen.add(key)
            sizes = {**row.extents, "T": 8, "B": 2}
            if row.lengths:
                sizes = {"B": 2, **{symbol: 8 for symbol in row.lengths}}
            with self.subTest(row=row.name), tempfile.TemporaryDirectory() as folder:
                path = f"{folder}/model.tdl"
                with open(path, "w", encoding="utf-8") as file:
                    file.write(row.program)
                made = subprocess.run(
                    [treadle, "bench", path, "--part", row.part, "--json", "--rounds", "1", "--threads", "1",
                     *(word for n, v in sizes.items() for word in ("-D", f"{n}={v}"))],
                    capture_output=True, text=True, check=False)
                self.assertEqual(made.returncode, 0, made.stderr)
                counted = json.loads(made.stdout)["product_flops"]
                expected = (row.counted or row.count)(sizes)
                if expected is not None:
                    self.assertEqual(counted, expected)


class Readings(unittest.TestCase):
    """Of one row, minutes apart: all their rounds count."""

    row = rows.Row(name="a row", group="A group", program="", part="forward", extents={},
                   targets=[targets.share(0.4)], count=lambda sizes: 1e9, peers=["jax"])

    @staticmethod
    def reading(ours, theirs):
        return {"times": {"treadle": ours, "jax": theirs}, "peaks": [20e9] * len(ours),
                "pointwise": 1e6, "peers": {"jax": {"difference": 0.0}}}

    def test_medians_are_over_all_rounds(self):
        result = timing.result(self.row, [self.reading([100.0, 102.0], [300.0, 306.0]),
                                          self.reading([200.0], [200.0])])
        self.assertEqual(result["milliseconds"]["median"], 102)
        self.assertEqual(result["peers"]["jax"]["ratio"]["median"], 3)
        self.assertEqual(result["peers"]["jax"]["milliseconds"]["median"], 300)
        self.assertEqual(result["readings"], [101, 200])
        self.assertEqual(len(result["peaks"]), 3)
        self.assertIn("in up to 2 passes", report.document(results(timed(**result))))
        self.assertNotIn("passes", report.document(results(timed())))

    def test_who_failed_in_one_reading_counts_in_the_others(self):
        first = self.reading([100.0], [300.0])
        del first["times"]["jax"]
        first["peers"]["jax"] = {"failed": "it ended"}
        for readings in ([first, self.reading([100.0], [200.0])],
                         [self.reading([100.0], [200.0]), first]):
            about = timing.result(self.row, readings)["peers"]["jax"]
            self.assertEqual(about["ratio"]["median"], 2)
            self.assertNotIn("failed", about)
        about = timing.result(self.row, [first, first])["peers"]["jax"]
        self.assertEqual(about, {"failed": "it ended"})


class Servers(unittest.TestCase):
    """The binaries beside treadle: each answers a request with a time a run."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.built = os.path.dirname(treadle)

    def tearDown(self):
        self.folder.cleanup()

    def file(self, name, text):
        path = f"{self.folder.name}/{name}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def check_times(self, process, request, count):
        times = process.ask(request)
        process.close()
        self.assertEqual(len(times), count)
        self.assertTrue(all(time > 0 for time in times))

    def test_different_lengths(self):
        tensors = f"{self.folder.name}/out.safetensors"
        process = processes.Process([
            f"{self.built}/treadle_bench_ragged", self.file("m.tdl", ragged.LAST_STATE), "1",
            tensors, *ragged.arguments({"T": [3, 2, 1]})])
        self.assertGreaterEqual(process.ask("peak"), 0)
        self.check_times(process, "run 3", 3)
        with open(tensors, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        self.assertEqual(header["input:x"]["shape"], [6, 128])  # no padding
        self.assertEqual(header["output:next:m:lstm.U"]["shape"], [128, 512])

    def test_compiling(self):
        program = self.file("m.tdl", "dim T = 3\n" + programs.recurrent("LSTM", 8, 8))
        process = processes.Process([f"{self.built}/treadle_bench_compile", program])
        process.ask("run 1 T 5")
        self.check_times(process, "run 2", 2)

    def test_bf16_is_timed_beside_f32(self):
        features = ("a processor", ["avx2", "avx512_bf16"])
        settings = argparse.Namespace(treadle=treadle, threads=1, rounds=2, least_rounds=2,
                                      seconds=0.1)
        with tempfile.TemporaryDirectory() as folder:
            with unittest.mock.patch("machine.processor", return_value=features):
                made = costs.narrow(settings, folder)["numbers"]
            with unittest.mock.patch("machine.processor", return_value=("another", ["avx2"])):
                self.assertEqual(costs.narrow(settings, folder)["note"], "not on this machine")
        self.assertEqual(made["of f32's time"]["rounds"], 2)
        self.assertGreater(made["of f32's time"]["low"], 0)

    def test_the_lstm_of_onednn_agrees(self):
        tensors = f"{self.folder.name}/out.safetensors"
        subprocess.run([treadle, "bench", self.file("m.tdl", programs.recurrent("LSTM", 24, 40)),
                        "--part", "forward", "-D", "T=7", "-D", "B=3", "--rounds", "1",
                        "--threads", "1", "--tensors", tensors], check=True, stdout=subprocess.DEVNULL)
        process = processes.Process([f"{self.built}/treadle_bench_onednn_lstm"],
                                    OMP_NUM_THREADS="1")
        answer = process.ask(f"row {tensors} any name")
        self.assertGreater(answer["difference"], 0)  # two ways to the same
        self.assertLess(answer["difference"], 1e-5)
        self.check_times(process, "run 2", 2)


class Targets(unittest.TestCase):
    def judged(self, row):
        return targets.verdict(row)

    def test_the_share_is_that_of_the_peak(self):
        self.assertEqual(self.judged(timed()), "met")  # 10 of 20 GFLOP/s
        self.assertEqual(self.judged(timed(targets=[targets.share(0.6)])), "MISSED")

    def test_a_ratio_needs_its_peer(self):
        row = timed(targets=[targets.beats("torch", 1.8)])
        self.assertEqual(self.judged(row), "-")
        self.assertEqual(self.judged({**row, "peers": {"torch": {"failed": "why"}}}), "-")
        self.assertEqual(self.judged({**row, "peers": {"torch": peer(1.9)}}), "met")
        self.assertEqual(self.judged({**row, "peers": {"torch": peer(1.7)}}), "MISSED")

    def test_the_best_peer_is_the_fastest_and_not_the_library(self):
        row = timed(targets=[targets.beats_best(1.4)],
                    peers={"torch": peer(2.0), "jax": peer(1.5), "library": peer(1.0)})
        self.assertEqual(self.judged(row), "met")
        row["peers"]["openvino"] = peer(1.3)
        self.assertEqual(self.judged(row), "MISSED")

    def test_which_targets_decide(self):
        both = [targets.share(0.4), targets.beats("torch", 1.8)]  # kept, and not
        slow = timed(targets=both, peers={"torch": peer(1.0)})
        self.assertEqual(self.judged({**slow, "rule": "all"}), "MISSED")
        self.assertEqual(self.judged({**slow, "rule": "any"}), "met")
        self.assertEqual(self.judged({**slow, "rule": "share"}), "met")
        alone = timed(targets=both)
        self.assertEqual(self.judged({**alone, "rule": "all"}), "-")
        alone["targets"] = [targets.share(0.6), both[1]]
        self.assertEqual(self.judged({**alone, "rule": "all"}), "MISSED")


    def test_a_number_may_be_as_large_as_its_limit(self):
        row = {"targets": [targets.at_most("cold", 150, "150 ms")], "rule": "all",
               "numbers": {"cold": {"median": 150}}}
        self.assertEqual(self.judged(row), "met")
        row["numbers"]["cold"]["median"] = 151
        self.assertEqual(self.judged(row), "MISSED")
        self.assertEqual(self.judged({**row, "numbers": {}}), "-")
        self.assertEqual(self.judged({**row, "numbers": {}, "failed": True}), "MISSED")

    def test_different_lengths_are_held_to_their_rows_and_the_longest(self):
        lengths = {"T": [4, 2, 2]}  # 8 of 12 rows
        self.assertAlmostEqual(ragged.of_bound(9, 10, 1, lengths), 9 / (1.2 * 10 * 8 / 12 + 1))
        row = timed(targets=[targets.within_bound()], of_bound={"median": 1.01})
        self.assertEqual(self.judged(row), "MISSED")


class Curves(unittest.TestCase):
    def test_the_line_of_least_squares(self):
        """By hand: through (1, 2), (2, 3), (4, 4) with slope 9/14 and intercept 3/2."""
        intercept, slope, r2 = curves.fit([(1, 2), (2, 3), (4, 4)])
        self.assertAlmostEqual(intercept, 1.5)
        self.assertAlmostEqual(slope, 9 / 14)
        self.assertAlmostEqual(r2, (9 / 14) ** 2 * (14 / 3) / 2)

    def test_the_drawing_is_xml_with_a_point_each(self):
        points = {"treadle": [(1, 2.0), (64, 9.0)], "torch": [(1, 3.0), (64, 30.0)]}
        tree = xml.etree.ElementTree.fromstring(curves.svg("T", points))
        circles = tree.findall("{http://www.w3.org/2000/svg}circle")
        self.assertEqual(len(circles), 4)
        lowest = max(circles, key=lambda c: float(c.get("cy")))
        self.assertEqual(lowest, circles[0])  # the smallest time is nearest to the axis


class Spread(unittest.TestCase):
    def test_intervals_of_order_statistics(self):
        """Conover 1999, table A3 (binomial, 1/2): ranks 1 and 6 of 6, 2 and 9 of 10, 4 and 12 of 15."""
        for n, low, high in ((3, 1, 3), (6, 1, 6), (10, 2, 9), (15, 4, 12)):
            found = processes.spread(list(range(n, 0, -1)))
            self.assertEqual((found["low"], found["high"]), (low, high))
            self.assertEqual(found["median"], (n + 1) / 2)
            self.assertEqual(found["covers"] >= 0.95, n >= 6)
        self.assertEqual(processes.spread([7.0])["high"], 7.0)


class Report(unittest.TestCase):
    def check_tables(self, text):
        widths = set()
        for line in text.splitlines():
            if not line.startswith("|"):
                self.assertLessEqual(len(widths), 1, "a row is wider or narrower than its table")
                widths = set()
                continue
            self.assertTrue(line.endswith(" |"), line)
            widths.add(line.count("|"))
        self.assertNotIn("None", text)
        self.assertNotIn("nan", text)

    def test_every_row_has_its_numbers_and_its_verdict(self):
        some = results(
            timed(name="kept", peers={"torch": peer(2.5), "jax": {"failed": "no such row"}}),
            timed(name="wrong", peers={"torch": {"failed": "differs by 1.0e-01"}}),
            timed(name="slow", group="Another", targets=[targets.share(0.9)]))
        text = report.document(some)
        self.check_tables(text)
        self.assertIn("## A group\n", text)
        kept = next(line for line in text.splitlines() if line.startswith("| kept |"))
        cells = [cell.strip() for cell in kept.strip("|").split("|")]
        self.assertEqual(cells, ["kept", "100 (99.0 - 102)", "10", "20", "50 % (45 - 55)",
                                 "250: 2.50x (2.40 - 2.60)", "-", "40 % of peak", "50 % of peak",
                                 "met"])
        self.assertIn("differs by 1.0e-01", text)
        self.assertIn("| MISSED |", text)
        self.assertIn("2 met, 1 MISSED", text)

    def test_numbers_and_notes_stand_in_tables_of_their_own(self):
        goal = [targets.at_most("cold", 150, "150 ms")]
        some = results(
            timed(), {"name": "compile", "group": "Costs", "rule": "all", "targets": goal,
                      "date": "2026-01-01", "numbers": {"cold": {
                          "median": 120.0, "low": 110.0, "high": 130.0, "rounds": 6, "unit": "ms"}}},
            {"name": "narrow", "group": "Costs", "rule": "all", "targets": goal,
             "date": "2026-01-01", "numbers": {}, "note": "not on this machine"})
        text = report.document(some)
        self.check_tables(text)
        self.assertIn("| compile | cold 120 ms (110 - 130) | 150 ms | 120 ms | met |", text)
        self.assertIn("| narrow | not on this machine | 150 ms | - | - |", text)

    def test_a_curve_has_its_line_and_its_drawing(self):
        points = [timed(name=f"T{x}", targets=[], at={"curve": "T", "x": x},
                        milliseconds={**timed()["milliseconds"], "median": 2.0 * x + 1})
                  for x in (10, 20, 40)]
        text = report.document(results(timed(), *[{**p, "group": "Growth"} for p in points]))
        self.check_tables(text)
        self.assertIn("Treadle: 1.00 ms + 2000.0 us x T, R² 1.0000.", text)
        self.assertIn("](performance_T.svg)", text)

    def test_a_missed_row_says_why(self):
        row = timed(name="LSTM inference T5", targets=[targets.share(0.9)], where={
            "products": 0.75, "products_of_peak": 0.98, "attention": 0, "packing": 0.02,
            "other": 0.2, "waiting": 0.03})
        text = report.document(results(timed(), row))
        self.check_tables(text)
        self.assertIn("| LSTM inference T5 | 75 % at 98 % | - | 2 % | 20 % | 3 % | 1 |", text)
        self.assertEqual(text.count("\n1. Products run"), 1)
        self.assertNotIn("What is missed", report.document(results(timed())))

    def test_every_target_that_may_be_missed_has_a_reason(self):
        for row in rows.rows():
            if row.targets and not getattr(row, "lengths", None) and not getattr(row, "beside", None):
                self.assertTrue(where.reason(row.name), row.name)

    def test_shares_add_up(self):
        kernels = [{"kind": kind, "milliseconds": 2.0, "waiting_milliseconds": 0.5, "flops": 1e6}
                   for kind in ("matmul", "pack", "fused", "attention")]
        shares = where.shares({"milliseconds": 10.0, "kernels": kernels}, 1e9)
        self.assertAlmostEqual(sum(shares[key] for key in (
            "products", "attention", "packing", "other", "waiting")), 1)
        self.assertAlmostEqual(shares["products_of_peak"], 0.5)

    def test_the_peak_is_that_of_the_row(self):
        slow = timed(name="another", peaks=[10e9, 11e9, 20e9])
        text = report.document(results(timed(), slow))
        self.assertIn("the best reading of the run is 21 GFLOP/s", text)
        self.assertIn("| another | 100 (99.0 - 102) | 10 | 11 | 50 % (45 - 55) |", text)

    def test_the_document_is_that_of_its_json(self):
        with open(f"{root}/docs/performance.json", encoding="utf-8") as file:
            measured = json.load(file)
        with open(f"{root}/docs/performance.md", encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(report.document(measured), text,
                         "python3 bench/report.py writes it anew")
        self.check_tables(text)
        drawn = [row for row in measured["rows"] if "at" in row]
        for symbol in {row["at"]["curve"] for row in drawn}:
            with open(f"{root}/docs/{curves.file_of(symbol)}", encoding="utf-8") as file:
                self.assertEqual(curves.svg(symbol, curves.series(drawn, symbol)), file.read())
        names = {row.name for row in rows.rows()}
        self.assertLessEqual({row["name"] for row in measured["rows"]}, names)


if __name__ == "__main__":
    treadle = sys.argv.pop(1)
    unittest.main()
