"""Batches of examples of different lengths: the rows, and the promise they are held to.

At most 1.2 times the full batch's time, by the share of its rows that there are,
and the longest example's steps at batch 1 on top.
"""
HEADER = 'train M {{ data npy("x.npy"); loss {loss}; optimizer adamw(lr: 0.001); epochs 1 }}\n'

LAST_STATE = """
model M(x: real[T, 128]) {
  _, (h, _) = scan LSTM[128, 128] over x
  return y: dense[18](h)
}
""" + HEADER.format(loss="mean(square(y))")

EVERY_ROW = """
model M(x: real[T, 128]) {
  hs, _ = scan LSTM[128, 128] over x
  return y: dense[65](hs)
}
""" + HEADER.format(loss="mean(square(y))")

ATTENDING = """
model M(x: real[T, 128]) {
  q, k, v = split(dense[384](x), 3)
  a = softmax(q @ transpose(k) / 11)
  return y: dense[128](relu(dense[256](a @ v)))
}
""" + HEADER.format(loss="mean(square(y))")

TRANSFORMER = """
dim V = 4096
model M(source: token(V)[S], target: token(V)[T], next: token(V)[T]) {
  let words = embedding[128, V]
  y = Transformer[3, 4](
    sinusoidal_positions(words(source)),
    sinusoidal_positions(words(target)),
    drop: 0.1
  )
  return logits: dense[V](y)
}
""" + HEADER.format(loss="cross_entropy(logits, next)")

LOOKING = """
dim V = 4096
cell Looking[S, H](x: real[H], (h, context, memory): (real[H], real[H], real[S, H])) {
  param W, U: real[H, H] ~ xavier
  param v: real[H] ~ normal(0, 0.1)
  context = softmax(tanh(memory @ W + h @ U) @ v) @ memory
  _, h = GRU[2*H, H](concat(x, context), h)
  yield concat(h, context), (h, context, memory)
}
model M(source: token(V)[S], target: token(V)[T], next: token(V)[T]) {
  memory, h = scan GRU[256, 256] over embedding[256, V](source)
  hs, _ = scan Looking over embedding[256, V](target) from (h, h, memory)
  return logits: dense[V](hs)
}
""" + HEADER.format(loss="cross_entropy(logits, next)")


def descending(lengths):
    return sorted(lengths, reverse=True)


EVEN = descending(i % 60 + 1 for i in range(64))
ONE_LONG = [60] + [8] * 63
ALL = [60] * 64
SOURCE = descending(5 + i % 12 for i in range(64))
TARGET = [5 + (7 * i + 3) % 12 for i in range(64)]

# name, program, lengths by symbol, what PyTorch's LSTM is compared on
CASES = [
    ("LSTM 128, last state, lengths 1 to 60", LAST_STATE, {"T": EVEN}, "last"),
    ("LSTM 128, last state, one of 60, rest 8", LAST_STATE, {"T": ONE_LONG}, "last"),
    ("LSTM 128, last state, all 60", LAST_STATE, {"T": ALL}, "last"),
    ("LSTM 128, every row, lengths 1 to 60", EVERY_ROW, {"T": EVEN}, "every"),
    ("LSTM 128, every row, one of 60, rest 8", EVERY_ROW, {"T": ONE_LONG}, "every"),
    ("attention 128 wide, lengths 1 to 60", ATTENDING, {"T": EVEN}, None),
    ("attention 128 wide, one of 60, rest 8", ATTENDING, {"T": ONE_LONG}, None),
    ("transformer 3 + 3, lengths 5 to 16", TRANSFORMER, {"S": SOURCE, "T": TARGET}, None),
    ("GRU that attends, lengths 5 to 16", LOOKING, {"S": SOURCE, "T": TARGET}, None),
]


def share_of_rows(lengths):
    return (sum(sum(each) for each in lengths.values())
            / sum(len(each) * max(each) for each in lengths.values()))


def full_batch(lengths):
    return {"B": len(next(iter(lengths.values()))),
            **{symbol: max(each) for symbol, each in lengths.items()}}


def arguments(lengths):
    """for treadle_bench_ragged"""
    return [f"{symbol}={','.join(map(str, each))}" for symbol, each in lengths.items()]


def of_bound(ours, full, one, lengths):
    return ours / (1.2 * full * share_of_rows(lengths) + one)
