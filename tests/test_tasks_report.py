"""Pictures and reports of the estimators: what is drawn, what is written, what hostile names do."""

from __future__ import annotations

import html.parser
import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chromium import Chromium
from web_tools import chromium

pytest.importorskip("matplotlib")

from rekur.tasks import report
from rekur.tasks.report._canvas import narrow_screen
from rekur.tasks.report._css import _PAGE
from rekur.tasks.report._numbers import duration, moment, number, percent, size
from rekur.tasks.report._palette import COLOURS, LINES
from rekur.tasks.report._thin import thin, thin_band

HOSTILE = '<script>alert("x")</script> & $a_b$ \x00\u202e'
RNG = np.random.default_rng(0)
TIMES = np.datetime64("2024-03-29T00:00", "ns") + np.arange(120) * np.timedelta64(1, "h")
SIGNAL = np.sin(np.arange(120) / 4)


def forecast(**more: Any) -> Any:
    values = SIGNAL[96:]
    bands = {0.1: values - 1, 0.5: values, 0.9: values + 1}
    return report.plot_forecast(
        values, history=SIGNAL[:96], actual=values + 0.1, quantiles=bands, baselines={HOSTILE: values - 0.3},
        times=TIMES[96:], history_times=TIMES[:96], time_zone="Europe/Berlin", name=HOSTILE, **more,
    )  # fmt: skip


def windows(**more: Any) -> Any:
    return report.plot_windows(
        [report.Window(SIGNAL[:5], SIGNAL[5:20], label=f"{HOSTILE} {i}") for i in range(4)], **more
    )


def anomalies(**more: Any) -> Any:
    scores = np.abs(RNG.normal(size=120))
    return report.plot_anomalies(
        np.c_[SIGNAL, SIGNAL], scores, threshold=2.0, labels=[(3, 9)], times=TIMES, features=[HOSTILE, "b"], **more
    )


def classes(**more: Any) -> Any:
    return report.plot_confusion(np.diag([3, 4, 5]) + 1, ["a", HOSTILE, "c"], **more)


