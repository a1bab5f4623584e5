"""Search within a budget, by Optuna: rekur.tune."""

from __future__ import annotations

import math
import multiprocessing
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import rekur
import tune_build
from rekur import layers, tasks, tune

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.skipif(not hasattr(optuna.trial.Trial, "set_constraint"), reason="needs Optuna 5")

X, Y = tune_build.data()
HELD = tune_build.data(32, 1)
QUICK = {"validation_data": HELD, "epochs": 2, "verbose": 0}


@pytest.fixture(autouse=True)
def quick_to_measure(monkeypatch):
    monkeypatch.setattr("rekur.tune._cost._SECONDS", 0.002)


def run(build=tune_build.build, **options):
    return tune.search(build, X, Y, **{**QUICK, "trials": 4, "seed": 3, **options})


# A search.


def test_finds_the_best_and_keeps_its_weights():
    found = run(trials=6, epochs=4)
    assert [trial.number for trial in found.trials] == list(range(6))
    done = [trial for trial in found.trials if trial.state == "done"]
    assert found.best.value == min(trial.value for trial in done)
    model = found.best_model
    assert model.get_layer("gru").units == found.best.params["units"]
    assert math.isclose(model.evaluate(*HELD, verbose=0), found.best.value, rel_tol=1e-5)
    assert found.best.costs["size"] == 4 * model.count_params() == tune.size(model)
    assert found.best.epochs <= 4 and found.best.seconds > 0


def test_the_weights_are_those_of_the_best_epoch():
    def build(trial):
        return tune_build.network(4, 0.5, seed=1)  # a rate at which the loss goes up and down

    found = run(build, trials=1, epochs=12, patience=None)
    assert found.best.epochs == 12
    assert math.isclose(found.best_model.evaluate(*HELD, verbose=0), found.best.value, rel_tol=1e-5)


def test_a_seed_gives_the_same_search():
    one, two, other = (run(seed=seed) for seed in (3, 3, 4))
    assert [(t.params, t.value) for t in one.trials] == [(t.params, t.value) for t in two.trials]
    assert [t.params for t in one.trials] != [t.params for t in other.trials]
    state = rekur._random._generator
    run(trials=1)
    assert rekur._random._generator is state  # models made elsewhere draw on as they would have


def test_a_fit_of_its_own_and_windows():
    taken = []

    def build(trial):
        steps = trial.suggest_int("window", 3, STEPS_MOST)
        made = rekur.Sequential([rekur.Input((steps, 2)), layers.GRU(3), layers.Dense(1)])
        made.compile("adam", "mse")

        class Sees(rekur.callbacks.Callback):
            def on_train_begin(self, logs=None):
                taken.append((steps, self.params["steps"]))

        return made, {"batch_size": 6, "callbacks": [Sees()]}

    STEPS_MOST = tune_build.STEPS
    found = run(build, batch_size=24)
    assert [steps for steps, _ in taken] == [t.params["window"] for t in found.trials]
    assert {count for _, count in taken} == {8}
    best = found.best_model
    x = HELD[0][:, -best.input_shape[1] :]
    assert math.isclose(best.evaluate(x, HELD[1], verbose=0), found.best.value, rel_tol=1e-5)


def test_what_is_over_the_budget_is_not_trained():
    limit = tune.size(tune_build.network(6, 0.1))
    fitted = []

    def build(trial):
        made = tune_build.build(trial)
        watch = rekur.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: fitted.append(trial.number))
        return made, {"callbacks": [watch]}

    found = run(build, trials=12, budget={"size": limit}, pruner=None)
    over = [trial for trial in found.trials if trial.params["units"] > 6]
    assert over and all(trial.state == "over" and trial.epochs == 0 for trial in over)
    assert "size" in over[0].reason and "latency" not in over[0].costs  # what need not be measured is not
    assert {trial.number for trial in found.trials} - set(fitted) == {trial.number for trial in over}
    assert found.best.params["units"] <= 6
    frozen = found.study.trials[over[0].number]
    assert frozen.constraints["size"] == pytest.approx(over[0].costs["size"] / limit - 1)
    assert "over the budget" in str(found)


def test_each_cost_limits():
    for budget in ({"latency": 1e-9}, {"step": 1e-12}, {"size": "1B"}, {"memory": 10}):
        with pytest.raises(ValueError, match=f"2 over the budget.*\n- over: {next(iter(budget))} "):
            run(trials=2, budget=budget)


def test_a_model_that_cannot_stream_is_over_a_budget_of_steps():
    def build(trial):
        made = rekur.Sequential([rekur.Input((8, 2)), layers.Bidirectional(layers.GRU(2)), layers.Dense(1)])
        made.compile("adam", "mse")
        return made

    with pytest.raises(ValueError, match="over: it cannot go step by step"):
        run(build, trials=1, budget={"step": 1.0})
    assert run(build, trials=1).best.costs["step"] is None


