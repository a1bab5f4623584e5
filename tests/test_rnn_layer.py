"""layers.RNN: how it is called, trained, saved, copied and described."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import cells, initializers, layers

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 6, 3)).astype(np.float32)
TIME = RNG.random((8, 6, 1)).astype(np.float32)


@rekur.cell(weights={"u": "ones"})
def leaky(x: Any, h: Any, time: Any = 1.0, *, u: Any, tau: float = 2.0, gated: bool = True) -> Any:
    keep = rekur.ops.exp(-time / tau)
    new = rekur.ops.tanh(x.n + u * h)
    return keep * h + (1 - keep) * (rekur.ops.sigmoid(x.g) * new if gated else new)


def small() -> rekur.Model:
    x, time = rekur.Input((None, 3), name="x"), rekur.Input((None, 1), name="time")
    h = layers.RNN(leaky, 5, tau=3.0, return_sequences=True, name="leaky")([x, time])
    h = layers.Bidirectional(layers.RNN("lstm", 4))(h)
    return rekur.Model([x, time], layers.Dense(1)(h), seed=2)


def test_trains_saves_loads_copies_and_pickles(tmp_path: Path) -> None:
    model = small()
    y = RNG.standard_normal((8, 1)).astype(np.float32)
    lengths = {"x": np.array([6, 0, 3, 6, 1, 2, 5, 6]), "time": np.array([6, 0, 3, 6, 1, 2, 5, 6])}
    model.compile("adam", "mse")
    before = model.evaluate([X, TIME], y, lengths=lengths, verbose=0)
    model.fit([X, TIME], y, epochs=30, verbose=0, lengths=lengths)
    after = model.evaluate([X, TIME], y, lengths=lengths, verbose=0)
    assert np.ravel(after)[0] < np.ravel(before)[0]
    model.save(tmp_path / "m.safetensors")
    expected = model.predict([X, TIME], lengths=lengths)
    for other in (rekur.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict([X, TIME], lengths=lengths), expected)
        assert other.spec == model.spec


def test_a_file_needs_no_function(tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / "m.safetensors")
    np.savez(tmp_path / "data.npz", x=X, time=TIME, y=model.predict([X, TIME]))
    code = (
        "import numpy as np, rekur, sys\n"
        "data = np.load('data.npz')\n"
        "assert (rekur.load('m.safetensors').predict([data['x'], data['time']]) == data['y']).all()\n"
        "assert 'rekur.cells' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_step_inputs_by_place_by_name_or_left_out() -> None:
    def outputs(call: Any) -> np.ndarray:
        x, time = rekur.Input((None, 3), name="x"), rekur.Input((None, 1), name="time")
        model = rekur.Model([x, time], call(layers.RNN(leaky, 5, name="r"), x, time), seed=1)
        return model.predict([X, np.ones_like(TIME)])

    by_place = outputs(lambda layer, x, time: layer([x, time]))
    np.testing.assert_array_equal(by_place, outputs(lambda layer, x, time: layer(x, time=time)))
    one = rekur.Input((None, 3), name="x")
    layer = layers.RNN(leaky, 5, name="r")
    alone = rekur.Model(one, layer(one), seed=1)
    np.testing.assert_allclose(alone.predict(X), by_place, rtol=1e-6, atol=1e-7)
    assert "step_inputs" not in alone.spec["layers"][1]["cell"]


def test_cells_with_step_inputs_work_on_x_alone_wherever_a_layer_is_connected() -> None:
    """In a Sequential, in wrappers and from a configuration as by a call."""
    x = rekur.Input((None, 3))

    def layer() -> Any:
        return layers.RNN(leaky, 5)

    def outputs(model: Any) -> np.ndarray:
        return rekur.Sequential([rekur.Input((None, 3)), model], seed=1).predict(X)

    expected = rekur.Model(x, layer()(x), seed=1).predict(X)
    np.testing.assert_array_equal(outputs(layer()), expected)
    np.testing.assert_array_equal(outputs(copy.deepcopy(layer())), expected)
    np.testing.assert_array_equal(outputs(layers.RNN.from_config(layer().get_config())), expected)
    stack = rekur.Sequential([layer(), layers.Dense(2)])
    assert rekur.models.clone_model(stack)(X).shape == (len(X), 2)
    assert rekur.Sequential.from_config(stack.get_config())(X).shape == (len(X), 2)
    for merge_mode in ("concat", None):
        wrapped = layers.Bidirectional(layer(), merge_mode=merge_mode)
        for made in (wrapped, layers.Bidirectional.from_config(wrapped.get_config())):
            found = made(x)
            assert (found[0] if merge_mode is None else found).shape == (None, 5 if merge_mode is None else 10)
    assert layers.TimeDistributed(layer())(rekur.Input((None, 4, 3))).shape == (None, None, 5)


def test_step_inputs_of_both_directions() -> None:
    """By place and by name; put together of two layers, they are what the engine's Bidirectional gives."""

    def outputs(call: Any, **options: Any) -> Any:
        x, time = rekur.Input((None, 3), name="x"), rekur.Input((None, 1), name="time")
        layer = layers.Bidirectional(layers.RNN(leaky, 5, return_sequences=True), **options)
        return rekur.Model([x, time], call(layer, x, time), seed=1)

    model = outputs(lambda layer, x, time: layer([x, time]))
    expected = model.predict([X, TIME])
    by_name = outputs(lambda layer, x, time: layer(x, time=time))
    np.testing.assert_array_equal(by_name.predict([X, TIME]), expected)
    backward = layers.RNN(leaky, 5, return_sequences=True, go_backwards=True)
    for options in ({"merge_mode": None}, {"backward_layer": backward}):
        for call in (lambda layer, x, time: layer([x, time]), lambda layer, x, time: layer(x, time=time)):
            two = outputs(call, **options)
            two.set_weights(model.get_weights())
            found = two.predict([X, TIME])
            found = np.concatenate(found, axis=-1) if isinstance(found, list) else found
            np.testing.assert_array_equal(found, expected)
    alone = layers.RNN(cells.gru, 5, return_sequences=True, go_backwards=True)
    with pytest.raises(TypeError, match="which reads from the end, takes no 'time'"):
        outputs(lambda layer, x, time: layer(x, time=time), backward_layer=alone)


