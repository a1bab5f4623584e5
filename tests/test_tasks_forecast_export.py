"""A forecaster as one ONNX file: raw values, times and texts in, forecasts out."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from rekur.tasks import Forecaster

RNG = np.random.default_rng(5)
QUICK = {"epochs": 1, "units": 6, "context": 24, "random_state": 0}


def session_of(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def hourly(rows=420):
    pandas = pytest.importorskip("pandas")
    times = pandas.date_range("2024-03-20", periods=rows, freq="h", tz="Europe/Berlin")
    load = np.exp(1 + 0.3 * np.sin(np.arange(rows) * np.pi / 12) + 0.1 * RNG.normal(size=rows))
    load[50:60] = np.nan
    return pandas.DataFrame(
        {"load": load, "kind": RNG.choice(["wet", "dry"], rows), "wind": RNG.normal(size=rows), "site": "north"},
        index=times,
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"ensemble": 2}, {"output": "student_t", "ensemble": 2}, {"output": "lognormal"}, {"output": "point"},
     {"output": "laplace", "cell": "lstm"}],
    ids=str,
)  # fmt: skip
def test_raw_values_times_and_texts_go_in(options, tmp_path):
    """Seconds of local time and texts, made here by pandas; forecasts are those of predict."""
    frame = hourly()
    model = Forecaster(5, target="load", future=["kind", "wind"], static="site", **QUICK, **options).fit(frame[:-5])
    names = model.export_onnx(tmp_path / "f.onnx")
    window = frame[-29:]
    local = window.index.tz_localize(None).as_unit("s").asi8
    fed = {
        "target": window["load"][:-5].to_numpy(np.float32)[None, :, None],
        "future": window["wind"].to_numpy(np.float32)[None, :, None],
        "future kind": window["kind"].to_numpy(object)[None],
        "static site": np.array(["north"], object),
        "time": local[None],
    }
    results = dict(zip(names, session_of(tmp_path / "f.onnx").run(None, fed), strict=True))
    told = model.predict(future=frame[["kind", "wind"]][-5:])
    np.testing.assert_allclose(results["forecast"][0, :, 0], told["load"], rtol=1e-5)
    if options.get("output") == "point":
        assert names == ["forecast"]
    else:
        bands = model.predict_quantiles(future=frame[["kind", "wind"]][-5:])
        np.testing.assert_allclose(results["quantiles"][0, :, 0], bands.to_numpy(), rtol=1e-5)
    described = {p.key: p.value for p in onnx.load(tmp_path / "f.onnx").metadata_props}["rekur.forecaster"]
    assert json.loads(described)["context"] == 24 and json.loads(described)["targets"] == ["load"]
    # Several rows at once, and texts that nobody has seen.
    fed = {name: np.concatenate([values, values]) for name, values in fed.items()}
    fed["future kind"][1] = "hail"
    both = dict(zip(names, session_of(tmp_path / "f.onnx").run(None, fed), strict=True))["forecast"]
    np.testing.assert_allclose(both[0], results["forecast"][0], rtol=1e-5)
    assert np.isfinite(both).all()


def test_counts_give_their_parameters(tmp_path):
    sold = RNG.poisson(4, size=150).astype(float)
    model = Forecaster(3, output="negative_binomial", **QUICK).fit(sold)
    assert model.export_onnx(tmp_path / "f.onnx") == ["parameters"]
    found = session_of(tmp_path / "f.onnx").run(None, {"target": sold[-24:].astype(np.float32)[None, :, None]})[0]
    np.testing.assert_allclose(
        found[0].reshape(3, 2), model.models_[0].predict(sold[-24:][None, :, None])[0], rtol=1e-5
    )


def test_several_targets_and_past_covariates(tmp_path):
    table = {"a": RNG.normal(size=120), "b": RNG.normal(size=120) + 50, "p": RNG.normal(size=120)}
    model = Forecaster(2, target=["a", "b"], past="p", season=4, **QUICK).fit(table)
    model.export_onnx(tmp_path / "f.onnx")
    fed = {
        "target": np.stack([table["a"], table["b"]], axis=1)[-24:].astype(np.float32)[None],
        "past": table["p"][-24:].astype(np.float32)[None, :, None],
        "time": np.arange(96, 122)[None],
    }
    forecast = session_of(tmp_path / "f.onnx").run(["forecast"], fed)[0]
    told = model.predict()
    np.testing.assert_allclose(forecast[0], np.stack([told["a"], told["b"]], axis=1), rtol=1e-5)


def test_a_file_that_would_differ_is_not_written(tmp_path, monkeypatch):
    model = Forecaster(3, **QUICK).fit(RNG.normal(size=80))
    target = tmp_path / "f.onnx"
    model.export_onnx(target)
    before = target.read_bytes()
    honest = Forecaster._ahead
    monkeypatch.setattr(Forecaster, "_ahead", lambda self, *given: honest(self, *given) + 1.0)
    with pytest.raises(RuntimeError, match="the file differs from the engine"):
        model.export_onnx(target)
    assert target.read_bytes() == before
    with pytest.raises(OSError):
        model.export_onnx(tmp_path / "nowhere" / "f.onnx")


def test_a_header_of_one_network(tmp_path):
    model = Forecaster(3, **QUICK).fit(RNG.normal(size=80))
    model.export_cpp(tmp_path / "f.hpp")
    assert "layer_encoder_0" in (tmp_path / "f.hpp").read_text()
    model.models_ = model.models_ * 2
    with pytest.raises(ValueError, match="there are 2 networks"):
        model.export_cpp(tmp_path / "g.hpp")
