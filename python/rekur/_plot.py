"""A model as a drawing: a graph of boxes, as DOT for Graphviz or as SVG of our own."""

import html
import os
import shutil
import subprocess
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from rekur._files import check_writable, write_atomic
from rekur._own import check_arguments
from rekur._validate import as_path, boolean, integer, one_of, show
from rekur.layers.base import Layer
from rekur.layers.inputs import InputLayer

_DIRECTIONS = ("TB", "BT", "LR", "RL")
_CHARACTER, _LINE, _GAP, _MARGIN = 7.2, 18, 36, 12  # pixels


@dataclass
class Box:
    """A layer: the lines in its box, and the models around it."""

    lines: list[str]
    within: tuple[str, ...]


@dataclass
class Drawing:
    """Boxes by their names, and the arrows between them."""

    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: dict[tuple[str, str], None] = field(default_factory=dict)


def drawing_of(model: Any, expand_nested: bool, **shown: bool) -> Drawing:
    drawing = Drawing()
    model._engine()
    _draw(drawing, model, (), {}, expand_nested, shown)
    return drawing


def _draw(
    drawing: Drawing, model: Any, within: tuple[str, ...], given: dict[Any, str], expand: bool, shown: dict[str, bool]
) -> dict[Any, str]:
    """The boxes of a model; returns by tensor the box it comes from. ``given``: those of its inputs."""
    sources: dict[Any, str] = dict(given)
    for call in model._order:
        member = call.layer
        label = model._names[member]
        if isinstance(member, InputLayer) and call.outputs[0] in given:
            continue
        read = [sources[model._cuts.get(t, t)] for t in call.inputs]
        if expand and not isinstance(member, Layer):
            inside = _draw(
                drawing, member, (*within, label), dict(zip(member._inputs, read, strict=True)), expand, shown
            )
            ends = [inside[member._cuts.get(t, t)] for t in member._outputs]
            sources.update(zip(call.outputs, ends, strict=True))
            continue
        box = "/".join((*within, label))
        if box not in drawing.boxes:
            calls = [c for c in model._order if c.layer is member]
            drawing.boxes[box] = Box(_lines(member, label, calls, shown), within)
        drawing.arrows.update({(source, box): None for source in read})
        sources.update(dict.fromkeys(call.outputs, box))
    return sources


