#!/usr/bin/env python3
"""Makes tests/golden/metrics.json: what public implementations of the metrics compute on the same arrays.

Needs numpy, scipy, scikit-learn, pytorch-fid, torch-fidelity, prdc, fairlearn in a virtual environment of your own:

    python3 -m venv venv && venv/bin/pip install scipy scikit-learn torch pytorch-fid torch-fidelity prdc fairlearn
    venv/bin/python tools/golden/golden_metrics.py            # writes the file
    venv/bin/python tools/golden/golden_metrics.py --verify   # fails if a number would change
"""

import contextlib
import io
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from prdc import compute_prdc
from pytorch_fid.fid_score import calculate_frechet_distance
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch_fidelity.metric_kid import kernel_mmd
from torch_fidelity.metric_prc import calculate_precision_recall_full

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fill

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "metrics.json"


def vectors(name, n, d, shift, scale, copies=None):
    """r * (1 + 0.1 j) * scale + shift + 0.3 * (r of the next column), float32; the first rows may be copies."""
    r = fill.signed(name, (n, d)).astype(np.float32).astype(np.float64)
    x = (r * (1 + 0.1 * np.arange(d)) * scale + shift + 0.3 * np.roll(r, -1, axis=1)).astype(np.float32)
    if copies is not None:
        x[:len(copies)] = copies
    return x


def set_case(name, n, m, d):
    x = vectors(name + ".x", n, d, 0.0, 1.0)
    y = vectors(name + ".y", m, d, 0.25, 0.8, copies=x[:3])
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    case = {"name": name, "n": n, "m": m, "d": d}
    if n > d and m > d:
        with contextlib.redirect_stdout(io.StringIO()):
            case["fd"] = float(calculate_frechet_distance(x64.mean(0), np.cov(x64, rowvar=False), y64.mean(0),
                                                          np.cov(y64, rowvar=False)))
    else:  # rank-deficient: the square root of the product in its eigenvalue form, as torch-fidelity >= 0.4
        s = np.cov(x64, rowvar=False) @ np.cov(y64, rowvar=False)
        trace = np.sqrt(np.clip(np.linalg.eigvals(s).real, 0, None))
        trace = np.sort(trace)[-(min(n, m) - 1):].sum()  # the others are zero in exact arithmetic
        case["fd"] = float(((x64.mean(0) - y64.mean(0)) ** 2).sum() + np.trace(np.cov(x64, rowvar=False)) +
                           np.trace(np.cov(y64, rowvar=False)) - 2 * trace)
    k = min(n, m)
    case["kid"] = float(kernel_mmd(x64[:k], y64[:k], kid_kernel="poly", kid_kernel_poly_degree=3,
                                   kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1))
    with contextlib.redirect_stdout(io.StringIO()):
        prdc = compute_prdc(x64, y64, nearest_k=5)
    case["density"], case["coverage"] = float(prdc["density"]), float(prdc["coverage"])
    precision, recall = calculate_precision_recall_full(torch.from_numpy(y64), torch.from_numpy(x64), 3)
    case["precision"], case["recall"] = precision, recall
    distance, index = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(x64).kneighbors(y64)
    exact = np.linalg.norm(y64[:, None] - x64[index], axis=2)
    case["nearest_index"], case["nearest_distance"] = index[:20].tolist(), exact[:20].tolist()
    folds = np.concatenate([np.arange(k) % 5, np.arange(k) % 5])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-10, max_iter=10000))
    scores = cross_val_predict(pipeline, np.concatenate([x64[:k], y64[:k]]), np.repeat([0, 1], k),
                               cv=PredefinedSplit(folds), method="decision_function")
    case["c2st_auc"] = float(roc_auc_score(np.repeat([0, 1], k), scores))
    return case


def roc_case(name, n, m, levels):
    """Scores with ties where `levels` is set."""
    positive, negative = fill.unit(name + ".p", n) ** 0.7, fill.unit(name + ".n", m)
    if levels:
        positive, negative = np.floor(positive * levels), np.floor(negative * levels)
    truth, score = np.repeat([1, 0], [n, m]), np.concatenate([positive, negative])
    case = {"name": name, "n": n, "m": m, "levels": levels, "auc": float(roc_auc_score(truth, score)), "tpr": []}
    for fpr in (0.001, 0.01, 0.1):
        best = 0.0
        for t in np.unique(score):
            if (negative >= t).mean() <= fpr:
                best = max(best, float((positive >= t).mean()))
        case["tpr"].append({"fpr": fpr, "tpr": best})
    return case


def scores_case(name, n, classes):
    outputs = fill.unit(name + ".outputs", n * classes).reshape(n, classes).astype(np.float32)
    labels = np.array(fill.integers(name + ".labels", n, classes))
    outputs[np.arange(n), labels] += np.float32(0.3)
    p = outputs.astype(np.float64)
    auc = np.mean([roc_auc_score(labels == c, p[:, c]) for c in range(classes)])
    return {"name": name, "n": n, "classes": classes, "accuracy": accuracy_score(labels, p.argmax(1)),
            "balanced_accuracy": balanced_accuracy_score(labels, p.argmax(1)), "auroc": float(auc)}


