"""The models of examples/translate_jaen.tdl in PyTorch, trained in the same way.

    python bench/translate_torch.py gru|transformer FOLDER --output FILE

FOLDER holds small_parallel_enja. Prints a JSON line an epoch (seconds of
training, loss per token on the development set in nats), then one with the loss
on the test set, and writes greedy translations of the test set to FILE, a
sentence a line.

With --weights RUN/checkpoint.safetensors the transformer is not trained: it takes
the weights that Treadle trained, so that losses and translations of the two can be
compared without the luck of a seed.
"""
import argparse
import json
import math
import time

import torch
from torch import nn

functional = nn.functional
pad = -100  # marks targets that are not there; cross_entropy ignores it
begin, end = 1, 2
words = 4096


class GRU(nn.Module):
    """Bidirectional encoder; a decoder that attends, with four heads, to the sum of
    the source's vectors and the encoder's rows."""

    def __init__(self):
        super().__init__()
        self.source = nn.Embedding(words, 256)
        self.target = nn.Embedding(words, 256)
        self.encoder = nn.GRU(256, 128, bidirectional=True, batch_first=True)
        self.decoder = nn.GRU(256, 256, batch_first=True)
        self.attention = nn.MultiheadAttention(256, 4, batch_first=True)
        self.join = nn.Linear(512, 256)
        self.logits = nn.Linear(256, words)
        self.dropout = nn.Dropout(0.2)
        for gru in (self.encoder, self.decoder):
            for name, parameter in gru.named_parameters():
                if "weight_ih" in name:
                    nn.init.xavier_uniform_(parameter)
                elif "weight_hh" in name:
                    nn.init.orthogonal_(parameter)
                else:
                    nn.init.zeros_(parameter)

    def encode(self, source, lengths):
        read = self.dropout(self.source(source))
        packed = nn.utils.rnn.pack_padded_sequence(read, lengths.cpu(), batch_first=True,
                                                   enforce_sorted=False)
        rows, last = self.encoder(packed)
        rows, _ = nn.utils.rnn.pad_packed_sequence(rows, batch_first=True)
        absent = torch.arange(rows.shape[1]) >= lengths[:, None]
        return read + rows, absent, torch.cat([last[0], last[1]], -1)[None]

    def decode(self, target, memory, absent, state):
        h, state = self.decoder(self.dropout(self.target(target)), state)
        seen, _ = self.attention(h, memory, memory, key_padding_mask=absent, need_weights=False)
        return self.logits(self.dropout(torch.tanh(self.join(torch.cat([h, seen], -1))))), state

    def forward(self, source, lengths, target):
        return self.decode(target, *self.encode(source, lengths))[0]

    @torch.no_grad()
    def translate(self, source, lengths, longest):
        memory, absent, state = self.encode(source, lengths)
        token = torch.full((len(source), 1), begin)
        written = []
        for _ in range(longest):
            logits, state = self.decode(token, memory, absent, state)
            token = logits.argmax(-1)
            written.append(token)
        return torch.cat(written, 1)


class Transformer(nn.Module):
    """Pre-norm, two layers each side, sinusoidal positions [Vaswani et al. 2017]."""

    def __init__(self, width=128, heads=4, hidden=512, layers=2, rate=0.1):
        super().__init__()
        self.width = width
        self.source = nn.Embedding(words, width)
        self.target = nn.Embedding(words, width)
        options = dict(dropout=rate, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, heads, hidden, **options), layers,
            nn.LayerNorm(width), enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(width, heads, hidden, **options), layers,
            nn.LayerNorm(width))
        self.logits = nn.Linear(width, words)
        self.dropout = nn.Dropout(rate)

    def rows(self, table, tokens):
        time_step = torch.arange(tokens.shape[1])[:, None]
        angle = time_step * torch.exp(torch.arange(0, self.width, 2) *
                                      (-math.log(10000) / self.width))
        positions = torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)
        return self.dropout(table(tokens) * math.sqrt(self.width) + positions)

    def encode(self, source, lengths):
        absent = torch.arange(source.shape[1]) >= lengths[:, None]
        return self.encoder(self.rows(self.source, source), src_key_padding_mask=absent), absent

    def decode(self, target, memory, absent):
        later = torch.triu(torch.ones(target.shape[1], target.shape[1], dtype=torch.bool), 1)
        return self.logits(self.decoder(self.rows(self.target, target), memory, tgt_mask=later,
                                        memory_key_padding_mask=absent))

    def forward(self, source, lengths, target):
        return self.decode(target, *self.encode(source, lengths))

    @torch.no_grad()
    def translate(self, source, lengths, longest):
        memory, absent = self.encode(source, lengths)
        written = torch.full((len(source), 1), begin)
        for _ in range(longest):
            token = self.decode(written, memory, absent)[:, -1:].argmax(-1)
            written = torch.cat([written, token], 1)
        return written[:, 1:]


