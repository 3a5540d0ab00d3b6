"""Where a row's time goes, from `treadle bench --profile`, and what stands in its way."""
import json
import statistics
import subprocess

# What a missed row waits for, and what was tried; by a word of the row's name, the
# first that fits. The numbers beside it are measured with the row.
REASONS = {
    "T100 B1 ": "One row reads each weight once a step: half of 1 MiB a core for an LSTM of 256. A "
                "loop of loads and multiply-adds alone reads 32 bytes a cycle from a second-level "
                "cache of 1 MiB (Zen 4), so that the weights' reads of 100 steps take 0.44 ms; the "
                "inputs' product takes 0.22 ms at the peak. Both in one loop, the one between the "
                "loads of the other, take 0.54 ms by hand and 0.57 here (0.67 one after the "
                "other); each step meets, reads the other core's states and computes the cell, "
                "together 0.06 ms. Where that cache has 512 KiB (Zen 3), the third level's 20 to "
                "28 bytes are the limit. Tried: each thread keeps its columns (0.91 of the time), "
                "weights packed once for all calls (0.9), columns there and back in turns, so that "
                "those read last are still in cache (0.92), the inputs' product between the loads "
                "of the weights (0.87; a GRU's 0.92, an RNN's 0.95), its rows by 16 in place of 8 "
                "(1.01), some of it while the other core's states are on their way (0.99), a "
                "thread's columns of all gates side by side (0.55 with 32 units, 0.84 with 64, "
                "0.87 with 128, no gain with 256), the next weights asked for ahead, before or "
                "while threads wait (1.00), a barrier in two halves, so that each thread waits "
                "for the others' states where it reads them (1.00; no barrier at all 0.97), rows by "
                "10 (1.01), the inputs' product for a thread's own columns alone, 16 rows of it "
                "kept, sums stored from registers (each 1.00), weights in a large page (0.99). "
                "Without the cell's functions it takes 0.95 of the time.",
    " inference T": "Products run at the peak; what is left are the cell's functions, whose "
                    "instructions take 103 cycles for 64 gates by LLVM's model of Zen 3, whose "
                    "two multipliers have work for 86 of them (Zen 4: 93, and 158 with what they "
                    "read), and the turned output. Tried: rows "
                    "of its own for each thread in place of barriers "
                    "(0.9 of the time), two vectors of functions side by side (0.75 of that "
                    "kernel; four gave nothing more), sigmoid and tanh in 16 and 20 instructions "
                    "(0.75 again), functions of functions in a loop of their own (0.93 of that "
                    "kernel, a GRU's 0.89), threads that go on with rows of another when they are "
                    "done with their own (0.93 to 0.97 of the time, waiting from 4 to 9 % to "
                    "less than 1), the input's part of the gates in the turns of the loop from "
                    "inputs as they stand (0.9 to 0.97 of the time), weights packed once for all "
                    "calls (0.99), each row of the output written by the loop where it belongs "
                    "(1.05: rows that far apart cost more than to turn them; with the state "
                    "carried beside it an RNN of 256 takes 0.99, an LSTM of 512 1.01, one example "
                    "1.02), results turned past the caches (1.01), inputs and results in large "
                    "pages (0.99 to 1.02), rows that a cell "
                    "reads and writes asked for by the product in front (0.98 where what was "
                    "computed of the inputs comes from memory, else no gain), products of "
                    "inputs and of states in one tile (0.92 to 0.99 with fewer inputs than 256, "
                    "1.00 with 256, 0.88 in a minute in which others used the cores' other "
                    "halves). Where 16 rows a "
                    "thread read weights of 512 units: blocks of k twice as deep (0.96), the next "
                    "panel asked for while the first tiles read this one (0.98), the inputs' "
                    "product in the turns of the loop (1.06), columns of each thread's own with "
                    "barriers (1.05), rows that a product writes asked for (1.00). Rows to be turned "
                    "asked for ahead: 1.00, though 0.75 of the turning by hand.",
    "attention": "Products run at about 94 % of the peak; exp takes 8 cycles for 8 scores beside "
                 "64 of products (10 multiply-adds of its own, 5 at best); the rest is memory, "
                 "since a batch's q, k, v and result do not fit the second-level cache, and on a "
                 "mask's edge 5/8 of each tile. Alone, T = 4,096 takes 128 ms or 215 ms for "
                 "seconds at a time, as others use the cores' other halves or not. Tried: "
                 "exponentials of four vectors side by side, "
                 "Estrin's scheme, scores turned so that K and V are read as they stand, lines "
                 "asked for between the steps of a register tile, edges computed as far as they "
                 "are seen (together 0.83 of the time; the same in the gradient 0.7 to 0.93), tiles of "
                 "128 x 64, 96 x 64, 64 x 96, 64 x 128, 128 x 32 queries and keys (no gain). On "
                 "Zen 4, of 8 x 8 heads of 64 and 128 rows, 45 % are products with keys, 41 % with "
                 "values, 8 % exp, 4 % packing, 2 % each the maximum and rescaling; tiles of "
                 "6 x 64 took 0.8 of the time of 8 x 48 there, groups of 16 x 16 left out on a "
                 "mask's edge included.",
    "GPT": "Beside products, norms, residual sums, gelu and copies between "
           "layouts are bound by memory. Tried: packed operands shared by two products, "
           "transposed matrices copied by blocks, 666 kernels where there were 798 (no gain), "
           "weights' gradients that read their operand in place (0.95 of the time), packing "
           "between the same barriers as the kernel before (no gain), weights' gradients of many "
           "rows shared out by rows (0.9 of theirs), attention's gradient with its scores turned "
           "(0.74 of its time), large products and attention shared out while they are done "
           "(0.93 to 0.98), heads read and written where products have them (0.97 to 0.99), "
           "feed-forward layers with the norms around them done for a block of rows before the "
           "next (0.96 to 0.98), norms that store nothing but their result and an optimizer of "
           "one kernel a parameter (0.97), packed products in deeper blocks (0.92 to 0.95 of "
           "theirs, with many rows), columns of a transposed operand asked for ahead (0.93 of "
           "theirs), one product for the gradients by queries, keys and values (0.9 of its time), "
           "packs shared out by parts of panels, attention behind its run of rows, weights side "
           "by side one run earlier, rows that a run's products write asked for ahead (together 0.97), "
           "four vectors of gelu at once (0.9 of its kernel), gelu by the normal density and "
           "Mills' ratio (24 multiply-adds a vector in place of 41: 0.65 of its kernel; 37 since it is "
           "within 2 ulp), "
           "attention that asks for what its next unit reads and writes (0.81 of its time), "
           "packs that ask for their next part (0.8), weights' gradients of few columns in as "
           "few panels as fit (0.92), nothing stored that a gradient can work out, biases of "
           "queries and values added to the product of all three, kernels that write over what "
           "only they read (31 MB in place of 38; 0.98 of the time); a step in all 0.95; gelu's "
           "results written past the caches, blocks of 48 to 192 rows in place of 24, "
           "attention's 16 rows at a mask's edge in two tiles of eight (1.00 each). Of "
           "21 ms products lose 1.3 against the peak, gelu 0.4, the optimizer 0.35, attention "
           "0.3, norms and residual sums 0.8, packs 0.4. Beside a program that reads memory with "
           "both cores the step took 20.4 ms where the two share a third-level cache, 26.6 where "
           "they do not (each then reads 35 GB/s, not 20) and 39 where they were halves of one core "
           "(half of the peak): the system moves them every few seconds to minutes.",
    "forward + backward": "Products of a loop run at 94 to 97 % of the peak, weights' gradients, "
                          "which read stacks of more than the caches hold, at 92 to 95 (98 where "
                          "these are in the third level); the rest are the cell's functions. "
                          "Tried: rows of its own for each thread in place of barriers (0.7 to "
                          "0.9 of the time), threads that go on with rows, panels and tiles of "
                          "another when they are done with their own (0.93 to 0.99 of the time, "
                          "waiting from 3 to 9 % to 1), tiles of four steps (0.92), "
                          "functions in half of the instructions and no transposes between loop "
                          "and loss (together 0.97), the gradient of the gates read in place by "
                          "the weights' gradients and summed for the bias on the way, transposed "
                          "blocks copied a row at a time, large pages (together 0.87 to 0.96), "
                          "gates of their own entering and leaving the loop as one value and "
                          "carried values in their stacks (0.92 to 0.97), the gradient written "
                          "over the gates that were kept and nothing kept that a few "
                          "instructions give (0.98 to 1, with two thirds of the memory), the "
                          "rows that a kernel reads next asked for in it (no gain), both weights' "
                          "gradients in one step where they have few rows (0.94 to 0.97), sums of "
                          "vectors' gradients carried by the loop (0.93 to 0.96 where a cell has "
                          "such parameters), with AVX-512 weights' gradients whose B is packed by "
                          "the tile that reads it first (0.92 to 0.97 of theirs; their blocks "
                          "deeper: no gain), rows that a cell reads and writes in memory asked "
                          "for by the product in front (0.93 to 0.98: an LSTM's kernel takes 91 "
                          "to 102 cycles for 16 states instead of 157 to 180, its gradient's 27 "
                          "to 38 instead of 81 to 108). In weights' gradients: the next block of "
                          "A asked for, C's next rows, both weights' in one step with 512 rows "
                          "(no gain), blocks of fewer rows (1.07, B is read again); panels of even "
                          "widths and as many for each thread, B and A asked for a line at a time, "
                          "inputs read where they stand (together 0.96 to 0.99 of the time).",
    "LSTM 2 x 256": "As the cells: functions and the layout of batches, beside products at the "
                    "peak.",
    "compile": "LLVM's instruction selection and register allocation; code is generated on two "
               "threads, in shares that follow from the program alone.",
    "whole process": "Loading the libraries of LLVM and oneDNN, which code from the cache does "
                     "not need.",
    "bf16": "VDPBF16PS does twice the work of a multiply-add. Operands are rounded as they are "
            "copied, those on the left for every product; the cell takes as long as in f32.",
    "LSTM of 128": "Three quarters of the steps are computed once more for their gradient, a "
                   "quarter of the work, and what they keep is written again. Tried: threads do "
                   "all chunks of their rows, and both loops of a chunk, without meeting (1.4 "
                   "times as long as all kept where it was 1.6 to 1.7), the budget counted as the "
                   "program takes it (a quarter of the steps kept where it was a twelfth).",
}