def test_pruning():
    class Always(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number > 0 and trial.last_step >= 1

    found = run(epochs=5, trials=3, pruner=Always())
    assert [trial.state for trial in found.trials] == ["done", "pruned", "pruned"]
    assert found.trials[1].epochs == 2 and "after 2 epochs" in found.trials[1].reason


def test_failures_are_told_and_do_not_end_it(capsys):
    def build(trial):
        made = tune_build.build(trial)
        if trial.number == 0:
            made.set_weights([np.full(w.shape, np.nan, np.float32) for w in made.get_weights()])
        if trial.number == 1:
            raise ValueError("units and rate do not go together")
        if trial.number == 2:
            raise MemoryError
        return made

    found = run(build, verbose=1)
    assert [trial.state for trial in found.trials] == ["failed", "failed", "failed", "done"]
    assert "val_loss became nan" in found.trials[0].reason and found.trials[0].epochs == 1
    assert found.trials[1].reason == "units and rate do not go together" and found.trials[2].reason == "MemoryError"
    said = capsys.readouterr().err
    assert "trial 1: failed (units and rate do not go together)" in said and "trial 3: val_loss" in said


def test_mistakes_end_it():
    def build(trial):
        raise KeyError("no such thing")

    with pytest.raises(KeyError, match="no such thing"):
        run(build)

    def fails(trial):
        raise ValueError("always")

    with pytest.raises(ValueError, match=r"no trial of the search was done.*4 failed.*\n- failed: always"):
        run(fails)


def test_ctrl_c_leaves_a_study_that_goes_on(tmp_path):
    def build(trial):
        if trial.number == 1:
            raise KeyboardInterrupt
        return tune_build.build(trial)

    with pytest.raises(KeyboardInterrupt):
        run(build, folder=tmp_path)
    assert [trial.state for trial in run(build, folder=tmp_path, trials=3).trials] == ["done", "failed", "done"]


def test_objectives():
    found = run(objective=lambda model: float(model.count_params()), direction="maximize")
    assert found.larger and found.best.params["units"] == max(t.params["units"] for t in found.trials)
    found = run(objective=lambda model: float(model.count_params()), validation_data=None, pruner=None)
    assert found.best.params["units"] == min(t.params["units"] for t in found.trials)

    def build(trial):
        made = tune_build.build(trial)
        made.compile("adam", "mse", metrics=["mae", "r2_score"])
        return made

    found = run(build, objective="val_r2_score", pruner=None)
    assert found.larger and found.best.value == max(t.value for t in found.trials)
    found = run(build, objective=("val_mae", "size"))
    assert len(found.study.directions) == 2 and found.study.trials[0].values[1] == found.trials[0].costs["size"]
    with pytest.raises(ValueError, match=r"(?s)no trial of the search was done.*there is no 'val_such' to monitor"):
        run(build, objective="val_such", direction="minimize", trials=1)


def test_the_front():
    found = run(trials=10)
    for costs in ("size", ("latency", "size"), tune._cost.COSTS):
        front = found.pareto(costs)
        named = [costs] if isinstance(costs, str) else costs
        assert front[0].value == found.best.value
        for trial in found.trials:
            if trial.state != "done":
                continue
            place = [trial.value, *(float(f"{trial.costs[c]:.1e}") for c in named)]
            beaten = [
                all(a <= b for a, b in zip([o.value, *(float(f"{o.costs[c]:.1e}") for c in named)], place, strict=True))
                for o in front
                if o.number != trial.number
            ]
            assert any(beaten) or trial.number in [o.number for o in front]
    kept = {int(path.stem.rpartition("-")[2]) for path in found.folder.glob("*.safetensors")}
    assert kept == {trial.number for trial in found.pareto()}
    gone = next(trial.number for trial in found.trials if trial.number not in kept)
    with pytest.raises(ValueError, match=f"model of trial {gone} is not in .*kept are those"):
        found.model(gone)
    lines = found.table().splitlines()
    assert lines[0].split()[:3] == ["trial", "val_loss", "latency"] and len(lines) == len(kept) + 1
    assert str(found).startswith("10 trials: ") and f"units {found.best.params['units']}" in lines[1]


def test_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    found = run(trials=4)
    for ending, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        for cost in ("latency", "step", "size", "memory"):
            found.plot(tmp_path / f"front{ending}", cost)
            assert (tmp_path / f"front{ending}").read_bytes().startswith(magic)
    with pytest.raises(ValueError, match=r"ends in \.png, \.svg or \.pdf, got .*front\.txt"):
        found.plot(tmp_path / "front.txt")
    with pytest.raises(ValueError, match="there is no cost 'speed'"):
        found.plot(tmp_path / "front.png", "speed")


# Estimators.


def test_estimators():
    series = np.sin(np.arange(120) / 4)
    space = {"units": [2, (3, 3)], "context": (8, 12), "learning_rate": (1e-3, 1e-1)}
    plain = tasks.Forecaster(3, epochs=2)
    found = tune.search(plain, series, space=space, trials=3, seed=0, verbose=0, budget={"size": "100KB"})
    best = found.best_model
    assert isinstance(best, tasks.Forecaster) and len(best.predict()) == 3
    assert best.units in (2, (3, 3)) and best.random_state == found.best.number and plain.random_state is None
    assert found.best.value == pytest.approx(min(best.history_[0]["val_loss"])) and found.best.costs["size"]
    with pytest.raises(ValueError, match="3 over the budget"):
        tune.search(plain, series, space=space, trials=3, seed=0, verbose=0, budget={"size": 10})


def test_estimators_of_rows_and_objectives():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(6, 1)) + k % 2 for k in range(24)]
    labels = ["ab"[k % 2] for k in range(24)]

    def build(trial):
        return tasks.SequenceClassifier(units=tune.suggest(trial, "units", (2, 4)), epochs=1)

    options = {"objective": lambda fitted: fitted.score(rows, labels), "direction": "maximize", "trials": 2}
    found = tune.search(build, rows, labels, **options, verbose=0)
    assert found.best.costs["latency"] is None and found.best.costs["size"]  # sequences may have any length
    found = tune.search(build, rows, labels, **options, verbose=0, budget={"latency": 1.0, "steps": 6})
    assert found.best.costs["latency"]
    with pytest.raises(ValueError, match=r"failed: tune\.latency: input 'values' has an open number of time steps"):
        tune.search(build, rows, labels, **options, verbose=0, budget={"latency": 1.0})
    assert 0 <= found.best.value <= 1 and found.best_model.predict(rows[:2]).shape == (2,)


