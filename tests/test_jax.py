"""rekur.jax against the reference in float64, a lax.scan and flax: outputs, gradients, transformations, refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
import rekur

jax = pytest.importorskip("jax")
jnp = jax.numpy

from rekur import jax as rj  # noqa: E402
from rekur.jax import _ffi, _layer, _primitives  # noqa: E402

HAS_COMPILER = any(shutil.which(name) for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++") if name)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not HAS_COMPILER:
        pytest.skip("no C++ compiler")
    return rj.compile(folder=tmp_path_factory.mktemp("cache") / "rekur")


@pytest.fixture(params=["callback", "compiled"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """How jitted programs reach the engine."""
    if request.param == "compiled":
        request.getfixturevalue("compiled")
    else:
        monkeypatch.setattr(_ffi, "_loaded", [])
    jax.clear_caches()
    yield request.param
    jax.clear_caches()


def random_params(params: Any, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(
            rng.standard_normal(w.shape) * (0.8 / np.sqrt(w.shape[0]) if w.ndim > 1 else 0.5), jnp.float32
        )
        for name, w in params.items()
    }


def floats(rng: np.random.Generator, *shape: int) -> Any:
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)


# --- numbers ---

CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("lstm", "lstm", {}),
    ("lstm", "lstm", {"peepholes": True, "clip": 3.0, "reverse": True}),
    ("lstm", "lstm", {"coupled_gates": True, "use_bias": False, "layer_normalization": "sums"}),
    ("lstm", "lstm", {"projection_size": 2, "learn_initial_state": True}),
    ("gru", "gru", {}),
    ("gru", "gru", {"reset_after": False, "reverse": True, "recurrent_activation": "hard_sigmoid"}),
    ("simple_rnn", "simple_rnn", {"activation": "softsign", "residual": True}),
    ("rnn", "min_gru", {"reverse": True}),
    ("rnn", "janet", {"beta": 2.0}),
    ("rnn", "cfc", {"step_inputs": True}),
]


def layer_of(kind: str, cell: Any, options: dict[str, Any]) -> Callable[..., Any]:
    def call(params: Any, x: Any, states: Any, lengths: Any, steps: Any) -> Any:
        if kind != "rnn":
            return getattr(rj, kind)(params, x, states, lengths, **options)
        own = {key: value for key, value in options.items() if key != "step_inputs"}
        return rj.rnn(cell, params, x, states, lengths, step_inputs=steps, **own)

    return call


@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize(("kind", "cell", "options"), CASES, ids=[f"{c[1]}-{k}" for k, c in enumerate(CASES)])
def test_outputs_and_gradients(
    way: str, monkeypatch: pytest.MonkeyPatch, kind: str, cell: Any, options: dict[str, Any], with_states: bool
) -> None:
    rng = np.random.default_rng(3)
    B, T, F, H = (3, 5, 4, 4) if options.get("residual") else (3, 5, 2, 3)
    names = list(getattr(rekur.cells, cell).step_inputs) if options.get("step_inputs") else []
    drawn = {key: value for key, value in options.items() if key not in ("reverse", "step_inputs")}
    what: Any = cell if kind != "rnn" else getattr(rekur.cells, cell)
    params = random_params(rj.init(what, 1, F, H, step_inputs=names, **drawn), 5)
    x, steps = floats(rng, B, T, F), {name: jnp.abs(floats(rng, B, T, 1)) for name in names}
    sizes = [options.get("projection_size", H), H][: 2 if kind == "lstm" or cell == "lstm" else 1]
    if options.get("learn_initial_state") and with_states:
        pytest.skip("states that are given leave nothing to learn")
    states = tuple(floats(rng, B, size) for size in sizes) if with_states else None
    lengths = jnp.array([T, 2, 0]) if with_states else None
    plans: list[Any] = []
    real = _primitives.call
    monkeypatch.setattr(_primitives, "call", lambda plan, operands: plans.append(plan) or real(plan, operands))
    call = layer_of(kind, cell, options)
    y, last = jax.jit(call)(params, x, states, lengths, steps)

    spec = json.loads(plans[0].spec)
    weights = {f"rnn/{name}": np.asarray(w) for name, w in params.items()}
    inputs = [np.asarray(a) for a in (x, *steps.values(), *(states or ()))]
    timed = 1 + len(steps)
    by_input = [None if lengths is None or k >= timed else np.asarray(lengths) for k in range(len(inputs))]
    expected = reference.run(spec, weights, inputs, by_input)
    for found, want in zip((y, *last), expected, strict=True):
        np.testing.assert_allclose(found, want, atol=2e-6)

    dy = [rng.standard_normal(e.shape).astype(np.float32) for e in expected]

    def loss(params: Any, x: Any, states: Any, steps: Any) -> Any:
        y, last = call(params, x, states, lengths, steps)
        return sum(jnp.sum(a * d) for a, d in zip((y, *last), dy, strict=True))

    gradients = jax.jit(jax.grad(loss, (0, 1, 2, 3) if states else (0, 1)))(params, x, states, steps)

    def total(weights: Any, inputs: Any) -> float:
        return sum(
            float(np.sum(a * d)) for a, d in zip(reference.run(spec, weights, inputs, by_input), dy, strict=True)
        )

    for name, w in weights.items():
        numeric = reference.numeric_gradient(lambda v, name=name: total({**weights, name: v}, inputs), w)
        np.testing.assert_allclose(gradients[0][name[4:]], numeric, atol=2e-4, err_msg=name)
    parts = [gradients[1], *(gradients[3].values() if states else ()), *(gradients[2] if states else ())]
    places = range(len(inputs)) if states else range(1)
    for k, found in zip(places, parts, strict=True):
        numeric = reference.numeric_gradient(
            lambda v, k=k: total(weights, [*inputs[:k], v, *inputs[k + 1 :]]), inputs[k]
        )
        np.testing.assert_allclose(found, numeric, atol=2e-4, err_msg=f"input {k}")


def scan_lstm(params: Any, x: Any, state: Any = None) -> Any:
    """The same of JAX's own, in the type of its operands."""
    H = params["recurrent_kernel"].shape[0]
    zeros = jnp.zeros((x.shape[0], H), x.dtype)

    def step(state: Any, a: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(a + h @ params["recurrent_kernel"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = (zeros, zeros) if state is None else state
    last, y = jax.lax.scan(step, start, jnp.swapaxes(x, 0, 1) @ params["kernel"] + params["bias"])
    return jnp.swapaxes(y, 0, 1), last


def sample(B: int = 3, T: int = 6, F: int = 5, H: int = 7, seed: int = 0) -> tuple[Any, Any]:
    params = random_params(rj.init("lstm", 0, F, H), seed)
    return params, floats(np.random.default_rng(seed), B, T, F)


def total(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(f(*args)))


def close(a: Any, b: Any, tolerance: float = 3e-5) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), a, b)


def test_a_scan_in_float64_agrees(way: str) -> None:
    for B, T, F, H in ((2, 3, 17, 31), (5, 33, 7, 33)) if way == "compiled" else ((1, 1, 1, 1), (31, 2, 1, 2)):
        params, x = sample(B, T, F, H)
        found = jax.jit(jax.value_and_grad(total(rj.lstm), (0, 1)))(params, x)
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (params, x))
            want = jax.jit(jax.value_and_grad(total(scan_lstm), (0, 1)))(*wide)
            want = jax.tree.map(np.asarray, want)
        close(found, want)


