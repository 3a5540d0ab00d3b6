"""How many of the digits that examples/digits_generate.tdl draws can be read.

    treadle train examples/digits_generate.tdl --data DATA -o PAINTING
    treadle train examples/digits_generate.tdl --data DATA --model Reader -o READER
    python3 bench/digits_generate.py build/treadle PAINTING READER

Draws 20 digits for each of the 30 captions and prints the share that Reader reads
as their label, and the mean ink of thin, plain and bold ones. Writes
digits_generate.png, a sheet of a hundred, into the current folder. Needs numpy.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

EXAMPLE = pathlib.Path(__file__).parent.parent / "examples" / "digits_generate.tdl"
WORDS = ("thin", "plain", "bold")


def main(treadle, painting, reader):
    def run(model, folder, inputs, result, out):
        command = [treadle, "run", EXAMPLE, "--model", model, "--run", folder, "--result", result,
                   "-o", out]
        for name, path in inputs.items():
            command += ["--input", f"{name}={path}"]
        subprocess.run(command, check=True)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        weights = np.repeat(np.arange(3), 200).astype(np.int32)
        labels = np.tile(np.arange(10), 60).astype(np.int32)
        np.save(folder / "weights.npy", weights)
        np.save(folder / "labels.npy", labels)
        captions = {"weight": folder / "weights.npy", "label": folder / "labels.npy"}
        run("Drawing", painting, captions, "points", folder / "points.npy")
        run("Reader", reader, {"image": folder / "points.npy"}, "logits", folder / "logits.npy")
        read = np.load(folder / "logits.npy").argmax(axis=1)
        ink = np.load(folder / "points.npy").sum(axis=1)
        print(f"read as their label: {(read == labels).mean():.3f} of {len(labels)}")
        for i, word in enumerate(WORDS):
            mine = weights == i
            print(f"  {word}: {(read == labels)[mine].mean():.3f}, mean ink {ink[mine].mean():.0f}")
        np.save(folder / "weights.npy", np.repeat(np.arange(3), 40)[:100].astype(np.int32))
        np.save(folder / "labels.npy", np.tile(np.arange(10), 10).astype(np.int32))
        run("Drawing", painting, captions, "image", "digits_generate.png")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