PICTURES: dict[str, Callable[..., Any]] = {
    "forecast": forecast,
    "windows": windows,
    "anomalies": anomalies,
    "confusion": classes,
    "error_by_step": lambda **m: report.plot_error_by_step({HOSTILE: [1.0, 2, 3], "naive": [2.0, 3, 4]}, **m),
    "split": lambda **m: report.plot_split(
        [report.Fold((0, 50), (60, 70), (50, 60)), report.Fold((0, 60), (70, 80))], **m
    ),
    "coverage": lambda **m: report.plot_coverage([0.5, 0.8], {HOSTILE: [0.4, 0.8], "b": [0.5, 0.9]}, count=50, **m),
    "pit": lambda **m: report.plot_pit(RNG.random(100), **m),
    "reliability": lambda **m: report.plot_reliability({HOSTILE: (RNG.random(60), RNG.random(60) > 0.5)}, **m),
    "class_scores": lambda **m: report.plot_class_scores([HOSTILE, "b"], [0.5, 0.9], [0.7, 1.0], count=[3, 4], **m),
    "sequences": lambda **m: report.plot_sequences(
        [RNG.normal(size=(9, 8)), RNG.normal(size=(4, 8))], [HOSTILE, 1], **m
    ),
    "tail": lambda **m: report.plot_tail(RNG.exponential(size=80), 0.0, 1.0, **m),
    "training": lambda **m: report.plot_training([{"loss": [3.0, 2, 1], "val_loss": [3.0, 2, 2.5]}] * 2, **m),
    "bits": lambda **m: report.plot_bits({HOSTILE: ([1, 2, 3], [4.0, 3, 2])}, levels={"xz": 2.5}, **m),
    "attention": lambda **m: report.plot_attention(np.full((2, 3), 1 / 3), ["a", " ", HOSTILE], ["\n", "$"], **m),
    "surprise": lambda **m: report.plot_surprise(list("ab $"), [1, 2, 3, 4], **m),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_drawn_wide_narrow_and_into_a_given_figure(name: str) -> None:
    from matplotlib.figure import Figure

    wide = PICTURES[name](title=HOSTILE)
    with narrow_screen():
        narrow = PICTURES[name]()
    assert narrow.get_size_inches()[0] <= 4.0
    given = Figure(figsize=(8, 5))
    assert PICTURES[name](figure=given) is given
    part = Figure(figsize=(8, 5), layout="constrained").subfigures(1, 2)[1]
    assert PICTURES[name](figure=part) is part
    for figure in (wide, narrow, given):
        figure.canvas.draw()
        assert figure.axes


class Page(html.parser.HTMLParser):
    """What a page is made of: balanced tags, ids, references, texts."""

    VOID = frozenset({"meta", "link", "input", "br", "hr", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data if self.open and self.open[-1] != "style" else ""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def hostile_report() -> report.Report:
    pictures = [report.Picture(lambda d=draw: d(), f"{name} {HOSTILE}", HOSTILE) for name, draw in PICTURES.items()]
    rows = [[HOSTILE, 1.0], ["x", float("nan")], [None, np.float32(2)]]
    table = report.Table([HOSTILE, "b"], rows, HOSTILE, {"b": "low"})
    content: list[Any] = [
        HOSTILE, table, report.Bullets([HOSTILE]), report.Facts([(HOSTILE, HOSTILE)]), report.Code(HOSTILE, HOSTILE),
        report.Remark(HOSTILE), report.Marked(["<b>", "\n"], [1.0, np.nan], 2.0, HOSTILE),
        report.Folded(HOSTILE, [table]), report.Figures([(HOSTILE, HOSTILE, HOSTILE)]),
    ]  # fmt: skip
    sections = [
        report.Section(HOSTILE, content),
        report.Section(HOSTILE, [report.Side(pictures[:2]), *pictures[2:]]),
    ]
    return report.Report(HOSTILE, sections, HOSTILE, HOSTILE, [(HOSTILE, HOSTILE, "")], HOSTILE)


@pytest.fixture(scope="module")
def hostile() -> tuple[str, Page]:
    text = hostile_report().html()
    return text, Page(text)


def test_hostile_names_stay_text(hostile: tuple[str, Page]) -> None:
    text, page = hostile
    assert not page.all("script")
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; $a_b$") > 40
    assert "\x00" not in text and "\u202e" not in text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_a_page_asks_for_nothing_from_outside(hostile: tuple[str, Page]) -> None:
    text, page = hostile
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and "default-src 'none'" in policy and "script-src" not in policy
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith("#") or value == "data:,", (name, value)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "@import" not in style and "url(" not in style and "http" not in style
    for target in re.findall(r"url\(([^)]*)\)", text):
        assert target.startswith("#")


def test_ids_are_unique_and_what_refers_to_them_finds_them(hostile: tuple[str, Page]) -> None:
    text, page = hostile
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    wanted = [a[n] for _, a in page.tags for n in ("aria-labelledby", "aria-describedby") if a.get(n)]
    wanted += [h[1:] for _, a in page.tags if (h := a.get("href")) and h.startswith("#")]
    wanted += re.findall(r"url\(#([^)]*)\)", text)
    assert set(wanted) <= set(ids) | {None}


def test_a_page_is_accessible_by_structure(hostile: tuple[str, Page]) -> None:
    _, page = hostile
    assert page.all("html")[0]["lang"]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    for picture in page.all("svg"):
        assert picture["role"] == "img" and picture["aria-label"] and picture["aria-describedby"]
    assert all(cell.get("scope") for cell in page.all("th"))
    assert all(
        box["tabindex"] == "0" and box["aria-label"] for box in page.all("div") if "scroll" in (box.get("class") or "")
    )


def test_texts_of_pictures_are_texts_in_the_pages_colours(hostile: tuple[str, Page]) -> None:
    text, page = hostile
    for word in ("history", "80 % interval", "mean absolute error", "steps ahead", "known anomaly", "time in Europe/"):
        assert word in page.text
    light = {pair[0] for name, pair in COLOURS.items()}
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert not [colour for colour in re.findall(r"#[0-9a-f]{6}", drawn) if colour in light]
    assert "var(--series1)" in drawn and "font-family" not in drawn


def luminance(colour: str) -> float:
    """Of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    a, b = sorted((luminance(one), luminance(other)), reverse=True)
    return (a + 0.05) / (b + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast(theme: int) -> None:
    colours = {name: pair[theme] for name, pair in (COLOURS | _PAGE).items()}
    for paper in ("paper", "card", "desk", "own", "mark"):
        for ink in ("ink", "soft", "link"):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    for name in ("series1", "series2", "series3", "series4", "series5", "alarm"):
        assert contrast(colours[name], colours["card"]) >= 4.5, name  # labels at lines are texts in these
    assert contrast(colours["rule"], colours["card"]) >= 3


def test_lines_differ_without_colour() -> None:
    kinds = [(style.dashes, style.marker) for style in LINES]
    assert len({dashes for dashes, _ in kinds}) == len({marker for _, marker in kinds}) == len(kinds)


def test_a_long_line_keeps_its_spikes() -> None:
    values = np.zeros(100_000)
    values[54_321], values[77_777] = 9, -7
    x, y = thin(np.arange(100_000), values)
    assert len(y) <= 1600 and y.max() == 9 and y.min() == -7
    assert x[np.argmax(y)] == 54_321 and (np.diff(x) >= 0).all()
    values[20_000:30_000] = np.nan
    assert np.isnan(thin(np.arange(100_000), values)[1]).sum() > 100
    assert thin(x, y)[1] is y
    _, low, high = thin_band(np.arange(100_000), values, values + 1)
    assert np.nanmin(low) == -7 and np.nanmax(high) == 10


def test_a_report_of_a_hundred_thousand_points_is_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=100_000)
    page = report.anomaly_report(
        name="signal", values=values, scores=np.abs(values), threshold=4.0, times=np.datetime64("2020-01-01", "ns")
        + np.arange(100_000) * np.timedelta64(60, "s"), tail=(rng.exponential(size=2000), 0.1, 1.0),
        history={"loss": [2.0, 1.0], "val_loss": [2.0, 1.5]},
    )  # fmt: skip
    page.write(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 1_500_000


def test_numbers_for_people() -> None:
    numbers = {0.0471234: "0.0471", 12345.678: "12\u202f346", -2.5: "−2.50", 1.23e-7: "1.23e−7", 9.996: "10.0", 0: "0"}
    numbers |= {1_234_567: "1\u202f234\u202f567", float("nan"): "–", float("-inf"): "−∞", 0.9996: "1.00", 1e9: "1.00e9"}
    for value, text in numbers.items():
        assert number(value) == text
    assert number(None) == "–" and number(True) == "yes" and number(np.float32(0.5)) == "0.500"
    shares = {
        0.8304: "83.0\u202f%",
        0.99999: "> 99.9\u202f%",
        0.0006: "0.060\u202f%",
        1.0: "100\u202f%",
        0.0: "0\u202f%",
    }
    assert {share: percent(share) for share in shares} == shares
    assert percent(None) == percent(float("nan")) == "–"
    assert size(999) == "999\u202fB" and size(1_310_000) == "1.31\u202fMB"
    assert (
        duration(0.00123) == "1.23\u202fms"
        and duration(125) == "2\u202fmin 5\u202fs"
        and duration(3840) == "1\u202fh 4\u202fmin"
    )
    assert moment(np.datetime64("2024-03-31T01:30", "ns"), "Europe/Berlin") == "31 Mar 2024, 03:30"
    assert moment(np.datetime64("2024-03-30T23:00", "ns"), "Europe/Berlin") == "31 Mar 2024"
    assert moment(np.datetime64("NaT")) == "–" and moment(17) == "17"
    assert moment(np.datetime64("2024-01-01T12:00"), "Nowhere/Nothing") == "1 Jan 2024, 12:00"


def test_times_are_drawn_in_the_datas_zone() -> None:
    times = np.datetime64("2024-03-31T00:00", "ns") + np.arange(6) * np.timedelta64(1, "h")
    figure = report.plot_forecast(np.arange(6.0), times=times, time_zone="Europe/Berlin")
    figure.canvas.draw()
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert "01:00" in labels and "02:00" not in labels and "03:00" in labels


def test_the_best_number_is_marked_and_said() -> None:
    table = report.Table(
        ["m", "a", "b"], [["x", 1.0, 5.0], ["y", 2.0, 9.0], ["z", None, 9.0]], better={"a": "low", "b": "high"}
    )
    page = report.Report("t", [report.Section("s", [table])]).html()
    assert page.count("(best)") == 3
    same = report.Table(["m", "a"], [["x", 1.0], ["y", 1.0]], better={"a": "low"})
    assert "(best)" not in report.Report("t", [report.Section("s", [same])]).html()


def test_a_report_says_when_the_model_is_worse() -> None:
    scores = {"rekur": {"MAE": 3.0}, "seasonal naive": {"MAE": 2.0}}
    assert (
        "50\u202f% above that of seasonal naive: here that is the better forecast"
        in report.forecast_report(name="x", scores=scores).summary
    )
    labels = ["a", "a", "b"]
    assert (
        "not the worse choice"
        in report.classification_report(name="x", truth=labels, predicted=["a", "b", "a"]).summary
    )


def test_levels_of_texts() -> None:
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("abcd"), 4000))
    levels = report.text_levels(text[:3000], text[3000:])
    assert abs(levels["single characters"] - 2) < 0.02  # four characters, equally frequent
    assert 2 < levels["xz"] < 2.6
    again = report.text_levels("a whole sentence that comes again. " * 40, "a whole sentence that comes again. " * 4)
    assert again["xz"] < 1 < again["single characters"]
    page = report.text_report(name="x", bits=1.5, levels=levels, surprise=(list("ab"), [1.0, 3.0]), samples=[("", "y")])
    assert "1.50 bits per character" in page.summary and "xz" in page.html()
    assert "which is better" not in page.summary
    assert "which is better: train longer" in report.text_report(name="x", bits=3.0, levels=levels).summary
    with pytest.raises(ValueError, match="unseen: expected a text"):
        report.text_levels("a", "")


def test_a_card_tells_how_a_model_is_used(tmp_path: Path) -> None:
    import rekur.tasks

    model = rekur.tasks.TextGenerator(units=4, embedding=2, epochs=1, window=8, batch_size=2, random_state=3)
    model.fit("abcab" * 20)
    path = tmp_path / "it's.safetensors"
    model.save(path)
    card = report.card_of(model, files=[path, tmp_path / "none.onnx"], seconds=2.0)
    assert card.parameters == model.models_[0].count_params() and card.settings["random_state"] == 3
    assert [(name, count) for name, count, _ in card.files] == [(path.name, path.stat().st_size)]
    namespace: dict[str, object] = {}
    code = card.use["Python"].replace(repr(path.name), repr(str(path))).replace("200", "5")
    exec(code, namespace)  # the lines to copy run
    assert len(str(namespace["text"])) == 5


def test_pictures_as_files(tmp_path: Path) -> None:
    picture = report.Picture(PICTURES["error_by_step"], "Errors", "An example")
    for kind, begin in (("png", b"\x89PNG"), ("svg", b"<svg"), ("pdf", b"%PDF")):
        path = tmp_path / f"p.{kind}"
        picture.write(path)
        first = path.read_bytes()
        assert first.startswith(begin)
        picture.write(path)
        assert path.read_bytes() == first
    xml.etree.ElementTree.fromstring((tmp_path / "p.svg").read_text())
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        picture.write(tmp_path / "p.gif")
    whole = report.Report("t", [report.Section("s", [report.Side([picture]), picture])])
    assert [p.name for p in whole.write_pictures(tmp_path)] == ["errors.png", "errors-.png"]


def test_the_same_report_is_the_same_bytes() -> None:
    one = report.Report("t", [report.Section("s", [report.Picture(PICTURES["split"], "a", "b")])])
    assert one.html() == one.html()


def test_bad_input_is_named() -> None:
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: report.plot_forecast([]), "forecast: expected one step"),
        (lambda: report.plot_forecast([1, 2], actual=[1]), "actual: expected 2 values, not 1"),
        (lambda: report.plot_forecast(["a"]), "forecast: expected numbers"),
        (lambda: report.plot_forecast(np.zeros((2, 2))), "forecast: expected one dimension"),
        (lambda: report.plot_forecast([1.0], times=["x"]), "times: expected 1 datetime64"),
        (lambda: report.plot_error_by_step({}), "errors: expected arrays"),
        (lambda: report.plot_pit([2.0]), r"values: expected numbers in \[0, 1\]"),
        (lambda: report.plot_confusion([[1]], ["a", "b"]), "matrix: expected the shape"),
        (lambda: report.plot_anomalies([1.0, 2], [1.0]), "scores: expected 2 values"),
        (lambda: report.plot_anomalies([1.0, 2], [1.0, 2], alarms=[1.0, 2, 3]), "alarms: expected a mask of 2"),
        (lambda: report.plot_tail([1.0], 0.1, 0.0), "scale: expected a positive number"),
        (lambda: report.plot_attention([[1.0]], ["a"], ["b", "c"]), "weights: expected the shape"),
        (lambda: report.Table(["a"], [[1, 2]]), "rows: expected 1 cells"),
        (
            lambda: report.classification_report(name="x", truth=["a"], predicted=["z"], classes=["a"]),
            "classes: no 'z'",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_missing_and_masked_values_are_drawn() -> None:
    nothing = np.full(5, np.nan)
    masked = np.ma.masked_array([1.0, 2, 3, 4, 5], [0, 1, 0, 0, 1])
    figure = report.plot_forecast(nothing, history=masked, quantiles={0.1: nothing, 0.9: nothing})
    figure.canvas.draw()
    report.plot_error_by_step({"a": nothing}).canvas.draw()
    report.plot_anomalies(nothing, nothing, threshold=1.0).canvas.draw()
    page = report.anomaly_report(name="x", values=masked, scores=nothing, threshold=1.0)
    assert "0 alarms" in page.html()
    assert "no numbers" in report.forecast_report(name="x", forecast=report.Window(nothing)).html()


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "rekur\[tasks\]"'):
        report.plot_pit([0.5])
    assert "<h1>t</h1>" in report.Report("t", [report.Section("s", ["text"])]).html()


def test_importing_brings_in_no_matplotlib() -> None:
    code = "import sys, rekur.tasks.report as r; r.Report, r.Table, r.plot_forecast; print('matplotlib' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


def test_in_chromium(hostile: tuple[str, Page], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(hostile[0], encoding="utf-8")
    folder = tmp_path / "browser"
    folder.mkdir()
    background = "getComputedStyle(document.body).backgroundColor"
    line = "getComputedStyle(document.querySelector('svg text')).fill"
    with Chromium(chromium(), folder) as page:
        seen = {}
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390)):
            page.prefer(color_scheme=scheme)
            page.open(path.as_uri(), width=width)
            assert page.problems == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            seen[scheme] = (page.evaluate(background), page.evaluate(line))
            shown = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 0).length"
            assert page.evaluate(shown) == len(PICTURES)
        assert seen["light"][0] != seen["dark"][0] and seen["light"][1] != seen["dark"][1]
        for scheme, other in (("dark", "light"), ("light", "dark")):
            page.prefer(color_scheme=scheme)
            page.evaluate(f"document.getElementById('theme-{other}').click()")
            assert (page.evaluate(background), page.evaluate(line)) == seen[other]
