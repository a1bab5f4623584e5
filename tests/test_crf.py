"""CRF: every tag sequence counted, gradients, lengths and masks, training, decoding, files, threads, mistakes."""

import itertools
import pickle
import warnings

import numpy as np
import pytest

import reference_crf as reference
import rekur
from harness import assert_gradients, floats, input_layer, model_spec
from rekur import Sequential, layers, losses, sequences

RNG = np.random.default_rng(0)


def _chain(tags, boundary=True, scale=1.0):
    rng = np.random.default_rng(tags)
    ends = rng.normal(0, scale, (2, tags)) if boundary else np.zeros((2, tags))
    return tuple(np.float32(a) for a in (rng.normal(0, scale, (tags, tags)), *ends))


def _emissions(rows, steps, tags, scale=1.0):
    return np.random.default_rng([rows, steps, tags]).normal(0, scale, (rows, steps, tags)).astype(np.float32)


@pytest.mark.parametrize(("steps", "tags"), [(1, 1), (1, 5), (2, 3), (3, 2), (5, 3), (4, 4)])
@pytest.mark.parametrize("boundary", [True, False])
def test_all_tag_sequences_are_counted(steps, tags, boundary):
    x, (A, start, end) = _emissions(3, steps, tags), _chain(tags, boundary)
    ends = {"start": start, "end": end} if boundary else {}
    norms = sequences.crf_log_norm(x, A, **ends)
    marginals = sequences.crf_marginals(x, A, **ends)
    paths = min(tags**steps, 7)
    best, scores = sequences.crf_decode(x, A, **ends, top_paths=paths + 2)
    for b, row in enumerate(x.astype(np.float64)):
        every = reference.every(row, A, start, end)
        values = [value for _, value in every]
        assert norms[b] == pytest.approx(reference.log_sum(values), rel=1e-6)
        assert norms[b] == pytest.approx(reference.log_norm(row, A, start, end), rel=1e-6)
        expected = np.zeros((steps, tags))
        for path, value in every:
            expected[np.arange(steps), path] += np.exp(value - reference.log_sum(values))
        np.testing.assert_allclose(marginals[b], expected, atol=1e-6)
        every.sort(key=lambda item: -item[1])
        for k in range(paths):
            assert tuple(best[k, b]) == every[k][0]
            assert scores[b, k] == pytest.approx(every[k][1], abs=1e-4)
        if len(every) < paths + 1:
            assert (best[len(every) :, b] == -1).all() and np.isneginf(scores[b, len(every) :]).all()
        for path, value in every[:3]:
            tagged = np.array([path] * 3)
            found = sequences.crf_log_likelihood(x, tagged, A, **ends)[b]
            assert found == pytest.approx(value - norms[b], abs=1e-5)


@pytest.mark.parametrize("tags", [1, 2, 3, 5, 7, 17, 31, 33, 65])
def test_many_tags_and_lengths(tags):
    x, (A, start, end) = _emissions(6, 9, tags, 2.0), _chain(tags, scale=2.0)
    lengths = np.array([9, 8, 5, 2, 1, 0])
    marginals = sequences.crf_marginals(x, A, lengths, start, end)
    norms = sequences.crf_log_norm(x, A, lengths, start, end)
    best, scores = sequences.crf_decode(x, A, lengths, start, end)
    for b, n in enumerate(lengths):
        row = x[b, :n].astype(np.float64)
        np.testing.assert_allclose(marginals[b, :n], reference.marginals(row, A, start, end), atol=2e-6)
        assert not marginals[b, n:].any()
        assert norms[b] == pytest.approx(reference.log_norm(row, A, start, end), rel=1e-6)
        assert (best[0, b, n:] == -1).all()
        if n:
            assert list(best[0, b, :n]) == reference.viterbi(row, A, start, end)
            assert scores[b, 0] == pytest.approx(reference.score(row, best[0, b, :n], A, start, end), rel=1e-5)
    assert norms[5] == 0 and scores[5, 0] == 0


