"""The models of examples/mnist_rows.tdl and examples/char_lm.tdl in PyTorch.

Prints one JSON line an epoch: seconds of training, and the validation figure.
"""
import argparse
import gzip
import json
import math
import time

import numpy
import torch


def idx(path):
    with gzip.open(path) as file:
        data = file.read()
    rank = data[3]
    shape = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(rank)]
    return torch.from_numpy(numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * rank)
                            .reshape(shape).copy())


class Rows(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(28, 128, batch_first=True)
        self.dense = torch.nn.Linear(128, 10)

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.dense(h[0])


def mnist_rows(folder, epochs):
    images, labels, test_images, test_labels = (
        idx(f"{folder}/{name}") for name in
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
         "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"))
    images, test_images = images.float() / 255, test_images.float() / 255
    labels, test_labels = labels.long(), test_labels.long()
    model = Rows()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0)
    steps = math.ceil(len(images) / 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.005, total_steps=10 * steps)
    for epoch in range(epochs):
        order = torch.randperm(len(images))
        begin = time.perf_counter()
        for i in range(0, len(images), 128):
            rows = order[i:i + 128]
            loss = torch.nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        seconds = time.perf_counter() - begin
        with torch.no_grad():
            right = sum((model(test_images[i:i + 500]).argmax(-1) == test_labels[i:i + 500]).sum()
                        for i in range(0, len(test_images), 500))
        print(json.dumps({"epoch": epoch + 1, "seconds": seconds,
                          "accuracy": float(right) / len(test_images)}), flush=True)


class CharLM(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.table = torch.nn.Embedding(classes, 64)
        self.lstm = torch.nn.LSTM(64, 256, batch_first=True)
        self.dense = torch.nn.Linear(256, classes)

    def forward(self, tokens, state):
        y, state = self.lstm(self.table(tokens), state)
        return self.dense(y), state


def char_lm(folder, epochs):
    text = open(f"{folder}/input.txt", encoding="utf-8").read()
    alphabet = {c: i for i, c in enumerate(sorted(set(text)))}
    tokens = torch.tensor([alphabet[c] for c in text])
    held = round(0.1 * len(tokens))
    window, lanes = 128, 32

    def windows(part):
        length = (len(part) - 1) // lanes // window * window
        starts = [lane * ((len(part) - 1) // lanes) for lane in range(lanes)]
        for i in range(0, length, window):
            yield (torch.stack([part[s + i:s + i + window] for s in starts]),
                   torch.stack([part[s + i + 1:s + i + window + 1] for s in starts]))

    def loss_of(model, x, y, state):
        logits, state = model(x, state)
        return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]),
                                                 y.reshape(-1)), state

    model = CharLM(len(alphabet))
    optimizer = torch.optim.AdamW(model.parameters(), 0.002, weight_decay=0)
    steps = sum(1 for _ in windows(tokens[:-held])) * 10
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        state = None
        begin = time.perf_counter()
        for x, y in windows(tokens[:-held]):
            loss, state = loss_of(model, x, y, state)
            state = tuple(s.detach() for s in state)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        seconds = time.perf_counter() - begin
        total, count, state = 0.0, 0, None
        with torch.no_grad():
            for x, y in windows(tokens[-held:]):
                loss, state = loss_of(model, x, y, state)
                total, count = total + float(loss), count + 1
        print(json.dumps({"epoch": epoch + 1, "seconds": seconds, "validation": total / count}),
              flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("model", choices=["mnist_rows", "char_lm"])
parser.add_argument("folder")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
torch.manual_seed(0)
{"mnist_rows": mnist_rows, "char_lm": char_lm}[arguments.model](arguments.folder, arguments.epochs)