TRANSFORMED: dict[str, Callable[[Any], Any]] = {
    "plain": lambda f: f,
    "grad": lambda f: jax.grad(total(f), (0, 1)),
    "grad of x": lambda f: jax.grad(total(f), 1),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(total(f)), (0, 1)),
    "vmap": lambda f: jax.vmap(lambda p, x: f(p, x[None]), (None, 0)),
    "grad of vmap": lambda f: jax.grad(total(jax.vmap(lambda p, x: f(p, x[None]), (None, 0))), (0, 1)),
    "vmap of grad": lambda f: jax.vmap(jax.grad(total(lambda p, x: f(p, x[None])), (0, 1)), (None, 0)),
    "vmap of grad of x": lambda f: jax.vmap(jax.grad(total(lambda p, x: f(p, x[None])), 1), (None, 0)),
    "vmap of weights": lambda f: jax.vmap(lambda s, p, x: f(jax.tree.map(lambda w: s * w, p), x), (0, None, None)),
    "vmap of vmap": lambda f: jax.vmap(jax.vmap(lambda p, x: f(p, x[None]), (None, 0)), (None, 1), 1),
    "jacrev": lambda f: jax.jacrev(lambda p, x: f(p, x)[0], 1),
    "scan": lambda f: jax.grad(
        lambda p, x: jax.lax.scan(lambda s, _: (jnp.tanh(f(p, s)[0][..., : s.shape[-1]]), 0.0), x, None, length=3)[
            0
        ].sum()
    ),
}