# Storage, processes.


def test_a_search_goes_on(tmp_path):
    first = run(folder=tmp_path / "kept", trials=2).trials
    again = run(folder=tmp_path / "kept", trials=5)
    assert [t.params for t in again.trials[:2]] == [t.params for t in first] and len(again.trials) == 5
    assert len({tuple(t.params.values()) for t in again.trials}) == 5  # it does not ask for the same once more
    loaded = tune.load(tmp_path / "kept")
    assert loaded.best == again.best and loaded.larger is False
    x = HELD[0]
    np.testing.assert_array_equal(loaded.best_model.predict(x), again.best_model.predict(x))
    assert len(run(folder=tmp_path / "kept", trials=3).trials) == 5  # there are enough
    with pytest.raises(ValueError, match="study 'search' seeks the best val_loss, not loss: give another name"):
        run(folder=tmp_path / "kept", objective="loss")
    with pytest.raises(ValueError, match="no search named 'other'"):
        tune.load(tmp_path / "kept", name="other")
    with pytest.raises(ValueError, match="there is no search in"):
        tune.load(tmp_path)


def test_a_storage_of_its_own(tmp_path):
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    found = run(storage=url, folder=tmp_path / "models", trials=2, name="one")
    assert not (tmp_path / "models" / "study.db").exists()
    assert tune.load(storage=url, folder=tmp_path / "models", name="one").best_model.count_params()
    with pytest.raises(ValueError, match=r"not in .*none on this machine"):
        _ = tune.load(storage=url, name="one").best_model
    memory = optuna.storages.InMemoryStorage()
    run(storage=memory, trials=2)
    assert len(run(storage=memory, trials=3).trials) == 3
    optuna.create_study(study_name="foreign", storage=url).optimize(lambda trial: 0.0, n_trials=1)
    with pytest.raises(ValueError, match=r"a study 'foreign' that rekur\.tune has not made"):
        run(storage=url, name="foreign")
    with pytest.raises(ValueError, match=r"'foreign' was not made by rekur\.tune"):
        tune.load(storage=url, name="foreign")
    assert found.best.value is not None
    for wrong in ("sqlite:////no/such/folder/study.db", "postgresql+psycopg2://me:secret@localhost:1/none"):
        with pytest.raises((OSError, ImportError)) as error:
            run(storage=wrong)
        assert "secret" not in str(error.value)


def test_workers(tmp_path):
    used = rekur.num_threads()
    found = run(folder=tmp_path, workers=2, trials=5)
    assert len(found.trials) == 5 and {t.state for t in found.trials} <= {"done", "pruned"}
    assert math.isclose(found.best_model.evaluate(*HELD, verbose=0), found.best.value, rel_tol=1e-5)
    assert rekur.num_threads() == used
    kept = {int(path.stem.rpartition("-")[2]) for path in tmp_path.glob("*.safetensors")}
    assert kept >= {trial.number for trial in found.pareto()}
    with pytest.raises(AttributeError, match="no_such_thing"):
        run(tune_build.mistaken, workers=2)


