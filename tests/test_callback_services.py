"""Callbacks that show, send and write what happens, and those of other libraries."""

import contextlib
import http.server
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import numpy as np
import pytest

import rekur
from rekur import Sequential, layers
from rekur.callbacks import (
    Callback,
    CallbackList,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateFinder,
    LearningRateScheduler,
    ModelCheckpoint,
    ProgbarLogger,
    ReduceLROnPlateau,
    RemoteMonitor,
    TensorBoard,
)

X, Y = np.ones((8, 1), np.float32), np.zeros(8, np.float32)


def _model(rate=0.1):
    model = Sequential([layers.Dense(1, use_bias=False, input_shape=(1,), name="dense")], name="m")
    model.compile(rekur.optimizers.SGD(rate), "mse", metrics=["mae"])
    model.set_weights([[[1.0]]])
    return model


def test_a_list_of_callbacks_calls_their_hooks_in_order_and_adds_what_is_asked_for():
    seen = []
    one = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(("one", epoch, logs)))
    two = LambdaCallback(on_train_batch_begin=lambda batch, logs: seen.append(("two", batch, logs)))
    model = _model()
    both = CallbackList([one, two], add_history=True, add_progbar=True, model=model, epochs=3, steps=2, verbose=0)
    assert [type(c) for c in both.callbacks] == [LambdaCallback, LambdaCallback, History, ProgbarLogger]
    assert one.model is model
    assert both.params == two.params == {"epochs": 3, "steps": 2, "verbose": 0}
    both.on_epoch_begin(0)
    both.on_train_batch_begin(4, {"a": 1})
    both.on_epoch_end(0, {"loss": 0.5})
    assert seen == [("two", 4, {"a": 1}), ("one", 0, {"loss": 0.5})]
    assert both.history.history == {"loss": [0.5]}
    assert isinstance(both, Callback)
    assert CallbackList([History()], add_history=True).callbacks[0] is not None
    assert len(CallbackList([History()], add_history=True).callbacks) == 1
    with pytest.raises(TypeError, match=r"objects of rekur\.callbacks\.Callback"):
        CallbackList([3])
    history = History()
    assert model.fit(X, Y, verbose=0, callbacks=[history]) is history


def test_messages_are_those_of_keras(tmp_path, capsys):
    class Script(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val"] = [1.0, 2.0, 0.5, 3.0, 3.0][epoch]

    path = tmp_path / "{epoch}.safetensors"
    _model(0.5).fit(
        X, Y, epochs=5, verbose=0,
        callbacks=[
            LearningRateScheduler(lambda epoch: 0.5, verbose=1), Script(),
            ModelCheckpoint(path, "val", verbose=1, save_best_only=True, mode="min"),
            ReduceLROnPlateau("val", 0.1, patience=2, verbose=1, mode="min"),
            EarlyStopping("val", patience=2, verbose=1, mode="min", restore_best_weights=True),
        ],
    )  # fmt: skip
    text = capsys.readouterr().out
    name = str(tmp_path)
    for line in (
        "Epoch 1: LearningRateScheduler setting learning rate to 0.5.",
        f"Epoch 1: val improved from None to 1.00000, saving model to {name}/1.safetensors",
        f"Epoch 1: finished saving model to {name}/1.safetensors",
        "Epoch 2: val did not improve from 1.00000",
        f"Epoch 3: val improved from 1.00000 to 0.50000, saving model to {name}/3.safetensors",
        "Epoch 5: ReduceLROnPlateau reducing learning rate to 0.05.",
        "Epoch 5: early stopping",
        "Restoring model weights from the end of the best epoch: 3.",
    ):
        assert f"{line}\n" in text, line


def test_a_checkpoint_every_so_many_batches_counts_across_epochs(tmp_path):
    saved = ModelCheckpoint(tmp_path / "{epoch}-{batch}-{loss:.3f}", save_freq=3, save_weights_only=True)
    _model().fit(X, Y, batch_size=2, epochs=2, verbose=0, callbacks=saved)
    assert sorted(p.name[:4] for p in tmp_path.iterdir()) == ["1-3-", "2-2-"]
    with pytest.raises(ValueError, match="save_freq must be 'epoch' or a number of batches"):
        ModelCheckpoint("x", save_freq="batch")
    with pytest.raises(ValueError, match="needs 'val_loss'"):  # batches have none
        _model().fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=ModelCheckpoint("{val_loss}", save_freq=1))