def test_a_configuration_of_a_cell_with_step_inputs_is_checked() -> None:
    config = layers.RNN(leaky, 5).get_config()
    again = layers.RNN.from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    changes: list[Any] = [
        lambda cell: cell.pop("step_inputs"),
        lambda cell: cell["programs"].pop(),
        lambda cell: cell.update(programs=3),
        lambda cell: cell.update(step_inputs={"time": "late"}),
        lambda cell: cell["programs"][0][0].append("mask"),
    ]
    for change in changes:
        broken = json.loads(json.dumps(config))
        change(broken["cell"])
        with pytest.raises(ValueError, match="cell is no cell of a layer's configuration"):
            layers.RNN.from_config(broken)
    wrapped = layers.Bidirectional(layers.RNN(leaky, 5)).get_config()
    del config["cell"], wrapped["layer"]
    with pytest.raises(ValueError, match="RNN 'rnn': its configuration has no 'cell'"):
        layers.RNN.from_config(config)
    with pytest.raises(ValueError, match="Bidirectional 'bidirectional': its configuration has no 'layer'"):
        layers.Bidirectional.from_config(wrapped)


def test_step_inputs_that_do_not_fit() -> None:
    needs = rekur.cell(lambda x, h, speed: x.a + h * speed, name="needs", inputs=("speed",))
    x, time = rekur.Input((None, 3)), rekur.Input((None, 1))
    with pytest.raises(TypeError, match=r"needs the step input 'speed': call it on \[x, speed\]"):
        layers.RNN(needs, 4)(x)
    with pytest.raises(TypeError, match="the step input 'time' was given twice"):
        layers.RNN(leaky, 4)([x, time], time=time)
    with pytest.raises(ValueError, match="takes x alone at a step, got 1 further sequences"):
        layers.RNN(cells.gru, 4)([x, time])
    with pytest.raises(TypeError, match="no argument 'tyme'"):
        layers.RNN(leaky, 4)(x, tyme=time)
    with pytest.raises(ValueError, match="RNN 'rnn'"):
        layers.RNN(leaky, 4)([x, rekur.Input((None, 2))])


def test_initial_states_and_returned_states() -> None:
    x = rekur.Input((None, 3))
    h, c = rekur.Input((4,)), rekur.Input((4,))
    y, h1, c1 = layers.RNN(cells.lstm, 4, return_state=True, return_sequences=True)(x, initial_state=[h, c])
    assert [t.shape for t in (y, h1, c1)] == [(None, None, 4), (None, 4), (None, 4)]
    model = rekur.Model([x, h, c], [y, h1, c1], seed=1)
    start = [RNG.standard_normal((8, 4)).astype(np.float32) for _ in range(2)]
    whole = model.predict([X, *start])
    first = model.predict([X[:, :2], *start])
    second = model.predict([X[:, 2:], *first[1:]])
    np.testing.assert_array_equal(np.concatenate([first[0], second[0]], 1), whole[0])
    np.testing.assert_array_equal(second[2], whole[2])


