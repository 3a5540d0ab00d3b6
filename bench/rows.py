"""The rows of `./dev bench`: what is timed, against whom, and what is promised.

Programs are in programs.py, peers in peers.py; targets.py says how a target is
judged. Flops are those of the products that the mathematics asks for, counted
by hand here; tests/bench compares them with what the compiler counts.
"""
import dataclasses
from typing import Callable

import costs
import programs
import ragged
from targets import beats, beats_best, share, within_bound


@dataclasses.dataclass
class Row:
    name: str
    group: str
    program: str  # of Treadle
    part: str  # of the program: forward, gradient, step
    extents: dict  # of the program's symbols
    count: Callable  # of those extents: the flops of the products
    peers: list  # names of peers.py
    targets: list  # of targets.py
    rule: str = "all"  # which of the targets decide: all, any, share (that one alone)
    kind: str = "cell"  # which program of a peer: cell, stack, attention, characters, gpt
    about: dict = dataclasses.field(default_factory=dict)  # for the peer
    beside: dict = dataclasses.field(default_factory=dict)  # programs of ours, by name
    lengths: dict = None  # of the examples, by symbol, where they differ; of `part` "step"
    at: dict = None  # a point of a curve: {"curve": name, "x": value}
    # What the compiler counts, which takes attention's mask for full.
    counted: Callable = None

    @property
    def flops(self):
        return self.count(self.extents)


INFERENCE, TRAINING = "Recurrent inference", "Recurrent forward and backward"
STACKS = "Two layers, one example"
CELLS, VARIANTS = "Cells of one's own", "One LSTM in other words"
ATTENTION, STEPS = "Attention", "Whole training steps"
RAGGED, GROWTH = "Examples of different lengths", "Growth"

# Columns of the products with the input and with the state, in units of H.
PRODUCTS = {"LSTM": 4, "GRU": 3, "RNN": 1, "mgu": 2, "janet": 2, "fastgrnn": 1, "mlstm": 5,
            **{name: 4 for name in programs.LSTM_VARIANTS}}


def recurrent_flops(cell, part, inputs, hidden):
    """The gradient: of both weights, and of the state; none of the input."""
    def count(extents):
        columns = 2 * extents["B"] * extents["T"] * PRODUCTS[cell] * hidden
        forward = columns * (inputs + hidden)
        return forward if part == "forward" else 2 * forward + columns * hidden
    return count


def sizes_text(steps, batch, inputs, hidden):
    return f"T{steps} B{batch} I{inputs} H{hidden}"


def cell_row(group, cell, part, size, peers, targets, rule="all", **more):
    steps, batch, inputs, hidden = size
    what = {"forward": "inference", "gradient": "forward + backward"}[part]
    return Row(f"{cell} {what} {sizes_text(*size)}", group,
               programs.recurrent(cell, inputs, hidden), part, {"T": steps, "B": batch},
               recurrent_flops(cell, part, inputs, hidden), peers, targets, rule,
               about={"cell": cell, "hidden": hidden}, **more)


SMALL, WIDE, SHORT, LARGE = (100, 1, 256, 256), (50, 64, 256, 256), (28, 128, 28, 128), (
    64, 32, 512, 512)


def recurrent_rows():
    out = []
    sizes = {"LSTM": [SMALL, WIDE, SHORT, LARGE], "GRU": [SMALL, WIDE], "RNN": [SMALL, WIDE]}
    for cell, cell_sizes in sizes.items():
        for size in cell_sizes:
            if size[1] == 1:
                targets = [beats_best(1.4)]
            else:
                targets = [beats_best(1.0)] + ([share(0.9)] if size[3] >= 256 else [])
            peers = ["torch", "jax", "onnxruntime", "openvino"]
            if cell == "LSTM":
                peers.append("onednn")
            out.append(cell_row(INFERENCE, cell, "forward", size, peers, targets))
    torch_ratio = {"LSTM": 1.8, "GRU": 2.3, "RNN": 3.0}
    for cell, cell_sizes in sizes.items():
        for size in cell_sizes:
            targets = [beats_best(1.4)] if size[1] == 1 else [
                share(0.85), beats("torch", torch_ratio[cell])]
            out.append(cell_row(TRAINING, cell, "gradient", size, ["torch", "jax"], targets,
                                "all" if size[1] == 1 else "share"))
    return out


def two_layers_flops(part, width):
    """The gradient of the upper layer's input is the lower one's."""
    def count(extents):
        layer = 2 * extents["B"] * extents["T"] * 4 * width * 2 * width
        return 2 * layer if part == "forward" else 5.5 * layer
    return count


def stack_rows():
    return [Row(f"two LSTM layers, {what} T100 B1 H{width}", STACKS, programs.two_layers(width),
                part, {"T": 100, "B": 1}, two_layers_flops(part, width), ["torch"],
                [beats_best(1.4)], kind="stack")
            for width in (64, 128)
            for part, what in (("forward", "inference"), ("gradient", "forward + backward"))]


def user_cell_rows():
    out = [cell_row(CELLS, cell, "gradient", WIDE, ["torch"], [share(0.85)], "share")
           for cell in programs.USER_CELLS]
    for steps, ratio in ((28, 3.0), (100, 5.0)):
        out.append(cell_row(CELLS, "lstm_separate", "gradient", (steps, 32, 64, 128),
                            ["torch", "torch.compile"],
                            [share(0.85), beats("torch.compile", ratio)], "share"))
    return out