@pytest.mark.parametrize("size", [300.0, 5000.0, -np.inf])
def test_transitions_that_are_next_to_impossible(size):
    """What underflows in a product of exponentials is summed one by one; −inf forbids a pair."""
    x, (A, start, end) = _emissions(4, 6, 5), _chain(5)
    A[2, :] = -abs(size)  # nothing follows tag 2
    A[:, 3] -= np.float32(min(abs(size), 1e4))
    x[0, 2, 2] = 40
    with np.errstate(invalid="ignore"):
        expected = [reference.marginals(row.astype(np.float64), A.astype(np.float64), start, end) for row in x]
    np.testing.assert_allclose(sequences.crf_marginals(x, A, None, start, end), expected, atol=1e-5)
    only = np.full((3, 3), -np.inf, np.float32)
    only[0, 1] = only[1, 2] = only[2, 0] = 0
    cycle = np.float32(RNG.normal(size=(2, 4, 3)))
    tags, _ = sequences.crf_decode(cycle, only, top_paths=4)
    for path in tags[:3].reshape(-1, 4):
        assert all(only[a, b] == 0 for a, b in itertools.pairwise(path))
    assert (tags[3] == -1).all()
    far = np.full((1, 3, 2), 0, np.float32)
    far[0, 1] = [0, -3000]
    alone = np.array([[-2000, 0], [-2000, 0]], np.float32)
    norm = sequences.crf_log_norm(far, alone)[0]
    assert norm == pytest.approx(
        reference.log_norm(far[0].astype(np.float64), alone.astype(np.float64), 0, 0), rel=1e-6
    )


@pytest.mark.parametrize("boundary", [True, False])
@pytest.mark.parametrize(("steps", "tags"), [(1, 3), (2, 2), (5, 3), (7, 5)])
def test_gradients_of_marginals_are_central_differences(steps, tags, boundary):
    layer = {"type": "CRF", "units": tags, "output_mode": "marginals", "use_boundary": boundary}
    layer["transition_initializer"] = "uniform"
    spec = model_spec([input_layer("x", steps, tags), {**layer, "name": "y", "inputs": ["x"]}], ["y"])
    assert_gradients(spec, 2e-3, batch=lambda r: ([floats(r, 4, steps, tags)], None), seed=3)
    lengths = [np.array([steps, max(steps - 1, 0), 1, 0], np.int32)]
    assert_gradients(spec, 2e-3, batch=lambda r: ([floats(r, 4, steps, tags)], lengths), seed=4)


def _tagger(tags=4, seed=1, **options):
    model = Sequential([layers.Dense(tags, input_shape=(None, 3)), layers.CRF(tags, **options)], seed=seed)
    weights = [floats(np.random.default_rng(seed + k), *w.shape) for k, w in enumerate(model.get_weights())]
    model.set_weights(weights)
    return model


def _loss(weights, x, y, lengths, sample_weight):
    kernel, bias, transitions, start, end = (np.asarray(w, np.float64) for w in weights)
    total = 0.0
    for row, tags, n, w in zip(x @ kernel + bias, y, lengths, sample_weight, strict=True):
        norm = reference.log_norm(row[:n], transitions, start, end)
        total += w * (norm - reference.score(row[:n], tags[:n], transitions, start, end))
    return total / len(x)


def test_the_loss_and_a_step_of_training_are_those_of_the_reference():
    rng = np.random.default_rng(2)
    model = _tagger()
    x, y = rng.normal(size=(7, 6, 3)), rng.integers(0, 4, (7, 6))
    lengths, weight = np.array([6, 5, 4, 3, 2, 1, 0]), np.array([1, 2, 0.5, 0, 1, 1, 1])
    y[0, :] = [0, 0, 1, 1, 3, 3]
    y[5, 1:] = -100  # behind the row: never read
    y[3] = 77  # of weight 0
    model.compile("sgd", "crf")
    before = model.get_weights()
    y_read = np.where((y < 0) | (y > 3), 0, y)
    expected = _loss(before, x, y_read, lengths, weight)
    assert model.evaluate(x, y, lengths=lengths, sample_weight=weight) == pytest.approx(expected, rel=1e-5)
    model.compile(rekur.optimizers.SGD(1.0), "crf")
    assert model.train_on_batch(x, y, weight, lengths=lengths) == pytest.approx(expected, rel=1e-5)
    for k, (old, new) in enumerate(zip(before, model.get_weights(), strict=True)):
        for place in itertools.product(*map(range, old.shape)):
            moved = []
            for step in (1e-5, -1e-5):
                weights = [w.astype(np.float64) for w in before]
                weights[k][place] += step
                moved.append(_loss(weights, x, y_read, lengths, weight))
            assert old[place] - new[place] == pytest.approx((moved[0] - moved[1]) / 2e-5, abs=2e-5)


