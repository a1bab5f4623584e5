"""rekur.cell: what its functions may say, what is recorded of them, and what is refused, naming the line."""

from __future__ import annotations

import copy
import functools
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import cells, initializers, ops
from rekur.ops import sigmoid, tanh


def test_the_shortest_cell_needs_no_import() -> None:
    space: dict[str, Any] = {"rekur": rekur}
    text = (
        "@rekur.cell\n"
        "def min_gru(x, h):\n"
        "    z = sigmoid(x.z)\n"
        "    return h + z * (x.n - h)\n"
    )  # fmt: skip
    exec(text, space)
    assert space["min_gru"] == cells.min_gru
    assert "sigmoid" not in space


def test_names_of_a_module_come_before_those_of_ops() -> None:
    space: dict[str, Any] = {"rekur": rekur, "tanh": lambda a: ops.tanh(2.0 * a)}
    exec("@rekur.cell\ndef own(x, h):\n    return tanh(x.a) + max(1.0, 2.0) * relu(h)", space)
    heads = [node[0] for node in space["own"].spec()["equations"]["nodes"]]
    assert heads == ["constant", "multiply", "tanh", "relu", "multiply", "add"]


def test_what_is_recorded() -> None:
    @rekur.cell(recurrent_bias=True, forget="f", weights={"u": "ones"}, inputs=("speed",))
    def everything(x: Any, speed: Any, h: Any, c: Any, time: Any = 1.0, *, u: Any, v: Any, tau: float = 2.0) -> Any:
        f = sigmoid(x.f + h.f + u * c)
        g = tanh(x.g + (f * c).g) * time
        dead = tanh(x.unused + h.unused)
        assert dead is not None
        return {"c": f * c + v * g, "h": tanh(c.o + x.f) / tau + speed}

    spec = everything.spec()
    assert spec["name"] == "everything"
    assert spec["states"] == ["h", "c"]
    assert spec["kernel"] == ["x.f", "x.g"]
    assert [name for name, _ in spec["recurrent"]] == ["h.f", "value.g", "c.o"]
    assert spec["recurrent"][0][1] == "h"
    source = spec["recurrent"][1][1]
    equations = spec["equations"]
    first = len(equations["inputs"])
    assert equations["nodes"][source - first][0] == "multiply"
    assert spec["step_inputs"] == ["speed", "time"]
    assert spec["weights"] == [{"name": "u", "initializer": "ones"}, {"name": "v", "initializer": "zeros"}]
    assert spec["recurrent_bias"] is True
    assert spec["forget"] == "x.f"
    assert equations["inputs"] == ["x.f", "x.g", "h.f", "value.g", "c.o", "h", "c", "u", "v", "speed", "time"]
    assert all(k < first + n for n, node in enumerate(equations["nodes"]) if node[0] != "constant" for k in node[1:])
    assert everything.bias_initializer == "unit_forget"
    assert everything.parameters == {"tau": 2.0}
    assert everything.step_inputs == {"speed": None, "time": 1.0}
    without = everything.spec(["speed"])
    assert without["step_inputs"] == ["speed"] and "time" not in without["equations"]["inputs"]
    assert everything.bind(tau=4.0).spec() != spec and everything.spec() == spec
    assert repr(everything) == "<cell everything(x, speed, time, h, c, tau=2.0)>"


def test_the_same_attribute_of_the_same_value_is_one_product() -> None:
    @rekur.cell
    def twice(x: Any, h: Any) -> Any:
        r = h * 2.0
        return x.a + x.a * h.a + h.a + r.a + (h * 2.0).a

    assert twice.spec()["kernel"] == ["x.a"]
    assert [name for name, _ in twice.spec()["recurrent"]] == ["h.a", "value.a"]


def test_products_of_products_and_of_step_inputs_go_through_an_operation() -> None:
    @rekur.cell(inputs=("mask",))
    def deep(x: Any, mask: Any, h: Any) -> Any:
        return x.a + h.low.high + x.b.c + mask.m

    spec = deep.spec()
    first = len(spec["equations"]["inputs"])
    sources = [source for _, source in spec["recurrent"] if not isinstance(source, str)]
    assert len(sources) == 3
    assert all(spec["equations"]["nodes"][source - first][0] == "linear" for source in sources)