def test_hyper_parameters_are_arguments_and_attributes() -> None:
    layer = layers.RNN(leaky, 5, tau=3.0)
    assert layer.tau == 3.0 and layer.gated is True
    before = layer.config()
    layer.tau = 4
    layer.gated = False
    assert layer.config() == layers.RNN(leaky, 5, tau=4, gated=False).config() != before
    with pytest.raises(TypeError, match="tau must be a number"):
        layer.tau = "long"
    with pytest.raises(TypeError, match=r"no argument 'tauu'; did you mean 'tau'"):
        layers.RNN(leaky, 5, tauu=3.0)
    twin = copy.deepcopy(layer)
    twin.tau = 5.0
    assert layer.tau == 4
    layer(rekur.Input((None, 3)))
    with pytest.raises(AttributeError, match="has been called: 'tau' cannot be set"):
        layer.tau = 2.0
    frozen = layers.RNN.from_config(layer.config())
    assert frozen.config() == layer.config()
    with pytest.raises(AttributeError, match="'tau'"):
        frozen.tau = 2.0


def test_any_way_to_say_which_cell() -> None:
    expected = layers.RNN(cells.min_gru, 4).config()
    for way in ("min_gru", cells.min_gru, expected["cell"]):
        assert layers.RNN(way, 4).config() == expected
    assert layers.RNN(lambda x, h: h + rekur.ops.sigmoid(x.z) * (x.n - h), 4).config()["cell"]["kernel"] == [
        "x.z",
        "x.n",
    ]
    with pytest.raises(ValueError, match=r"rekur\.cells has no 'mingru'; did you mean 'min_gru'"):
        layers.RNN("mingru", 4)
    for wrong in (3, None, layers.LSTM, {"name": "x"}):
        with pytest.raises((TypeError, ValueError), match="RNN 'rnn': cell"):
            layers.RNN(wrong, 4)


def test_weights_and_how_they_are_drawn() -> None:
    model = rekur.Sequential([layers.RNN(cells.gru, 4, input_shape=(None, 3))], seed=1)
    shapes = {name: w.shape for name, w in model.named_weights().items()}
    assert shapes == {
        "rnn/kernel": (3, 12), "rnn/recurrent_kernel": (4, 12), "rnn/bias": (12,), "rnn/recurrent_bias": (12,)
    }  # fmt: skip
    lstm = rekur.Sequential([layers.RNN(cells.lstm, 2, input_shape=(None, 3))], seed=1)
    np.testing.assert_array_equal(lstm.get_weights()[2], [0, 0, 1, 1, 0, 0, 0, 0])
    drawn = layers.RNN(
        cells.peephole_lstm, 2, weight_initializers={"p_f": initializers.Constant(0.25)}, input_shape=(None, 3)
    )
    weights = rekur.Sequential([drawn], seed=1).named_weights()
    np.testing.assert_array_equal(weights["rnn/p_f"], [0.25, 0.25])
    np.testing.assert_array_equal(weights["rnn/p_i"], [0, 0])
    assert list(weights) == [f"rnn/{n}" for n in ("kernel", "recurrent_kernel", "bias", "p_i", "p_f", "p_o")]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"recurrent_initializer": "zeros"}, "has nothing that the recurrent_initializer could draw"),
        ({"bias_initializer": "unit_forget"}, "names no block that 'unit_forget' could set"),
        ({"weight_initializers": {"u": "ones"}}, "has no weight 'u'; it has none"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        layers.RNN(cells.min_gru, 4, **options)
    layer = layers.RNN(cells.min_gru, 4)
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=text):
        setattr(layer, name, value)


def test_the_summary_and_the_words_of_keras(capsys: pytest.CaptureFixture[str]) -> None:
    model = small()
    model.summary()
    shown = capsys.readouterr().out
    assert "leaky" in shown and "RNN" in shown
    with pytest.raises(ValueError, match="must not have reverse=True"):
        layers.Bidirectional(layers.RNN(cells.gru, 4, reverse=True))


def test_exports_to_cpp(tmp_path: Path) -> None:
    report = rekur.export_cpp(small(), tmp_path / "m.hpp")
    assert report is not None and "leaky" in (tmp_path / "m.hpp").read_text()
