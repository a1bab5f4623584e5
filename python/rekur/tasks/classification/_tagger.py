"""Tags of the steps of sequences: networks with a conditional random field, deployment."""

import os
from collections.abc import Callable, Sequence
from operator import eq
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur import layers
from rekur import sequences as chains
from rekur._validate import integer, real
from rekur.models import Model
from rekur.tasks._estimator import Estimator
from rekur.tasks._fitting import fit_networks
from rekur.tasks._front import Statistics, standardised
from rekur.tasks._sequences import Sequences, read_sequences
from rekur.tasks.classification import _networks as networks
from rekur.tasks.classification import _onnx_tags as onnx
from rekur.tasks.classification import _tokens as tokens
from rekur.tasks.classification._calibration import softmax
from rekur.tasks.classification._spans import are_entities, entity_scores
from rekur.tasks.classification._supervised import check_training, front, split
from rekur.tasks.classification._targets import read_weights

Self = TypeVar("Self", bound="SequenceTagger")
Floats = NDArray[np.float32]
_STEPS = 800  # of training, where epochs are not said
_ROWS = 128


class SequenceTagger(Estimator):
    """Tag every step of sequences: of tokens (parts of speech, names) or of numbers (states, phases, activities).

    >>> tagger = rekur.tasks.SequenceTagger(random_state=0)
    >>> tagger.fit([["Ada", "lives", "in", "London"], …], [["B-person", "O", "O", "B-place"], …])
    >>> tagger.predict([["Grace", "lives", "in", "York"]])

    A recurrent network reads each sequence in both directions, and a conditional random field
    (:class:`rekur.layers.CRF`) finds the best sequence of tags as a whole. Tokens go in as texts: the network has a
    vector for each word that comes often enough, whatever its case, and sees of every word how it is written (capitals,
    digits, signs, common beginnings and ends). Numbers go in as they are, NaN stands for a missing one.

    Parameters
    ----------
    cell : str or rekur cell
        "gru", "lstm", another of :mod:`rekur.cells`, or one's own.
    units : int or tuple of int
        Of the recurrent layers, one on the other.
    filters : tuple of int, optional
        Of convolutions in front of them; none by default.
    embedding : int
        Numbers of a word's vector.
    min_count : int
        A word that comes less often has no vector of its own, so that the one of unknown words is learned.
    crf : bool
        False: each step has its tag by itself.
    causal : bool
        The network reads forwards alone; with ``crf=False`` :meth:`stream` then gives probabilities at every step.
    dropout : float
        From 0 to below 1.
    epochs : int, optional
        By default as many as make about 800 steps of training, at least 5.
    batch_size : int, optional
        About 16 by default, 32 from 1000 sequences on, so that batches are of about one size.
    learning_rate : float
        The highest one, of one cycle.
    validation_fraction : float, optional
        What part of the sequences is held out for early stopping. By default 0.1 from 400 sequences on, else none.
    patience : int, optional
        By default a quarter of the epochs.
    ensemble : int
        Networks, from as many seeds, whose scores of tag sequences are averaged.
    random_state : None, int, numpy RandomState or Generator
    verbose : int
        1: a progress bar with the time that remains, on a terminal.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        The tags, sorted.
    models_ : list of rekur.Model
        The networks: raw numbers, or words and marks, to what each tag is worth at each step (B, T, C).
    chain_ : dict or None
        ``transitions`` (C, C), ``start`` and ``end`` (C,) of the random field, the mean over networks.
    vocabulary_ : dict of str to int, or None
        Words by place, where sequences are of tokens.
    history_ : list of dict
    """

    _kind = "sequence_tagger"

    models_: list[Model]
    classes_: NDArray[Any]
    chain_: dict[str, Any] | None
    vocabulary_: dict[str, int] | None
    patterns_: list[str] | None
    channels_: int | None
    n_features_in_: int
    front_: dict[str, Any]
    training_: dict[str, Any]
    history_: list[dict[str, list[float]]]

    def __init__(
        self,
        cell: Any = "gru",
        units: Any = 64,
        *,
        filters: Any = None,
        embedding: Any = 32,
        min_count: Any = 2,
        crf: Any = True,
        causal: Any = False,
        dropout: Any = 0.3,
        epochs: Any = None,
        batch_size: Any = None,
        learning_rate: Any = 1e-2,
        validation_fraction: Any = None,
        patience: Any = None,
        ensemble: Any = 1,
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.cell = cell
        self.units = units
        self.filters = filters
        self.embedding = embedding
        self.min_count = min_count
        self.crf = crf
        self.causal = causal
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.ensemble = ensemble
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_is_fitted__(self) -> bool:
        return "models_" in vars(self)

    # Fitting.

    def fit(self: Self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on sequences and the tags of their steps.

        Parameters
        ----------
        X : list of N lists of str; or array (N, T) or (N, T, F), or list of N arrays (Tᵢ,), (Tᵢ, F)
            Tokens or numbers.
        y : list of N lists of tags, or array of shape (N, T)
            Texts or integers, one a step.
        sample_weight : array_like of shape (N,), optional
            What each sequence counts.

        Raises
        ------
        ValueError, TypeError
            For what is not so, or parameters that are not.
        """
        who = type(self).__name__
        texts = tokens.read_tokens(X) if tokens.are_tokens(X) else None
        numbers = None if texts is not None else read_sequences(X)
        if texts is not None:
            lengths = np.array([len(row) for row in texts], np.int32)
        else:
            assert numbers is not None
            lengths = _lengths(numbers)
        tags = read_tags(y, lengths, who)
        weights = read_weights(sample_weight, len(lengths), who)
        kept = np.flatnonzero(weights > 0)
        settings = check_training(self, len(kept), 32)
        for name in ("crf", "causal"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{who}: {name} must be True or False, got {getattr(self, name)!r}")
        dropout = real(self.dropout, f"{who}: dropout", 0.0, 1.0)
        if dropout == 1.0:
            raise ValueError(f"{who}: dropout must be below 1, got 1")
        width, least = integer(self.embedding, f"{who}: embedding"), integer(self.min_count, f"{who}: min_count")
        made = networks.Architecture(
            form="cnn_rnn",
            cell=self.cell,
            units=networks.sizes(self.units, f"{who}: units"),
            filters=() if self.filters is None else networks.sizes(self.filters, f"{who}: filters"),
            kernels=(5, *(3,) * 30),
            squeeze=False,
            shorten=1,
            pool=1,
            dropout=dropout,
            causal=bool(self.causal),
        )
        made = made._replace(kernels=made.kernels[: len(made.filters)])
        networks.recurrent_layer(self.cell, 1, who)

        self._forget()
        self.classes_ = np.unique(np.concatenate([tags[row] for row in kept]))
        if len(self.classes_) < 2:
            raise ValueError(f"{who}: y holds one tag, {self.classes_.tolist()[0]!r}; at least two are needed")
        self.vocabulary_ = self.patterns_ = self.channels_ = None
        self.n_features_in_ = 1
        if texts is not None:
            own = [texts[row] for row in kept]
            self.vocabulary_, self.patterns_ = tokens.vocabulary(own, least), tokens.patterns(own)
            inputs: dict[str, Any] = tokens.Reader(self.vocabulary_, self.patterns_)(texts)
        else:
            assert numbers is not None
            self.channels_ = self.n_features_in_ = numbers.features
            self.front_ = front(numbers.take(kept))
            inputs = {"values": numbers.values}
        aims = np.zeros((len(lengths), int(lengths.max())), np.int32)
        for row in kept:
            aims[row, : lengths[row]] = np.searchsorted(self.classes_, tags[row])

        seeds = self._seeds(settings["ensemble"])
        train, held = (kept[part] for part in split(len(kept), settings["fraction"], seeds[0]))
        scaled = weights / weights[kept].mean()

        def part(rows: NDArray[Any]) -> dict[str, Any]:
            longest = int(lengths[rows].max())
            x = {name: array[rows, :longest] for name, array in inputs.items()}
            return {
                "x": x if len(x) > 1 else next(iter(x.values())),
                "y": aims[rows, :longest],
                "sample_weight": scaled[rows],
                "lengths": {name: lengths[rows] for name in x} if len(x) > 1 else lengths[rows],
            }

        batch = min(settings["batch"], len(train))
        steps = -(-len(train) // batch)
        epochs = settings["epochs"] or max(5, round(_STEPS / steps))

        def build(seed: int) -> Model:
            model = self._network(made, width, seed)
            rate = rekur.optimizers.schedules.OneCycle(settings["rate"], max(2, epochs * steps))
            loss: Any = "crf" if self.crf else rekur.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(rekur.optimizers.AdamW(rate, weight_decay=1e-2), loss, metrics=["accuracy"])
            return model

        found, self.history_ = fit_networks(
            build,
            seeds,
            part(train),
            epochs=epochs,
            who=who,
            batch_size=batch,
            validation=part(held) if len(held) else None,
            patience=(settings["patience"] or max(5, epochs // 4)) if len(held) else None,
            verbose=settings["verbose"],
            steps=steps,
        )
        self.training_ = {
            "sequences": len(lengths),
            "steps": [int(lengths.min()), int(lengths.max())],
            "learned_from": len(train),
            "held_out": len(held),
            "tags": int(lengths[kept].sum()),
            "network": networks.described(made._replace(cell=networks.cell_name(made.cell), form="rnn")),
        }
        bare, crfs = [], []
        for n, model in enumerate(found, 1):  # without the optimiser and its state, and without the random field
            weights_of = model.get_weights()
            count = 3 if self.crf else 0
            crfs.append(weights_of[len(weights_of) - count :])
            other = self._network(made, width, model.seed, chain=False, name=f"network_{n}")
            other.set_weights(weights_of[: len(weights_of) - count])
            bare.append(other)
        self.chain_ = None
        if self.crf:
            means = [np.mean([each[k] for each in crfs], axis=0) for k in range(3)]
            self.chain_ = dict(zip(("transitions", "start", "end"), means, strict=True))
        self.models_ = bare
        self._assemble()
        return self

    def _network(
        self, made: networks.Architecture, width: int, seed: int | None, chain: bool = True, name: str | None = None
    ) -> Model:
        ends = self._inputs_of_model()
        if self.vocabulary_ is not None:
            words = layers.Embedding(max(self.vocabulary_.values(), default=1) + 1, width, name="word")(ends[0])
            marks = layers.Dense(width, "tanh", name="written")(ends[1])
            h = layers.Concatenate(name="token")([words, marks])
        else:
            h = standardised(ends[0], Statistics(**self.front_))
        if made.dropout and self.vocabulary_ is not None:
            h = layers.Dropout(made.dropout, name="drop_token")(h)
        h = networks.each_step(h, made)
        if made.dropout:
            h = layers.Dropout(made.dropout, name="drop")(h)
        y = layers.Dense(len(self.classes_), name="scores")(h)
        if chain and self.crf:
            y = layers.CRF(len(self.classes_), name="chain")(y)
        return Model(list(ends) if len(ends) > 1 else ends[0], y, seed=seed, name=name)

    def _inputs_of_model(self) -> list[Any]:
        if self.vocabulary_ is None:
            return [layers.Input((None, self.channels_), name="values")]
        assert self.patterns_ is not None
        words = layers.Input((None,), dtype="int32", name="words")
        return [words, layers.Input((None, len(self.patterns_)), name="marks")]

    # What was learned, as one model.

    def _whole(self, behind: Callable[[Any], Any] | None = None) -> Model:
        """The mean of the networks' scores as one model, with what is put behind it."""
        ends = self._inputs_of_model()
        given = ends if len(ends) > 1 else ends[0]
        parts = [model(given) for model in self.models_]
        y = layers.Average(name="mean_of_networks")(parts) if len(parts) > 1 else parts[0]
        return Model(given, behind(y) if behind is not None else y)

    def _assemble(self) -> Model:
        self._reader_cache = None
        if self.vocabulary_ is not None and self.patterns_ is not None:
            self._reader_cache = tokens.Reader(self.vocabulary_, self.patterns_)
        self._whole_cache: Model = self._whole()
        return self._whole_cache

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        self._assemble()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.__sklearn_is_fitted__():
            self._assemble()

    def _scores(self, X: Any) -> tuple[Floats, NDArray[np.int32]]:
        """What each tag is worth at each step, (N, T, C), and the lengths."""
        self._check_fitted()
        who = type(self).__name__
        if isinstance(X, dict) or self.vocabulary_ is not None:
            if not tokens.are_tokens(X):
                raise TypeError(
                    f"{who}: X: expected lists of tokens, which fit has learned from, got {type(X).__name__}"
                )
            texts = tokens.read_tokens(X)
            assert self._reader_cache is not None
            inputs: Any = self._reader_cache(texts)
            lengths = np.array([len(row) for row in texts], np.int32)
            counts: Any = {"words": lengths, "marks": lengths}
        else:
            if tokens.are_tokens(X):
                raise TypeError(f"{who}: X: expected sequences of numbers, which fit has learned from, got texts")
            found = read_sequences(X)
            if found.features != self.channels_:
                raise ValueError(
                    f"{who}: X has {found.features} features, but {who} is expecting {self.channels_} features as input"
                )
            inputs, lengths = found.values, _lengths(found)
            counts = lengths
        scores = self._whole_cache.predict(inputs, lengths=counts, batch_size=_ROWS, verbose=0)
        return scores, lengths

    def _best(self, scores: Floats, lengths: NDArray[np.int32]) -> NDArray[Any]:
        if self.chain_ is None:
            return np.asarray(scores.argmax(axis=-1))
        paths, _ = chains.crf_decode(scores, sequence_lengths=lengths, **self.chain_)
        found: NDArray[Any] = np.asarray(paths)[0]
        return found

    def predict(self, X: Any) -> list[list[Any]]:
        """The best tags of each sequence, one a step."""
        scores, lengths = self._scores(X)
        paths = self._best(scores, lengths)
        return [self.classes_[path[:n]].tolist() for path, n in zip(paths, lengths, strict=True)]

    def predict_proba(self, X: Any) -> list[NDArray[np.float64]]:
        """The probability of each tag at each step, (Tᵢ, C) of each sequence: the marginals of the random field."""
        scores, lengths = self._scores(X)
        found = self._marginals(scores, lengths)
        return [p[:n] for p, n in zip(found, lengths, strict=True)]

    def _marginals(self, scores: Floats, lengths: NDArray[np.int32]) -> NDArray[np.float64]:
        if self.chain_ is None:
            return softmax(scores)
        return np.asarray(chains.crf_marginals(scores, sequence_lengths=lengths, **self.chain_), np.float64)

    def best_sequences(self, X: Any, k: int = 5) -> list[list[tuple[list[Any], float]]]:
        """The ``k`` best tag sequences of each sequence, with log p, best first; fewer where there are no more.

        Raises
        ------
        ValueError
            Without a random field (``crf=False``).
        """
        k = integer(k, f"{type(self).__name__}: k")
        scores, lengths = self._scores(X)
        if self.chain_ is None:
            raise ValueError(f"{type(self).__name__}: best_sequences needs the random field; fit with crf=True")
        paths, worth = chains.crf_decode(scores, sequence_lengths=lengths, top_paths=k, **self.chain_)
        whole = chains.crf_log_norm(scores, sequence_lengths=lengths, **self.chain_)
        found = []
        for row, n in enumerate(lengths):
            kept = [
                place for place in range(k) if np.isfinite(worth[row, place]) and (paths[place, row, :n] >= 0).all()
            ]
            found.append([(self.classes_[paths[p, row, :n]].tolist(), float(worth[row, p] - whole[row])) for p in kept])
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of steps whose tag is right; a sequence's steps are weighed by its ``sample_weight``.

        A tag that is not among those that were learned is wrong, and so is a number where tags are texts.
        """
        answers = self.predict(X)
        lengths = np.array([len(row) for row in answers])
        truth = read_tags(y, lengths, type(self).__name__)
        weights = read_weights(sample_weight, len(answers), type(self).__name__)
        right = np.array([sum(map(eq, a, t.tolist())) for a, t in zip(answers, truth, strict=True)])
        return float((weights * right).sum() / (weights * lengths).sum())

    def evaluate(self, X: Any, y: Any) -> dict[str, Any]:
        """Scores of tags, of whole sequences, and of entities where tags are of a scheme such as IOB2 or BIOES.

        Returns
        -------
        dict
            ``accuracy`` of steps; ``sequences``, the share of sequences without a mistake; ``entities``, by kind and
            for all ("micro"), their precision, recall, f1 and support: an entity is right if its kind and both ends
            are.
        """
        answers = self.predict(X)
        truth = [row.tolist() for row in read_tags(y, np.array([len(row) for row in answers]), type(self).__name__)]
        right = [a == t for a, t in zip(answers, truth, strict=True)]
        steps = [a == t for one, other in zip(answers, truth, strict=True) for a, t in zip(one, other, strict=True)]
        found: dict[str, Any] = {"accuracy": float(np.mean(steps)), "sequences": float(np.mean(right))}
        if are_entities(sorted({str(tag) for tag in self.classes_} | {str(tag) for row in truth for tag in row})):
            found["entities"] = entity_scores(truth, answers)
        return found

    # What it is.

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print what was understood of the data, and what was learned.

        Parameters
        ----------
        print_fn : function of a str
            Called with the whole text.
        """
        self._check_fitted()
        seen = self.training_
        what = "tokens" if self.vocabulary_ is not None else f"numbers of {self.channels_} channels"
        names = ", ".join(str(tag) for tag in self.classes_[:12].tolist())
        names += ", …" if len(self.classes_) > 12 else ""
        held = f", {seen['held_out']} held out" if seen["held_out"] else ""
        lines = [
            repr(self),
            f"  data      {seen['sequences']} sequences of {what}, {seen['steps'][0]} to {seen['steps'][1]} steps",
            f"  tags      {len(self.classes_)}: {names}; {seen['tags']:,} in all",
            f"  training  on {seen['learned_from']} sequences{held}",
        ]
        if self.vocabulary_ is not None and self.patterns_ is not None:
            words = len(set(self.vocabulary_.values()))
            lines.append(f"  words     {words:,} with a vector, {len(self.patterns_)} marks of how words are written")
        count = sum(int(np.size(weight)) for weight in self.models_[0].get_weights())
        field = "a conditional random field" if self.chain_ is not None else "each step by itself"
        several = f", the mean of {len(self.models_)}" if len(self.models_) > 1 else ""
        lines.append(f"  network   {seen['network']}, {field}: {count:,} weights{several}")
        losses = [min(history.get("val_loss", history["loss"])) for history in self.history_]
        kind = "held-out loss" if "val_loss" in self.history_[0] else "loss"
        epochs = ", ".join(str(len(history["loss"])) for history in self.history_)
        lines.append(f"  epochs    {epochs}; least {kind} {', '.join(f'{loss:.4g}' for loss in losses)}")
        print_fn("\n".join(lines))

    def plot(self, X: Any = None, y: Any = None, *, title: str = "") -> Any:
        """Which tags are taken for which; without data: the training.

        Returns
        -------
        matplotlib.figure.Figure
        """
        self._check_fitted()
        from rekur.tasks.report import plot_confusion, plot_training

        if X is None and y is None:
            return plot_training(self.history_, title=title)
        if X is None or y is None:
            raise ValueError(f"{type(self).__name__}: plot takes X and y, or neither")
        answers = self.predict(X)
        truth = np.concatenate(read_tags(y, np.array([len(row) for row in answers]), type(self).__name__))
        told = np.array([tag for row in answers for tag in row], dtype=self.classes_.dtype)
        names = np.unique(np.concatenate([self.classes_, truth]))
        counts = np.zeros((len(names), len(names)), int)
        np.add.at(counts, (np.searchsorted(names, truth), np.searchsorted(names, told)), 1)
        right = float((truth == told).mean())
        return plot_confusion(counts, names.tolist(), title=title or f"{right:.1%} of {len(truth)} steps right")

    # Deployment.

    def _deployed(self) -> Model:
        """Numbers, or words and marks, in; one-hot best tags and probabilities out."""
        self._check_fitted()
        count = len(self.classes_)
        if self.chain_ is None:
            return self._whole(lambda y: layers.Activation("softmax", name="probabilities")(y))
        best, marginals = layers.CRF(count, name="best"), layers.CRF(count, "marginals", name="probabilities")
        model = self._whole(lambda y: [best(y), marginals(y)])
        for layer in (best, marginals):
            layer.set_weights([self.chain_[key] for key in ("transitions", "start", "end")])
        return model

    def stream(self, batch: int = 1) -> Any:
        """Probabilities after every step of sequences of numbers: a :class:`rekur.Stream` of raw values.

        Raises
        ------
        ValueError
            If what comes later changes earlier tags (``crf``, or a network of both directions), or if steps are tokens,
            which a stream does not read.
        """
        self._check_fitted()
        who = type(self).__name__
        if self.vocabulary_ is not None:
            raise ValueError(f"{who}: a stream takes numbers, this tagger tokens; predict what has been read so far")
        if self.chain_ is not None:
            raise ValueError(
                f"{who}: the random field finds the best tags of a whole sequence: what comes later changes earlier "
                "ones; fit with crf=False and causal=True for a stream"
            )
        try:
            return rekur.Stream(self._deployed(), batch)
        except ValueError as error:
            raise ValueError(f"{who}: fit with crf=False and causal=True for a stream: {error}") from None

    def export_cpp(self, path: str | os.PathLike[str], namespace: str | None = None, **options: Any) -> Any:
        """Write the network as a C++ header: :func:`rekur.export_cpp`.

        Its inputs are raw numbers; of tokens their places in ``vocabulary_`` and marks by ``patterns_``.

        Returns
        -------
        rekur.CppReport
        """
        return rekur.export_cpp(self._deployed(), path, namespace, **options)

    def export_onnx(self, path: str | os.PathLike[str], **options: Any) -> Any:
        """Write one ONNX file: raw sequences in, tags and probabilities out.

        Inputs: ``X`` float (batch, time, channels), or strings (batch, time), anything behind a sequence's end; and
        ``lengths`` int32 (batch,). Outputs: ``tags`` (batch, time), of strings or int64, "" or −1 behind a sequence's
        end; ``probabilities`` (batch, time, C), 0 there.

        Parameters
        ----------
        path : str or path
        **options
            Of :func:`rekur.onnx.export`. Of tokens the file is of opset 20, which has patterns, or more.

        Returns
        -------
        rekur.onnx.ExportReport

        Raises
        ------
        RuntimeError
            If onnxruntime does not give what :meth:`predict_proba` gives, to 1e-5: nothing is written.
        """
        self._check_fitted()
        return onnx.write(
            path,
            self._deployed(),
            known=Statistics(**self.front_) if self.vocabulary_ is None else None,
            table=self.vocabulary_,
            patterns=self.patterns_,
            labels=self.classes_,
            chain=self.chain_ is not None,
            expected=self._expected,
            options=options,
        )

    def _expected(self, given: Any) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_]]:
        """Of sequences: places of tags, probabilities, and which steps have no other tag that is nearly as good."""
        scores, lengths = self._scores(given)
        p = self._marginals(scores, lengths)
        there = np.arange(p.shape[1]) < lengths[:, None]
        ordered = np.sort(p, axis=-1)
        return (
            self._best(scores, lengths),
            np.where(there[..., None], p, 0.0),
            ordered[..., -1] - ordered[..., -2] > 0.5,
        )


