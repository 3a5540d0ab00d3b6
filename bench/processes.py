"""Processes that are asked for timings, a line each way, and what they answer."""
import json
import math
import os
import pathlib
import statistics
import subprocess
import time


class Process:
    def __init__(self, command, errors=None, **environment):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=errors, text=True,
                                        env={**os.environ, **environment})
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, request):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self.answer()

    def seconds_used(self):
        """Of the processors, by all its threads; None where the system does not say."""
        total = 0
        for thread in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            try:
                total += int(thread.read_text(encoding="ascii").split()[0])
            except OSError:  # it has ended
                pass
        return total * 1e-9 or None

    def rest(self):
        """Waits until its threads sleep: they look for more work behind an answer, those of
        JAX for 60 ms, those of ONNX Runtime for 35, and whoever runs next would share the
        processors with them."""
        used, pause, quiet = self.seconds_used(), 0.005, 0
        if used is None:
            time.sleep(0.1)
        for _ in range(200):
            if used is None or quiet == 3:
                break
            time.sleep(pause)
            before, used = used, self.seconds_used()
            # A thread's time is counted at ticks, 4 or 10 ms apart.
            quiet = quiet + 1 if used is None or used - before < 0.05 * pause else 0

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def spread(values):
    """The median and the narrowest interval of two order statistics that has the
    median of what was drawn from with 95 % probability; of fewer than six values
    the smallest and the largest, and `covers` says with which probability."""
    values, n = sorted(values), len(values)
    out = None
    for k in range(n // 2, 0, -1):  # from the k-th smallest to the k-th largest
        covers = 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2 ** n
        out = {"median": statistics.median(values), "low": values[k - 1], "high": values[n - k],
               "rounds": n, "covers": round(covers, 4)}
        if covers >= 0.95:
            break
    return out or {"median": values[0], "low": values[0], "high": values[0], "rounds": 1,
                   "covers": 0}