def _lines(member: Any, label: str, calls: list[Any], shown: dict[str, bool]) -> list[str]:
    kind = type(member).__name__
    lines = [f"{label} ({kind})" if shown["show_layer_names"] else kind]
    if shown["show_layer_activations"] and getattr(member, "activation", None) is not None:
        activation = member.activation
        name = activation["name"] if isinstance(activation, dict) else activation
        lines.append(f"activation: {getattr(name, '__name__', name)}")
    for what, tensors in (
        ("in", [t for c in calls for t in c.inputs]), ("out", [t for c in calls for t in c.outputs])
    ):  # fmt: skip
        told = []
        if shown["show_shapes"]:
            told += [", ".join(dict.fromkeys(show(t.shape) for t in tensors))]
        if shown["show_dtype"]:
            told += [", ".join(dict.fromkeys(t.dtype for t in tensors))]
        if tensors and told:
            lines.append(f"{what}: {' '.join(told)}")
    if shown["show_trainable"] and not isinstance(member, InputLayer):
        lines.append("trainable" if member.trainable else "not trainable")
    return lines


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **options: Any,
) -> str:
    """The model in Graphviz's language; see :func:`plot_model` for the parameters.

    Parameters
    ----------
    subgraph : bool
        Whether it is to stand within another graph, as a cluster.

    Returns
    -------
    str
        (In Keras an object of pydot's, whose ``to_string()`` this is.)
    """
    check_arguments(options, model_to_dot)
    shown = _shown(show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
    direction = one_of(*_DIRECTIONS)(rankdir, "model_to_dot: rankdir") if rankdir not in _DIRECTIONS else rankdir
    resolution = integer(dpi, "model_to_dot: dpi")
    drawing = drawing_of(model, boolean(expand_nested, "expand_nested"), **shown)
    kind = f"subgraph {_quoted(f'cluster_{model.name}')}" if boolean(subgraph, "subgraph") else "digraph model"
    settings = [f"label={_quoted(model.name)};"] if subgraph else [f"dpi={resolution};", f"rankdir={direction};"]
    text = [f"{kind} {{", *(f"  {line}" for line in settings), '  node [shape=box, fontname="Helvetica"];']
    root = f"{model.name}/" if subgraph else ""  # other graphs around it have names, too
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, box in drawing.boxes.items():
        label = "\\n".join(_escaped(line) for line in box.lines)
        groups[box.within].append(f'{_quoted(root + name)} [label="{label}"];')
    text += _clusters(groups, (), root)
    text += [f"  {_quoted(root + a)} -> {_quoted(root + b)};" for a, b in drawing.arrows]
    return "\n".join([*text, "}", ""])


def _clusters(groups: dict[tuple[str, ...], list[str]], within: tuple[str, ...], root: str) -> list[str]:
    pad = "  " * (len(within) + 1)
    lines = [pad + line for line in groups.get(within, [])]
    for inner in dict.fromkeys(path[: len(within) + 1] for path in groups if path[: len(within)] == within):
        if len(inner) > len(within):
            lines.append(f"{pad}subgraph {_quoted(f'cluster_{root}' + '/'.join(inner))} {{")
            lines += [f"{pad}  label={_quoted(inner[-1])};", *_clusters(groups, inner, root), f"{pad}}}"]
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _shown(*flags: object) -> dict[str, bool]:
    names = ("show_shapes", "show_dtype", "show_layer_names", "show_layer_activations", "show_trainable")
    return {name: boolean(flag, name) for name, flag in zip(names, flags, strict=True)}


class Picture:
    """A file with a drawing; a notebook shows it.

    Attributes
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def _read(self, suffix: str) -> bytes | None:
        if not self.path.lower().endswith(suffix):
            return None
        with open(self.path, "rb") as file:
            return file.read()

    def _repr_svg_(self) -> str | None:
        data = self._read(".svg")
        return None if data is None else data.decode()

    def _repr_png_(self) -> bytes | None:
        return self._read(".png")

    def __repr__(self) -> str:
        return f"<Picture '{self.path}'>"


def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **options: Any,
) -> Picture:
    """Draw a model: a box a layer, an arrow a tensor.

    Parameters
    ----------
    model : Model
    to_file : str or path
        Its suffix says which form: ``.dot`` is the text of :func:`model_to_dot`. Where Graphviz's program ``dot`` is
        installed it draws all others; without it the drawing is ``.svg``, beside the path where that says otherwise,
        with a warning.
    show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable : bool
        What stands in the boxes.
    rankdir : {"TB", "LR", "BT", "RL"}
        From top to bottom, left to right, ….
    expand_nested : bool
        Whether models within are drawn with their layers.
    dpi : int
        Dots per inch of ``dot``'s images.

    Returns
    -------
    Picture
        Which a notebook shows.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        For a form that ``dot`` does not know.
    """
    check_arguments(options, plot_model)
    path = as_path(to_file, "plot_model: to_file")
    shown = (show_shapes, show_dtype, show_layer_names)
    text = model_to_dot(
        model, *shown, rankdir, expand_nested, dpi, False, show_layer_activations, show_trainable
    )  # fmt: skip
    base, suffix = os.path.splitext(path)
    form = suffix[1:].lower() or "png"
    path = path if suffix else f"{path}.png"
    program = shutil.which("dot")
    if form == "dot":
        data = text.encode()
    elif program is not None:
        done = subprocess.run([program, f"-T{form}"], input=text.encode(), capture_output=True, check=False)
        if done.returncode:
            raise ValueError(f"plot_model: dot could not draw '{path}': {done.stderr.decode(errors='replace').strip()}")
        data = done.stdout
    else:
        if form != "svg":
            path = f"{base}.svg"
            warnings.warn(
                f"plot_model: drawn as '{path}', since Graphviz's program dot, which makes .{form}, is not installed",
                stacklevel=2,
            )
        flags = _shown(*shown, show_layer_activations, show_trainable)
        data = svg(drawing_of(model, expand_nested, **flags), rankdir).encode()
    check_writable(path)
    write_atomic(path, data)
    return Picture(path)


def svg(drawing: Drawing, rankdir: str = "TB") -> str:
    """The drawing, laid out by ranks: a box stands behind all that it reads."""
    ranks = _ranks(drawing)
    sizes = {
        name: (max(len(line) for line in box.lines) * _CHARACTER + 2 * _MARGIN, len(box.lines) * _LINE + _MARGIN)
        for name, box in drawing.boxes.items()
    }
    along = rankdir in ("TB", "BT")
    places: dict[str, tuple[float, float]] = {}  # of the corner
    widest = max((sum(_extent(sizes[n], along) + _GAP for n in rank) for rank in ranks), default=0)
    depth = float(_MARGIN)
    for rank in ranks:
        across = _MARGIN + (widest - sum(_extent(sizes[n], along) + _GAP for n in rank)) / 2
        for name in rank:
            places[name] = (across, depth) if along else (depth, across)
            across += _extent(sizes[name], along) + _GAP
        depth += max(_extent(sizes[n], not along) for n in rank) + _GAP
    whole = (widest + _MARGIN, depth) if along else (depth, widest + _MARGIN)
    if rankdir in ("BT", "RL"):
        axis = 1 if rankdir == "BT" else 0
        for name, place in places.items():
            turned = list(place)
            turned[axis] = whole[axis] - place[axis] - sizes[name][axis]
            places[name] = (turned[0], turned[1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole[0]:.0f}" height="{whole[1]:.0f}" '
        'font-family="monospace" font-size="12">',
        '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
    ]
    for a, b in drawing.arrows:
        (x0, y0), (x1, y1) = _ends(places[a], sizes[a], places[b], sizes[b], rankdir)
        parts.append(
            f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="black" marker-end="url(#head)"/>'
        )
    for name, box in drawing.boxes.items():
        (x, y), (w, h) = places[name], sizes[name]
        title = html.escape("/".join((*box.within, box.lines[0])))
        parts.append(
            f'<g><title>{title}</title><rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="4" '
            'fill="#eef" stroke="black"/>'
        )
        for k, line in enumerate(box.lines):
            at = f'x="{x + w / 2:.1f}" y="{y + (k + 1) * _LINE:.1f}"'
            parts.append(f'<text {at} text-anchor="middle">{html.escape(line)}</text>')
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _extent(size: tuple[float, float], along: bool) -> float:
    return size[0] if along else size[1]


def _ends(
    a: tuple[float, float], size_a: tuple[float, float], b: tuple[float, float], size_b: tuple[float, float], way: str
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an arrow leaves a box and meets another."""
    middle_a, middle_b = (
        (place[0] + size[0] / 2, place[1] + size[1] / 2) for place, size in ((a, size_a), (b, size_b))
    )
    return {
        "TB": ((middle_a[0], a[1] + size_a[1]), (middle_b[0], b[1])),
        "BT": ((middle_a[0], a[1]), (middle_b[0], b[1] + size_b[1])),
        "LR": ((a[0] + size_a[0], middle_a[1]), (b[0], middle_b[1])),
        "RL": ((a[0], middle_a[1]), (b[0] + size_b[0], middle_b[1])),
    }[way]


def _ranks(drawing: Drawing) -> list[list[str]]:
    """Boxes by the longest way to them; within a rank by where what they read stands."""
    before: dict[str, list[str]] = {name: [] for name in drawing.boxes}
    for a, b in drawing.arrows:
        if a != b:
            before[b].append(a)
    rank: dict[str, int] = {}
    for name in drawing.boxes:  # in topological order, but for what a layer called again reads
        rank[name] = 1 + max((rank[source] for source in before[name] if source in rank), default=-1)
    found: list[list[str]] = [[] for _ in range(1 + max(rank.values(), default=-1))]
    for name in drawing.boxes:
        found[rank[name]].append(name)
    place: dict[str, float] = {}
    for names in found:
        names.sort(key=lambda n: sum(place.get(s, 0) for s in before[n]) / max(len(before[n]), 1))
        place.update({name: (k + 0.5) / len(names) for k, name in enumerate(names)})
    return found
