"""ONNX files that take texts: tokens to ids in front of exported networks, labels and texts behind them."""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._files import check_writable, write_atomic
from rekur._validate import ONNX, check_suffix
from rekur.models import Model
from rekur.tasks.text._vocabulary import UNKNOWN, Vocabulary

ML, RUNTIME = "ai.onnx.ml", "com.microsoft"
# A word as of ``pattern(False)``, for onnxruntime's Tokenizer: letters, digits and marks, apostrophes between them.
_LETTER = r"\p{L}\p{N}\p{M}_"
_SPACE = r"\s\x{0b}\x{1c}-\x{1f}\x{85}\p{Z}"
_WORDS = f"[{_LETTER}]+(?:['\N{RIGHT SINGLE QUOTATION MARK}][{_LETTER}]+)*|[^{_LETTER}{_SPACE}]"


def check_path(path: Any, what: str = "export_onnx") -> str:
    """The path of a file to write; raises before anything is computed."""
    found = check_suffix(path, what, ONNX)
    check_writable(found)
    return found


class Builder:
    """A graph that is put together: own nodes, and whole exported files among them."""

    def __init__(self, opset: int, prefix: str = "task") -> None:
        self._prefix = prefix
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.opset, self._domains, self._count = opset, {""}, Counter[str]()

    def _name(self, what: str) -> str:
        self._count[what] += 1
        return f"{self._prefix}/{what}_{self._count[what]}"

    def node(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; the name of its output, or the names of several."""
        from onnx import helper

        names = [self._name(op.lower()) for _ in range(outputs)]
        self._domains.add(domain)
        self.nodes.append(helper.make_node(op, inputs, names, name=names[0], domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, what: str = "constant") -> str:
        """Add an initialiser: of an array of numbers, or of texts."""
        from onnx import TensorProto, helper, numpy_helper

        name = self._name(what)
        array = np.asarray(value)
        if array.dtype.kind in "UO":
            texts = [str(text).encode("utf-8", "surrogatepass") for text in array.ravel().tolist()]
            self.initializers.append(helper.make_tensor(name, TensorProto.STRING, array.shape, texts))
        else:
            self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def ids(self, tokens: str, vocabulary: Vocabulary) -> str:
        """The ids of tokens: int64, 0 of "" and 1 of what is unknown."""
        return str(
            self.node(
                "LabelEncoder",
                tokens,
                domain=ML,
                keys_strings=["", *vocabulary.ids],
                values_int64s=[0, *vocabulary.ids.values()],
                default_int64=UNKNOWN,
            )
        )

    def tokens(self, name: str, level: str, raw: bool) -> str:
        """The tokens (B, T), "" behind the end, of an input of texts (B,); or an input of tokens itself."""
        from onnx import TensorProto, helper

        if not raw:
            if name not in [value.name for value in self.inputs]:
                self.inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING, ["batch", f"{name}_time"]))
            return name
        if name not in [value.name for value in self.inputs]:
            self.inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING, ["batch"]))
        how: dict[str, Any] = {"separators": [""]} if level == "character" else {"tokenexp": _WORDS}
        return str(self.node("Tokenizer", name, domain=RUNTIME, mark=0, pad_value="", mincharnum=1, **how))

    def steps(self, ids: str, most: int | None) -> tuple[str, str]:
        """Ids (B, T) as an exported network takes them, int32 and with one step at least, and their lengths."""
        if most is not None:
            ids = self.node("Slice", ids, *(self.constant(np.array([k])) for k in (0, most, 1)))
        zero = self.constant(np.array([0]))
        there = self.node("Cast", self.node("Greater", ids, zero), to=7)
        axis = self.constant(np.array([1]))
        lengths = self.node("Cast", self.node("ReduceSum", there, axis, keepdims=0), to=6)
        wide = self.node("Pad", ids, self.constant(np.array([0, 0, 0, 1])))
        return self.node("Cast", wide, to=6), lengths

    def part(self, proto: Any, prefix: str, given: Mapping[str, str]) -> dict[str, str]:
        """Add an exported file, its inputs fed by tensors; what its outputs are called now."""
        from onnx import GraphProto, helper

        graph = GraphProto()
        graph.CopyFrom(proto.graph)
        _rename(graph, prefix)
        for value in proto.graph.input:
            self.nodes.append(helper.make_node("Identity", [given[value.name]], [prefix + value.name]))
        self.nodes.extend(graph.node)
        self.initializers.extend(graph.initializer)
        self._domains |= {entry.domain for entry in proto.opset_import}
        return {value.name: prefix + value.name for value in proto.graph.output}

    def output(self, name: str, tensor: str, kind: int, shape: Sequence[Any]) -> None:
        """Give a tensor out under a name."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [tensor], [name], name=f"{name}_out"))
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def model(self, kind: str, metadata: Mapping[str, Any], doc: str) -> Any:
        """The whole, checked by onnx as far as it knows the operators."""
        import onnx
        from onnx import helper

        graph = helper.make_graph(self.nodes, kind, self.inputs, self.outputs, self.initializers, doc_string=doc)
        versions = {"": self.opset, ML: 2, RUNTIME: 1}
        opsets = [helper.make_opsetid(domain, versions.get(domain, 1)) for domain in sorted(self._domains)]
        version = max(8, helper.find_min_ir_version_for([entry for entry in opsets if not entry.domain]))
        made = helper.make_model(graph, opset_imports=opsets, ir_version=version)
        made.producer_name = "rekur"
        helper.set_model_props(made, {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                                      for key, value in {"rekur.task": kind, **metadata}.items()})  # fmt: skip
        onnx.checker.check_model(made)
        return made


def _rename(graph: Any, prefix: str) -> None:
    """Put a prefix before every name of a graph, and of those within it, which may read what is around them."""
    for entry in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        entry.name = prefix + entry.name
    for node in graph.node:
        node.name = prefix + node.name
        node.input[:] = [prefix + name if name else name for name in node.input]
        node.output[:] = [prefix + name if name else name for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, prefix)


def exported(model: Model, options: Mapping[str, Any], **more: Any) -> tuple[Any, Any]:
    """A network's own file, verified against the engine, and its report."""
    import onnx

    import rekur.onnx  # an extra

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        report = rekur.onnx.export(model, path, **{**options, **more})
        return onnx.load(str(path)), report


def session_of(made: Any) -> Any:
    """A session of a file that is not written yet."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    content = made.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def write(path: str, made: Any, report: Any) -> Any:
    """Write a file that was verified; its report."""
    from onnx import helper

    content = made.SerializeToString()
    write_atomic(path, content)

    def interface(values: Any) -> list[tuple[str, str, tuple[Any, ...]]]:
        found = []
        for value in values:
            kind = value.type.tensor_type
            shape = tuple(d.dim_param or d.dim_value for d in kind.shape.dim)
            dtype = "string" if kind.elem_type == 8 else str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
            found.append((value.name, dtype, shape))
        return found

    report.path, report.file_size = Path(path), len(content)
    report.inputs, report.outputs = interface(made.graph.input), interface(made.graph.output)
    report.nodes = dict(Counter(node.op_type for node in made.graph.node))
    report.opset = max(entry.version for entry in made.opset_import if not entry.domain)
    report.ir_version = made.ir_version
    return report


def trial_texts(vocabularies: Sequence[Vocabulary], count: int = 24) -> list[str]:
    """Texts that try what a file makes of texts: known and unknown, in capitals, empty, of one token and many."""
    rng = np.random.default_rng(0)
    tokens = [token.strip(" ") or token for vocabulary in vocabularies for token in vocabulary.tokens[:500]] or ["a"]
    found = ["", "Ünknown wörd 日本 x'y’z q\u0301, a\u00a0b\x1fc\n", str(tokens[0])]
    for k in range(count - len(found)):
        some = [tokens[int(at)] for at in rng.integers(0, len(tokens), int(rng.integers(1, 40)))]
        text = (" " if k % 3 else "").join(some)
        found.append((text, text.upper(), text.capitalize(), f"{text} zzqx {text}")[k % 4])
    return found


def padded_tokens(rows: Sequence[Sequence[str]]) -> NDArray[Any]:
    """Tokens (B, T) as a file takes them, "" behind the shorter."""
    found = np.full((len(rows), max((len(row) for row in rows), default=0)), "", dtype=object)
    for into, row in zip(found, rows, strict=True):
        into[: len(row)] = list(row)
    return found


def differs(found: NDArray[Any], wanted: NDArray[Any], what: str, allowed: float = 1e-5) -> None:
    """Raises rekur.onnx.VerificationError where numbers differ."""
    from rekur.onnx import VerificationError

    off = float(np.abs(np.asarray(found, np.float64) - wanted).max(initial=0.0))
    if not off <= allowed * max(1.0, float(np.abs(wanted).max(initial=0.0))):
        raise VerificationError(f"export_onnx: {what}: onnxruntime differs by {off:.1e}; nothing was written")
