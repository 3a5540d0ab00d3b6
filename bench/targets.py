"""What a row promises, and whether its numbers keep it."""

PEER_NAMES = {"torch": "PyTorch", "torch.compile": "torch.compile",
              "torch.padded": "PyTorch, padded", "jax": "JAX", "onnxruntime": "ONNX Runtime",
              "openvino": "OpenVINO", "onednn": "oneDNN", "library": "the library's LSTM",
              "full": "the full batch", "one": "the longest alone"}
OURS = ("library", "full", "one")  # Treadle's own, on another program or batch


def share(least):
    """of the peak that the machine had at that time, by the flops of products"""
    return {"kind": "share", "at_least": least}


def beats(peer, least):
    """the peer's time over ours"""
    return {"kind": "ratio", "peer": peer, "at_least": least}


def beats_best(least):
    """the fastest peer's time over ours"""
    return {"kind": "best", "at_least": least}


def within_bound():
    """of a batch of different lengths: bench/ragged.py"""
    return {"kind": "bound", "at_most": 1.0}


def at_most(number, limit, words):
    """of a row of costs.py"""
    return {"kind": "number", "number": number, "at_most": limit, "text": words}


def best_peer(row):
    ran = {name: peer["ratio"]["median"] for name, peer in row["peers"].items()
           if "ratio" in peer and name not in OURS}
    return min(ran, key=ran.get) if ran else None


def measured(target, row):
    """What the row reached of this target, or None where the peer did not run."""
    if target["kind"] == "share":
        return row.get("share", {}).get("median")
    if target["kind"] == "bound":
        return row["of_bound"]["median"]
    if target["kind"] == "number":
        return row["numbers"].get(target["number"], {}).get("median")
    peer = target["peer"] if target["kind"] == "ratio" else best_peer(row)
    return row["peers"].get(peer, {}).get("ratio", {}).get("median")


def text(target):
    if target["kind"] == "bound":
        return "1.2 x the full batch by its share of rows + the longest alone"
    if target["kind"] == "number":
        return target["text"]
    least = target["at_least"]
    if target["kind"] == "share":
        return f"{100 * least:.0f} % of peak"
    if target["kind"] == "best":
        return f"{least:.1f}x the best peer"
    if target["peer"] == "library":
        return f"within {100 * (1 / least - 1):.0f} % of {PEER_NAMES['library']}"
    return f"{least:.1f}x {PEER_NAMES[target['peer']]}"


def met(target, row):
    value = measured(target, row)
    if value is None:
        return None
    return value <= target["at_most"] if "at_most" in target else value >= target["at_least"]


def verdict(row):
    """"met", "MISSED", or "-" where what decides could not be measured"""
    if row.get("failed"):
        return "MISSED"
    judged = [(t, met(t, row)) for t in row["targets"]]
    if row["rule"] == "share":
        judged = [(t, m) for t, m in judged if t["kind"] == "share"]
    known = [m for _, m in judged if m is not None]
    if not known:
        return "-"
    kept = any(known) if row["rule"] == "any" else all(known) and len(known) == len(judged)
    if not kept and row["rule"] == "all" and all(known):
        return "-"
    return "met" if kept else "MISSED"


def targets_text(row):
    """What decides, and behind it in brackets what else was promised."""
    if row["rule"] != "share":
        return {"all": " and ", "any": " or "}[row["rule"]].join(text(t) for t in row["targets"])
    deciding = ", ".join(text(t) for t in row["targets"] if t["kind"] == "share")
    others = ", ".join(text(t) for t in row["targets"] if t["kind"] != "share")
    return deciding + (f" ({others})" if others else "")
