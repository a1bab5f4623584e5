"""Models of audio effects in the sizes in which they are made, and a second of signal, both by formula.

What the owners' engines make of them stands in ``audio_vectors.npz`` (``KEPT`` of the 48000 steps, float32):

- NeuralAmpModelerCore, commit daae2d0b482a5fe876258caf3fdfe177044b6295 (files of version 0.7.0), blocks of 512 steps,
  warmed up as by default (``Reset``), but LSTMs not, which begin with the states of their files
  (``SetPrewarmOnReset(false)``); with tanh and not its approximation but where a file says Fasttanh;
- RTNeural, commit 1fb1f075a5d66e85bfc8f488c3f3626840cb3a1d, its run-time API, over Eigen; ``rtneural_chain`` over the
  standard library, since Eigen wants parts of a convolution in groups aligned. ``json_parser`` for its own files; for
  GuitarML's, as the Proteus plug-in has it, ``torch_helpers`` for the layers, and the input added where ``skip`` says.

Both were built by g++ 12 for x86-64, and given the JSON text of ``MODELS`` and ``signal``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

RATE = 48000
KEPT = np.concatenate([np.arange(0, RATE - 500, 48), np.arange(RATE - 500, RATE)])


def signal(features: int = 1) -> np.ndarray:
    """(RATE, features): plucked tones over a sweep, with pauses; knobs that turn slowly."""
    t = np.arange(RATE) / RATE
    x = np.zeros(RATE)
    for k, tone in enumerate((82.4, 110.0, 146.8, 196.0, 246.9, 329.6)):
        begin = k * RATE // 8
        s = t[: RATE - begin]
        x[begin:] += 0.4 * np.exp(-9 * s) * (np.sin(2 * np.pi * tone * s) + 0.5 * np.sin(2 * np.pi * 3.01 * tone * s))
    x += 0.1 * np.sin(2 * np.pi * (40 * t + 3000 * t * t)) * (np.arange(RATE) // 6000 % 2)
    knobs = [0.5 + 0.4 * np.sin(2 * np.pi * (k + 1) * t) for k in range(1, features)]
    return np.stack([x, *knobs], axis=1).astype(np.float32)


class _Draw:
    """Numbers between -1 and 1, the same everywhere."""

    def __init__(self, seed: int) -> None:
        self._state = seed * 7919 + 1

    def __call__(self, *shape: int, scale: float = 1.0, around: float = 0.0) -> np.ndarray:
        size = int(np.prod(shape))
        found = np.empty(size)
        for k in range(size):
            self._state = (self._state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
            found[k] = around + scale * ((self._state >> 40) / 2**23 - 1)
        return np.round(found, 5).reshape(shape)


# Neural Amp Modeler.


def _nam(architecture: str, config: dict[str, Any], weights: list[Any], version: str = "0.5.4") -> dict[str, Any]:
    flat = np.concatenate([np.asarray(array, float).reshape(-1) for array in weights])
    return {
        "version": version,
        "architecture": architecture,
        "config": config,
        "weights": flat.tolist(),
        "sample_rate": RATE,
    }


def _nam_lstm(depth: int, units: int, seed: int) -> dict[str, Any]:
    draw, weights = _Draw(seed), []
    for k in range(depth):
        seen = units if k else 1
        matrix = draw(4 * units, seen + units, scale=2.4 / np.sqrt(units))
        if not k:
            matrix[:, 0] *= 3
        weights += [matrix, draw(4 * units, scale=0.4), draw(units, scale=0.5), draw(units, scale=0.8)]
    weights += [draw(1, units, scale=0.5), draw(1, scale=0.1)]
    return _nam("LSTM", {"input_size": 1, "hidden_size": units, "num_layers": depth}, weights)


def _layers(**entry: Any) -> dict[str, Any]:
    return {"input_size": 1, "condition_size": 1, "head_bias": False, "gated": False, **entry}


def _wavenet(config: dict[str, Any], seed: int, features: int = 1, **top: Any) -> dict[str, Any]:
    """Weights as many as the layers of a config have, each product scaled by the number of its inputs."""
    draw, weights = _Draw(seed), []

    def product(inputs: int, out: int, taps: int = 1, bias: bool = True, gain: float = 1.0, groups: int = 1) -> None:
        weights.append(draw(out, inputs // groups, taps, scale=gain * np.sqrt(3 / (inputs // groups * taps))))
        if bias:
            weights.append(draw(out, scale=0.1))

    for entry in config["layers"]:
        channels, seen = entry["channels"], entry["condition_size"]
        inner = entry.get("bottleneck", channels)
        product(entry["input_size"], channels, bias=False)
        modes = entry.get("gating_mode", "gated" if entry["gated"] else "none")
        to_head = entry.get("head1x1", {"active": False})
        number = len(entry["dilations"])
        for k in range(number):
            mode = modes if isinstance(modes, str) else modes[k]
            wide = inner * (1 if mode == "none" else 2)
            product(channels, wide, entry.get("kernel_sizes", [entry.get("kernel_size")] * number)[k],
                    groups=entry.get("groups_input", 1))  # fmt: skip
            product(seen, wide, bias=False, groups=entry.get("groups_input_mixin", 1))
            if entry.get("layer1x1", {"active": True})["active"]:
                product(inner, channels, gain=0.3, groups=entry.get("layer1x1", {"groups": 1})["groups"])
            if to_head["active"]:
                product(inner, to_head["out_channels"], groups=to_head["groups"])
            for place, wides in (
                ("conv_pre_film", channels), ("conv_post_film", wide), ("input_mixin_pre_film", seen),
                ("input_mixin_post_film", wide), ("activation_pre_film", wide), ("activation_post_film", inner),
                ("layer1x1_post_film", channels), ("head1x1_post_film", to_head.get("out_channels", 0)),
            ):  # fmt: skip
                if film := entry.get(place):
                    out, groups = wides * (2 if film["shift"] else 1), film["groups"]
                    weights.append(draw(out, seen // groups, scale=0.4))
                    weights.append(draw(out, scale=0.2, around=0.7))
        head = entry.get("head")
        size, out, bias = (1, entry["head_size"], entry["head_bias"]) if head is None else (
            head["kernel_size"], head["out_channels"], head["bias"])  # fmt: skip
        product(to_head["out_channels"] if to_head["active"] else inner, out, size, bias, 0.5)
    after = config.get("head")
    if after is not None:
        widths = [config["layers"][-1]["head_size"]] + [after["channels"]] * (len(after["kernel_sizes"]) - 1)
        outs = [*widths[1:], after["out_channels"]]
        for inputs, out, taps in zip(widths, outs, after["kernel_sizes"], strict=True):
            product(inputs, out, taps)
    weights.append([config["head_scale"]])
    if features != 1:
        config["in_channels"] = features
    return _nam("WaveNet", config, weights, **top)


def _standard(channels: int, second: int, activation: Any, dilations: list[list[int]], seed: int,
              gated: bool = False) -> dict[str, Any]:  # fmt: skip
    return _wavenet({
        "layers": [
            _layers(head_size=second, channels=channels, kernel_size=3, dilations=dilations[0], activation=activation,
                    gated=gated),
            _layers(input_size=channels, head_size=1, channels=second, kernel_size=3, dilations=dilations[1],
                    activation=activation, gated=gated, head_bias=True),
        ],
        "head": None,
        "head_scale": 0.3,
    }, seed)  # fmt: skip


_TEN = [2**k for k in range(10)]
_NANO = [_TEN[:7], [128, 256, 512, *_TEN]]


def _a2() -> dict[str, Any]:
    """As the larger of the networks of version 0.7: kernels of several sizes, a head of many taps."""
    dilations = [1, 3, 7, 17, 41, 101, 239, 1, 13, 1, 3, 7, 17]
    return _wavenet({
        "layers": [_layers(
            channels=8, kernel_sizes=[6] * 7 + [15, 15] + [6] * 4, dilations=dilations,
            activation=[{"type": "LeakyReLU", "negative_slope": 0.01}] * len(dilations), gating_mode="none",
            head={"out_channels": 1, "kernel_size": 16, "bias": True},
        )],
        "head_scale": 0.2,
    }, 11, version="0.7.0")  # fmt: skip


def _everything() -> dict[str, Any]:
    """Gates, blends, FiLM everywhere, groups, bottlenecks, a network of the condition and a head behind all."""
    film = {"active": True, "shift": True, "groups": 1}
    condition = _standard(4, 3, "Tanh", [[1, 2], [4]], 12)
    condition["config"]["layers"][1]["head_size"] = 3
    condition = _wavenet(condition["config"], 12, version="0.6.0")
    places = ("conv_pre_film", "conv_post_film", "input_mixin_pre_film", "input_mixin_post_film",
              "activation_pre_film", "activation_post_film", "layer1x1_post_film", "head1x1_post_film")  # fmt: skip
    config = {
        "layers": [
            _layers(
                condition_size=3, head_size=4, channels=6, bottleneck=4, kernel_size=3, dilations=[1, 2, 4],
                activation=["Tanh", {"type": "PReLU", "negative_slopes": [0.1, 0.2, 0.3, -0.1]}, "SiLU"],
                gating_mode=["gated", "none", "blended"], secondary_activation=["Sigmoid", None, "Hardswish"],
                groups_input=2, groups_input_mixin=1, layer1x1={"active": True, "groups": 2},
                head1x1={"active": True, "out_channels": 6, "groups": 2}, **dict.fromkeys(places, film),
            ),
            _layers(
                condition_size=3, input_size=6, head_size=2, channels=4, kernel_sizes=[2, 3],
                dilations=[8, 16],
                activation=["Softsign", {"type": "LeakyHardtanh", "min_val": -0.5, "max_slope": 0.1}],
                gating_mode="blended", secondary_activation="Hardtanh", layer1x1={"active": False, "groups": 1},
                conv_post_film={"active": True, "shift": False, "groups": 1},
            ),
        ],
        "head": {"channels": 3, "out_channels": 1, "kernel_sizes": [3, 2], "activation": "LeakyReLU"},
        "head_scale": 0.5,
        "condition_dsp": condition,
    }  # fmt: skip
    return _wavenet(config, 13, version="0.6.0")


def _convnet() -> dict[str, Any]:
    draw, weights, channels, dilations = _Draw(14), [], 16, _TEN[:9]
    for k in range(len(dilations)):
        seen = channels if k else 1
        weights += [draw(channels, seen, 2, scale=np.sqrt(1.5 / seen)), draw(channels, scale=0.2),
                    draw(channels, scale=0.3, around=0.6), draw(channels, scale=0.3, around=0.9),
                    draw(channels, scale=0.1), [1e-5]]  # fmt: skip
    weights += [draw(1, channels, scale=0.4), draw(1, scale=0.1)]
    config = {"channels": channels, "dilations": dilations, "batchnorm": True, "activation": "Tanh"}
    return _nam("ConvNet", config, weights)


def _linear() -> dict[str, Any]:
    draw = _Draw(15)
    response = draw(800, scale=0.2) * np.exp(-np.arange(800) / 150)
    return _nam("Linear", {"receptive_field": 800, "bias": True}, [response, draw(1, scale=0.1)])


# RTNeural.


def _entry(kind: str, out: int, weights: list[np.ndarray], activation: str = "", **more: Any) -> dict[str, Any]:
    arrays = [array.tolist() for array in weights]
    return {"type": kind, "activation": activation, "shape": [None, None, out], "weights": arrays, **more}


def _recurrent(kind: str, features: int, units: int, draw: _Draw) -> dict[str, Any]:
    blocks = 4 if kind == "lstm" else 3
    kernel, recurrent = draw(features, blocks * units, scale=2.0), draw(units, blocks * units, scale=1.6 / units**0.5)
    bias = draw(blocks * units, scale=0.3) if kind == "lstm" else draw(2, blocks * units, scale=0.3)
    return _entry(kind, units, [kernel, recurrent, bias], "")


def _rtneural(features: int, *layers: dict[str, Any]) -> dict[str, Any]:
    return {"in_shape": [None, None, features], "layers": list(layers), "samplerate": RATE}


def _rtneural_one(kind: str, features: int, units: int, seed: int) -> dict[str, Any]:
    draw = _Draw(seed)
    return _rtneural(
        features,
        _recurrent(kind, features, units, draw),
        _entry("dense", 1, [draw(units, 1, scale=0.4), draw(1, scale=0.1)]),
    )


def _rtneural_chain() -> dict[str, Any]:
    draw = _Draw(23)
    return _rtneural(
        1,
        _entry("dense", 8, [draw(1, 8), draw(8, scale=0.2)], "tanh"),
        _entry("conv1d", 8, [draw(3, 8, 8, scale=0.4), draw(8, scale=0.2)], "elu", kernel_size=[3], dilation=[2]),
        _entry("conv1d", 8, [draw(5, 4, 8, scale=0.4), draw(8, scale=0.2)], "tanh", kernel_size=[5], dilation=[16],
               groups=2),
        _entry("batchnorm", 8, [draw(8, around=1, scale=0.3), draw(8), draw(8, scale=0.3),
                                draw(8, around=0.7, scale=0.3)], epsilon=0.001),
        _entry("prelu", 8, [draw(1, 8, scale=0.5)]),
        _recurrent("gru", 8, 8, draw),
        _entry("dense", 4, [draw(8, 4, scale=0.6), draw(4, scale=0.2)], "elu"),
        _entry("dense", 1, [draw(4, 1, scale=4), draw(1, scale=0.1)], "sigmoid"),
    )  # fmt: skip


# GuitarML.


def _guitarml(kind: str, features: int, units: int, skip: int, seed: int) -> dict[str, Any]:
    draw, rows = _Draw(seed), (4 if kind == "LSTM" else 3) * units
    state = {
        "rec.weight_ih_l0": draw(rows, features, scale=2.0), "rec.weight_hh_l0": draw(rows, units, scale=0.25),
        "rec.bias_ih_l0": draw(rows, scale=0.3), "rec.bias_hh_l0": draw(rows, scale=0.3),
        "lin.weight": draw(1, units, scale=0.3), "lin.bias": draw(1, scale=0.1),
    }  # fmt: skip
    data = {"model": "SimpleRNN", "input_size": features, "skip": skip, "output_size": 1, "unit_type": kind,
            "num_layers": 1, "hidden_size": units, "bias_fl": True}  # fmt: skip
    return {"model_data": data, "state_dict": {name: array.tolist() for name, array in state.items()}}


MODELS: dict[str, Callable[[], dict[str, Any]]] = {
    "nam_lstm_1x16": lambda: _nam_lstm(1, 16, 1),
    "nam_lstm_2x8": lambda: _nam_lstm(2, 8, 2),
    "nam_wavenet_standard": lambda: _standard(16, 8, "Tanh", [_TEN, _TEN], 3),
    "nam_wavenet_feather": lambda: _standard(8, 4, "Tanh", _NANO, 4),
    "nam_wavenet_nano": lambda: _standard(4, 2, "ReLU", _NANO, 5),
    "nam_wavenet_gated": lambda: _standard(6, 4, "Hardtanh", [_TEN[:6], _TEN[:5]], 6, gated=True),
    "nam_wavenet_fasttanh": lambda: _standard(8, 4, "Fasttanh", _NANO, 7),
    "nam_wavenet_a2": _a2,
    "nam_wavenet_everything": _everything,
    "nam_convnet": _convnet,
    "nam_linear": _linear,
    "rtneural_lstm_24": lambda: _rtneural_one("lstm", 1, 24, 20),
    "rtneural_gru_20_knob": lambda: _rtneural_one("gru", 2, 20, 21),
    "rtneural_chain": _rtneural_chain,
    "guitarml_lstm_40": lambda: _guitarml("LSTM", 1, 40, 0, 30),
    "guitarml_lstm_40_skip_knob": lambda: _guitarml("LSTM", 2, 40, 1, 31),
    "guitarml_gru_32_skip": lambda: _guitarml("GRU", 1, 32, 1, 32),
}


def features_of(found: dict[str, Any]) -> int:
    """Of a model's input."""
    if "in_shape" in found:
        return int(found["in_shape"][-1])
    return int(found["model_data"]["input_size"]) if "model_data" in found else 1
