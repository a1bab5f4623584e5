"""The process that tutorials.py starts for a page: runs its parts and writes what they printed and drew.

Its only argument is JSON: the page's name, its parts, the folder of figures and the file for the answer.
"""

import contextlib
import io
import json
import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType


def figures_of(space: dict, seen: set[int]) -> list:
    """The figures that are new: bound to a name, or open in pyplot."""
    if "matplotlib.figure" not in sys.modules:
        return []
    from matplotlib.figure import Figure

    found = [value for value in space.values() if isinstance(value, Figure)]
    if "matplotlib.pyplot" in sys.modules:
        from matplotlib import pyplot

        found += [pyplot.figure(number) for number in pyplot.get_fignums()]
    fresh = [figure for k, figure in enumerate(found) if id(figure) not in seen and figure not in found[:k]]
    seen.update(map(id, fresh))
    return fresh


def draw(figure, path: Path) -> list[str]:
    """Two files, for light and for dark pages: the house's colours are replaced by their dark ones."""
    import matplotlib

    from rekur.tasks.report._palette import COLOURS

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "rekur"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    path.write_text(text, encoding="utf-8")
    for light, dark in COLOURS.values():
        text = text.replace(light, dark)
    other = path.with_name(f"{path.stem}-dark.svg")
    other.write_text(text, encoding="utf-8")
    return [path.name, other.name]


def main() -> int:
    order = json.loads(sys.argv[1])
    printed, figures, seen, failed = [], {}, set(), 0
    module = ModuleType("__main__")  # what is defined in a page can be pickled
    sys.modules["__main__"] = module
    space = vars(module)
    for k, (kind, code, line, shows) in enumerate(order["parts"]):
        if kind == "sh":
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], capture_output=True, text=True, check=False)
            printed.append(done.stdout)
            if done.returncode:
                print(f"line {line}: {done.stdout[-2000:]}{done.stderr[-2000:]}", file=sys.stderr)
                failed = 1
                break
            continue
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                exec(compile("\n" * line + code, order["page"], "exec"), space)
        except BaseException:
            traceback.print_exc()
            failed = 1
            break
        finally:
            printed.append(out.getvalue())
        fresh = figures_of(space, seen)
        if shows and fresh:
            name = f"{Path(order['page']).stem}-{len(figures) + 1}.svg"
            figures[k] = draw(fresh[-1], Path(order["figures"]) / name)
    Path(order["answer"]).write_text(json.dumps({"printed": printed, "figures": figures}), encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main())
