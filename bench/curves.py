"""How time grows with one extent: a fitted line, and a drawing (SVG)."""
import targets

COLOURS = {"treadle": "#1f77b4", "torch": "#d62728"}
NAMES = {"treadle": "Treadle", **targets.PEER_NAMES}
WORDS = {"T": "time steps", "B": "examples of a batch"}
WIDTH, HEIGHT, LEFT, BOTTOM = 560, 320, 60, 44


def file_of(symbol):
    return f"performance_{symbol}.svg"


def series(rows, symbol):
    """By name, the points (x, milliseconds) in ascending order."""
    out = {}
    for row in sorted((row for row in rows if row["at"]["curve"] == symbol),
                      key=lambda row: row["at"]["x"]):
        x = row["at"]["x"]
        out.setdefault("treadle", []).append((x, row["milliseconds"]["median"]))
        for name, peer in row["peers"].items():
            if "milliseconds" in peer:
                out.setdefault(name, []).append((x, peer["milliseconds"]["median"]))
    return out


def fit(points):
    """The line of least squares: intercept, slope, and R squared; None of fewer than 3 points."""
    n = len(points)
    if n < 3:
        return None
    mean_x = sum(x for x, _ in points) / n
    mean_y = sum(y for _, y in points) / n
    xx = sum((x - mean_x) ** 2 for x, _ in points)
    xy = sum((x - mean_x) * (y - mean_y) for x, y in points)
    yy = sum((y - mean_y) ** 2 for _, y in points)
    slope = xy / xx
    return mean_y - slope * mean_x, slope, (slope * xy / yy if yy else 1.0)


def text(symbol, curves):
    sentences = []
    for name, points in curves.items():
        line = fit(points)
        if line:
            sentences.append(f"{NAMES[name]}: {line[0]:.2f} ms + {line[1] * 1e3:.1f} us x {symbol}, "
                             f"R² {line[2]:.4f}.")
    return (f"Time over {WORDS[symbol]}, the line of least squares: " + " ".join(sentences)
            + f"\n\n![Time over {WORDS[symbol]}]({file_of(symbol)})")


def ticks(most):
    """0 and up to five round steps."""
    step = 1.0
    while most / step > 5:
        step *= 2.5 if str(step).lstrip("0.")[0] == "2" else 2
    while most / step < 2:
        step /= 2
    return [step * i for i in range(int(most / step) + 1)]


def svg(symbol, curves):
    most_x = max(x for points in curves.values() for x, _ in points)
    most_y = max(y for points in curves.values() for _, y in points) * 1.05

    def place(x, y):
        return (f"{LEFT + (WIDTH - LEFT - 20) * x / most_x:.1f}",
                f"{HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 16) * y / most_y:.1f}")
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for tick in ticks(most_y):
        x, y = place(0, tick)
        out.append(f'<path d="M{x} {y}H{WIDTH - 20}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in sorted({x for points in curves.values() for x, _ in points}):
        if tick < most_x / 10:  # too near to 0 for its number
            continue
        x, y = place(tick, 0)
        out.append(f'<path d="M{x} {y}v4" stroke="#444"/>'
                   f'<text x="{x}" y="{float(y) + 17:.1f}" text-anchor="middle">{tick}</text>')
    x, y = place(0, 0)
    out.append(f'<path d="M{x} 16V{y}H{WIDTH - 20}" stroke="#444" fill="none"/>'
               f'<text x="{(WIDTH + LEFT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
               f'{WORDS[symbol]}</text><text x="{LEFT - 52}" y="12">ms</text>')
    for i, (name, points) in enumerate(curves.items()):
        colour = COLOURS.get(name, "#555")
        places = [place(*point) for point in points]
        out.append('<path d="M' + "L".join(f"{x} {y}" for x, y in places)
                   + f'" stroke="{colour}" stroke-width="2" fill="none"/>')
        out += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in places]
        out.append(f'<text x="{LEFT + 14}" y="{32 + 16 * i}" fill="{colour}">{NAMES[name]}</text>')
    return "\n".join(out + ["</svg>\n"])
