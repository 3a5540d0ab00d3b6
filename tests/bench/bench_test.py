#!/usr/bin/env python3
"""bench_test.py TREADLE: the rows of `./dev bench` without peers and without clocks.

Every program compiles and runs, and its products cost what the row says; the
document is what report.py makes of its JSON, and well formed whatever the JSON.
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, f"{root}/bench")

import processes  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import targets  # noqa: E402

treadle = ""


def timed(**more):
    """A row as compare.py writes it: 100 ms for 1 GFLOP, a peak of 20 GFLOP/s."""
    times = {"median": 100.0, "low": 99.0, "high": 102.0, "rounds": 6, "covers": 0.97}
    row = {"name": "a row", "group": "A group", "targets": [targets.share(0.4)], "rule": "all",
           "flops": 1e9, "pointwise": 1e6, "peers": {}, "peaks": [19e9, 20e9],
           "milliseconds": times, "date": "2026-01-01"}
    return {**row, **more}


def peer(ratio):
    return {"milliseconds": {"median": 100 * ratio, "low": 90, "high": 110},
            "ratio": {"median": ratio, "low": ratio - 0.1, "high": ratio + 0.1}}


def results(*measured):
    return {"threads": 2, "rows": list(measured), "machine": {
        "processor": "P", "features": ["avx2"], "cores": 2, "second_level_cache": "512 KiB",
        "third_level_cache": "?", "treadle": "treadle 0", "python": "3", "peers": {"torch": "2"}}}


class Rows(unittest.TestCase):
    def test_names_are_distinct(self):
        names = [row.name for row in rows.rows()]
        self.assertEqual(len(names), len(set(names)))

    def test_programs_run_and_cost_what_the_rows_say(self):
        """At small extents: the rows' own formulas, the compiler's own count."""
        seen = set()
        for row in rows.rows():
            key = (row.program, row.part)
            if key in seen:
                continue
            seen.add(key)
            with self.subTest(row=row.name), tempfile.TemporaryDirectory() as folder:
                path = f"{folder}/model.tdl"
                with open(path, "w", encoding="utf-8") as file:
                    file.write(row.program)
                sizes = {**row.extents, "T": 8, "B": 2}
                made = subprocess.run(
                    [treadle, "bench", path, "--part", row.part, "--json", "--rounds", "1",
                     *(word for n, v in sizes.items() for word in ("-D", f"{n}={v}"))],
                    capture_output=True, text=True, check=False)
                self.assertEqual(made.returncode, 0, made.stderr)
                counted = json.loads(made.stdout)["product_flops"]
                self.assertEqual(counted, (row.counted or row.count)(sizes))


class Targets(unittest.TestCase):
    def judged(self, row):
        return targets.verdict(row, 20e9)

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
        self.assertEqual(cells, ["kept", "100 (99.0 - 102)", "10", "50 %",
                                 "250: 2.50x (2.40 - 2.60)", "-", "40 % of peak", "50 % of peak",
                                 "met"])
        self.assertIn("differs by 1.0e-01", text)
        self.assertIn("| MISSED |", text)
        self.assertIn("2 met, 1 MISSED", text)

    def test_a_disturbed_row_says_so(self):
        some = results(timed(), timed(name="another", peaks=[10e9, 11e9, 20e9]))
        text = report.document(some)
        self.assertEqual(text.count("(disturbed)"), 1)
        self.assertIn("| another | 100 (99.0 - 102) | 10 | 50 % (disturbed) |", text)

    def test_the_document_is_that_of_its_json(self):
        with open(f"{root}/docs/performance.json", encoding="utf-8") as file:
            measured = json.load(file)
        with open(f"{root}/docs/performance.md", encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(report.document(measured), text,
                         "python3 bench/report.py writes it anew")
        self.check_tables(text)
        names = {row.name for row in rows.rows()}
        self.assertLessEqual({row["name"] for row in measured["rows"]}, names)


if __name__ == "__main__":
    treadle = sys.argv.pop(1)
    unittest.main()