def reason(name):
    return next((text for word, text in REASONS.items() if word in name), "")


def shares(profile, peak):
    """Of the time: products, attention, packing, other kernels, waiting; and the rate of
    products, as a share of the peak."""
    whole = profile["milliseconds"]
    out = dict.fromkeys(("products", "attention", "packing", "other"), 0.0)
    flops = waiting = 0.0
    for kernel in profile["kernels"]:
        kind = {"matmul": "products", "attention": "attention", "attention_gradient": "attention",
                "pack": "packing"}.get(kernel["kind"], "other")
        out[kind] += kernel["milliseconds"] / whole
        if kind == "products":  # attention's count every tile, seen or not
            flops += kernel["flops"] or 0
        waiting += kernel["waiting_milliseconds"] / whole
    if peak and out["products"]:
        out["products_of_peak"] = flops / (out["products"] * whole * 1e-3) / peak
    return {**out, "waiting": waiting}


def measure(row, settings, program):
    """Medians over a few runs of the row's program, each with its own peak."""
    sizes = [word for name, value in row.extents.items() for word in ("-D", f"{name}={value}")]
    some = []
    for _ in range(3):
        done = subprocess.run(
            [settings.treadle, "bench", program, "--part", row.part, *sizes, "--threads",
             str(settings.threads), "--rounds", "11", "--profile", "--json"],
            check=True, stdout=subprocess.PIPE, encoding="utf-8")
        answer = json.loads(done.stdout)
        some.append(shares(answer["profile"], answer["peak_flops_per_second"]))
    return {key: statistics.median(each[key] for each in some) for key in some[0]}


def cells(row, number):
    """For report.py's table: the work, shares of the time, and the number of the reason."""
    where = row.get("where", {})

    def percent(key):
        rate = where.get(f"{key}_of_peak")
        if not where.get(key):
            return "-"
        return f"{100 * where[key]:.0f} %" + (f" at {100 * rate:.0f} %" if rate else "")
    return [row["name"], *(percent(key) for key in (
        "products", "attention", "packing", "other", "waiting")), str(number)]


def table(rows):
    """What missed rows wait for: their shares of the time, and below, once each, the reasons."""
    reasons = list(dict.fromkeys(reason(row["name"]) for row in rows))
    head = ["work", "products", "attention", "packing", "other kernels", "waiting", "why"]
    lines = [cells(row, 1 + reasons.index(reason(row["name"]))) for row in rows]
    return [head, *lines], [f"{i + 1}. {text}" for i, text in enumerate(reasons)]
