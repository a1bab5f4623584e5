"""Where batches come from: whatever fit, evaluate and predict read, it gives the numbers that the arrays give."""

import gc
import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings

import numpy as np
import pytest

import rekur
from rekur import layers
from rekur.data import Batch
from rekur.training.ahead import Ahead
from rekur.training.order import Permutation
from rekur.training.processes import Readers
from rekur.utils import PyDataset

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(70, 6, 2)).astype("f")
Y = X.sum((1, 2))[:, None]
SIZE = 8


def model(loss="mse", units=1, activation=None):
    made = rekur.Sequential([layers.LSTM(4, input_shape=(None, 2)), layers.Dense(units, activation)], seed=3)
    made.compile("adam", loss)
    return made


def batches(x=X, y=Y):
    return [(x[k : k + SIZE], y[k : k + SIZE]) for k in range(0, len(x), SIZE)]


def endless():
    while True:
        yield from batches()


class Items(PyDataset):
    """Says what was asked of it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = []

    def __len__(self):
        return len(batches())

    def __getitem__(self, k):
        time.sleep(0.0005 * (k % 3))  # threads overtake one another
        return batches()[k]

    def on_epoch_begin(self):
        self.calls.append("begin")

    def on_epoch_end(self):
        self.calls.append("end")


class Stored:
    """An array in a file, as h5py and zarr have it: slices of rows, in steps of one, and nothing else."""

    def __init__(self, array):
        self._array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __len__(self):
        return len(self._array)

    def __getitem__(self, index):
        assert isinstance(index, slice) and index.step in (None, 1)
        self.most = max(self.most, len(self._array[index]))
        return self._array[index]


class Loader:
    """An iterable that begins anew, with a length: torch's DataLoader."""

    def __len__(self):
        return len(batches())

    def __iter__(self):
        return iter([list(batch) for batch in batches()])


def fitted(x, y=None, epochs=2, **options):
    made = model()
    history = made.fit(x, y, epochs=epochs, verbose=0, **options)
    return made.get_weights(), history.history


def same(a, b):
    for first, second in zip(a[0], b[0], strict=True):
        np.testing.assert_array_equal(first, second)
    assert a[1] == b[1]


FORMS = {
    "generator": lambda: (endless(), {"steps_per_epoch": len(batches())}),
    "iterable": lambda: (Loader(), {}),
    "PyDataset": lambda: (Items(), {}),
    "PyDataset, 4 workers": lambda: (Items(workers=4, max_queue_size=3), {}),
    "no thread": lambda: (Items(workers=0), {}),
    "Batch": lambda: ([Batch(*b) for b in batches()].__iter__(), {"epochs": 1}),
}


@pytest.mark.parametrize("form", FORMS)
def test_batches_from_anywhere_train_as_the_arrays_do(form):
    x, options = FORMS[form]()
    same(
        fitted(x, shuffle=False, **options),
        fitted(X, Y, batch_size=SIZE, shuffle=False, epochs=options.get("epochs", 2)),
    )


@pytest.mark.parametrize("form", FORMS)
def test_batches_from_anywhere_are_evaluated_and_predicted_as_arrays(form):
    made = model()
    steps = {"steps": len(batches())} if form == "generator" else {}
    assert made.evaluate(FORMS[form]()[0], **steps) == made.evaluate(X, Y, batch_size=SIZE)
    np.testing.assert_array_equal(made.predict(FORMS[form]()[0], **steps), made.predict(X))


@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_stored_arrays_are_read_a_batch_at_a_time_and_give_the_bits_of_arrays(shuffle, tmp_path):
    x, y = Stored(X.astype("f8")), Stored(Y)
    options = {"batch_size": SIZE, "shuffle": shuffle, "validation_split": 0.3}
    expected = fitted(X, Y, **options)
    same(fitted(x, y, **options), expected)
    assert x.most <= SIZE or shuffle is True
    np.save(tmp_path / "x.npy", X.astype("f8"))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    same(fitted(mapped, Y, **options), expected)
    made = model()
    np.testing.assert_array_equal(made.predict(mapped, batch_size=SIZE), made.predict(X))
    assert made.evaluate(x, y) == made.evaluate(X, Y)