def treadle_weights(path):
    """A checkpoint of TransformerTranslator as the state of `Transformer`."""
    from safetensors.torch import load_file

    given = load_file(path)
    out = {"source.weight": given["words.table"], "target.weight": given["words_2.table"],
           "logits.weight": given["dense.W"].T, "logits.bias": given["dense.b"]}

    def attention(to, name):
        out[to + ".in_proj_weight"] = torch.cat([given[f"{name}.W{c}"].T for c in "qkv"])
        # Keys have no bias there: softmax does not see it.
        no_bias = torch.zeros_like(given[name + ".bq"])
        out[to + ".in_proj_bias"] = torch.cat([given[name + ".bq"], no_bias, given[name + ".bv"]])
        out[to + ".out_proj.weight"] = given[name + ".Wo"].T
        out[to + ".out_proj.bias"] = given[name + ".bo"]

    def norm(to, name):
        out[to + ".weight"], out[to + ".bias"] = given[name + ".gain"], given[name + ".bias"]

    for part, norms in (("encoder", 2), ("decoder", 3)):
        for layer in range(2):
            to, name = f"{part}.layers.{layer}", f"transformer.{part}.layer[{layer}]"
            attention(to + ".self_attn", name + ".attention")
            if part == "decoder":
                attention(to + ".multihead_attn", name + ".cross")
            for i in range(1, norms + 1):
                norm(f"{to}.norm{i}", f"{name}.norm{i}")
            for i in (1, 2):
                out[f"{to}.linear{i}.weight"] = given[f"{name}.forward.W{i}"].T
                out[f"{to}.linear{i}.bias"] = given[f"{name}.forward.b{i}"]
        norm(f"{part}.norm", f"transformer.{part}.layer_norm")
    return {name: tensor.contiguous() for name, tensor in out.items()}


def vocabulary(path):
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def sentences(path, tokens):
    numbers = {token: i for i, token in enumerate(tokens)}
    with open(path, encoding="utf-8") as file:
        return [[numbers.get(word, 0) for word in line.split()] for line in file]


def batch_of(pairs):
    """source [B, S], its lengths [B], target and next [B, T]"""
    sources = [torch.tensor(source) for source, _ in pairs]
    lengths = torch.tensor([len(source) for source in sources])
    padded = nn.utils.rnn.pad_sequence
    return (padded(sources, True), lengths,
            padded([torch.tensor([begin] + target) for _, target in pairs], True),
            padded([torch.tensor(target + [end]) for _, target in pairs], True,
                   padding_value=pad))


@torch.no_grad()
def loss_on(model, pairs):
    model.eval()
    total = count = 0
    for i in range(0, len(pairs), 100):
        source, lengths, target, following = batch_of(pairs[i:i + 100])
        logits = model(source, lengths, target)
        total += float(functional.cross_entropy(logits.flatten(0, 1), following.flatten(),
                                                reduction="sum"))
        count += int((following != pad).sum())
    return total / count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=["gru", "transformer"])
    parser.add_argument("folder")
    parser.add_argument("--output", required=True)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--examples", type=int, help="train on so many pairs alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", help="take a Treadle checkpoint's weights, do not train")
    arguments = parser.parse_args()
    if arguments.weights and arguments.model != "transformer":
        parser.error("--weights goes with transformer alone")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    folder = arguments.folder
    ja = vocabulary(f"{folder}/train.ja.vocab.4k")
    en = vocabulary(f"{folder}/train.en.vocab.4k")
    data = {part: list(zip(sentences(f"{folder}/{part}.ja", ja),
                           sentences(f"{folder}/{part}.en", en)))
            for part in ("train", "dev", "test")}
    train = data["train"][:arguments.examples]
    peak = 0.002
    model, batch, epochs, deviation = ((GRU(), 32, 4, 0.25) if arguments.model == "gru" else
                                       (Transformer(), 64, 5, 128 ** -0.5))
    epochs = arguments.epochs or epochs
    for table in (model.source, model.target):
        nn.init.normal_(table.weight, 0, deviation)
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            for part in module.in_proj_weight.chunk(3):
                nn.init.xavier_uniform_(part)
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    optimizer = torch.optim.AdamW(model.parameters(), peak, weight_decay=0.01)
    total = math.ceil(len(train) / batch) * epochs
    warmup = min(400, total)

    def rate(step):
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1, (step - warmup) / max(1, total - warmup))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    if arguments.weights:
        model.load_state_dict(treadle_weights(arguments.weights))
        epochs = 0
        print(json.dumps({"dev": loss_on(model, data["dev"])}), flush=True)
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(train)).tolist()
        start = time.perf_counter()
        for i in range(0, len(train), batch):
            source, lengths, target, following = batch_of([train[j] for j in order[i:i + batch]])
            logits = model(source, lengths, target)
            loss = functional.cross_entropy(logits.flatten(0, 1), following.flatten(),
                                            ignore_index=pad)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        print(json.dumps({"epoch": epoch + 1, "seconds": time.perf_counter() - start,
                          "dev": loss_on(model, data["dev"])}), flush=True)
    print(json.dumps({"test": loss_on(model, data["test"])}), flush=True)
    model.eval()
    with open(arguments.output, "w", encoding="utf-8") as file:
        for i in range(0, len(data["test"]), 100):
            source, lengths, _, _ = batch_of(data["test"][i:i + 100])
            for row in model.translate(source, lengths, 40).tolist():
                row = row[:row.index(end)] if end in row else row
                file.write(" ".join(en[token] for token in row) + "\n")


main()
