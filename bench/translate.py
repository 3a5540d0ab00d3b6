"""Translation, Treadle against PyTorch: the same models trained in the same way.

    python bench/translate.py gru|transformer FOLDER [--work WORK]

FOLDER holds small_parallel_enja (github.com/odashi/small_parallel_enja). Trains
both, translates the test set greedily with both, prints BLEU (sacrebleu, on the
tokens as they are) and sample translations side by side. What WORK already holds
(translations of PyTorch, a run of Treadle) is not made again.
"""
import argparse
import os
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=["gru", "transformer"])
    parser.add_argument("folder")
    parser.add_argument("--work", default="runs/translate")
    parser.add_argument("--samples", type=int, default=8)
    arguments = parser.parse_args()
    model, folder, work = arguments.model, arguments.folder, arguments.work
    os.makedirs(work, exist_ok=True)
    theirs = f"{work}/torch_{model}.txt"
    if not os.path.exists(theirs):
        subprocess.run([sys.executable, f"{here}/translate_torch.py", model, folder,
                        "--output", theirs], check=True)
    program = f"{root}/examples/translate_jaen.tdl"
    name = "RecurrentTranslator" if model == "gru" else "TransformerTranslator"
    run = f"{work}/{model}"
    if not os.path.exists(run):
        subprocess.run([treadle, "train", program, "--model", name, "--data", folder, "-o", run], check=True)
    for search, options in (("greedy", ["--beam", "1"]), ("beam", ["--beam", "4"])):
        with open(f"{work}/{model}_{search}.txt", "w", encoding="utf-8") as file:
            subprocess.run([treadle, "generate", program, "--model", name, "--run", run,
                            "--source-file", f"{folder}/test.ja", "--max", "40", *options], check=True, stdout=file)
    source, reference = lines(f"{folder}/test.ja"), lines(f"{folder}/test.en")
    greedy, beam = (lines(f"{work}/{model}_{search}.txt") for search in ("greedy", "beam"))
    torch = lines(theirs)
    for i in range(0, len(source), max(1, len(source) // arguments.samples)):
        print(f"source     {source[i]}\nreference  {reference[i]}\n"
              f"treadle    {greedy[i]}\nbeam of 4  {beam[i]}\ntorch      {torch[i]}\n")
    print(f"BLEU on {len(source)} sentences: treadle {bleu(greedy, reference):.2f}, "
          f"torch {bleu(torch, reference):.2f} (both greedy); "
          f"treadle with a beam of 4 {bleu(beam, reference):.2f}")


main()