def test_a_state_may_be_called_value_and_a_block_like_a_method() -> None:
    @rekur.cell
    def odd(inputs: Any, value: Any) -> Any:
        return inputs.name + (value * 2.0).index + value.trace_ + inputs.error

    assert odd.spec()["kernel"] == ["x.name", "x.error"]
    assert [name for name, _ in odd.spec()["recurrent"]] == ["value_.index", "value.trace_"]


def test_a_cell_may_be_called_in_another() -> None:
    @rekur.cell
    def slow(x: Any, h: Any, *, keep: float = 0.9) -> Any:
        return keep * h + (1 - keep) * cells.min_gru(x, h)

    assert slow.spec()["kernel"] == ["x.z", "x.n"]


def test_cells_of_functions_that_are_no_functions_of_def() -> None:
    assert rekur.cell(lambda x, h: ops.tanh(x.a + h.a), name="elman").spec()["kernel"] == ["x.a"]
    assert rekur.cell(lambda x, h: ops.tanh(x.a + h.a)).name == "lambda"
    half = functools.partial(lambda x, h, *, by: by * h + x.a, by=0.5)
    assert rekur.cell(half).parameters == {"by": 0.5}
    with pytest.raises(TypeError, match="expected a function of one step, got 3"):
        rekur.cell(3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="is a cell already"):
        rekur.cell(cells.gru)


def branches(x: Any, h: Any) -> Any:
    if x.z > 0:
        return h
    return -h


def one_short(x: Any, h: Any, c: Any) -> Any:
    return tanh(x.z)


def one_too_many(x: Any, h: Any) -> Any:
    return h, x.z


def other_name(x: Any, h: Any) -> Any:
    return {"hh": h}


def name_left_out(x: Any, h: Any, c: Any) -> Any:
    return {"h": h}


def returns_nothing(x: Any, h: Any) -> None:
    sigmoid(x.z)


def returns_a_number(x: Any, h: Any, c: Any) -> Any:
    return h, 3.0


def returns_a_row(x: Any, h: Any) -> Any:
    return ops.mean(h, -1)


def product_of_a_row(x: Any, h: Any) -> Any:
    return ops.mean(h, -1).z + h


def product_of_a_weight(x: Any, h: Any, *, u: Any) -> Any:
    return u.z + h


def unused_weight(x: Any, h: Any, *, u: Any) -> Any:
    return h


def unused_step_input(x: Any, h: Any, time: float = 1.0) -> Any:
    return h


def unknown_operation(x: Any, h: Any) -> Any:
    return softmaxx(x.z)  # type: ignore[name-defined]  # noqa: F821


def unknown_attribute_of_ops(x: Any, h: Any) -> Any:
    return ops.sigmod(x.z)


def floor_division(x: Any, h: Any) -> Any:
    return h // 2


def remainder(x: Any, h: Any) -> Any:
    return 2 % h


def exclusive_or(x: Any, h: Any) -> Any:
    return h ^ x.z


def shifted(x: Any, h: Any) -> Any:
    return h << 2


def rounded(x: Any, h: Any) -> Any:
    return round(h)


def rounded_by_math(x: Any, h: Any) -> Any:
    return math.floor(h)


def written(x: Any, h: Any) -> Any:
    return f"{h:.3f}"


def called(x: Any, h: Any) -> Any:
    return x.z(h)


def sought(x: Any, h: Any) -> Any:
    return 3 in h


def set_in_part(x: Any, h: Any) -> Any:
    h[0] = 3
    return h


def set_attribute(x: Any, h: Any) -> Any:
    h.z = 3
    return h


def huge_constant(x: Any, h: Any) -> Any:
    return h + 10**400


def yields(x: Any, h: Any) -> Any:
    yield x.z


async def asynchronous(x: Any, h: Any) -> Any:
    return x.z


def endless_time(x: Any, h: Any, time: float = math.inf) -> Any:
    return h * time


