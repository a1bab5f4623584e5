"""Results as a Markdown table: a line a contender, means over seeds with their spread, the best figures in bold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.tasks.contender import PUBLISHED, Result


def _figure(values: list[float], digits: int) -> str:
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return "–"
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.{digits}f}"


QUIET = 4.0  # load average at the start of a run, above which its times say nothing


def _seconds(runs: list[Result], name: str) -> str:
    """Median of the runs on a quiet machine; where there is none, of all, in brackets."""
    quiet = [one for one in runs if one.load is None or one.load <= QUIET]
    known = [getattr(one, name) for one in quiet or runs if getattr(one, name) is not None]
    if not known:
        return "–"
    value = float(np.median(known))
    if value < 5e-5:
        return "–"
    text = f"{value:.0f} s" if value >= 10 else f"{value:.1f} s" if value >= 0.1 else f"{value * 1000:.1f} ms"
    return text if quiet or name == "cpu_seconds" else f"({text})"


def table(title: str, results: Sequence[Result], scores: Sequence[tuple[str, int, int]]) -> str:
    """scores: name, digits, and 1 where more is better, −1 where less is, 0 where neither; what nobody has goes."""
    groups: dict[str, list[Result]] = {}
    for one in results:
        groups.setdefault(one.contender, []).append(one)
    whole = {name: [one for one in runs if not one.failed] for name, runs in groups.items()}
    columns = [entry for entry in scores if any(entry[0] in one.scores for runs in whole.values() for one in runs)]
    means = {
        (name, score): float(np.mean([one.scores[score] for one in runs if score in one.scores]))
        for name, runs in whole.items()
        for score, _, _ in columns
        if any(score in one.scores for one in runs)
    }
    lines = [
        f"### {title}",
        "",
        f"| | {' | '.join(name for name, _, _ in columns)} | fit | processor | predict | runs |",
    ]
    lines.append("|---" + "|--:" * (len(columns) + 4) + "|")
    for name in groups:
        good = whole[name]
        cells = []
        for score, digits, sign in columns:
            values = [one.scores[score] for one in good if score in one.scores]
            cell = _figure(values, digits)
            rivals = [mean for (other, of), mean in means.items() if of == score and groups[other][0].kind != PUBLISHED]
            if sign and rivals and (name, score) in means and groups[name][0].kind != PUBLISHED:
                best = max(rivals) if sign > 0 else min(rivals)
                if round(means[name, score], digits) == round(best, digits):
                    cell = f"**{cell}**"
            cells.append(cell)
        timed = [_seconds(good, name) for name in ("fit_seconds", "cpu_seconds", "predict_seconds")]
        count = str(len(good)) if groups[name][0].kind != PUBLISHED else "–"
        lines.append(f"| {name} | {' | '.join([*cells, *timed, count])} |")
    failures = dict.fromkeys((one.contender, one.failed) for one in results if one.failed)
    lines += ["", *(f"{name} failed: {why}" for name, why in failures)] if failures else []
    return "\n".join([*lines, ""])