def test_workers_that_are_not_forked(tmp_path, monkeypatch):
    spawn = multiprocessing.get_context("spawn")
    monkeypatch.setattr("rekur.tune._workers.multiprocessing.get_context", lambda: spawn)
    found = run(folder=tmp_path, workers=2, trials=3, sampler=optuna.samplers.RandomSampler(seed=1))
    assert len({trial.params["rate"] for trial in found.trials}) == 3  # each process draws for itself


def test_trials_that_were_asked_for(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    found = run(storage=url, trials=1)
    found.study.enqueue_trial({"units": 7, "rate": 0.05})
    assert [t.params for t in run(storage=url, trials=2).trials[1:]] == [{"units": 7, "rate": 0.05}]


def test_a_worker_that_is_killed(tmp_path):
    with pytest.warns(RuntimeWarning, match=r"process \d was killed by SIGKILL in trial 1"):
        found = run(tune_build.die, folder=tmp_path, workers=2, trials=5)
    assert [t.state for t in found.trials].count("failed") == 1 and found.trials[1].state == "failed"
    assert "was killed by SIGKILL" in found.trials[1].reason and len(found.trials) == 5
    assert len(run(folder=tmp_path, trials=6).trials) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(RuntimeError, match="all processes that ran trials have died; the last one was killed"):
            run(tune_build.always_die, workers=2)


def test_a_program_that_is_killed(tmp_path):
    """Its processes do what they are at, and end; the next search goes on."""
    script = (
        "import os, sys, time, tune_build; from rekur import tune; x, y = tune_build.data()\n"
        "def build(trial):\n"
        "    print(os.getpid(), flush=True); time.sleep(2 * (trial.number > 1))\n"
        "    return tune_build.build(trial)\n"
        "tune.search(build, x, y, validation_data=(x, y), epochs=1, workers=2, verbose=0, folder=sys.argv[1])\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(rekur.__file__).parents[1])])
    program = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    workers = {int(program.stdout.readline()) for _ in range(4)}
    assert len(workers) == 2
    program.kill()
    program.wait()
    program.stdout.close()
    end = time.monotonic() + 60
    while any(_is_alive(pid) for pid in workers):
        assert time.monotonic() < end, "processes are left behind"
        time.sleep(0.2)
    found = run(folder=tmp_path, trials=6)
    assert len(found.trials) == 6 and {trial.state for trial in found.trials} <= {"done", "pruned"}


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_trial_without_a_sign_of_life_has_failed(tmp_path, monkeypatch):
    monkeypatch.setattr("rekur.tune._study._BEAT", 1)
    monkeypatch.setattr("rekur.tune._study._GRACE", 1)
    found = run(folder=tmp_path, trials=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # heartbeats are meant for optimize
        lost = found.study.ask()
    found.study._storage.record_heartbeat(lost._trial_id)
    assert tune.load(tmp_path).trials[1].state == "running"
    time.sleep(2.5)  # SQLite's clock has whole seconds
    found = run(folder=tmp_path, trials=3)
    assert (found.trials[1].state, found.trials[1].reason) == ("failed", "its process ended")
    assert len(found.trials) == 3


@pytest.mark.parametrize("name", ["a b", "a?b=c", "a#b", "a%20b", "q'x", "ü:y@z"])
def test_a_folder_may_have_any_name(tmp_path, name):
    folder = tmp_path / name
    run(folder=folder, trials=1)
    assert (folder / "study.db").exists() and [path.name for path in tmp_path.iterdir()] == [name]
    assert len(run(folder=folder, trials=2).trials) == len(tune.load(folder).trials) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_programs_share_a_study(tmp_path, workers):
    """Begun at the same time, they make one database, and together the trials that each was asked for."""
    script = (
        "import sys, tune_build; from rekur import tune; x, y = tune_build.data()\n"
        "tune.search(tune_build.build, x, y, validation_data=(x, y), epochs=1, verbose=0, trials=8, folder=sys.argv[1],"
        f" workers={workers})\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(rekur.__file__).parents[1])])
    command = [sys.executable, "-c", script, str(tmp_path)]
    programs = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}) for _ in range(2)]
    assert [program.wait(120) for program in programs] == [0, 0]
    assert 8 <= len(tune.load(tmp_path).trials) <= 8 + 2 * workers - 1  # some begin in the same instant


def test_another_program_counts():
    """Trials that the study has got from elsewhere meanwhile are some of those that were asked for."""
    storage = optuna.storages.InMemoryStorage()

    def build(trial):
        if trial.number == 1:
            others = optuna.load_study(study_name="search", storage=storage)
            for _ in range(3):
                others.tell(others.ask(), 5.0)
        return tune_build.build(trial)

    assert len(run(build, storage=storage, trials=6).trials) == 6


def test_a_study_keeps_its_budget_and_choices(tmp_path):
    def choosing(cells):
        def build(trial):
            tune.suggest(trial, "cell", cells)
            return tune_build.build(trial)

        return build

    run(choosing(["gru", "lstm"]), folder=tmp_path, trials=1, budget={"size": "1MB"})
    with pytest.raises(ValueError, match="'search' has another budget, size 1048576, not none: give another name"):
        run(choosing(["gru", "lstm"]), folder=tmp_path, trials=2)
    with pytest.raises(RuntimeError, match="cell: the study 'search' was begun with other choices"):
        run(choosing(["gru", "mgu"]), folder=tmp_path, trials=2, budget={"size": "1MB"})


def test_windows_of_rows_that_are_padded():
    """A narrower window is that of the last valid steps, whatever says which are valid."""
    x, y = np.repeat(X[:, :1], 2, axis=1), Y
    seen = []

    def build(trial):
        model = rekur.Sequential([rekur.Input((4, 2)), layers.GRU(3), layers.Dense(1)], seed=1)
        model.compile(rekur.optimizers.SGD(0.1), "mse")
        fit = model.fit
        model.fit = lambda **options: seen.append(options) or fit(**options)
        return model

    x = np.arange(48 * 8 * 2, dtype=np.float32).reshape(48, 8, 2) / 1000
    lengths = np.array([3, 4, 6, 8] * 12)
    held = (x, y, None, lengths)
    tune.search(build, x, y, validation_data=held, lengths=lengths, trials=1, epochs=1, verbose=0)
    got = seen[-1]
    for found, valid in ((got["x"], got["lengths"]), (got["validation_data"][0], got["validation_data"][3])):
        np.testing.assert_array_equal(valid[:4], [3, 4, 4, 4])
        for row, length in enumerate(lengths[:4]):
            begin = max(length - 4, 0)
            np.testing.assert_array_equal(found[row], x[row, begin : begin + 4])
    mask = np.arange(8) % 3 > 0
    mask = np.tile(mask, (48, 1))
    tune.search(build, x, y, validation_data={"x": x, "y": y, "mask": mask}, mask=mask, trials=1, epochs=1, verbose=0)
    np.testing.assert_array_equal(seen[-1]["mask"], mask[:, -4:])
    np.testing.assert_array_equal(seen[-1]["validation_data"]["mask"], mask[:, -4:])
    listed = tune.search(build, x.tolist(), y.tolist(), validation_data=([x], y), trials=1, epochs=1, verbose=0)
    assert listed.best.state == "done"


def test_ensembles_cost_all_their_networks():
    series = np.sin(np.arange(200) / 5)
    one = tune.size(tasks.Forecaster(2, epochs=1, units=4, context=8).fit(series))
    several = tasks.Forecaster(2, epochs=1, units=4, context=8, ensemble=3)
    options = {"space": {"cell": ["gru"]}, "trials": 1, "verbose": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of a constraint that is set twice
        with pytest.raises(ValueError, match="1 over the budget"):
            tune.search(several, series, budget={"size": 2 * one}, **options)
        found = tune.search(several, series, budget={"size": 4 * one}, **options)
    assert found.best.costs["size"] == 3 * one
    assert found.study.trials[0].constraints == {"size": 3 / 4 - 1}


def test_times_are_those_of_steps_that_count(monkeypatch):
    """Zeros would be padding to what masks: hardly anything would be computed."""
    seen = []
    predict = rekur.Model.predict
    monkeypatch.setattr(
        rekur.Model, "predict", lambda self, x, **options: seen.append(x) or predict(self, x, **options)
    )
    embedded = [rekur.Input((6,), dtype="int32"), layers.Embedding(5, 3, mask_zero=True)]
    for first in (embedded, [rekur.Input((6, 3)), layers.Masking(0.0)]):
        tune.latency(rekur.Sequential([*first, layers.GRU(4), layers.Dense(1)]))
        assert np.all(np.asarray(seen[-1]) != 0)


def test_a_time_limit():
    begin = time.monotonic()
    found = run(trials=10_000, timeout=0.5)
    assert 1 <= len(found.trials) < 500 and time.monotonic() - begin < 20


# One's own objective.


def test_the_callback():
    histories = []

    def objective(trial):
        model = tune_build.build(trial)
        callbacks = [tune.Pruning(trial, budget={"size": tune.size(tune_build.network(8, 0.1))})]
        history = model.fit(X, Y, epochs=3, validation_data=HELD, callbacks=callbacks, verbose=0).history
        histories.append(trial.number)
        return min(history["val_loss"])

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=6)
    for trial in study.trials:
        over = trial.params["units"] > 8
        assert (trial.state.name == "PRUNED") == over == ("over" in trial.user_attrs) == (trial.number not in histories)
        assert over or len(trial.intermediate_values) == 3
    with pytest.raises(TypeError, match="expected a trial of Optuna"):
        tune.Pruning(None)
    with pytest.raises(ValueError, match=r"no 'val_loss' to monitor among loss; give fit validation data"):
        tune_build.network(2, 0.1).fit(X, Y, callbacks=[tune.Pruning(study.ask())], verbose=0)


def test_suggestions():
    class Asked:
        def __init__(self):
            self.asked = []

        def suggest_int(self, name, low, high, log=False):
            self.asked.append(("int", name, low, high, log))
            return low

        def suggest_float(self, name, low, high, log=False):
            self.asked.append(("float", name, low, high, log))
            return high

        def suggest_categorical(self, name, choices):
            self.asked.append(("one", name, choices))
            return choices[-1]

    trial = Asked()
    assert tune.suggest(trial, "a", (2, 19)) == 2 and tune.suggest(trial, "b", (2, 20)) == 2
    assert tune.suggest(trial, "c", (0.0, 0.5)) == 0.5 and tune.suggest(trial, "d", (1e-4, 1)) == 1
    assert tune.suggest(trial, "e", ["x", (4, 4), None]) is None and tune.suggest(trial, "f", [(4, 4)]) == (4, 4)
    assert tune.suggest(trial, "g", 7) == 7 and tune.suggest(trial, "h", (3, 3)) == 3
    assert (
        tune.suggest(trial, "i", [(8,), (8, 8)]) == (8, 8) and tune.suggest(trial, "j", [rekur.cells.mgu]).name == "mgu"
    )
    assert trial.asked == [
        ("int", "a", 2, 19, False),
        ("int", "b", 2, 20, True),
        ("float", "c", 0.0, 0.5, False),
        ("float", "d", 1e-4, 1.0, True),
        ("one", "e", ["x", "(4, 4)", None]),
        ("one", "i", ["(8,)", "(8, 8)"]),
    ]
    with pytest.raises(ValueError, match="k: expected choices, got an empty list"):
        tune.suggest(trial, "k", [])
    with pytest.raises(ValueError, match="l: expected a range"):
        tune.suggest(trial, "l", (3, 2))
    with pytest.raises(ValueError, match="called alike"):
        tune.suggest(trial, "m", ["1", "1"])


def test_recurrent_networks():
    made = {}
    for cell in ("lstm", "mgu"):
        for both in (False, True):
            for sequences in (False, True):
                builder = tune.Recurrent((8, 2), 3, sequences=sequences, activation="tanh", loss="mae")
                params = {"cell": cell, "layers": 2, "units": 4, "skips": True, "linear": True, "dropout": 0.1}
                params |= {"learning_rate": 1e-3, "batch_size": 8}
                if not sequences:
                    params["window"] = 5
                model, options = builder.of({**params, "bidirectional": both})
                assert options == {"batch_size": 8}
                y = model.predict(np.zeros((2, 8 if sequences else 5, 2), np.float32))
                assert y.shape == ((2, 8, 3) if sequences else (2, 3))
                made[cell, both, sequences] = model
    assert made["lstm", False, False].get_layer("recurrent_1").residual
    assert not made["lstm", False, False].get_layer("recurrent_0").residual
    found = tune.search(
        tune.Recurrent((8, 2), 1, units=(2, 4), window=(3, 8), batch_size=[16, 32], cell=["gru", rekur.cells.mgu]),
        X, Y, **QUICK, trials=4, seed=1,
    )  # fmt: skip
    assert found.best_model.input_shape == (None, found.best.params["window"], 2)
    again, _ = tune.Recurrent((8, 2), 1, cell=[rekur.cells.mgu], window=4).of({**found.best.params, "cell": "mgu"})
    assert again.get_layer("recurrent_0").cell.name == "mgu"
    for wrong, text in (
        (lambda: tune.Recurrent((8,), 1), r"input_shape must be \(steps, features\)"),
        (lambda: tune.Recurrent((8, 2), 1, cell="gruu"), "tune.Recurrent: cell 'gruu' is unknown; did you mean 'gru'"),
        (lambda: tune.Recurrent((8, 2), 1, sequences=True, window=4), "every step has an output"),
        (lambda: tune.Recurrent((8, 2), 1).of({}), r"cell is to be chosen, of \['gru', 'lstm'\]; give it"),
        (lambda: tune.Recurrent((8, 2), 1).of({"unit": 3}), "there is no 'unit'; did you mean 'units'"),
        (lambda: tune.Recurrent((8, 2), 1, window=9).of(found.best.params | {"window": 9}), "at most the 8 steps"),
    ):
        with pytest.raises(ValueError, match=text):
            wrong()


# Costs.


def test_costs():
    model = tune_build.network(8, 0.1)
    assert tune.size(model) == 4 * model.count_params()
    assert tune.memory(model, 3) == model.memory(3)["weights"] + model.memory(3)["predict"]
    assert 0 < tune.step(model) < tune.latency(model) < 0.1
    large = rekur.Sequential([rekur.Input((200, 2)), layers.LSTM(64), layers.Dense(1)])
    assert tune.latency(large) > tune.latency(model) and tune.latency(model, 512) > tune.latency(model)
    open_ended = rekur.Sequential([rekur.Input((None, 2)), layers.GRU(2), layers.Dense(1)])
    assert tune.latency(open_ended, steps=5) > 0
    for cost in (tune.latency, tune.memory):
        with pytest.raises(ValueError, match="open number of time steps: give steps="):
            cost(open_ended)
    stateful = rekur.Sequential([rekur.Input((4, 2)), layers.GRU(2, stateful=True), layers.Dense(1)])
    stateful.predict(np.ones((1, 4, 2)))
    (before,) = stateful.layers[0].states
    assert tune.latency(stateful) > 0
    np.testing.assert_array_equal(stateful.layers[0].states[0], before)
    with pytest.raises(TypeError, match="expected a model, or an estimator that has learned, got 3"):
        tune.size(3)
    with pytest.raises(TypeError, match="that has learned"):
        tune.latency(tasks.Forecaster(1))


def test_budgets():
    budget = tune.Budget(latency=0.5, size="2KB", memory=10_000)
    assert budget.limits == {"latency": 0.5, "size": 2048.0, "memory": 10_000.0}
    assert budget.over({"latency": 0.4, "size": 2049.0, "memory": 10.0}) == "size 2.0 KB of 2.0 KB"
    for given, error, text in (
        ({"latencyy": 1}, ValueError, "there is no 'latencyy'; did you mean 'latency'"),
        ({"latency": 0}, ValueError, "latency must be above 0 seconds, got 0"),
        ({"latency": "1ms"}, TypeError, "budget: latency"),
        ({"size": "2 kilos"}, ValueError, "budget: size: expected bytes"),
        ({"batch": 0}, ValueError, "budget: batch"),
        (0.01, TypeError, "expected a dict such as"),
    ):
        with pytest.raises(error, match=text):
            tune.Budget.of(given)


# Growth.


def test_growth(tmp_path):
    model = tune_build.network(2, 0.03, seed=1)
    before = [array.copy() for array in model.get_weights()]
    x, y = tune_build.data(256)
    grown = tune.grow(
        model, x, y, validation_data=tune_build.data(64, 1), epochs=6, rounds=3, seed=1, verbose=0,
        budget={"size": "3KB"}, folder=tmp_path,
    )  # fmt: skip
    first = grown.trials[0]
    assert first.reason == "as it was given" and grown.best.value < first.value
    assert "units" in grown.best.reason or "a layer behind" in grown.best.reason
    assert all(trial.state in ("done", "over") for trial in grown.trials)
    assert tune.size(grown.best_model) <= 3072 and grown.best_model.count_params() > model.count_params()
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.optimizer.learning_rate == pytest.approx(0.03)
    assert grown.model(grown.best.number).optimizer.learning_rate == pytest.approx(0.3 * 0.03)
    assert tune.load(tmp_path, name="growth").best == grown.best
    with pytest.raises(ValueError, match="a study 'growth' already; grow its best_model, and give another name"):
        tune.grow(model, x, y, validation_data=(x, y), budget={"size": "3KB"}, folder=tmp_path)


def test_growth_ends_where_nothing_helps():
    model = tune_build.network(2, 0.03, seed=1)
    grown = tune.grow(model, X, Y, validation_data=HELD, epochs=1, least=1.0, verbose=0, deepen=False)
    assert len(grown.trials) == 3 and grown.trials[2].reason == "as it was given; gru: 2 to 4 units"
    with pytest.raises(ValueError, match="over: size"):
        tune.grow(model, X, Y, validation_data=HELD, budget={"size": 8}, verbose=0)


# Wrong arguments.


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"build": tune_build.network(2, 0.1)}, TypeError, "build must be a function of a trial"),
        ({"build": lambda trial: 3}, TypeError, "build must give a model"),
        ({"build": lambda trial: rekur.Sequential([layers.Dense(1)])}, TypeError, "must give a compiled model"),
        ({"validation_data": None}, ValueError, r"objective 'val_loss' needs validation_data \(or validation_split\)"),
        ({"objective": "val_own"}, ValueError, "whether a larger 'val_own' is better cannot be told"),
        ({"objective": "latency"}, ValueError, "alone would find the smallest model"),
        ({"objective": ("val_loss", "speed")}, ValueError, "a cost, one of latency, step, size, memory; got 'speed'"),
        ({"objective": ("val_loss", "size"), "pruner": "hyperband"}, ValueError, "prunes no trials of several"),
        ({"objective": 3}, TypeError, "expected a name such as 'val_loss'"),
        ({"direction": "up"}, ValueError, "direction must be 'minimize' or 'maximize', got 'up'"),
        ({"space": {}}, ValueError, "space is for estimators"),
        ({"pruner": "medain"}, ValueError, "unknown 'medain'; did you mean 'median'"),
        ({"pruner": 3}, TypeError, "pruner: expected"),
        ({"sampler": "tpe"}, TypeError, "sampler: expected a sampler of Optuna"),
        ({"storage": "study.db"}, ValueError, "storage: expected a URL such as 'sqlite:///study.db', got 'study.db'"),
        ({"storage": 3}, TypeError, "storage: expected a URL"),
        ({"workers": 0}, ValueError, "workers"),
        ({"trials": 0}, ValueError, "trials"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"patience": 0}, ValueError, "patience"),
        ({"seed": -1}, ValueError, "seed"),
        ({"name": "a/b"}, ValueError, "name: expected letters"),
        ({"bach_size": 3}, TypeError, "unexpected argument 'bach_size'; did you mean 'batch_size'"),
        ({"timeout": -1}, ValueError, "timeout must be a finite number between 0"),
        ({"objective": lambda model: None}, TypeError, "objective: expected a number, got None"),
        ({"objective": lambda model: np.ones(2)}, TypeError, "objective: expected a number, got array"),
        ({"validation_data": iter([HELD])}, TypeError, "validation_data is read anew by each trial"),
        ({"build": lambda trial: (tune_build.network(2, 0.1), {"verbose": 1})}, TypeError, "cannot have 'verbose'"),
        ({"trails": 3}, TypeError, "unexpected argument 'trails'; did you mean 'trials'"),
    ],
)
def test_wrong_arguments(options, error, text):
    given = {**QUICK, "trials": 1, **options}
    with pytest.raises(error, match=text):
        tune.search(given.pop("build", tune_build.build), X, Y, **given)


