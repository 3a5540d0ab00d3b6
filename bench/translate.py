"""Translation, Treadle against PyTorch: the same models trained in the same way.

    python bench/translate.py gru|transformer FOLDER [--seeds 3] [--threads 2] [--work WORK]

FOLDER holds small_parallel_enja (github.com/odashi/small_parallel_enja). Trains
both from each seed, translates the test set greedily with both, prints BLEU
(sacrebleu, on the tokens as they are), the means, and sample translations of the
first seed side by side. A single seed says little: equal models differ by a point.
What WORK already holds (translations of PyTorch, a run of Treadle) is not made again.
"""
import argparse
import os
import statistics
import subprocess
import sys

import sacrebleu

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(here)
treadle = f"{root}/build/treadle"


def lines(path):
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def bleu(found, expected):
    return sacrebleu.corpus_bleu(found, [expected], tokenize="none", force=True).score


def treadle_translations(model, folder, work, seed, threads):
    """Greedily and with a beam of 4."""
    program = f"{root}/examples/translate_jaen.tdl"
    name = "RecurrentTranslator" if model == "gru" else "TransformerTranslator"
    run = f"{work}/{model}{seed}"
    if not os.path.exists(run):
        subprocess.run([treadle, "train", program, "--model", name, "--data", folder, "--seed", str(seed),
                        "--threads", str(threads), "-o", run], check=True)
    out = []
    for beam in (1, 4):
        translated = subprocess.run(
            [treadle, "generate", program, "--model", name, "--run", run, "--source-file",
             f"{folder}/test.ja", "--max", "40", "--beam", str(beam)],
            check=True, stdout=subprocess.PIPE, encoding="utf-8")
        out.append(translated.stdout.splitlines())
    return out


def torch_translations(model, folder, work, seed, threads):
    path = f"{work}/torch_{model}{seed}.txt"
    if not os.path.exists(path):
        subprocess.run([sys.executable, f"{here}/translate_torch.py", model, folder, "--output", path,
                        "--seed", str(seed), "--threads", str(threads)], check=True)
    return lines(path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=["gru", "transformer"])
    parser.add_argument("folder")
    parser.add_argument("--work", default="runs/translate")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=8)
    arguments = parser.parse_args()
    os.makedirs(arguments.work, exist_ok=True)
    source, reference = (lines(f"{arguments.folder}/test.{end}") for end in ("ja", "en"))
    scores = []
    for seed in range(arguments.seeds):
        what = arguments.model, arguments.folder, arguments.work, seed, arguments.threads
        torch = torch_translations(*what)
        greedy, beam = treadle_translations(*what)
        if seed == 0:
            for i in range(0, len(source), max(1, len(source) // arguments.samples)):
                print(f"source     {source[i]}\nreference  {reference[i]}\n"
                      f"treadle    {greedy[i]}\nbeam of 4  {beam[i]}\ntorch      {torch[i]}\n")
        scores.append([bleu(found, reference) for found in (greedy, torch, beam)])
        print("seed {}: BLEU of treadle {:.2f}, of torch {:.2f}, both greedy; "
              "of treadle with a beam of 4 {:.2f}".format(seed, *scores[-1]), flush=True)
    print("means over {} seeds, {} sentences: treadle {:.2f}, torch {:.2f}; with a beam of 4 {:.2f}".format(
        len(scores), len(source), *(statistics.mean(column) for column in zip(*scores))))


main()