def test_only_neighbours_are_read_of_a_stored_array_in_any_order():
    from rekur.training.batch import rows_of

    stored = Stored(np.arange(100.0))
    index = np.array([7, 3, 4, 3, 99, 5, 0])
    np.testing.assert_array_equal(rows_of(stored, index), index)
    assert stored.most == 3


def test_h5py_and_torch_are_read_without_being_asked_for(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"], file["y"] = X, Y
        same(fitted(file["x"], file["y"], batch_size=SIZE), fitted(X, Y, batch_size=SIZE))


def test_torch_loaders_data_sets_and_tensors_are_read():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    expected = fitted(X, Y, batch_size=SIZE, shuffle=False)
    same(fitted(torch.utils.data.DataLoader(data, batch_size=SIZE)), expected)
    same(fitted(data, batch_size=SIZE, shuffle=False), expected)
    same(fitted(torch.tensor(X, requires_grad=True), torch.tensor(Y), batch_size=SIZE, shuffle=False), expected)


def test_frames_and_series_are_read():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, 0], columns=["a", "b"])
    made = rekur.Sequential([layers.Dense(1, input_shape=(2,))], seed=1)
    made.compile("sgd", "mse")
    made.fit(frame, frame["a"], verbose=0)
    np.testing.assert_array_equal(made.predict(frame), made.predict(X[:, 0]))


def test_an_unbuilt_model_is_built_from_the_first_batch():
    made = rekur.Sequential([layers.LSTM(3), layers.Dense(1)])
    made.compile("sgd", "mse")
    made.fit(endless(), steps_per_epoch=2, verbose=0)
    assert made.predict(X).shape == (70, 1)


def test_steps_per_epoch_goes_on_where_the_epoch_before_ended():
    seen = []
    made = model()
    made.fit((seen.append(k) or b for k, b in enumerate(endless())), steps_per_epoch=3, epochs=4, verbose=0)
    assert seen == list(range(12))  # nothing is read that is not used
    parts = fitted(X, Y, batch_size=SIZE, shuffle=False, steps_per_epoch=3, epochs=3)
    np.testing.assert_array_equal(parts[0][0], fitted(X, Y, batch_size=SIZE, shuffle=False, epochs=1)[0][0])


def test_a_generator_that_ends_early_warns_as_keras_does_and_ends_training():
    made = model()
    with pytest.warns(UserWarning, match="Your input ran out of data; interrupting training"):
        history = made.fit(iter(batches()), steps_per_epoch=5, epochs=4, verbose=0)
    assert len(history.history["loss"]) == 2
    with pytest.warns(UserWarning, match="ran out of data") as caught:
        made.fit(X, Y, steps_per_epoch=100, epochs=2, verbose=0)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.fit(iter(batches()), verbose=0)  # an epoch is all there is


def test_a_generator_without_batches_is_an_error_before_training():
    with pytest.raises(ValueError, match="list_iterator gives no batch"):
        model().fit(iter([]), verbose=0)


