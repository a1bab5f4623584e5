"""The documentation site: ``python docs/conf/build.py [OUT]`` builds it into build/site/html.

It fails for any warning, and for what check.py finds. Needs rekur with its docs extra. The sources are put together in
a folder beside the pages that are built: the repository's files where they stand, so that a link from page to page is
right here as on GitHub, and what is made: the API reference (reference.py), the tutorials, which are run, with their
figures (tutorials.py), the form of docs/speed.md (speed.py).
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import speed
import tutorials
from check import problems

ROOT = Path(__file__).parents[2]
CONF = ROOT / "docs" / "conf"


def stage(source: Path) -> None:
    """A copy of the repository's files, with the start page at its top; made pages come into its docs/."""
    shutil.rmtree(source, ignore_errors=True)
    left_out = shutil.ignore_patterns("build", "dist", "node_modules", ".*", "__pycache__", "*.so", "conf", "tests")
    shutil.copytree(ROOT, source, ignore=left_out)
    start = (CONF / "index.md").read_text(encoding="utf-8")
    pages = (page.relative_to(ROOT).as_posix() for page in (*ROOT.glob("docs/*.md"), *ROOT.glob("docs/tutorials/*.md")))
    further = [page for page in sorted(pages) if page not in start]  # of whom nobody has said where they belong
    if further:
        start += "\n".join(["", "```{toctree}", ":hidden:", ":caption: Further pages", "", *further, "```", ""])
    (source / "index.md").write_text(start, encoding="utf-8")


def make(source: Path, listed: list[Path], jobs: int) -> list[str]:
    """The pages with parts that are made: figures of the tutorials, which are run, and the form of docs/speed.md."""
    page = source / "docs" / "speed.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace(speed.FORM, speed.form()), encoding="utf-8")
    wrong = []
    for outcome in tutorials.run_all(listed, source / "docs" / "tutorials" / "figures", jobs):
        print(f"{outcome.page.name}: {outcome.seconds:.0f} s", flush=True)
        wrong += outcome.problems
        page = source / "docs" / "tutorials" / outcome.page.name
        page.write_text(tutorials.with_figures(page.read_text(encoding="utf-8"), outcome), encoding="utf-8")
    return wrong


def build(source: Path, out: Path, jobs: int) -> int:
    """Run Sphinx; 0 where nothing was wrong."""
    from sphinx.cmd.build import main

    shutil.rmtree(out, ignore_errors=True)
    doctrees = source.parent / "doctrees"
    shutil.rmtree(doctrees, ignore_errors=True)
    return main(
        ["-q", "-W", "--keep-going", "-n", "-j", str(jobs), "-c", str(CONF), "-d", str(doctrees), str(source), str(out)]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "out", nargs="?", type=Path, default=ROOT / "build" / "site" / "html", help="folder for the pages"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (as many as cores)")
    parser.add_argument("--no-tutorials", action="store_true", help="pages of tutorials without running them")
    options = parser.parse_args()
    source = options.out.resolve().parent / "source"
    stage(source)
    wrong = make(source, [] if options.no_tutorials else tutorials.pages(), options.jobs)
    failed = build(source, options.out.resolve(), options.jobs)
    wrong += problems(options.out)
    print(*wrong, sep="\n", file=sys.stderr)
    return int(bool(failed or wrong))


if __name__ == "__main__":
    sys.exit(main())
