"""What `treadle bench --tensors` wrote: inputs and results by name."""
import numpy
from safetensors.numpy import load_file


def relative(found, expected):
    found, expected = numpy.asarray(found), numpy.asarray(expected)
    return float(abs(found - expected).max() / max(abs(expected).max(), 1e-30))


class Tensors:
    def __init__(self, path):
        self.all = load_file(path)

    def input(self, name):
        """by its whole name, or the one that ends like this"""
        found = [value for key, value in self.all.items()
                 if key == f"input:{name}" or (key.startswith("input:") and
                                               key.endswith("." + name))]
        assert len(found) == 1, name
        return found[0]

    def inputs(self):
        return {key[6:]: value for key, value in self.all.items() if key.startswith("input:")}

    def output(self, name):
        return self.all[f"output:{name}"]

    def gradients(self):
        return {key[12:]: value for key, value in self.all.items()
                if key.startswith("output:grad:")}