def test_a_progress_logger_takes_the_place_of_the_calls_own_lines(capsys):
    model = _model()
    model.fit(X, Y, epochs=2, verbose=2, validation_data=(X, Y))
    own = capsys.readouterr().out
    model = _model()
    model.fit(X, Y, epochs=2, verbose=2, validation_data=(X, Y), callbacks=[ProgbarLogger()])
    assert [line.split(" - ")[::2] for line in capsys.readouterr().out.splitlines()] == [
        line.split(" - ")[::2] for line in own.splitlines()
    ]
    model.evaluate(X, Y, verbose=2, callbacks=[ProgbarLogger()])
    model.predict(X, verbose=2, callbacks=[ProgbarLogger()])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("evaluate - ")
    assert "mae" in lines[0]
    assert lines[1].startswith("predict - ")
    model.fit(X, Y, verbose=0, callbacks=[ProgbarLogger()])
    assert capsys.readouterr() == ("", "")


@contextlib.contextmanager
def _server():
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            got.append((self.path, dict(self.headers), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()


def test_logs_go_to_a_server_as_a_form_or_as_json():
    with _server() as (root, got):
        history = _model().fit(X, Y, epochs=2, verbose=0, callbacks=RemoteMonitor(root, headers={"X-Key": "7"}))
        _model().fit(X, Y, verbose=0, callbacks=RemoteMonitor(root, "/other", send_as_json=True))
    path, headers, body = got[1]
    assert path == "/publish/epoch/end/"
    assert headers["X-Key"] == "7"
    sent = json.loads(urllib.parse.parse_qs(body)["data"][0])
    assert sent == {"epoch": 1, **{key: values[1] for key, values in history.history.items()}}
    assert got[2][0] == "/other"
    assert json.loads(got[2][2])["epoch"] == 0
    assert got[2][1]["Content-Type"] == "application/json"
    with pytest.warns(UserWarning, match="Could not reach RemoteMonitor root server at"):
        _model().fit(X, Y, verbose=0, callbacks=RemoteMonitor(root))  # nobody is there any more
    with pytest.raises(ValueError, match="begin with http"):
        RemoteMonitor("localhost:9000")


def _events(folder):
    """Tags and (step, value) of the scalars, and the other tags, of the event files in a folder."""
    writer = pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    assert writer
    scalars, others = {}, []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
                else:
                    others.append(value.tag)
    return scalars, others


def test_tensorboard_files_hold_what_those_of_keras_do(tmp_path):
    pytest.importorskip("tensorboardX")
    board = TensorBoard(tmp_path, histogram_freq=1, write_images=True, update_freq=2, write_steps_per_second=True)
    model = _model()
    history = model.fit(X, Y, batch_size=2, epochs=2, verbose=0, validation_data=(X, Y), callbacks=board).history
    scalars, others = _events(tmp_path / "train")
    assert {*scalars} == {
        "epoch_loss", "epoch_mae", "epoch_learning_rate", "epoch_steps_per_second", "batch_loss", "batch_mae",
        "batch_steps_per_second",
    }  # fmt: skip
    assert [step for step, _ in scalars["batch_loss"]] == [2, 4, 6, 8]
    assert scalars["epoch_loss"] == [(0, pytest.approx(history["loss"][0])), (1, pytest.approx(history["loss"][1]))]
    assert [tag for tag in others if "text" not in tag] == ["dense/kernel/histogram", "dense/kernel/image"] * 2
    assert any("model" in tag for tag in others)
    scalars, _ = _events(tmp_path / "validation")
    assert {*scalars} == {f"{kind}_{n}{rest}" for n in ("loss", "mae") for kind, rest in (
        ("epoch", ""), ("evaluation", "_vs_iterations"))}  # fmt: skip
    assert [step for step, _ in scalars["evaluation_loss_vs_iterations"]] == [4, 8]
    model.evaluate(X, Y, callbacks=TensorBoard(tmp_path / "alone"))
    assert not (tmp_path / "alone" / "train").exists()


def test_tensorboard_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'rekur\[tensorboard\]'"):
        _model().fit(X, Y, verbose=0, callbacks=TensorBoard(tmp_path))
    with pytest.raises(TypeError, match="profile_batch"):
        TensorBoard(tmp_path, profile_batch=2)
    assert TensorBoard(tmp_path, profile_batch=0, update_freq="batch").update_freq == 1


PAGE = Path(__file__).parent.parent / "docs" / "callbacks.md"
SERVICE = """
import numpy as np
import rekur

x = np.random.default_rng(0).normal(size=(40, 5, 2))
y = x[:, -1, :1]
model = rekur.Sequential([rekur.layers.LSTM(4, input_shape=(5, 2)), rekur.layers.Dense(1)], seed=1)
model.compile("adam", "mse", metrics=["mae"])
"""


def _run_service(tmp_path, package, after):
    """The page's code for a service, and something behind it; what that prints."""
    if importlib.util.find_spec(package) is None or not PAGE.is_file():
        pytest.skip(f"needs {package} and the source tree")
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    block = next(block for block in blocks if f"import {package}\n" in block)
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
    environment["MLFLOW_TRACKING_URI"] = (tmp_path / "runs").as_uri()
    command = [sys.executable, "-c", SERVICE + block + after]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_mlflow_has_the_numbers_of_the_fit_and_its_model(tmp_path):
    after = """
import json
client = mlflow.MlflowClient()
run = mlflow.last_active_run().info.run_id
found = {key: [m.value for m in client.get_metric_history(run, key)] for key in client.get_run(run).data.metrics}
files = sorted(file.path for file in client.list_artifacts(run))
print("\\n" + json.dumps([found, model.history.history, files, client.get_run(run).data.params["optimizer_name"]]))
"""
    found, history, files, name = _run_service(tmp_path, "mlflow", after)
    assert found == history
    assert (files, name) == (["model.json", "model.safetensors"], "adam")


def test_weights_and_biases_has_the_numbers_of_the_fit(tmp_path):
    after = """\
    import json
    logs = model.history.history
    print("\\n" + json.dumps([{k: run.summary[k] for k in ("epoch", *logs)}, logs]))
"""  # within the run
    summary, history = _run_service(tmp_path, "wandb", after)
    assert summary.pop("epoch") == 2
    assert summary == {name: values[-1] for name, values in history.items()}
    assert (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize("every", [None, 2])
def test_mlflows_own_callback_is_taken(tmp_path, monkeypatch, every):
    pytest.importorskip("keras")
    mlflow = pytest.importorskip("mlflow")
    module = pytest.importorskip("mlflow.keras.callback")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    model = _model()
    with mlflow.start_run() as run:
        theirs = module.MlflowCallback() if every is None else module.MlflowCallback(False, every)
        model.fit(X, Y, batch_size=2, epochs=2, verbose=0, callbacks=[theirs])
    mlflow.flush_async_logging()
    client = mlflow.MlflowClient()
    found = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")]
    if every is None:
        assert found == list(enumerate(model.history.history["loss"]))
    else:
        assert [step for step, _ in found] == list(range(every, model.optimizer.iterations + 1, every))
    assert client.get_run(run.info.run_id).data.params["optimizer_name"] == model.optimizer.name


def test_callbacks_that_derive_from_keras_are_callbacks_here():
    keras = pytest.importorskip("keras")
    seen = []

    class Theirs(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, sorted(logs), self.model.optimizer.learning_rate, self.params["epochs"]))
            if epoch == 1:
                self.model.stop_training = True

    model = _model()
    listed = CallbackList([Theirs()], model=model)
    assert not listed.reads_batches("train")  # logs of batches cost time
    model.fit(X, Y, epochs=4, verbose=0, callbacks=[Theirs(), keras.callbacks.TerminateOnNaN()])
    assert seen == [(0, ["loss", "mae"], 0.1, 4), (1, ["loss", "mae"], 0.1, 4)]


def test_an_object_with_the_hooks_is_a_callback_and_one_without_is_none():
    class Duck:
        seen = 0

        def __getattr__(self, name):
            if name.startswith(("on_", "set_")):
                return lambda *arguments, **options: setattr(self, "seen", self.seen + 1)
            raise AttributeError(name)

    duck = Duck()
    _model().fit(X, Y, verbose=0, callbacks=[duck])
    assert duck.seen > 6
    for wrong in (object(), Duck, "History"):
        with pytest.raises(TypeError, match=r"expected objects of rekur\.callbacks\.Callback"):
            _model().fit(X, Y, verbose=0, callbacks=[wrong])


def test_the_finder_tries_rates_suggests_one_and_leaves_everything_as_it_was():
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 3)).astype(np.float32)
    y = x @ np.float32([[1], [2], [3]])
    model = Sequential([layers.Dense(1, input_shape=(3,))], seed=2)
    model.compile(rekur.optimizers.SGD(0.001, momentum=0.5), "mse")
    model.fit(x, y, verbose=0)
    finder = LearningRateFinder(1e-5, 10.0, steps=60)
    before, state = model.get_weights(), model._trainer().state()
    model.fit(x, y, batch_size=8, epochs=20, verbose=0, callbacks=finder)
    assert finder.rates[0] == pytest.approx(1e-5)
    assert len(finder.rates) == len(finder.losses) < 60  # it diverged before the end
    np.testing.assert_allclose(np.diff(np.log(finder.rates)), np.log(1e6) / 59, rtol=1e-6)
    assert 1e-4 < finder.suggestion < 1.0  # SGD on this quadratic diverges a little above one
    assert finder.losses[-1] > 4 * min(finder.losses)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for name, values in model._trainer().state().items():
        np.testing.assert_array_equal(values, state[name])
    assert model.optimizer.learning_rate == 0.001
    assert model._trainer().epochs == 1
    short = LearningRateFinder(steps=50)
    model.fit(x, y, batch_size=8, epochs=1, verbose=0, callbacks=short)
    assert len(short.rates) == 8
    assert short.rates[-1] == pytest.approx(1.0)
    for wrong in ({"min_lr": 0.0}, {"min_lr": 1.0, "max_lr": 0.5}, {"smoothing": 1.0}, {"steps": 1}):
        with pytest.raises(ValueError, match="LearningRateFinder"):
            LearningRateFinder(**wrong)
    model.compile(rekur.optimizers.SGD(rekur.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)), "mse")
    with pytest.raises(ValueError, match="compile with a number"):
        model.fit(x, y, verbose=0, callbacks=LearningRateFinder())


