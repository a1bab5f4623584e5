"""Parameters of flax, Haiku and Equinox against their owners: what is read predicts the same, and comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import convert
from rekur.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Conv1D,
    Dense,
    Embedding,
    LayerNormalization,
    SimpleRNN,
    TimeDistributed,
)

jax = pytest.importorskip("jax")
jnp = jax.numpy


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def close(got: Any, want: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), atol=tolerance, rtol=tolerance)


def same_trees(got: Any, want: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), got, want)


def randomised(tree: Any, seed: int = 0) -> Any:
    """Every array drawn anew, biases too."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.standard_normal(a.shape) * 0.5, jnp.float32), tree)


def filled(model: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    model.set_weights([rng.standard_normal(w.shape) * 0.4 for w in model.get_weights()])
    return model


CELLS = {"LSTMCell": LSTM, "OptimizedLSTMCell": LSTM, "GRUCell": GRU, "SimpleCell": SimpleRNN}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("form", ["variables", "params", "cell", "msgpack", "frozen"])
def test_linen_cells(tmp_path: Path, rng: np.random.Generator, name: str, form: str) -> None:
    nn = pytest.importorskip("flax.linen")
    from flax import serialization
    from flax.core import freeze

    x = floats(rng, 2, 6, 3)
    module = nn.RNN(getattr(nn, name)(5))
    variables = randomised(module.init(jax.random.key(0), x))
    source: Any = {"params": variables["params"], "cell": variables["params"]["cell"], "frozen": freeze(variables)}.get(
        form, variables
    )
    if form == "msgpack":
        source = tmp_path / "m.msgpack"
        source.write_bytes(serialization.to_bytes(variables))
    assert convert.detect(source).name == "flax"
    if name == "SimpleCell":
        with pytest.raises(ValueError, match="is an RNN, whose weights do not say its activation"):
            convert.load(source)
        model = convert.load(source, layers=[("", {"nonlinearity": "tanh"})])
    else:
        model = convert.load(source)
    close(model.predict(x), module.apply(variables, x))
    (tree,) = convert.to_object(model, "flax")["params"].values()
    same_trees(tree, variables["params"])


def test_a_linen_model(tmp_path: Path, rng: np.random.Generator) -> None:
    nn = pytest.importorskip("flax.linen")

    class Tagger(nn.Module):
        @nn.compact
        def __call__(self, ids: Any) -> Any:
            h = nn.Embed(11, 4)(ids)
            h = nn.Bidirectional(nn.RNN(nn.GRUCell(5)), nn.RNN(nn.GRUCell(5)))(h)
            h = nn.LayerNorm(epsilon=1e-4)(h)
            return nn.tanh(nn.Dense(3)(h))

    ids = rng.integers(0, 11, (2, 6)).astype(np.int32)
    variables = randomised(Tagger().init(jax.random.key(0), ids))
    layers: list[Any] = [
        "Embed_0", ("GRUCell_0", {"backward": "GRUCell_1"}), ("LayerNorm_0", {"epsilon": 1e-4}), "Dense_0", "tanh",
    ]  # fmt: skip
    model = convert.load(variables, layers=layers, partial=True)
    close(model.predict(ids), Tagger().apply(variables, ids))
    with pytest.raises(ValueError, match=r"also holds 'GRUCell_1'.*partial=True"):
        convert.load(variables, layers=layers)
    with pytest.raises(ValueError, match="LayerNorm do not say its epsilon"):
        convert.load(variables, layers=["Embed_0", "GRUCell_0", "LayerNorm_0", "Dense_0"], partial=True)
    with pytest.raises(ValueError, match="no recurrent part 'Dense_0', only GRUCell_0, GRUCell_1"):
        convert.load(variables, layers=["Embed_0", ("GRUCell_0", {"backward": "Dense_0"})], partial=True)
    with pytest.raises(ValueError, match=r"'GRUCell_0' \(GRU, 4 → 5\).*It does not say in which order"):
        convert.load(variables)
    last = convert.load(variables, layers=["Embed_0", ("GRUCell_0", {"backward": "GRUCell_1"}), "last"], partial=True)
    whole = convert.load(variables, layers=["Embed_0", ("GRUCell_0", {"backward": "GRUCell_1"})], partial=True)
    close(last.predict(ids), whole.predict(ids)[:, -1], 0)

    model = filled(rekur.Sequential(
        [rekur.Input((None,), dtype="int32"), Embedding(7, 4), LSTM(5, return_sequences=True),
         Bidirectional(GRU(3, return_sequences=True)), LayerNormalization(),
         SimpleRNN(3, activation="relu", return_sequences=True), TimeDistributed(Dense(2, use_bias=False))]
    ))  # fmt: skip
    path = tmp_path / "m.msgpack"
    convert.save(model, path)
    names = [layer.name for layer in model.layers]
    again = convert.load(
        path,
        layers=[*names[:3], (names[3], {"epsilon": 1e-3}), (names[4], {"nonlinearity": "relu"}), *names[5:]],
    )
    close(again.predict(ids % 7), model.predict(ids % 7))


@pytest.mark.parametrize("name", CELLS)
def test_nnx(rng: np.random.Generator, name: str) -> None:
    nnx = pytest.importorskip("flax.nnx")
    x = floats(rng, 2, 6, 3)
    one = nnx.RNN(getattr(nnx, name)(3, 5, bias_init=nnx.initializers.normal(), rngs=nnx.Rngs(0)))
    given = {"nonlinearity": "tanh"} if name == "SimpleCell" else {}
    for source in (one, nnx.state(one, nnx.Param), nnx.to_pure_dict(nnx.state(one, nnx.Param))):
        assert convert.detect(source).name == "flax"
        model = convert.load(source, layers=[("", given)])
        close(model.predict(x), one(x))
    form = "nnx_optimized" if name.startswith("Opt") else "nnx"
    (tree,) = convert.to_object(model, "flax", form=form)["params"].values()
    same_trees(tree, nnx.to_pure_dict(nnx.state(one, nnx.Param)))

    def cell(k: int) -> Any:
        return nnx.RNN(getattr(nnx, name)(3, 5, bias_init=nnx.initializers.normal(), rngs=nnx.Rngs(k)))

    both = nnx.Bidirectional(cell(1), cell(2))
    model = convert.load(both, layers=[("", given)])
    assert isinstance(model.layers[0], Bidirectional)
    close(model.predict(x), both(x))


HAIKU = {"LSTM": LSTM, "GRU": GRU, "VanillaRNN": SimpleRNN}


@pytest.mark.parametrize("name", HAIKU)
def test_haiku(rng: np.random.Generator, name: str) -> None:
    hk = pytest.importorskip("haiku")

    def forward(x: Any) -> Any:
        core = getattr(hk, name)(5)
        y, _ = hk.dynamic_unroll(core, x, core.initial_state(x.shape[0]), time_major=False)
        return hk.Linear(2)(y)

    x = floats(rng, 2, 6, 3)
    f = hk.without_apply_rng(hk.transform(forward))
    params = randomised(f.init(jax.random.key(0), x))
    assert convert.detect(params).name == "haiku"
    recurrent = next(n for n in convert.load_parts(params) if n != "linear")
    model = convert.load(params, layers=[recurrent, "linear"])
    close(model.predict(x), f.apply(params, x))
    written = convert.to_object(model, "haiku")

    def named(x: Any) -> Any:
        core = getattr(hk, name)(5)
        y, _ = hk.dynamic_unroll(core, x, core.initial_state(x.shape[0]), time_major=False)
        return y

    inner = hk.without_apply_rng(hk.transform(named))
    prefix = model.layers[0].name + "/"
    tree = {key.removeprefix(prefix): value for key, value in written.items() if key.startswith(prefix)}
    close(inner.apply(tree, x), inner.apply({key: value for key, value in params.items() if key != "linear"}, x))
    close(convert.load(written, layers=list(convert.load_parts(written))).predict(x), model.predict(x))


def test_haiku_asks(rng: np.random.Generator) -> None:
    hk = pytest.importorskip("haiku")

    def forward(ids: Any) -> Any:
        h = hk.Embed(11, 4)(ids)
        core = hk.LSTM(5, name="encoder")
        h, _ = hk.dynamic_unroll(core, h, core.initial_state(h.shape[0]), time_major=False)
        h = hk.LayerNorm(-1, True, True)(h)
        return hk.nets.MLP([4, 2])(h)

    ids = rng.integers(0, 11, (2, 6)).astype(np.int32)
    f = hk.without_apply_rng(hk.transform(forward))
    params = randomised(f.init(jax.random.key(0), ids))
    layers: list[Any] = [
        "embed", ("encoder/linear", {"kind": "LSTM"}), ("layer_norm", {"eps": 1e-5}),
        "mlp/~/linear_0", "relu", "mlp/~/linear_1",
    ]  # fmt: skip
    close(convert.load(params, layers=layers).predict(ids), f.apply(params, ids))
    layers[1] = "encoder/linear"
    with pytest.raises(ValueError, match=r"'encoder/linear'.*may be a Linear or that of an LSTM.*'kind': 'Linear'"):
        convert.load(params, layers=layers)


def test_equinox(tmp_path: Path, rng: np.random.Generator) -> None:
    eqx = pytest.importorskip("equinox")

    class Model(eqx.Module):
        embed: Any
        cells: list[Any]
        back: Any
        norm: Any
        head: Any

        def __init__(self, bias: bool, key: Any) -> None:
            k = jax.random.split(key, 5)
            self.embed = eqx.nn.Embedding(11, 4, key=k[0])
            self.cells = [eqx.nn.LSTMCell(4, 5, bias, key=k[1]), eqx.nn.GRUCell(5, 3, bias, key=k[2])]
            self.back = eqx.nn.GRUCell(5, 3, bias, key=k[3])
            self.norm = eqx.nn.LayerNorm(6, eps=1e-4)
            self.head = eqx.nn.Linear(6, 2, use_bias=bias, key=k[4])

        def __call__(self, ids: Any) -> Any:
            x = jax.vmap(self.embed)(ids)
            lstm, gru = self.cells
            _, x = jax.lax.scan(lambda s, x: ((s := lstm(x, s)), s[0]), (jnp.zeros(5), jnp.zeros(5)), x)
            _, a = jax.lax.scan(lambda s, x: ((s := gru(x, s)), s), jnp.zeros(3), x)
            _, b = jax.lax.scan(lambda s, x: ((s := self.back(x, s)), s), jnp.zeros(3), x, reverse=True)
            return jax.vmap(lambda h: jax.nn.relu(self.head(self.norm(h))))(jnp.concatenate([a, b], -1))

    ids = rng.integers(0, 11, (2, 6)).astype(np.int32)
    for bias in (True, False):
        module = Model(bias, jax.random.key(0))
        expected = jax.vmap(module)(ids)
        layers: list[Any] = ["embed", "cells.0", ("cells.1", {"backward": "back"}), "norm", "head", "relu"]
        assert convert.detect(module).name == "equinox"
        model = convert.load(module, layers=layers, partial=True)
        close(model.predict(ids), expected)
        path = tmp_path / "m.eqx"
        eqx.tree_serialise_leaves(path, module)
        like = Model(bias, jax.random.key(1))
        close(convert.load(path, like=like, layers=layers, partial=True).predict(ids), expected)
        written = convert.to_object(model, "equinox")
        lstm, gru = (written[layer.name] for layer in model.layers[1:3])
        same_trees(lstm, module.cells[0])
        same_trees(gru, {"forward": module.cells[1], "backward": module.back})
        same_trees(written[model.layers[4].name], module.head)
    with pytest.raises(ValueError, match="arrays without names: give like="):
        convert.load(path)
    with pytest.raises(ValueError, match="its arrays are not those of the module that like= gave"):
        convert.load(path, like=eqx.nn.LSTMCell(3, 4, key=jax.random.key(0)))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="its arrays are not those"):
        convert.load(path, like=like)
    single = eqx.nn.GRUCell(3, 4, key=jax.random.key(0))
    model = convert.load(single)
    weights = model.get_weights()
    weights[2] = weights[2] + 1  # biases of both products, as Equinox has none
    model.set_weights(weights)
    (made,) = convert.to_object(model, "equinox").values()
    x = floats(rng, 2, 6, 3)
    close(convert.load(made).predict(x), model.predict(x))