EXPECTED: dict[str, Any] = {}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformations(way: str, name: str) -> None:
    params, x = sample()
    make, given = TRANSFORMED[name], (params, x)
    if name == "vmap of weights":
        given = (jnp.array([1.0, 0.5]), params, x)
    if name == "vmap of vmap":
        given = (params, jnp.stack([x, 2 * x], 1))
    if name not in EXPECTED:
        EXPECTED[name] = jax.tree.map(np.asarray, jax.jit(make(scan_lstm))(*given))
    close(jax.jit(make(rj.lstm))(*given), EXPECTED[name])
    if way == "callback":
        close(make(rj.lstm)(*given), EXPECTED[name])


def test_vmap_makes_one_batch() -> None:
    params, x = sample()
    grad = jax.grad(total(jax.vmap(lambda p, x: rj.lstm(p, x), (None, 0))))
    assert str(jax.make_jaxpr(grad)(params, x)).count("rekur_layer_gradient") == 1
    assert "scan" not in str(jax.make_jaxpr(grad)(params, x))


def test_derivatives_that_there_are_not(way: str) -> None:
    params, x = sample()
    f = total(rj.lstm)
    for second in (
        lambda x: jax.grad(lambda x: jnp.sum(jax.grad(f, 1)(params, x) ** 2))(x),
        lambda x: jax.jit(jax.grad(lambda x: jnp.sum(jax.grad(f)(params, x)["bias"] ** 2)))(x),
    ):
        with pytest.raises(NotImplementedError, match=r"LSTM\(7\) has first derivatives alone.*lax.scan"):
            second(x)
    for forward in (
        lambda x: jax.jvp(lambda x: rj.lstm(params, x), (x,), (x,)),
        lambda x: jax.jit(lambda x: jax.jvp(lambda x: rj.lstm(params, x), (x,), (x,)))(x),
        lambda x: jax.hessian(lambda x: f(params, x))(x),
    ):
        with pytest.raises(NotImplementedError, match=r"LSTM\(7\) has reverse-mode derivatives alone"):
            forward(x)
    penalty = jax.grad(lambda x: jnp.sum(x * jax.grad(f, 1)(params, jax.lax.stop_gradient(x))))(x)
    close(penalty, jax.grad(total(scan_lstm), 1)(params, x))


# --- arguments ---


