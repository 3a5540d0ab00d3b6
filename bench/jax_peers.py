"""The rows of rows.py in JAX."""
import jax
import jax.numpy as jnp
import numpy

from tensors import relative


def cell(row, tensors):
    kind = row.about["cell"]
    names = ["W", "U", "b"] + (["c"] if kind == "GRU" else [])
    weights = {n: jnp.asarray(tensors.input(n)) for n in names}
    x = jnp.asarray(tensors.input("x").swapaxes(0, 1))
    hidden = weights["U"].shape[0]

    def forward(w, x):
        zero = jnp.zeros((x.shape[1], hidden))
        projected = x @ w["W"] + w["b"]

        def lstm(state, row):
            h, c = state
            i, f, g, o = jnp.split(row + h @ w["U"], 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        def gru(h, row):
            xr, xz, xn = jnp.split(row, 3, -1)
            hr, hz, hn = jnp.split(h @ w["U"] + w["c"], 3, -1)
            z = jax.nn.sigmoid(xz + hz)
            h = (1 - z) * jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn) + z * h
            return h, h

        def rnn(h, row):
            h = jnp.tanh(row + h @ w["U"])
            return h, h

        step, start = {"LSTM": (lstm, (zero, zero)), "GRU": (gru, zero), "RNN": (rnn, zero)}[kind]
        return jax.lax.scan(step, start, projected)[1]

    if row.part == "forward":
        compiled = jax.jit(forward)
        return (lambda: jax.block_until_ready(compiled(weights, x)),
                lambda y: relative(numpy.swapaxes(y, 0, 1), tensors.output("y")))
    compiled = jax.jit(jax.grad(lambda w, x: jnp.square(forward(w, x)).mean()))
    grads = {name.split(".")[-1]: g for name, g in tensors.gradients().items()}
    return (lambda: jax.block_until_ready(compiled(weights, x)),
            lambda found: max(relative(found[n], grads[n]) for n in names))


def attention(row, tensors):
    def rows_first(a):  # JAX wants [batch, rows, heads, width]
        return numpy.ascontiguousarray(a.swapaxes(1, 2))

    q, k, v = (jnp.asarray(rows_first(tensors.input(n))) for n in "qkv")

    def attend(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, is_causal=row.about["causal"])

    def check(found):
        return max(relative(a, rows_first(tensors.output(name)))
                   for a, name in zip(found, ("y", "dq", "dk", "dv")))
    if not row.about["gradient"]:
        compiled = jax.jit(lambda q, k, v: (attend(q, k, v),))
        return lambda: jax.block_until_ready(compiled(q, k, v)), check
    w = jnp.asarray(rows_first(tensors.input("w")))

    def gradient(q, k, v, w):
        y, pull = jax.vjp(attend, q, k, v)
        return (y, *pull(w))
    compiled = jax.jit(gradient)
    return lambda: jax.block_until_ready(compiled(q, k, v, w)), check


def make(row, tensors):
    return attention(row, tensors) if row.kind == "attention" else cell(row, tensors)