def _regression(optimizer):
    model = Sequential([layers.LSTM(3, input_shape=(4, 2)), layers.Dense(1)], seed=5)
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize(
    "optimizer",
    [lambda: rekur.optimizers.Adam(0.01), lambda: rekur.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.05)],
)
def test_a_loop_of_ones_own_by_gradients_takes_the_steps_of_fit(optimizer):
    random = np.random.default_rng(1)
    x, y = random.normal(size=(6, 4, 2)).astype(np.float32), random.normal(size=(6, 1)).astype(np.float32)
    fitted, looped = _regression(optimizer()), _regression(optimizer())
    for step in range(4):
        fitted.train_on_batch(x, y)
        _, gradients, _ = looped.gradients(x, lambda outputs: 2 * (outputs[0] - y) / len(y), step=step)
        looped.apply_gradients(gradients if step % 2 else list(gradients.values()))
        for a, b in zip(fitted.get_weights(), looped.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)
    assert looped._trainer().trainer.iterations == 4


def test_gradients_of_ones_own_are_checked_before_anything_changes_and_leave_out_what_is_frozen():
    model = _regression("sgd")
    before = model.get_weights()
    zeros = [np.zeros_like(w) for w in before]
    with pytest.raises(ValueError, match=r"no weight 'dense/kernl'; did you mean 'dense/kernel'\?"):
        model.apply_gradients({"dense/kernl": np.ones((3, 1))})
    with pytest.raises(ValueError, match="expected 5 gradients, one a weight, got 4"):
        model.apply_gradients(zeros[:4])
    with pytest.raises(ValueError, match=r"gradient of 'dense/kernel': expected shape \(3, 1\), got \(3,\)"):
        model.apply_gradients({"dense/bias": np.ones(1), "dense/kernel": np.ones(3)})
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.layers[1].trainable = False
    model.apply_gradients([np.ones_like(w) for w in before])
    after = model.get_weights()
    assert all((a != b).all() for a, b in zip(before[:3], after[:3], strict=True))
    for a, b in zip(before[3:], after[3:], strict=True):
        np.testing.assert_array_equal(a, b)
    model.layers[1].trainable = True
    model.apply_gradients({"dense/bias": np.ones(1), "dense/kernel": None})
    assert model.get_weights()[4] == pytest.approx(before[4] - 0.01)