def test_axes_types_and_resets(way: str) -> None:
    params, x = sample(6, 4, 5, 7)
    y, (h, c) = rj.lstm(params, x)
    grid = x.reshape(2, 3, 4, 5)
    y2, (h2, _) = jax.jit(rj.lstm)(params, grid, lengths=jnp.full((2, 3), 4))
    assert y2.shape == (2, 3, 4, 7) and h2.shape == (2, 3, 7)
    close(y2.reshape(y.shape), y)
    y3, (h3, _) = rj.lstm(params, x[0])
    assert y3.shape == (4, 7) and h3.shape == (7,)
    close(y3, y[0])
    y4, _ = jax.jit(lambda p, x: rj.lstm(p, x, time_major=True))(params, jnp.moveaxis(grid, 2, 0))
    close(jnp.moveaxis(y4, 0, 2), y2)

    narrow = jax.jit(rj.lstm)(params, x.astype(jnp.bfloat16))
    assert narrow[0].dtype == narrow[1][0].dtype == jnp.bfloat16
    close(narrow[0].astype(jnp.float32), y, 0.05)
    grad = jax.grad(lambda p: rj.lstm(p, x)[0].sum())(jax.tree.map(lambda w: w.astype(jnp.bfloat16), params))
    assert grad["kernel"].dtype == jnp.bfloat16

    resets = np.zeros((6, 4), bool)
    resets[:, 2] = True
    found, last = jax.jit(lambda p, x, s, r: rj.lstm(p, x, s, resets=r))(params, x, (h, c), resets)
    first, _ = rj.lstm(params, x[:, :2], (h, c))
    second, expected = rj.lstm(params, x[:, 2:])
    close(found, jnp.concatenate([first, second], 1))
    close(last, expected)
    turned = resets.T.reshape(4, 2, 3)
    close(rj.lstm(params, jnp.moveaxis(grid, 2, 0), (h.reshape(2, 3, 7), c.reshape(2, 3, 7)), resets=turned,
                  time_major=True)[0], jnp.moveaxis(found.reshape(2, 3, 4, 7), 2, 0))  # fmt: skip

    for empty in (x[:0], x[:, :0]):
        y, states = jax.jit(rj.lstm)(params, empty)
        assert y.shape == (*empty.shape[:2], 7) and states[0].shape == (len(empty), 7)
        gradient = jax.jit(jax.grad(total(rj.lstm)))(params, empty)
        assert not any(np.any(g) for g in jax.tree.leaves(gradient))