def test_what_was_prepared_and_not_used_comes_first_in_the_next_call():
    class Stop(rekur.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    stream, made = endless(), model()
    made.fit(stream, steps_per_epoch=20, verbose=0, callbacks=[Stop()])
    made.fit(stream, steps_per_epoch=6, verbose=0)
    twin = model()
    twin.fit(endless(), steps_per_epoch=9, verbose=0)
    np.testing.assert_array_equal(made.get_weights()[0], twin.get_weights()[0])
    assert next(stream)


def running():
    return [thread for thread in threading.enumerate() if thread.name == "rekur data"]


def test_an_error_comes_at_its_batch_with_its_traceback_and_the_thread_ends():
    def broken():
        yield from batches()[:3]
        raise LookupError("no more of it")

    steps = []
    count = rekur.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    with pytest.raises(LookupError, match="no more of it") as caught:
        model().fit(broken(), verbose=0, callbacks=[count])
    assert steps == [0, 1, 2]
    assert "broken" in "".join(traceback.format_tb(caught.tb))
    assert not running()
    with pytest.raises(ValueError, match="expected shape"):
        model().fit(iter([*batches()[:2], (X[:3, :, :1], Y[:3])]), verbose=0)
    assert not running()


def test_ctrl_c_in_the_middle_leaves_a_model_a_generator_and_no_thread():
    class Interrupt(rekur.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    stream, made = endless(), model()
    with pytest.raises(KeyboardInterrupt):
        made.fit(stream, steps_per_epoch=50, verbose=0, callbacks=[Interrupt()])
    assert not running()
    made.fit(stream, steps_per_epoch=2, verbose=0)


def test_iterators_made_of_an_iterable_are_closed():
    closed = []

    class Files:
        def __iter__(self):
            try:
                yield from endless()
            finally:
                closed.append(True)

    model().fit(Files(), steps_per_epoch=3, verbose=0)
    gc.disable()
    try:
        assert closed == [True]
    finally:
        gc.enable()


def test_no_more_batches_wait_than_the_queue_holds():
    read = []

    def tasks():
        for k in range(100):
            yield lambda k=k: read.append(k) or k

    ahead = Ahead(tasks(), lambda k: k, 2, 5)
    time.sleep(0.05)
    assert len(read) == 5
    assert [next(ahead), next(ahead)] == [0, 1]
    time.sleep(0.05)
    assert len(read) == 7
    assert ahead.close() == [2, 3, 4, 5, 6]


def test_hooks_of_a_py_dataset_are_called_around_each_epoch():
    items = Items()
    model().fit(items, epochs=2, verbose=0)
    assert items.calls == ["begin", "end"] * 2


class ByProcesses(PyDataset):
    """Says which process read a batch; what changes behind an epoch is seen by the processes of the next one."""

    def __init__(self, fails=None, **options):
        super().__init__(**options)
        self.scale, self.fails = 1.0, fails

    def __len__(self):
        return len(batches())

    def __getitem__(self, k):
        if self.fails is not None and k == 5:
            self.fails()
        x, y = batches()[k]
        return x * self.scale, y, np.full(len(x), float(os.getpid()))

    def on_epoch_end(self):
        self.scale *= 0.5


class WithoutWeights(ByProcesses):
    def __getitem__(self, k):
        return super().__getitem__(k)[:2]


@pytest.mark.parametrize("options", [{}, {"use_multiprocessing": True}])
def test_processes_read_what_threads_read_in_the_same_order(options):
    expected = fitted(WithoutWeights(), epochs=3)
    own = {"use_multiprocessing": True} if not options else {}
    same(fitted(WithoutWeights(workers=2, **own), epochs=3, **options), expected)
    assert not multiprocessing.active_children()  # of any pass
    same(fitted(WithoutWeights(workers=0, **own), epochs=3, **options), expected)  # none beside this one
    predicted = model().predict(WithoutWeights(workers=2, use_multiprocessing=True))
    np.testing.assert_array_equal(predicted, model().predict(X))


def test_processes_are_others_and_end_with_the_call():
    items, seen = ByProcesses(workers=2, use_multiprocessing=True), set()
    reading = Readers(items, 2, "items")
    children = list(reading._pool._processes.values())
    assert all(child.is_alive() for child in children)
    for k in range(8):
        seen |= set(reading.read(k)[2])
    assert seen and os.getpid() not in seen
    assert seen <= {float(child.pid) for child in children}
    reading.close()
    assert not any(child.is_alive() for child in children)
    before = set(multiprocessing.active_children())
    model().evaluate(items)
    assert set(multiprocessing.active_children()) <= before


def kill_this_process():
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_process_raises_comes_out_and_a_process_that_dies_is_said():
    def raises():
        raise KeyError("no such file")

    made = model()
    with pytest.raises(KeyError, match="no such file") as caught:
        made.fit(ByProcesses(raises, workers=2, use_multiprocessing=True), shuffle=False, verbose=0)
    assert "__getitem__" in str(caught.value.__cause__)  # the traceback there
    assert made.optimizer.iterations == 5
    with pytest.raises(RuntimeError, match="ByProcesses: a process that reads its batches died"):
        made.fit(ByProcesses(kill_this_process, workers=1, use_multiprocessing=True), shuffle=False, verbose=0)
    assert not multiprocessing.active_children()
    made.fit(ByProcesses(workers=1), verbose=0)


class TwoNumbersError(Exception):
    """As many are: pickled by its text alone, it cannot be made again."""

    def __init__(self, number, other):
        super().__init__(f"{number} and {other} do not go together")


def test_an_error_that_cannot_be_pickled_comes_out_by_its_text():
    def raises():
        raise TwoNumbersError(3, 4)

    # Where tblib is loaded, as dask does, it can be pickled: then it comes as it is.
    with pytest.raises((RuntimeError, TwoNumbersError), match="3 and 4 do not go together") as caught:
        model().fit(ByProcesses(raises, workers=1, use_multiprocessing=True), shuffle=False, verbose=0)
    assert "in raises" in f"{caught.value}{caught.value.__cause__}"
    assert "TwoNumbersError" in f"{type(caught.value).__name__}: {caught.value}"


def test_processes_are_refused_where_they_cannot_read_and_not_asked_for_arrays():
    with pytest.raises(ValueError, match="use_multiprocessing: processes read batches by their numbers"):
        model().fit(endless(), steps_per_epoch=2, use_multiprocessing=True, verbose=0)
    with pytest.raises(TypeError, match="use_multiprocessing"):
        model().fit(X, Y, use_multiprocessing="yes", verbose=0)
    same(fitted(X, Y, use_multiprocessing=True, workers=4), fitted(X, Y))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_shuffled_py_dataset_has_the_order_of_its_seed_for_any_number_of_threads(workers):
    same(fitted(Items(), workers=workers), fitted(Items()))
    assert not np.array_equal(fitted(Items())[0][0], fitted(Items(), shuffle=False)[0][0])


def test_validation_data_is_of_any_form_at_the_epochs_asked_for():
    expected = fitted(X, Y, 4, shuffle=False, validation_data=(X, Y), validation_batch_size=SIZE)[1]
    for given in (Items(), Loader(), Items(workers=0)):
        assert fitted(X, Y, 4, shuffle=False, validation_data=given)[1] == expected
    history = fitted(X, Y, 4, shuffle=False, validation_data=endless(), validation_steps=len(batches()))[1]
    assert history == expected
    assert len(fitted(X, Y, 4, validation_data=Items(), validation_freq=2)[1]["val_loss"]) == 2
    assert len(fitted(X, Y, 4, validation_data=(X, Y), validation_freq=[1, 2, 4])[1]["val_loss"]) == 3


def test_validation_data_that_runs_out_is_said_and_training_goes_on():
    with pytest.warns(UserWarning, match="validation_data ran out of batches"):
        history = fitted(X, Y, 3, validation_data=iter(batches()))[1]
    assert len(history["loss"]) == 3 and len(history["val_loss"]) == 1


def test_a_loss_in_python_and_a_thread_that_reads_do_not_wait_for_each_other():
    made = rekur.Sequential([layers.Masking(input_shape=(6, 2)), layers.LSTM(3, return_sequences=True)], seed=1)
    loss = rekur.losses.Numpy(lambda y, p: ((y - p) ** 2).mean(-1), lambda y, p: 2 * (p - y) / 3)
    made.compile("sgd", loss)
    target = np.zeros((SIZE, 6, 3), "f")
    history = made.fit(((x, target) for x, _ in endless() if len(x) == SIZE), steps_per_epoch=200, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_what_a_source_brings_itself_is_refused_beside_it():
    for options, message in (
        ({"y": Y}, "y must not be given"),
        ({"sample_weight": np.ones(70)}, "sample_weight must not be given"),
        ({"batch_size": 3}, "batch_size must not be given for a Items"),
        ({"validation_split": 0.2}, "validation_split is for arrays"),
        ({"shuffle": "buffer"}, "is for streams"),
    ):
        with pytest.raises(ValueError, match=message):
            model().fit(Items(), verbose=0, **options)
    with pytest.raises(TypeError, match="to fit as all of x, without y"):
        model().train_on_batch(endless())
    with pytest.raises(TypeError, match="expected an array, got a type"):
        model().fit(Items, verbose=0)
    with pytest.raises(ValueError, match="expected batches x, "):
        model().fit(iter([(X, Y, None, None)]), verbose=0)


@pytest.mark.parametrize("one_hot", [False, True])
def test_class_weight_is_the_sample_weight_of_the_classes(one_hot):
    labels = (Y[:, 0] > 0).astype(int)
    y = np.eye(2)[labels] if one_hot else labels
    loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    table = {0: 3.0, 1: 0.5}
    weights = np.array([table[label] for label in labels])
    made, twin, third = (model(loss, 2, "softmax") for _ in range(3))
    made.fit(X, y, class_weight=table, verbose=0)
    twin.fit(X, y, sample_weight=weights, verbose=0)
    third.fit(iter([(X[:32], y[:32])]), class_weight=table, verbose=0)
    np.testing.assert_array_equal(made.get_weights()[0], twin.get_weights()[0])
    assert made.train_on_batch(X, y, class_weight=table) == twin.train_on_batch(X, y, weights)
    with pytest.raises(ValueError, match="class_weight and sample_weight cannot be given"):
        made.fit(X, y, class_weight=table, sample_weight=weights, verbose=0)


def test_a_buffer_shuffles_the_rows_of_a_stream_by_the_seed_and_loses_none():
    seen = []

    def rows(order):
        for k in range(0, 70, SIZE):
            yield X[k : k + SIZE], Y[k : k + SIZE]

    class Stream:
        def __iter__(self):
            return rows(None)

    first = fitted(Stream(), shuffle=("buffer", 20))
    same(fitted(Stream(), shuffle=("buffer", 20), workers=0), first)
    assert not np.array_equal(first[0][0], fitted(Stream(), shuffle=False)[0][0])
    from rekur.training.shuffling import Buffered

    shuffled = Buffered((Batch(np.arange(k, min(k + SIZE, 70))) for k in range(0, 70, SIZE)), 20, 1, 0)
    for batch in shuffled:
        seen += batch.x.tolist()
    assert sorted(seen) == list(range(70)) and seen != sorted(seen)


@pytest.mark.parametrize("count", [1, 2, 3, 1000, 4097])
def test_the_order_of_very_many_rows_is_a_permutation_that_seed_and_epoch_decide(count):
    found = Permutation(5, 0, count)(np.arange(count))
    np.testing.assert_array_equal(np.sort(found), np.arange(count))
    np.testing.assert_array_equal(found[3:9], Permutation(5, 0, count)(np.arange(3, min(9, count))))
    if count > 100:
        assert not np.array_equal(found, Permutation(5, 1, count)(np.arange(count)))
        assert abs(np.corrcoef(found, np.arange(count))[0, 1]) < 0.1


def test_a_generator_loses_no_batch_to_a_call_that_is_refused():
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(2, 3, 2)).astype("f"), np.full((2, 1), k, "f")) for k in range(4)]
    source = (batch for batch in batches)
    model = rekur.Sequential([layers.LSTM(3, input_shape=(3, 2)), layers.Dense(1)], seed=1)
    model.compile("sgd", "mse")
    for wrong in ({"validation_data": 3}, {"callbacks": [3]}, {"class_weight": {0: "much"}}):
        with pytest.raises((TypeError, ValueError)):
            model.fit(source, verbose=0, **wrong)
    seen: list[int] = []
    watch = rekur.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    model.fit(source, verbose=0, callbacks=[watch])
    assert seen == [0, 1, 2, 3]


def test_a_list_of_one_weight_array_is_taken_apart_where_a_batch_has_one_row(tmp_path):
    rng = np.random.default_rng(0)
    x, y, weight = rng.normal(size=(3, 4, 2)).astype("f"), rng.normal(size=(3, 4, 1)).astype("f"), rng.random((3, 4))
    np.save(tmp_path / "x.npy", x)
    results = []
    for given in (x, np.load(tmp_path / "x.npy", mmap_mode="r")):
        model = rekur.Sequential([layers.LSTM(1, return_sequences=True, input_shape=(4, 2))], seed=1)
        model.compile("sgd", "mse")
        results.append(model.fit(given, y, batch_size=2, sample_weight=[weight], shuffle=False, verbose=0).history)
    assert results[0] == results[1]
