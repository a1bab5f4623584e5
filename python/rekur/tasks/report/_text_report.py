"""Reports of text generators and translators."""

import collections
import lzma
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rekur.tasks.report._canvas import vector
from rekur.tasks.report._card import Card
from rekur.tasks.report._class_report import _common, _training_figure
from rekur.tasks.report._content import Code, Content, Marked, Picture, Remark, Report, Section, Table
from rekur.tasks.report._numbers import number, percent, plural
from rekur.tasks.report._training import plot_attention, plot_bits


def text_levels(learned: str, unseen: str) -> dict[str, float]:
    """Bits per character that simple methods need for a text, after another that they have read: beside a model's.

    Parameters
    ----------
    learned, unseen
        The text before, and the one that is written down. Neither may be empty.

    Returns
    -------
    dict
        "single characters": by their frequencies in the first text, each counted once more (Laplace's rule). "xz": how
        much longer the compressed whole is than the compressed first text.
    """
    for name, text in (("learned", learned), ("unseen", unseen)):
        if not text:
            raise ValueError(f"{name}: expected a text, not an empty one")
    counts = collections.Counter(learned)
    kinds = len(counts.keys() | set(unseen))
    total = len(learned) + kinds
    single = sum(-math.log2((counts[c] + 1) / total) for c in unseen) / len(unseen)
    before, whole = (
        len(lzma.compress(text.encode("utf-8", "replace"), preset=9)) for text in (learned, learned + unseen)
    )
    return {"xz": 8 * (whole - before) / len(unseen), "single characters": single}


def text_report(
    *,
    name: str,
    bits: float | None = None,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    levels: Mapping[str, float] | None = None,
    per: str = "character",
    over: str = "epoch",
    samples: Sequence[tuple[str, str]] = (),
    surprise: tuple[Sequence[str], ArrayLike] | None = None,
    title: str = "",
    data: Sequence[tuple[str, Any]] = (),
    notes: Sequence[str] = (),
    history: Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]] | None = None,
    card: Card | None = None,
    remarks: Sequence[str] = (),
) -> Report:
    """Put the report of a text generator together.

    Parameters
    ----------
    name
        Of the text that it learned from.
    bits
        Per character (or word, ``per``) on text that it had not seen.
    curves
        Name: (x, bits) over ``over``: "epoch", "seconds of training"; the model first.
    levels
        Name: bits of what does not train: a compressor, the frequencies of single characters.
    samples
        (what it was told how, what it wrote).
    surprise
        (pieces, bits of each) of a text that it had not seen.
    title, data, notes, history, card, remarks
        As for :func:`forecast_report`.
    """
    unit = f"bits per {per}"
    sections: list[Section] = []
    content: list[Content] = [*map(Remark, remarks)]
    rows: list[list[Any]] = [] if bits is None else [["this model", float(bits)]]
    rows += [[method, float(level)] for method, level in (levels or {}).items()]
    if rows:
        heading = unit.capitalize()
        own = None if bits is None else 0
        content.append(
            Table(["Method", heading], rows, "On text that it had not seen", better={heading: "low"}, own=own)
        )
    if curves:
        said = [
            f"{method}: from {number(vector(b, method)[0])} to {number(vector(b, method)[-1])}"
            for method, (_, b) in curves.items()
        ]
        content.append(
            Picture(
                lambda: plot_bits(curves, levels=levels, x=over, y=unit),
                f"{unit.capitalize()} over the training",
                f"Line chart. {'; '.join(said)}.",
                f"Lower is better: how many bits the model would need to write each {per} down.",
            )
        )
    if content:
        sections.append(Section("How good it is", content))
    if samples:
        sections.append(
            Section(
                "What it writes",
                [part for told, text in samples for part in (Code(text, told or "Without a beginning", wrap=True),)],
            )
        )
    if surprise is not None:
        pieces, values = list(surprise[0])[:1500], vector(surprise[1], "surprise", len(surprise[0]))[:1500]
        finite = values[np.isfinite(values)]
        top = float(np.quantile(finite, 0.98)) if len(finite) else 1.0
        sections.append(
            Section(
                "Where it was surprised",
                [
                    f"A text that it had not seen. The stronger a {per} is marked, the less the model expected it, "
                    "after all that stands before.",
                    Marked(pieces, values.tolist(), max(top, 1e-6), "bits"),
                ],
            )
        )
    sections += _common(data, notes, history, card)
    figures = []
    summary = ""
    if bits is not None:
        rival = min((levels or {}).items(), key=lambda pair: pair[1], default=None)
        figures.append((unit.capitalize(), number(bits), f"{rival[0]}: {number(rival[1])}" if rival else ""))
        summary = f"On text that it had not seen, the model needs {number(bits)} {unit}"
        if rival:
            worse = ", which is better: train longer, or on more text" if rival[1] < bits else ""
            summary += f"; {rival[0]} needs {number(rival[1])}{worse}"
        summary += "."
    return Report(title or f"Text like {name}", sections, "Text report", summary, [*figures, *_training_figure(card)])