def fairness_case(name, n, classes, groups):
    """Each class against the rest, the worst of them. The last images are in no group."""
    outputs = fill.unit(name + ".outputs", n * classes).reshape(n, classes).astype(np.float32)
    labels = np.array(fill.integers(name + ".labels", n, classes))
    group = np.array(fill.integers(name + ".groups", n, groups))
    outputs[np.arange(n), labels] += (0.2 * (group + 1)).astype(np.float32)
    predicted, there = outputs.argmax(1), np.arange(n) < n - 10
    worst = [max(measure(labels[there] == c, predicted[there] == c, sensitive_features=group[there])
                 for c in range(classes)) for measure in (demographic_parity_difference, equalized_odds_difference)]
    return {"name": name, "n": n, "classes": classes, "groups": groups, "demographic_parity": float(worst[0]),
            "equalised_odds": float(worst[1])}


def ct_case(name, n, m):
    generated, heldout = fill.unit(name + ".g", n) * 0.9, fill.unit(name + ".h", m)
    cells = (np.array(fill.integers(name + ".gc", n, 3)), np.array(fill.integers(name + ".hc", m, 3)))
    z, weight = 0.0, 0
    for c in range(3):
        g, h = generated[cells[0] == c], heldout[cells[1] == c]
        u = stats.mannwhitneyu(g, h, alternative="two-sided").statistic
        z += len(h) * (u - (len(g) * len(h) / 2 - 0.5)) / np.sqrt(len(g) * len(h) * (len(g) + len(h) + 1) / 12)
        weight += len(h)
    return {"name": name, "n": n, "m": m, "ct": float(z / weight)}


def pixel_case(name, n, h, w):
    a = fill.unit(name + ".a", n * h * w).reshape(n, h, w).astype(np.float32).astype(np.float64)
    b = (fill.unit(name + ".b", n * h * w).reshape(n, h, w) ** 2).astype(np.float32).astype(np.float64)
    counts = [np.bincount(np.minimum(np.floor(x * 256), 255).astype(int).ravel(), minlength=256) for x in (a, b)]
    side = min(h, w)
    fy, fx = np.meshgrid(np.fft.fftfreq(h) * side, np.fft.fftfreq(w) * side, indexing="ij")
    radius = np.floor(np.hypot(fy, fx) + 0.5).astype(int)
    power = [np.abs(np.fft.fft2(x)) ** 2 / (h * w) ** 2 for x in (a, b)]
    spectrum = [np.array([p[:, radius == r].mean() for r in range(1, side // 2 + 1)]) for p in power]
    return {"name": name, "n": n, "h": h, "w": w,
            "histogram": float(stats.wasserstein_distance(np.arange(256), np.arange(256), *counts) / 255),
            "histogram_total": float(np.abs(counts[0] / counts[0].sum() - counts[1] / counts[1].sum()).sum() / 2),
            "spectrum_db": float(np.sqrt(np.mean((10 * np.log10(spectrum[0] / spectrum[1])) ** 2)))}


def intervals():
    def clopper_pearson(k, n):
        return [0.0 if k == 0 else stats.beta.ppf(0.025, k, n - k + 1),
                1.0 if k == n else stats.beta.ppf(0.975, k + 1, n - k)]

    return {"clopper_pearson": [{"k": k, "n": n, "interval": clopper_pearson(k, n)} for k, n in
                                [(0, 10), (10, 10), (3, 10), (0, 1000), (5, 1000), (50, 1000), (9999, 10000),
                                 (123456, 1000000)]],
            "student": [{"p": p, "degrees": v, "t": float(stats.t.ppf(p, v))} for p, v in
                        [(0.975, 1), (0.975, 4), (0.975, 19), (0.9, 30), (0.025, 7)]]}


def values():
    return {"made_by": "tools/golden/golden_metrics.py",
            "versions": {"python": platform.python_version(),
                         **{p: version(p) for p in ("numpy", "scipy", "scikit-learn", "pytorch-fid", "torch-fidelity",
                                                    "prdc", "fairlearn")}},
            "sets": [set_case("square", 300, 250, 16), set_case("few", 12, 15, 32), set_case("wide", 1100, 700, 7)],
            "roc": [roc_case("plain", 300, 500, 0), roc_case("ties", 400, 250, 20)],
            "scores": [scores_case("three", 200, 3), scores_case("ten", 500, 10)],
            "fairness": [fairness_case("two", 300, 2, 2), fairness_case("many", 900, 5, 3)],
            "ct": [ct_case("ct", 300, 200)],
            "pixels": [pixel_case("even", 5, 8, 8), pixel_case("odd", 4, 9, 12)],
            "intervals": intervals()}


def close(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) or isinstance(b, float):
        return abs(a - b) <= 1e-9 + 1e-7 * abs(a)
    return a == b


def main():
    new = values()
    if "--verify" in sys.argv:
        old = json.loads(OUT.read_text())
        old.pop("versions"), new.pop("versions")
        sys.exit(0 if close(old, new) else "metrics.json would change")
    OUT.write_text(json.dumps(new, indent=1) + "\n")


main()