def operation_as_block(x: Any, h: Any) -> Any:
    return h.tanh


def array_word(x: Any, h: Any) -> Any:
    return h.shape[0] * h


def private_block(x: Any, h: Any) -> Any:
    return h._z


def other_library(x: Any, h: Any) -> Any:
    return np.convolve(x.z, h)


def other_ufunc(x: Any, h: Any) -> Any:
    return np.arctan(x.z)


def matrix(x: Any, h: Any) -> Any:
    return x @ h


def other_axis(x: Any, h: Any) -> Any:
    return ops.sum(h, axis=0)


def too_many_states(x: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    return a, b, c, d, e


def no_states(x: Any) -> Any:
    return x.z


def star(x: Any, *states: Any) -> Any:
    return states


def layers_own(x: Any, h: Any, *, units: int = 3) -> Any:
    return units * h


def layers_weight(x: Any, h: Any, *, kernel: Any) -> Any:
    return kernel * h


def no_number(x: Any, h: Any, *, by: Any = None) -> Any:
    return h


def second_x(inputs: Any, x: Any) -> Any:
    return x


def early_default(x: float = 1.0, h: Any = 0.0) -> Any:
    return h


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str, str]] = [
    (branches, {}, TypeError, "use rekur.ops.where", "if x.z > 0:"),
    (one_short, {}, ValueError, "its state 'c' is not returned", "return tanh(x.z)"),
    (one_too_many, {}, ValueError, "returns 2 values for its states (h): one is no state", "return h, x.z"),
    (other_name, {}, ValueError, "returns 'hh', which is no state; did you mean 'h'?", 'return {"hh": h}'),
    (name_left_out, {}, ValueError, "does not return its state 'c'", 'return {"h": h}'),
    (returns_nothing, {}, TypeError, "the new 'h' must be made of what the step is given, got nothing", "sigmoid(x.z)"),
    (returns_a_number, {}, TypeError, "the new 'c' must be made of what the step is given, got 3.0", "return h, 3.0"),
    (returns_a_row, {}, ValueError, "the new 'h' is one number a row", "return ops.mean(h, -1)"),
    (product_of_a_row, {}, ValueError, "needs one number a unit, and this is one number a row", "return ops.mean("),
    (product_of_a_weight, {}, AttributeError, "u.z: 'u' is one number a unit", "return u.z + h"),
    (unused_weight, {}, ValueError, "the weight 'u' is not used", "return h"),
    (unused_step_input, {}, ValueError, "the step input 'time' is not used", "return h"),
    (unknown_operation, {}, NameError, "'softmaxx' is not defined; did you mean 'softmax'?", "return softmaxx(x.z)"),
    (unknown_attribute_of_ops, {}, AttributeError, "'sigmod'; did you mean 'sigmoid'?", "return ops.sigmod(x.z)"),
    (floor_division, {}, TypeError, "equations have no // of symbols: / divides", "return h // 2"),
    (remainder, {}, TypeError, "equations have no % of symbols", "return 2 % h"),
    (exclusive_or, {}, TypeError, "equations have no ^ of symbols: ** is the power", "return h ^ x.z"),
    (shifted, {}, TypeError, "equations have no << and >> of symbols", "return h << 2"),
    (rounded, {}, TypeError, "equations have no rounding of symbols", "return round(h)"),
    (rounded_by_math, {}, TypeError, "equations have no rounding of symbols", "return math.floor(h)"),
    (written, {}, TypeError, "a symbol has no number yet that could be written as '.3f'", 'return f"{h:.3f}"'),
    (called, {}, TypeError, "equations have no call of symbols", "return x.z(h)"),
    (sought, {}, TypeError, "equations have no `in` of symbols", "return 3 in h"),
    (set_in_part, {}, TypeError, "equations have no assignment to parts of symbols", "h[0] = 3"),
    (set_attribute, {}, AttributeError, "'z' cannot be set: a value never changes", "h.z = 3"),
    (huge_constant, {}, ValueError, "a constant must be a finite float32 number", "return h + 10**400"),
    (yields, {}, TypeError, "expected a function that returns the new states, got one that yields", "def yields("),
    (asynchronous, {}, TypeError, "got one that is asynchronous", "async def asynchronous("),
    (endless_time, {}, ValueError, "step input 'time' without data must be a finite number", "def endless_time("),
    (operation_as_block, {}, AttributeError, "'tanh' is an operation, rekur.ops.tanh(…)", "return h.tanh"),
    (array_word, {}, AttributeError, "h.shape: a symbol has no 'shape'", "return h.shape[0] * h"),
    (private_block, {}, AttributeError, "h._z: a block's name holds letters", "return h._z"),
    (other_library, {}, TypeError, "np.convolve is no operation", "return np.convolve(x.z, h)"),
    (other_ufunc, {}, TypeError, "np.arctan is no operation", "return np.arctan(x.z)"),
    (matrix, {}, TypeError, "products are attributes", "return x @ h"),
    (other_axis, {}, ValueError, "axis=-1, got axis=0", "return ops.sum(h, axis=0)"),
    (too_many_states, {}, ValueError, "at most 4 states, got a, b, c, d, e", "def too_many_states("),
    (no_states, {}, ValueError, "it has no state", "def no_states("),
    (star, {}, TypeError, "*states: every state and input has a parameter of its own", "def star("),
    (layers_own, {}, ValueError, "RNN takes a 'units' of its own", "def layers_own("),
    (layers_weight, {}, ValueError, "a weight cannot be called 'kernel'", "def layers_weight("),
    (no_number, {}, TypeError, "by: a hyper-parameter is a number, a bool or a string, got None", "def no_number("),
    (second_x, {}, ValueError, "'x' is what the input, the first parameter, is called", "def second_x("),
    (early_default, {}, TypeError, "its first parameter is the input x, without a default", "def early_default("),
    (one_short, {"inputs": ("speed",)}, ValueError, "inputs names 'speed', which is no parameter", "def one_short("),
    (one_short, {"inputs": "c"}, TypeError, "inputs is a tuple of names, such as ('c',)", "def one_short("),
    (
        one_short,
        {"weights": {"u": "ones"}},
        ValueError,
        "weights names 'u', which is no keyword-only",
        "def one_short(",
    ),
    (returns_a_row, {"name": "a cell"}, ValueError, "a name holds letters", ""),
    (unused_weight, {"weights": {"u": "onez"}}, ValueError, "'onez'; did you mean 'ones'?", ""),
    (matrix, {"bias_initializer": "unit_forget"}, ValueError, "needs forget=", ""),
    (matrix, {"forget": 3}, TypeError, "forget must be the name of a block", ""),
    (cells.min_gru._function, {"forget": "f"}, ValueError, "forget='f' is no block of the input's products", ""),
]