def test_predict_gives_the_best_tags_and_evaluate_scores_them():
    rng = np.random.default_rng(3)
    model = _tagger()
    x, y, lengths = rng.normal(size=(5, 6, 3)), rng.integers(0, 4, (5, 6)), np.array([6, 4, 3, 1, 0])
    kernel, bias, *chain = model.get_weights()
    emissions = rekur.Model(model.inputs, model.layers[-1].input).predict(x)
    np.testing.assert_allclose(emissions, x @ kernel + bias, atol=1e-5)
    found = model.predict(x, lengths=lengths)
    for b, n in enumerate(lengths):
        assert not found[b, n:].any()
        assert (found[b, :n].sum(axis=-1) == 1).all()
        if n:
            assert list(found[b, :n].argmax(axis=-1)) == reference.viterbi(emissions[b, :n].astype(np.float64), *chain)
    model.compile("sgd", "crf", metrics=["accuracy"])
    there = np.arange(6) < lengths[:, None]
    right = (found.argmax(axis=-1) == y)[there].mean()
    assert model.evaluate(x, y, lengths=lengths)[1] == pytest.approx(right)
    crf = model.layers[-1]
    tags, scores = crf.decode(emissions, lengths, top_paths=2)
    assert tags.shape == (2, 5, 6) and scores.shape == (5, 2)
    np.testing.assert_array_equal(
        crf.marginals(emissions, lengths),
        sequences.crf_marginals(emissions, crf.get_weights()[0], lengths, *crf.get_weights()[1:]),
    )
    whole = crf.log_likelihood(emissions[:1], y[:1])
    assert whole[0] == pytest.approx(-model.evaluate(x[:1], y[:1])[0], rel=1e-5)
    history = model.fit(x, y, lengths=lengths, epochs=1, batch_size=2, shuffle=False, verbose=0).history
    assert 0 <= history["accuracy"][0] <= 1


def test_masks_leave_steps_out_and_join_their_neighbours():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3, 7, 4)).astype(np.float32)
    there = np.array([[1, 0, 1, 1, 0, 1, 1], [0, 0, 1, 1, 1, 0, 0], [1] * 7], bool)
    x[~there] = 0
    for mode in ("tags", "marginals"):
        model = Sequential([layers.Masking(input_shape=(None, 4)), layers.CRF(4, mode)], seed=0)
        chain = _chain(4)
        model.set_weights(chain)
        found = model.predict(x)
        for row, valid, y in zip(x, there, found, strict=True):
            alone = row[valid].astype(np.float64)
            assert not y[~valid].any()
            if mode == "tags":
                assert list(y[valid].argmax(axis=-1)) == reference.viterbi(alone, *chain)
            else:
                np.testing.assert_allclose(y[valid], reference.marginals(alone, *chain), atol=1e-6)
    model = Sequential([layers.Masking(input_shape=(None, 4)), layers.CRF(4)], seed=0)
    model.set_weights(chain)
    model.compile("sgd", "crf")
    y = rng.integers(0, 4, (3, 7))
    expected = [
        reference.log_norm(row[valid].astype(np.float64), *chain) - reference.score(row[valid], tags[valid], *chain)
        for row, valid, tags in zip(x, there, y, strict=True)
    ]
    assert model.evaluate(x, y) == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_tagger_learns_what_transitions_say_is_saved_and_copied(tmp_path):
    """Tags alternate within runs that emissions cannot tell apart: only the chain knows."""
    rng = np.random.default_rng(5)
    y = (np.arange(10) + rng.integers(0, 2, (96, 1))) % 2
    x = np.zeros((96, 10, 2), np.float32)
    x[np.arange(96), 3, y[:, 3]] = 3  # one step says where it begins
    x += rng.normal(0, 0.3, x.shape)

    def fitted(last, loss):
        model = Sequential([layers.Dense(2, input_shape=(None, 2)), *last], seed=2)
        model.compile(rekur.optimizers.Adam(0.05), loss, metrics=["accuracy"])
        model.fit(x[:64], y[:64], epochs=60, batch_size=16, verbose=0)
        return model, model.evaluate(x[64:], y[64:])[1]

    model, with_chain = fitted([layers.CRF(2)], "crf")
    _, without = fitted([layers.Activation("softmax")], "sparse_categorical_crossentropy")
    assert with_chain > 0.99 > 0.7 > without
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.evaluate(x, y) == model.evaluate(x, y)
    assert type(again.layers[-1]) is layers.CRF
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(x), model.predict(x))
    text = []
    model.summary(print_fn=text.append)
    assert any("CRF" in line and "8" in line for line in "\n".join(map(str, text)).splitlines())


