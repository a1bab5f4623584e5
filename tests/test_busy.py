"""Threads that come late, leave or have no core; how many there are by default; processes that are forked meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpp_tools import CXX, needs_compiler, run
from harness import Engine, floats, input_layer, model_spec
from rekur import _core

LSTM = {"type": "LSTM", "return_sequences": True}
GRU_BEFORE = {"type": "GRU", "reset_after": False, "return_sequences": True}
both = {"type": "Bidirectional", "layer": {**LSTM, "units": 96}}
MODELS: dict[str, tuple[list[dict[str, Any]], int, int]] = {  # layers, rows, steps
    "hidden slices": ([{**LSTM, "units": 260}], 1, 40),
    "hidden slices, two meetings a step": ([{**GRU_BEFORE, "units": 260}], 2, 30),
    "hidden slices in several chunks": ([{**LSTM, "units": 150}], 2, 230),
    "batch slices": ([{**LSTM, "units": 48}], 40, 30),
    "directions": ([both], 3, 40),
    "wavefront": ([{**LSTM, "units": units} for units in (96, 100, 90)], 1, 120),
    "dense": ([{"type": "Dense", "units": 300, "activation": "tanh"}], 60, 30),
}


@pytest.fixture
def disturbed() -> Iterator[None]:
    """Threads come late, leave in the middle of a call or dawdle, by chance."""
    yield
    _core._disturb_teams(0)


@pytest.mark.parametrize("name", MODELS)
def test_a_team_that_shrinks_in_the_middle_of_a_call_gives_the_same_bits(
    name: str, rng: np.random.Generator, restore_threads: None, disturbed: None
) -> None:
    layers, B, T = MODELS[name]
    named = [{**layer, "name": f"l{k}", "inputs": [f"l{k - 1}" if k else "x"]} for k, layer in enumerate(layers)]
    engine = Engine(model_spec([input_layer("x", None, 20), *named], [named[-1]["name"]]))
    x, lengths = floats(rng, B, T, 20), rng.integers(T // 2, T + 1, B).astype(np.int32)

    def results() -> list[np.ndarray]:
        (y,) = engine.predict([x], [lengths])
        outputs, d_weights, d_inputs = engine.gradients([x], [np.cos(y)], [lengths])
        return [y, *outputs, *d_weights.values(), *d_inputs]

    _core.set_num_threads(1)
    expected = results()
    taken_over = 0
    for seed, threads in ((1, 2), (2, 3), (3, 5), (4, 2)):
        _core.set_num_threads(threads)
        _core._disturb_teams(seed)
        for _ in range(3):
            for got, want in zip(results(), expected, strict=True):
                np.testing.assert_array_equal(got, want)
        taken_over += _core._disturb_teams(0)
    assert taken_over > 0 or name == "dense"  # others did what those who were not there had at home


def write(root: Path, files: dict[str, str]) -> str:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return str(root)


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/cpu"
UNLIMITED = "9:name=systemd:/a\n4:cpu,cpuacct:/a/b\n3:cpuset:/c\n0::/a\n"
CGROUPS: dict[str, tuple[dict[str, str], int]] = {
    "nothing to read": ({}, 0),
    "version 2, max": ({"proc/self/cgroup": "0::/a\n", f"{V2}/a/cpu.max": "max 100000\n"}, 0),
    "version 2": ({"proc/self/cgroup": "0::/a\n", f"{V2}/a/cpu.max": "200000 100000\n"}, 2),
    "a fraction is rounded up": ({"proc/self/cgroup": "0::/a\n", f"{V2}/a/cpu.max": "150000 100000\n"}, 2),
    "less than a core": ({"proc/self/cgroup": "0::/a\n", f"{V2}/a/cpu.max": "20000 100000\n"}, 1),
    "just above a whole number": ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "300001 100000\n"}, 4),
    "the group around it is narrower": (
        {
            "proc/self/cgroup": "0::/a/b/c\n",
            f"{V2}/a/b/c/cpu.max": "800000 100000\n",
            f"{V2}/a/b/cpu.max": "max 100000\n",
            f"{V2}/a/cpu.max": "300000 100000\n",
        },
        3,
    ),
    "in a container, whose path is the host's": (
        {"proc/self/cgroup": "0::/docker/0a1b\n", f"{V2}/cpu.max": "100000 50000\n"},
        2,
    ),
    "version 1, -1": (
        {
            "proc/self/cgroup": UNLIMITED,
            f"{V1}/a/b/cpu.cfs_quota_us": "-1\n",
            f"{V1}/a/b/cpu.cfs_period_us": "100000\n",
        },
        0,
    ),
    "version 1": (
        {
            "proc/self/cgroup": UNLIMITED,
            f"{V1}/a/b/cpu.cfs_quota_us": "350000\n",
            f"{V1}/a/b/cpu.cfs_period_us": "100000\n",
        },
        4,
    ),
    "version 1, mounted under both names": (
        {
            "proc/self/cgroup": UNLIMITED,
            f"{V1},cpuacct/a/cpu.cfs_quota_us": "200000\n",
            f"{V1},cpuacct/a/cpu.cfs_period_us": "100000\n",
        },
        2,
    ),
    "a controller that only begins alike": (
        {
            "proc/self/cgroup": "2:cpuacct:/a\n",
            f"{V1}/a/cpu.cfs_quota_us": "100000\n",
            f"{V1}/a/cpu.cfs_period_us": "100000\n",
        },
        0,
    ),
    "what is no number": ({"proc/self/cgroup": "0::/a\nnonsense\n:\n", f"{V2}/a/cpu.max": "many 0\n"}, 0),
    "a period of zero": ({"proc/self/cgroup": "0::/a\n", f"{V2}/a/cpu.max": "100000 0\n"}, 0),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cgroups are Linux's")
@pytest.mark.parametrize("name", CGROUPS)
def test_the_quota_of_the_cgroup_is_read_as_whole_cores(name: str, tmp_path: Path) -> None:
    files, cores = CGROUPS[name]
    assert _core._cgroup_cores(write(tmp_path, files)) == cores


def child(program: str, *arguments: str, timeout: float = 60, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("REKUR_NUM_THREADS", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=clean | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity mask on this system")
def test_the_default_number_of_threads_respects_the_affinity_mask() -> None:
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import rekur\n"
    program += "print(rekur.num_threads(), '1 of 1 usable cores' in rekur._core.cpu_info())"
    assert child(program) == "1 True\n"


def test_more_threads_than_cores_are_said_not_to_be_used() -> None:
    program = "import rekur; rekur.set_num_threads(900); print(rekur.num_threads()); print(rekur._core.cpu_info())"
    output = child(program)
    assert output.startswith("900\n")
    assert "a call uses no more than there are cores" in output


TRAINING = """
import os, sys, threading, time
import numpy as np, rekur
rekur.set_num_threads(2)
rekur._core._allow_any_number_of_threads(True)
model = rekur.Sequential([rekur.layers.LSTM(96, input_shape=(30, 8)), rekur.layers.Dense(1)])
model.compile("adam", "mse")
x, y = np.ones((24, 30, 8), np.float32), np.ones((24, 1), np.float32)
path = sys.argv[1]
stop = False
def train():
    while not stop:
        model.train_on_batch(x, y)