def test_what_is_not_trained_keeps_its_own_numbers_beside_averages():
    model = Sequential(
        [layers.Dense(3, input_shape=(1,)), layers.BatchNormalization(), layers.Dense(1, name="last")], seed=1
    )
    model.compile(rekur.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.8), "mse")
    x, y = np.arange(8.0)[:, None], np.full((8, 1), 3.0)
    for _ in range(3):
        model.train_on_batch(x, y)  # after which averages and weights differ
    model.layers[0].trainable = False
    own, seen = model.named_weights(), {}
    watch = LambdaCallback(on_test_begin=lambda logs: seen.update(model.named_weights()))
    model.evaluate(x, y, verbose=0, callbacks=[rekur.callbacks.SwapEMAWeights(), watch])
    same = {name for name in own if np.array_equal(own[name], seen[name])}
    assert same == {
        "dense/kernel", "dense/bias", "batch_normalization/moving_mean", "batch_normalization/moving_variance"
    }  # fmt: skip
    assert all(np.array_equal(own[name], weight) for name, weight in model.named_weights().items())


def test_averages_take_the_weights_places_in_evaluations_and_go_back(tmp_path):
    def made(**options):
        model = Sequential([layers.Dense(1, use_bias=False, input_shape=(1,)), layers.Dense(1)], seed=1)
        model.layers[1].trainable = False
        model.compile(rekur.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.8, **options), "mse")
        return model

    x, y = np.ones((8, 1)), np.full((8, 1), 3.0)
    model, seen = made(), []
    frozen = model.get_weights()[1].item()
    swapping = rekur.callbacks.SwapEMAWeights()
    watch = LambdaCallback(
        on_test_begin=lambda logs: seen.append(("average", *(w.item() for w in model.get_weights()[:2]))),
        on_epoch_end=lambda epoch, logs: seen.append(("own", model.get_weights()[0].item())),
    )
    model.fit(x, y, epochs=3, batch_size=4, verbose=0, validation_data=(x, y), callbacks=[swapping, watch])
    own, average = [], []
    plain = made()
    state = LambdaCallback(
        on_epoch_end=lambda epoch, logs: (
            own.append(plain.get_weights()[0].item()),
            average.append(plain._trainer().state()["optimizer/average"][0].item()),
        )
    )
    plain.fit(x, y, epochs=3, batch_size=4, verbose=0, callbacks=state)
    assert seen == [pair for a, b in zip(average, own, strict=True) for pair in (("average", a, frozen), ("own", b))]
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # both end with the averages, the frozen layer as it was
    saving = made()
    path = tmp_path / "{epoch}.safetensors"
    saving.fit(
        x, y, epochs=3, batch_size=4, verbose=0, callbacks=[rekur.callbacks.SwapEMAWeights(True), ModelCheckpoint(path)]
    )
    for k in range(3):
        assert rekur.load(tmp_path / f"{k + 1}.safetensors").get_weights()[0].item() == average[k]
    np.testing.assert_array_equal(saving.get_weights()[0], plain.get_weights()[0])
    before = model.get_weights()
    model.predict(x, callbacks=[swapping])
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    with pytest.raises(ValueError, match="use_ema=True"):
        _model().evaluate(X, Y, callbacks=[swapping])
    other = rekur.callbacks.SwapEMAWeights()
    with pytest.raises(ValueError, match="use_ema=True"):
        _model().fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=[other])