@rekur.cell(inputs=("time",))
def timed(x: Any, time: Any, h: Any) -> Any:
    return rekur.ops.tanh(x.n + time * h)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda p, x: rj.lstm({**p, "bias": p["bias"][:-1]}, x), ValueError,
         r"params\['bias'\] must have the shape \(28,\)"),
        (lambda p, x: rj.lstm({k: v for k, v in p.items() if k != "bias"}, x), ValueError,
         "lack 'bias'.*use_bias=False"),
        (lambda p, x: rj.lstm({**p, "kernal": x}, x), ValueError, "'kernal', which is no weight of it; did you mean"),
        (lambda p, x: rj.lstm({}, x), ValueError, "no 'kernel'"),
        (lambda p, x: rj.lstm([1], x), TypeError, "params must be a dict"),
        (lambda p, x: rj.lstm(p, x[..., :4]), ValueError, r"params\['kernel'\] must have the shape \(4, 28\)"),
        (lambda p, x: rj.lstm(p, x[0, 0]), ValueError, r"x must have the shape \(…, T, F\)"),
        (lambda p, x: rj.lstm(p, x.astype(int)), TypeError, "x must be float32, float16 or bfloat16, got int32"),
        (lambda p, x: rj.lstm(p, x, x), ValueError, "initial_state must have 2 arrays, got 1"),
        (lambda p, x: rj.lstm(p, x, (x[:, 0], x[:, 0])), ValueError,
         r"initial_state\[0\] must have the shape \(3, 7\)"),
        (lambda p, x: rj.lstm(p, x, lengths=jnp.array([1, 2])), ValueError, r"lengths must have the shape \(3,\)"),
        (lambda p, x: rj.lstm(p, x, lengths=jnp.ones(3)), TypeError, "lengths must be integers"),
        (lambda p, x: rj.lstm(p, x, lengths=jnp.array([1, 7, 2])), ValueError,
         "lengths must be between 0 and 6, got 7"),
        (lambda p, x: rj.lstm(p, x, resets=jnp.ones((3, 6))), TypeError, "resets must be booleans"),
        (lambda p, x: rj.lstm(p, x, resets=jnp.ones((3, 5), bool)), ValueError, r"resets must have the shape \(3, 6\)"),
        (lambda p, x: rj.lstm(p, x, dropout=0.1), TypeError, "'dropout' draws at random"),
        (lambda p, x: rj.lstm(p, x, zoneout=0.1), TypeError, "'zoneout' draws at random"),
        (lambda p, x: rj.lstm(p, x, return_state=True), TypeError, "no option 'return_state'"),
        (lambda p, x: rj.gru(p, x, reset_befor=1), TypeError, "rekur.jax.gru has no option 'reset_befor'"),
        (lambda p, x: rj.gru(p, x), ValueError, "must have a multiple of 3 columns"),
        (lambda p, x: rj.rnn("lstmm", p, x), ValueError, "rekur.cells has no 'lstmm'; did you mean 'lstm'"),
        (lambda p, x: rj.rnn("lstm", p, x, step_inputs={"t": x}), TypeError, "no step input 't'"),
        (lambda p, x: rj.rnn(timed, p, x), TypeError, "needs the step input 'time': give step_inputs="),
        (lambda p, x: rj.init("lstm", 0, 5, 0), ValueError, "units must be at least 1"),
        (lambda p, x: rj.init("lstm", -1, 5, 3), ValueError, "key must be at least 0"),
        (lambda p, x: rj.init("lstm", 0, 5, 3, dropout=1), TypeError, "draws at random"),
        (lambda p, x: jax.jit(lambda k: rj.init("lstm", k, 5, 3))(jax.random.key(0)), TypeError, "the key is traced"),
        (lambda p, x: rj.set_tape_memory(-1), ValueError, "at least 0"),
        (lambda p, x: rj.from_flax({"a": {"kernel": x[0]}}), ValueError, "holds no LSTMCell"),
        (lambda p, x: rj.from_flax([x]), TypeError, "expected a mapping"),
        (lambda p, x: rj.to_flax(p, "haiku"), ValueError, "form must be one of linen, nnx, nnx_optimized"),
        (lambda p, x: rj.to_flax({**p, "peephole": x}), ValueError, "no peephole"),
    ],
)  # fmt: skip
def test_errors_of_arguments(call: Callable[..., Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call(*sample())


def test_float64_is_refused() -> None:
    params, x = sample()
    with jax.enable_x64(True), pytest.raises(TypeError, match=r"x is float64.*float32: give it \.astype"):
        rj.lstm(params, jnp.asarray(np.asarray(x), jnp.float64))


def test_lengths_out_of_range_under_jit(way: str) -> None:
    params, x = sample()
    with pytest.raises(Exception, match=r"length|lengths"):
        jax.block_until_ready(jax.jit(lambda lengths: rj.lstm(params, x, lengths=lengths))(jnp.array([1, 7, 2])))


def test_init() -> None:
    a, b = rj.init("gru", jax.random.key(3), 4, 5), rj.init("gru", jax.random.key(3), 4, 5)
    assert {name: w.shape for name, w in a.items()} == {"kernel": (4, 15), "recurrent_kernel": (5, 15), "bias": (2, 15)}
    close(a, b, 0)
    assert np.any(np.asarray(rj.init("gru", jax.random.PRNGKey(4), 4, 5)["kernel"]) != np.asarray(a["kernel"]))
    model = rekur.Sequential([rekur.Input((None, 4)), rekur.layers.LSTM(5)], seed=9)
    close(list(rj.init("lstm", 9, 4, 5).values()), model.get_weights(), 0)
    assert not np.any(rj.init("lstm", 0, 4, 5, kernel_initializer="zeros")["kernel"])


# --- what is kept ---


def test_tapes_are_never_needed(way: str) -> None:
    params, x = sample()
    grad = jax.jit(jax.grad(total(rj.lstm), (0, 1)))
    rj.set_tape_memory(0)
    assert rj.tape_memory() == 0
    without = grad(params, x)
    assert rj.tape_memory() == 0
    rj.set_tape_memory(2**20)
    close(grad(params, x), without, 0)
    jax.block_until_ready(without)
    assert rj.tape_memory() == 0  # taken
    y, back = jax.vjp(rj.lstm, params, x)
    assert rj.tape_memory() > 0
    first, second = back(y), back(y)  # the second one finds nothing
    close(first, second, 0)
    assert rj.tape_memory() == 0
    kept = [jax.vjp(rj.lstm, params, x) for _ in range(200)]  # the oldest ones go
    assert 2**19 < rj.tape_memory() <= 2**20
    for (y, back), _ in zip(kept, range(3), strict=False):
        close(back(y), first, 0)
    rj.set_tape_memory(0)
    assert rj.tape_memory() == 0
    close(kept[-1][1](kept[-1][0]), first, 0)
    rj.set_tape_memory(2**30)


def test_calls_from_many_threads(way: str) -> None:
    """Each with weights of its own, all of one shape."""
    cases = [sample(seed=seed) for seed in range(6)]
    grad = jax.jit(jax.grad(total(rj.lstm), (0, 1)))
    expected = [jax.tree.map(np.asarray, grad(*case)) for case in cases]
    faults: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for _ in range(20):
                close(grad(*cases[k]), expected[k], 0)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(cases))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


# --- compile ---


def test_both_ways_give_the_same_bits(compiled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    params, x = sample()

    def run() -> Any:
        jax.clear_caches()
        return jax.jit(jax.value_and_grad(total(rj.lstm), (0, 1)))(params, x)

    assert "rekur_layer_run" in jax.jit(rj.lstm).lower(params, x).as_text()
    with_it = run()
    monkeypatch.setattr(_ffi, "_loaded", [])
    jax.clear_caches()
    assert "rekur_layer_run" not in jax.jit(rj.lstm).lower(params, x).as_text()
    close(run(), with_it, 0)
    jax.clear_caches()


def test_compile_keeps_what_it_made_and_says_what_it_lacks(
    compiled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rj.compile(folder=Path(compiled).parent) == compiled
    monkeypatch.setattr(_ffi, "_loaded", [])
    assert rj.compile(folder=Path(compiled).parent, compiler="no-such-compiler") == compiled  # nothing to compile
    monkeypatch.setattr(_ffi, "_loaded", [])
    with pytest.raises(RuntimeError, match=r"rekur.jax.compile needs a C\+\+ compiler.*call back to Python"):
        rj.compile(folder=tmp_path / "a", compiler="no-such-compiler")
    with pytest.raises(RuntimeError, match="the compiler failed"):
        rj.compile(folder=tmp_path / "a", compiler="false")
    assert not list((tmp_path / "a").iterdir())
    (tmp_path / "b").mkdir()
    (tmp_path / "b").chmod(0o777)
    with pytest.raises(PermissionError, match="would be executed"):
        rj.compile(folder=tmp_path / "b")
    (tmp_path / "a" / Path(compiled).name).write_bytes(b"no object")
    with pytest.raises(RuntimeError, match="could not be loaded; delete it"):
        rj.compile(folder=tmp_path / "a")


def test_it_is_imported_when_used_and_needs_jax() -> None:
    def said(code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert (
        said("import sys, rekur; print('jax' in sys.modules); rekur.jax; print('jax' in sys.modules)")
        == "False\nTrue\n"
    )
    code = (
        "import sys; sys.modules['jax'] = None\nimport rekur\n"
        "try:\n    rekur.jax\nexcept ImportError as error:\n    print(error)\n"
    )
    assert said(code) == 'rekur.jax needs jax, which is not installed: pip install "rekur[jax]"\n'


def test_options_are_those_of_the_layers() -> None:
    for kind, options in _layer._OPTIONS.items():
        layer = getattr(rekur.layers, kind)(*(["lstm"] if kind == "RNN" else []), 3)
        for name in options:
            assert hasattr(layer, name), (kind, name)