@pytest.mark.parametrize(
    ("function", "options", "kind", "text", "line"), REFUSED, ids=lambda v: getattr(v, "__name__", "")
)
def test_what_a_cell_cannot_say_is_refused_at_its_definition(
    function: Any, options: Any, kind: type[Exception], text: str, line: str
) -> None:
    with pytest.raises(kind) as caught:
        rekur.cell(function, **options)
    message = str(caught.value)
    assert text in message
    if line:
        assert re.search(rf"\({re.escape(Path(__file__).name)}, line \d+: {re.escape(line)}", message), message


def test_symbols_of_other_equations_are_told_apart() -> None:
    kept = []

    @rekur.cell
    def first(x: Any, h: Any) -> Any:
        kept.append(h)
        return h + x.a

    with pytest.raises(TypeError, match="comes from other equations"):
        rekur.cell(lambda x, h: h + kept[0])


def test_lambda_layers_keep_their_hints() -> None:
    x = rekur.Input((3,))
    with pytest.raises(AttributeError, match=re.escape("a symbol has no attribute 'tanh': call rekur.ops.tanh(…)")):
        rekur.layers.Lambda(lambda v: v.tanh())(x)


def test_a_whole_number_of_unfolds_is_asked_for() -> None:
    with pytest.raises(TypeError, match=r"cell 'ltc': unfolds must be an integer, got 2\.5"):
        cells.ltc.bind(unfolds=2.5)
    with pytest.raises(ValueError, match="cell 'ltc': unfolds must be at least 1, got 0"):
        cells.ltc.bind(unfolds=0)