def look():
    while not stop:
        model.predict_on_batch(x)
"""

FORKS = (
    TRAINING
    + """
threads = [threading.Thread(target=f) for f in (train, look)]
for thread in threads: thread.start()
for i in range(40):
    time.sleep(0.0007 * (i % 7))
    pid = os.fork()
    if pid == 0:
        import signal
        signal.alarm(10)
        weights = model.get_weights()
        model.save(path)
        assert all((a == b).all() for a, b in zip(rekur.load_model(path).get_weights(), weights))
        first = model.predict_on_batch(x)
        assert (first == model.predict_on_batch(x)).all() and np.isfinite(first).all()
        model.train_on_batch(x, y)
        model.fit(x, y, epochs=1, verbose=0)
        model.evaluate(x, y, verbose=0)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0, (i, status)
stop = True
for thread in threads: thread.join()
print("all")
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_other_threads_train_and_predict_saves_trains_and_predicts(tmp_path: Path) -> None:
    assert child(FORKS, str(tmp_path / "model.safetensors"), timeout=200) == "all\n"


ENDS = (
    TRAINING
    + """
import signal
model.fit(x, y, epochs=1, verbose=0)
for threads in (2, 20):  # those of the parent's team, and more than it had room for
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        rekur.set_num_threads(threads)
        assert np.isfinite(model.predict(x)).all()
        sys.exit(7)  # with all that the end of a program does
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7, (threads, status)
print("all")
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_joins_no_threads_of_its_parent_when_its_team_grows_or_it_ends(tmp_path: Path) -> None:
    assert child(ENDS, str(tmp_path), timeout=100) == "all\n"


POOL = (
    TRAINING
    + """
import multiprocessing
def work(seed):
    return float(model.predict_on_batch(x * seed).sum())
thread = threading.Thread(target=train)
thread.start()
with multiprocessing.get_context("fork").Pool(2) as pool:
    got = pool.map(work, range(6))
stop = True
thread.join()
assert np.isfinite(got).all()
print("all")
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_pool_of_forked_processes_started_during_training_works(tmp_path: Path) -> None:
    assert child(POOL, str(tmp_path), timeout=120) == "all\n"


OPENMP = """
#include <omp.h>
extern "C" int count(int threads) {
  int n = 0;
#pragma omp parallel num_threads(threads)
  {
#pragma omp atomic
    ++n;
  }
  return n;
}
"""
AFTER_OPENMP = (
    """
import ctypes, sys
openmp = ctypes.CDLL(sys.argv[2])
assert openmp.count(3) == 3  # its threads wait for more from now on, and a fork does not copy them
"""
    + TRAINING
    + """
import signal
for round in range(2):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        assert np.isfinite(model.predict(x)).all()
        model.fit(x, y, epochs=1, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.save(path)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0, (round, status)
    model.fit(x, y, epochs=1, verbose=0)  # the next child is forked by a parent that has computed, too
    assert openmp.count(3) == 3
print("all")
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@needs_compiler
def test_a_child_forked_after_openmp_ran_in_the_parent_predicts_and_trains(tmp_path: Path) -> None:
    """The engine has threads of its own. Did it use OpenMP's, such a child would wait for threads that it has not."""
    (tmp_path / "openmp.cpp").write_text(OPENMP)
    library = tmp_path / "libopenmp.so"
    try:
        run([CXX or "", "-fopenmp", "-shared", "-fPIC", tmp_path / "openmp.cpp", "-o", library])
    except AssertionError:
        pytest.skip("the compiler has no OpenMP")
    assert child(AFTER_OPENMP, str(tmp_path / "model.safetensors"), str(library), timeout=100) == "all\n"