def variant_rows():
    """Beside the library's cell on sizes of the same name: as fast within 5 %."""
    library = programs.recurrent("LSTM", WIDE[2], WIDE[3])
    return [cell_row(VARIANTS, cell, part, WIDE, ["torch"],
                     [beats("library", 1 / 1.05)], beside={"library": library})
            for cell in programs.LSTM_VARIANTS for part in ("forward", "gradient")]


def attention_flops(causal, gradient):
    def count(extents):
        steps = extents["T"]
        pairs = extents["B"] * extents["N"] * (
            steps * (steps + 1) // 2 if causal else steps * steps)
        return pairs * extents["D"] * (14 if gradient else 4)  # 7 products, 2 of them forward
    return count


def attention_rows():
    out = []
    for part, goal, ratio in (("inference", 0.7, 1.6), ("forward + backward", 0.6, 1.6)):
        for batch, steps, causal in ((8, 128, False), (4, 512, True), (1, 4096, True)):
            heads, wide, gradient = 8, 64, part != "inference"
            out.append(Row(
                f"attention {part} B{batch} heads{heads} T{steps} d{wide}"
                + (" causal" if causal else ""), ATTENTION,
                programs.attention(causal, gradient), "forward",
                {"B": batch, "N": heads, "T": steps, "D": wide},
                attention_flops(causal, gradient), ["torch", "jax"],
                [share(goal), beats("torch", ratio)], "share", "attention",
                {"causal": causal, "gradient": gradient},
                counted=attention_flops(False, gradient)))
    return out


def gpt_flops(layers, width, causal=True):
    def count(extents):
        batch, steps = extents["B"], extents["T"]
        products = 2 * batch * steps * (12 * width * width * layers + 65 * width)
        # Of each head, and all heads together are as wide as the model.
        each = {"B": batch, "N": 1, "T": steps, "D": width}
        return 3 * products + layers * attention_flops(causal, True)(each)
    return count


def characters_flops(extents):
    hidden = 256
    products = extents["B"] * extents["T"] * 2 * hidden * (2 * 4 * 2 * hidden + 65)
    return 3 * products


def step_rows():
    rule = {"targets": [share(0.8), beats_best(1.8)], "rule": "any"}
    peers = ["torch", "torch.compile"]
    out = [Row("character LSTM 2 x 256 step T128 B32", STEPS, programs.CHARACTERS, "step",
               {"T": 128, "B": 32}, characters_flops, peers, kind="characters", **rule)]
    for layers, heads, width, window, size in ((4, 4, 128, 64, 12), (6, 6, 384, 256, 16)):
        out.append(Row(f"GPT {layers} x {width} step T{window} B{size}", STEPS,
                       programs.gpt(layers, heads, width, window), "step",
                       {"T": window, "B": size}, gpt_flops(layers, width), peers,
                       kind="gpt", about={"layers": layers, "heads": heads},
                       counted=gpt_flops(layers, width, causal=False), **rule))
    return out


def lstm_step_flops(inputs, hidden, outputs, every_row):
    """A layer and a head over its rows, or over its last one; no gradient of the input."""
    def count(extents):
        rows = extents.get("T.rows", extents["B"] * extents.get("T", 1))
        layer = recurrent_flops("LSTM", "gradient", inputs, hidden)({"B": 1, "T": rows})
        return layer + 3 * 2 * hidden * outputs * (rows if every_row else extents["B"])
    return count


def ragged_rows():
    out = []
    for name, program, lengths, kind in ragged.CASES:
        extents = {"B": 64, "T.rows": sum(lengths["T"])}
        flops = {"last": lstm_step_flops(128, 128, 18, False),
                 "every": lstm_step_flops(128, 128, 65, True)}.get(kind, lambda extents: None)
        out.append(Row(f"{name}, B64 step", RAGGED, program, "step", extents, flops,
                       ["torch", "torch.padded"] if kind else [], [within_bound()],
                       kind="ragged", about={"every": kind == "every"}, lengths=lengths))
    return out


def growth_rows():
    """One step of a small LSTM over more steps, and over more examples."""
    out = []
    points = [("T", steps, {"T": steps, "B": 32}) for steps in (32, 64, 128, 256, 512, 1024)]
    points += [("B", batch, {"T": 64, "B": batch}) for batch in (1, 4, 16, 64, 128, 256)]
    for symbol, value, extents in points:
        out.append(Row(f"LSTM forward + backward over {symbol}: "
                       + sizes_text(extents["T"], extents["B"], 64, 128),
                       GROWTH, programs.recurrent("LSTM", 64, 128), "gradient", extents,
                       recurrent_flops("LSTM", "gradient", 64, 128), ["torch"], [],
                       about={"cell": "LSTM", "hidden": 128},
                       at={"curve": symbol, "x": value}))
    return out


def rows():
    return (recurrent_rows() + stack_rows() + user_cell_rows() + variant_rows() + attention_rows()
            + step_rows() + ragged_rows() + growth_rows() + costs.rows())
