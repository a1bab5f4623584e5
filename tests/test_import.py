"""What importing rekur costs, and the machine's settings."""

import subprocess
import sys

import numpy as np
import pytest

import rekur


def _python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_brings_in_numpy_only():
    heavy = ("onnx", "onnxruntime", "matplotlib", "tqdm", "pandas", "torch", "vega_datasets")
    loaded = _python("import sys, rekur; print(*sys.modules)").split()
    assert "numpy" in loaded
    assert not set(heavy) & set(loaded)


def test_import_is_quick():
    # The thread's own time: other work on the machine lengthens it only by what it takes from the caches. NumPy's share
    # says how much that is just now; on an idle machine it is 0.06 s.
    code = "from time import thread_time as t; a = t(); import numpy; b = t(); import rekur; print(b - a, t() - b)"
    numpy_s, own_s = min((tuple(map(float, _python(code).split())) for _ in range(5)), key=sum)
    assert own_s < 0.15 * max(1.0, numpy_s / 0.06)


def test_lazy_onnx_and_unknown_names():
    assert "onnx" in dir(rekur)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = rekur.nothing_of_this_name


@pytest.mark.parametrize(
    ("room", "names"),
    [
        ("losses", {"MeanSquaredError", "CTC", "Poisson"}),
        ("metrics", {"MeanSquaredError", "AUC", "F1Score"}),
        ("callbacks", {"Callback", "EarlyStopping", "ModelCheckpoint"}),
        ("layers", {"LSTM", "TextVectorization"}),
        ("models", {"Model", "clone_model", "model_from_json"}),
        ("utils", {"to_categorical", "plot_model", "timeseries_dataset_from_array"}),
    ],
)
def test_names_that_are_imported_when_asked_for_are_listed(room, names):
    listed = _python(f"import rekur.{room} as room; print(*dir(room))").split()
    assert names <= set(listed)
    _python(f"import rekur.{room} as room; [getattr(room, name) for name in dir(room)]")


def test_machine_settings():
    assert rekur.__version__.count(".") == 2
    assert rekur.isa() in rekur.available_isas()
    assert rekur.isa() in rekur.cpu_info()
    before = rekur.get_num_threads()
    x = np.random.default_rng(0).normal(size=(32, 6, 5))
    model = rekur.Sequential([rekur.layers.LSTM(17, input_shape=(6, 5))], seed=0)
    try:
        rekur.set_num_threads(1)
        one = model.predict(x)
        rekur.set_num_threads(3)
        assert rekur.num_threads() == 3
        np.testing.assert_array_equal(one, model.predict(x))
    finally:
        rekur.set_num_threads(before)
    with pytest.raises(ValueError, match="sparc"):
        rekur.set_isa("sparc")