def test_wrong_arguments_of_estimators_and_growth():
    series, plain = np.arange(50.0), tasks.Forecaster(2)
    model, scheduled = tune_build.network(2, 0.1), tune_build.network(2, 0.1)
    scheduled.compile(rekur.optimizers.Adam(rekur.optimizers.schedules.CosineDecay(0.1, 100)), "mse")
    for call, error, text in (
        (
            lambda: tune.search(plain, series, space={"unit": 3}),
            ValueError,
            "has no 'unit'; did you mean 'units",
        ),
        (lambda: tune.search(plain, series, space=[3]), TypeError, "space: expected a dict"),
        (lambda: tune.search(plain, series, batch_size=3), ValueError, "batch_size is not for estimators"),
        (lambda: tune.search(plain, series, validation_data=3), ValueError, "validation_data is not for estimators"),
        (lambda: run(storage=optuna.storages.InMemoryStorage(), workers=2), ValueError, "share one by its URL"),
        (lambda: tune.grow(3, X, Y), TypeError, "expected a model"),
        (lambda: tune.grow(rekur.Sequential([layers.Dense(1)]), X, Y), TypeError, "expected a compiled model"),
        (lambda: tune.grow(model, X, Y, factor=1), ValueError, "factor must be above 1"),
        (lambda: tune.grow(model, X, Y, rate=0), ValueError, "rate must be above 0, got 0"),
        (
            lambda: tune.grow(scheduled, X, Y, validation_data=HELD),
            ValueError,
            "rate must be 1 where the learning",
        ),
        (lambda: tune.grow(model, X, Y), ValueError, "needs validation_data"),
        (lambda: tune.grow(model, X, Y, validation_data=HELD, objective=("val_loss", "size")), ValueError, "has one"),
        (
            lambda: tune.grow(model, X, Y, validation_data=HELD, trials=3),
            TypeError,
            "unexpected argument 'trials",
        ),
        (lambda: tune.load(), ValueError, "give the folder of the search, or its storage"),
    ):
        with pytest.raises(error, match=text):
            call()


def test_without_optuna(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'rekur\.tune needs Optuna:  pip install "rekur\[tune\]"'):
        run()
    tune.widen(tune_build.network(2, 0.1), "gru", 3)