def test_the_bits_are_the_same_for_any_number_of_threads():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(37, 12, 3)), rng.integers(0, 4, (37, 12))
    before, found = rekur.num_threads(), []
    try:
        for threads in (1, 2, 3):
            rekur.set_num_threads(threads)
            for mode, loss in (("tags", "crf"), ("marginals", "crf"), ("marginals", "mse")):
                model = _tagger(output_mode=mode)
                model.compile(rekur.optimizers.SGD(0.1), loss)
                target = y if loss == "crf" else np.eye(4)[y]
                model.fit(x, target, epochs=2, batch_size=37, verbose=0)
                found.append([model.predict(x), *model.get_weights()])
    finally:
        rekur.set_num_threads(before)
    for k, arrays in enumerate(found[3:]):
        for one, other in zip(arrays, found[k % 3], strict=True):
            np.testing.assert_array_equal(one, other)
    emissions = _emissions(9, 5, 4)
    whole = sequences.crf_decode(emissions, found[0][-3], top_paths=3)
    alone = sequences.crf_decode(emissions[4:5], found[0][-3], top_paths=3)
    np.testing.assert_array_equal(whole[0][:, 4], alone[0][:, 0])


def test_nan_stays_in_its_row():
    model = _tagger()
    x = np.random.default_rng(7).normal(size=(3, 5, 3)).astype(np.float32)
    clean = model.predict(x)
    x[1, 2] = np.nan
    found = model.predict(x)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(np.delete(found, 1, axis=0), np.delete(clean, 1, axis=0))
    model.compile("sgd", "crf")
    assert np.isnan(model.evaluate(x, np.zeros((3, 5), int)))


def test_mistakes(tmp_path):
    x, y = np.zeros((2, 5, 3)), np.zeros((2, 5), int)
    with pytest.raises(ValueError, match=r"CRF 'tags': expected emissions of shape \(B, T, 4\).*put Dense\(4\) before"):
        Sequential([layers.Dense(3, input_shape=(None, 3)), layers.CRF(4, name="tags")]).predict(x)
    model = _tagger()
    with pytest.raises(ValueError, match=r"output 'crf': mean_squared_error has no gradient by the best tags"):
        model.compile("sgd", "mse")
        model.fit(x, np.zeros((2, 5, 4)), verbose=0)
    with pytest.raises(ValueError, match=r"output 'dense': crf is a loss of the output of a CRF layer"):
        plain = Sequential([layers.Dense(4, input_shape=(None, 3))])
        plain.compile("sgd", "crf")
        plain.fit(x, y, verbose=0)
    model.compile("sgd", "crf")
    with pytest.raises(ValueError, match="y of output 'crf': crf expected class indices from 0 to 3, got 4"):
        model.fit(x, y + 4, verbose=0)
    with pytest.raises(ValueError, match=r"crf expected class indices of shape \(2, 5\), got \(2, 4\)"):
        model.fit(x, y[:, :4], verbose=0)
    with pytest.raises(ValueError, match="output 'crf': crf expected 2 sample weights, one a row, got 10"):
        model.evaluate(x, y, sample_weight=np.ones((2, 5)))
    with pytest.raises(ValueError, match="class_weight: a row of crf has labels of several classes"):
        model.fit(x, y, class_weight={1: 2.0}, verbose=0)
    with pytest.raises(ValueError, match="crf: the value is the mean over rows"):
        losses.CRF(reduction="sum")
    with pytest.raises(TypeError, match="the transitions of a CRF layer take part in it"):
        losses.CRF()(y, np.zeros((2, 5, 4)))
    with pytest.raises(ValueError, match="output_mode: expected one of tags, marginals"):
        layers.CRF(3, "best")
    with pytest.raises(ValueError, match="CRF 'crf': cannot go one step at a time: tags depend on the steps"):
        rekur.export_static(model, tmp_path / "m.hpp")
    for function, arguments, message in (
        (sequences.crf_decode, (x[0], np.eye(3)), r"emissions: expected shape \(B, T, tags\), got \(5, 3\)"),
        (sequences.crf_decode, (x, np.eye(4)), r"transitions: expected shape \(3, 3\), got \(4, 4\)"),
        (sequences.crf_marginals, (x, np.eye(3), [6, 1]), "sequence_lengths: expected lengths from 0 to 5, got 6"),
        (sequences.crf_log_norm, (x, np.eye(3), None, np.ones(4)), r"start: expected shape \(3,\)"),
        (sequences.crf_decode, (x, np.eye(3), None, None, None, 0), "top_paths must be at least 1"),
        (sequences.crf_log_likelihood, (x, y + 3, np.eye(3)), "tags: expected tags from 0 to 2, got 3"),
        (sequences.crf_log_likelihood, (x, y[:1], np.eye(3)), r"tags: expected shape \(2, 5\), got \(1, 5\)"),
    ):
        with pytest.raises(ValueError, match=message):
            function(*arguments)


