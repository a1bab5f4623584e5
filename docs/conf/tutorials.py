"""Tutorials run as they stand: the blocks of code of a page in docs/tutorials, one after the other, a process a page.

    python docs/conf/tutorials.py [PAGE…]            # runs them and compares what they print with what the page says
    python docs/conf/tutorials.py --write [PAGE…]    # puts what they print into the page

A ```python block is executed, all of a page in one namespace; a ```sh block is run by bash in the same folder, which is
empty at first; what is not run is ```console. Where a ```text block follows, it must be what was printed: words as they
are, numbers within a sixth, since instruction sets differ in the last bits and training carries that on; what is
```text varies, such as sampled letters, is not compared. ``<!-- figure: what it shows -->`` stands where the site shows
the figure that the block before it has made; pages on GitHub are read without.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tutorials"
SECONDS = 900  # after which a page hangs: a slow machine that does other things as well has taken more than 180
NEAR = 1 / 6
_PART = re.compile(
    r"^```(?P<kind>python|sh)\n(?P<code>.*?)^```\n(?:\n^```text(?P<varies> varies)?\n(?P<said>.*?)^```\n)?"
    r"(?:\n?<!-- figure: (?P<alt>.*?) -->)?",
    re.M | re.S,
)
_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass
class Part:
    """A block of code, which ends at ``end``; ``said`` is the text that follows it, ``alt`` what its figure shows."""

    kind: str
    code: str
    said: str | None
    varies: bool
    alt: str | None
    line: int
    end: int


@dataclass
class Outcome:
    """What became of a page: what each part printed, the files of figures by part, and what is wrong."""

    page: Path
    printed: list[str] = field(default_factory=list)
    figures: dict[int, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def pages() -> list[Path]:
    """Those with something to run."""
    return [page for page in sorted(FOLDER.glob("*.md")) if parts(page.read_text(encoding="utf-8"))]


def parts(text: str) -> list[Part]:
    found = []
    for match in _PART.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        end = match.end("code") + len("```\n")
        found.append(Part(match["kind"], match["code"], match["said"], bool(match["varies"]), match["alt"], line, end))
    return found


def run(page: Path, figures: Path) -> Outcome:
    """Run a page; ``figures`` takes NAME-N.svg and NAME-N-dark.svg, N counting the page's figures."""
    outcome, begin = Outcome(page), time.perf_counter()
    listed = parts(page.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        order = {
            "page": page.name,
            "figures": str(figures.resolve()),
            "parts": [[part.kind, part.code, part.line, part.alt is not None] for part in listed],
            "answer": str(Path(folder) / "answer.json"),
        }
        work, programs = Path(folder) / "work", Path(folder) / "bin"
        work.mkdir()
        programs.mkdir()
        command = programs / "rekur"  # that of this Python, installed or not
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rekur "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        environment = {
            **os.environ, "MPLBACKEND": "agg", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "100", "PYTHONHASHSEED": "0",
        }  # fmt: skip
        if "PYTHONPATH" in environment:
            paths = environment["PYTHONPATH"].split(os.pathsep)
            environment["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths)
        command = [sys.executable, str(Path(__file__).with_name("_run_tutorial.py")), json.dumps(order)]
        try:
            done = subprocess.run(
                command, cwd=work, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
            )
            failed = done.returncode and (done.stderr[-3000:] or f"ended with {done.returncode}")
        except subprocess.TimeoutExpired:
            failed = f"took more than {SECONDS} s"
        if Path(order["answer"]).is_file():
            answer = json.loads(Path(order["answer"]).read_text(encoding="utf-8"))
            outcome.printed = answer["printed"]
            outcome.figures = {int(k): names for k, names in answer["figures"].items()}
    if failed:
        outcome.problems.append(f"{page.name}: {failed}")
    outcome.seconds = time.perf_counter() - begin
    for k, printed in enumerate(outcome.printed):
        part = listed[k]
        if part.said is not None and not part.varies and (difference := differs(part.said, printed)):
            outcome.problems.append(f"{page.name}:{part.line}: {difference}")
        if part.alt is not None and not outcome.figures.get(k):
            outcome.problems.append(f"{page.name}:{part.line}: made no figure")
    return outcome


def differs(said: str, printed: str) -> str:
    """What tells two texts apart; empty where their words are the same and their numbers near."""
    for a, b in zip(said.rstrip().splitlines(), printed.rstrip().splitlines(), strict=False):
        words = [" ".join(_NUMBER.sub("#", line).split()) for line in (a, b)]
        numbers = [[_value(text) for text in _NUMBER.findall(line)] for line in (a, b)]
        units = [_unit(text) for text in _NUMBER.findall(a)]
        if words[0] != words[1] or any(
            abs(x - y) > max(NEAR * max(abs(x), abs(y)), 2 * unit) for x, y, unit in zip(*numbers, units, strict=True)
        ):
            return f"the page says\n    {a}\nand what is printed is\n    {b}"
    if len(said.rstrip().splitlines()) != len(printed.rstrip().splitlines()):
        return f"the page says {len(said.splitlines())} lines, printed are {len(printed.splitlines())}:\n{printed}"
    return ""


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def _unit(text: str) -> float:
    """Of the last digit."""
    digits, _, power = text.partition("e")
    return 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def run_all(listed: list[Path], figures: Path, jobs: int) -> list[Outcome]:
    figures.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda page: run(page, figures), listed))


def with_figures(text: str, outcome: Outcome) -> str:
    """The page's text for the site: figures where their marks stand."""
    out, end = [], 0
    for k, part in enumerate(parts(text)):
        mark = f"<!-- figure: {part.alt} -->"
        names = outcome.figures.get(k)
        if part.alt is None or not names:
            continue
        at = text.index(mark, part.end)
        images = "".join(
            f"```{{image}} figures/{name}\n:alt: {part.alt}\n:class: only-{theme}\n```\n\n"
            for name, theme in zip(names, ("light", "dark"), strict=True)
        )
        out += [text[end:at], images]
        end = at + len(mark)
    return "".join([*out, text[end:]])


def written(text: str, outcome: Outcome) -> str:
    """The page's text with what was printed; blocks that print nothing have no text behind them."""
    out, end = [], 0
    for part, printed in zip(parts(text), outcome.printed, strict=False):
        out.append(text[end : part.end])
        end, mark = part.end, " varies" if part.varies else ""
        if part.said is not None:
            end += len(f"\n```text{mark}\n{part.said}```\n")
        if printed.strip():
            out.append(f"\n```text{mark}\n{printed.rstrip()}\n```\n")
    return "".join([*out, text[end:]])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path, default=[])
    parser.add_argument("--write", action="store_true", help="put what is printed into the pages")
    parser.add_argument("--figures", type=Path, help="folder for the figures")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    listed = [page.resolve() for page in options.pages] or pages()
    with tempfile.TemporaryDirectory() as folder:
        wrong = 0
        for outcome in run_all(listed, options.figures or Path(folder), options.jobs):
            print(f"{outcome.page.name}: {outcome.seconds:.0f} s")
            problems = outcome.problems
            if options.write:
                text = outcome.page.read_text(encoding="utf-8")
                outcome.page.write_text(written(text, outcome), encoding="utf-8")
                problems = [problem for problem in problems if "the page says" not in problem]
            print(*problems, sep="\n", file=sys.stderr)
            wrong += len(problems)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