def test_hyper_parameters_are_checked() -> None:
    assert cells.janet.bind(beta=2).parameters == {"beta": 2}
    with pytest.raises(TypeError, match="has no parameter 'betta'; did you mean 'beta'"):
        cells.janet.bind(betta=2.0)
    with pytest.raises(TypeError, match="beta must be a number, got 'one'"):
        cells.janet.bind(beta="one")
    with pytest.raises(ValueError, match="beta must be a finite number"):
        cells.janet.bind(beta=float("inf"))

    @rekur.cell
    def choosy(x: Any, h: Any, *, gated: bool = True, kind: str = "tanh", times: int = 2) -> Any:
        for _ in range(times):
            h = getattr(ops, kind)(x.a + h)
        return sigmoid(x.g) * h if gated else h

    assert choosy.bind(gated=False, kind="relu", times=3).spec()["kernel"] == ["x.a"]
    for wrong in ({"gated": 1}, {"kind": 2}):
        with pytest.raises(TypeError, match="must be"):
            choosy.bind(**wrong)
    with pytest.raises(AttributeError, match="has no attribute 'sine'"):
        choosy.bind(kind="sine")


def test_a_cell_never_changes_and_copies_are_itself() -> None:
    with pytest.raises(AttributeError, match="never changes: 'name' cannot be set"):
        cells.gru.name = "other"
    with pytest.raises(AttributeError, match="never changes"):
        del cells.gru.states
    with pytest.raises(TypeError, match="cannot be changed in place"):
        cells.janet.parameters["beta"] = 2.0
    assert copy.copy(cells.gru) is cells.gru and copy.deepcopy(cells.gru) is cells.gru
    spec = cells.gru.spec()
    spec["states"].append("more")
    assert cells.gru.spec()["states"] == ["h"]


def test_cells_are_pickled_by_name_or_by_what_they_recorded() -> None:
    assert pickle.loads(pickle.dumps(cells.gru)) is cells.gru
    bound = pickle.loads(pickle.dumps(cells.janet.bind(beta=3.0)))
    assert bound == cells.janet.bind(beta=3.0) and bound.bind(beta=1.0) == cells.janet

    @rekur.cell(weights={"u": initializers.Constant(0.5)}, forget="z")
    def local(x: Any, h: Any, time: float = 1.0, mask: float = 1.0, *, u: Any, tau: float = 2.0) -> Any:
        return sigmoid(x.z) * h * mask + u * time / tau

    other = pickle.loads(pickle.dumps(local))
    assert other == local and other.step_inputs == local.step_inputs and other.bias_initializer == "unit_forget"
    for given in ((), ("time",), ("mask",), ("time", "mask")):
        assert other.spec(given) == local.spec(given)
    with pytest.raises(TypeError, match="cannot be set \\(tau\\)"):
        other.bind(tau=3.0)
    with pytest.raises(TypeError, match="no function to call"):
        other(1, 2)


def test_the_library_is_found_in_its_modules_and_documented() -> None:
    assert cells.__all__ == sorted(cells.__all__) and "gru" in dir(cells)
    for name in cells.__all__:
        cell = getattr(cells, name)
        assert cell.name == name
        assert cell.__doc__ and len(cell.__doc__) > 40
    with pytest.raises(AttributeError, match="did you mean 'min_gru'"):
        _ = cells.min_gruu


def test_a_cell_of_the_library_appears_in_one_file_of_the_package() -> None:
    """What the next cell costs: one function."""
    root = Path(rekur.__file__).parent
    texts = {file: file.read_text(encoding="utf-8") for file in root.rglob("*.py")}
    for name in ("light_gru", "janet", "slstm", "rg_lru", "min_lstm"):
        assert len([file for file, text in texts.items() if re.search(rf"\b{name}\b", text)]) <= 2, name
        assert sum(bool(re.search(rf"^def {name}\(", text, re.M)) for text in texts.values()) == 1