def _lengths(found: Sequences) -> NDArray[np.int32]:
    if found.lengths is not None:
        return found.lengths
    return np.full(len(found), found.values.shape[1], np.int32)


def read_tags(y: Any, lengths: NDArray[Any], who: str) -> list[NDArray[Any]]:
    """A tag a step, as many as each sequence has steps: texts or integers.

    Raises
    ------
    ValueError, TypeError
        Naming the sequence at fault.
    """
    if y is None:
        raise ValueError(f"{who} requires y to be passed, but the target y is None")
    if isinstance(y, (str, bytes)) or not hasattr(y, "__len__"):
        raise TypeError(f"{who}: y: expected a list of tags for each sequence, got {type(y).__name__}")
    if len(y) != len(lengths):
        raise ValueError(
            f"{who}: Found input variables with inconsistent numbers of samples: [{len(lengths)}, {len(y)}]: y has the "
            "tags of each sequence of X"
        )
    found: list[NDArray[Any]] = []
    texts: bool | None = None
    for n, (row, steps) in enumerate(zip(y, lengths, strict=True)):
        if isinstance(row, (str, bytes)) or not hasattr(row, "__len__"):
            raise TypeError(f"{who}: y: sequence {n}: expected a list of tags, got {row!r:.60}")
        if len(row) != steps:
            raise ValueError(f"{who}: y: sequence {n} has {len(row)} tags, X has {steps} steps there")
        tags: Sequence[Any] = list(row)
        for t, tag in enumerate(tags):
            is_text = isinstance(tag, str)
            whole = isinstance(tag, (int, np.integer)) and not isinstance(tag, (bool, np.bool_))
            if not is_text and not whole:
                raise ValueError(f"{who}: y: sequence {n}, step {t}: expected a text or an integer, got {tag!r:.60}")
            if texts is None:
                texts = is_text
            elif texts != is_text:
                raise ValueError(f"{who}: y: sequence {n}, step {t}: tags are texts or integers, not both: {tag!r:.60}")
        found.append(np.array(tags, dtype=np.str_ if texts else np.int64))
    return found