def test_pytorch_crf_finds_the_same():
    torch = pytest.importorskip("torch")
    torchcrf = pytest.importorskip("torchcrf")
    x, (A, start, end) = _emissions(5, 8, 4, 2.0), _chain(4)
    lengths = np.array([8, 7, 5, 2, 1])
    theirs = torchcrf.CRF(4, batch_first=True)
    with torch.no_grad():
        for name, value in (("transitions", A), ("start_transitions", start), ("end_transitions", end)):
            getattr(theirs, name).copy_(torch.tensor(value))
    y = np.random.default_rng(1).integers(0, 4, (5, 8))
    mask = torch.tensor(np.arange(8) < lengths[:, None])
    expected = theirs(torch.tensor(x), torch.tensor(y), mask, reduction="none")
    found = sequences.crf_log_likelihood(x, y, A, lengths, start, end)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5)
    tags = sequences.crf_decode(x, A, lengths, start, end)[0][0]
    assert [list(row[:n]) for row, n in zip(tags, lengths, strict=True)] == theirs.decode(torch.tensor(x), mask)


def test_a_chain_that_two_outputs_share_adds_their_gradients():
    rng = np.random.default_rng(3)
    x, first = rng.normal(size=(5, 4, 3)).astype(np.float32), rekur.Input((None, 3))
    chain = layers.CRF(3, transition_initializer="glorot_uniform", name="tags")
    model = rekur.Model(first, [chain(layers.Dense(3)(first)), chain(first)], seed=1)
    y, lengths, weights = [rng.integers(0, 3, (5, 4)) for _ in range(2)], np.array([4, 0, 2, 1, 3]), [0.5, -1.5]
    model.compile(rekur.optimizers.SGD(1e-2), loss=["crf", "crf"], loss_weights=weights)
    before = [w.copy() for w in model.get_weights()]

    def loss():
        return model.evaluate(x, y, lengths=lengths, batch_size=5)[0]

    expected = []
    for k, weight in enumerate(before):
        gradient = np.zeros(weight.shape)
        for at in np.ndindex(weight.shape):
            for sign in (1, -1):
                moved = [w.copy() for w in before]
                moved[k][at] += sign * 1e-2
                model.set_weights(moved)
                gradient[at] += sign * loss() / 2e-2
        expected.append(gradient)
    model.set_weights(before)
    model.fit(x, y, lengths=lengths, batch_size=5, shuffle=False, verbose=0)
    for old, new, gradient in zip(before, model.get_weights(), expected, strict=True):
        np.testing.assert_allclose((old - new) / 1e-2, gradient, atol=2e-4)


def test_what_no_tag_sequence_can_be_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        never = np.full((2, 2), -np.inf)
        assert np.isnan(sequences.crf_log_likelihood(np.zeros((1, 3, 2)), [[0, 1, 0]], never)).all()
        never[0, 1] = 0
        assert sequences.crf_log_likelihood(np.zeros((1, 2, 2)), [[1, 0]], never)[0] == -np.inf


def test_one_hot_targets_are_told_how_to_become_tags():
    model = Sequential([layers.Dense(3, input_shape=(None, 2)), layers.CRF(3)], seed=1)
    model.compile("sgd", "crf")
    with pytest.raises(ValueError, match=r"got \(2, 4, 3\); y\.argmax\(axis=-1\) makes them of one-hot targets"):
        model.evaluate(np.ones((2, 4, 2)), np.ones((2, 4, 3)))