def translation_report(
    *,
    name: str,
    sources: Sequence[str],
    targets: Sequence[str],
    written: Sequence[str],
    attention: Sequence[tuple[ArrayLike, Sequence[str], Sequence[str]]] = (),
    measures: Mapping[str, float] | None = None,
    examples: int = 12,
    title: str = "",
    data: Sequence[tuple[str, Any]] = (),
    notes: Sequence[str] = (),
    history: Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]] | None = None,
    card: Card | None = None,
    remarks: Sequence[str] = (),
) -> Report:
    """Put the report of a translator together, from what it wrote for texts that it had not seen.

    Parameters
    ----------
    sources, targets, written
        N texts read, N that should be written, N that were.
    attention
        (weights (written, read), tokens read, tokens written) of examples.
    measures
        Further measures by name.
    examples
        So many are shown, mistakes first.
    name, title, data, notes, history, card, remarks
        As for :func:`forecast_report`.
    """
    n = len(sources)
    if len(targets) != n or len(written) != n:
        raise ValueError(f"targets, written: expected {n}, as many as sources, not {len(targets)} and {len(written)}")
    right = np.array([a == b for a, b in zip(targets, written, strict=True)], bool)
    share = float(right.mean()) if n else float("nan")
    order = [*np.flatnonzero(~right)[: examples // 2].tolist(), *np.flatnonzero(right)[:examples].tolist()][:examples]
    rows = [[sources[i], written[i], "yes" if right[i] else f"no: {targets[i]}"] for i in order]
    content: list[Content] = [*map(Remark, remarks)]
    content.append(Table(["Read", "Written", "Right"], rows, caption="Mistakes first"))
    sections = [Section("What it writes", content)]
    if attention:
        pictures = [
            Picture(
                lambda w=weights, s=source, t=target: plot_attention(w, s, t),  # type: ignore[misc]
                f"Where it looked: {''.join(map(str, target))[:40]}",
                _looked(np.asarray(weights), source, target),
                "A row is what was written, a column what was read; the larger a square, the more it was looked at.",
            )
            for weights, source, target in attention
        ]
        sections.append(Section("Where it looked", list(pictures)))
    sections += _common(data, notes, history, card)
    figures = [("Exactly right", percent(share), f"of {plural(n, 'text')}")]
    figures += [(measure, number(value), "") for measure, value in (measures or {}).items()]
    summary = f"Of {plural(n, 'text')} that it had not seen, {percent(share)} were written exactly as they should be."
    return Report(
        title or f"Translation: {name}", sections, "Translation report", summary, [*figures, *_training_figure(card)]
    )


def _looked(weights: Any, source: Sequence[str], target: Sequence[str]) -> str:
    if not weights.size:
        return "Nothing was written."
    most = np.nan_to_num(weights).argmax(1)
    return "; ".join(f"for {target[i]!r} mostly at {source[j]!r}" for i, j in list(enumerate(most.tolist()))[:60]) + "."