@pytest.mark.parametrize("form", ["flax", "haiku", "equinox"])
def test_what_the_others_lack(form: str) -> None:
    pytest.importorskip({"haiku": "jax"}.get(form, form))
    for layers, message in (
        ([LSTM(3, peepholes=True)], "layer 'lstm.*has no peepholes=True"),
        ([GRU(3, activation="relu")], "layer 'gru.*has no activation='relu'"),
        ([GRU(3, reset_after=form == "haiku")], "has no reset_after="),
        ([Bidirectional(LSTM(3), merge_mode="sum")], "Bidirectional.*has"),
        ([Conv1D(3, 2)], r"Conv1D.*no layer of these weights is written for"),
    ):
        model = rekur.Sequential([rekur.Input((None, 2)), *layers])
        with pytest.raises(ValueError, match=message):
            convert.to_object(model, form)


def test_broken_trees(tmp_path: Path) -> None:
    pytest.importorskip("flax")
    cell = convert.to_object(rekur.Sequential([rekur.Input((None, 2)), LSTM(3)], seed=1), "flax")["params"]
    (tree,) = cell.values()
    tree["cell"]["hi"]["kernel"] = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"hi: expected \(3, 3\) and \(3,\), got \(3, 4\)"):
        convert.load({"params": {"a": tree}})
    del tree["cell"]["hi"]
    with pytest.raises(ValueError, match="in which order they are used"):
        convert.load({"params": {"a": tree}})
    deep: Any = {"kernel": np.zeros((2, 2))}
    for _ in range(500):
        deep = {"a": deep}
    with pytest.raises(ValueError):
        convert.load(deep)
    for content in (b"\x81\xa1a", b"\x80", b"\x81\xa1a\xc1", bytes([0x8F]) * 4000):
        (tmp_path / "m.msgpack").write_bytes(content)
        with pytest.raises(ValueError, match=r"no whole file of flax|it holds no arrays"):
            convert.load(tmp_path / "m.msgpack")
    with pytest.raises(ValueError, match=r"MGUCell.* is no layer that is known here"):
        nn = pytest.importorskip("flax.linen")
        x = np.zeros((1, 2, 3), np.float32)
        convert.load(nn.RNN(nn.MGUCell(4)).init(jax.random.key(0), x))
