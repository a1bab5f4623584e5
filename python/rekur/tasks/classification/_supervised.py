"""What classifier and regressor of sequences share: settings, data, training, one model of all networks."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur._validate import integer, real
from rekur.models import Model
from rekur.tasks._estimator import Estimator
from rekur.tasks._fitting import fit_networks
from rekur.tasks._front import Statistics, statistics
from rekur.tasks._sequences import Sequences, read_sequences
from rekur.tasks.classification import _networks as networks

Floats = NDArray[np.float64]
_STEPS = 800  # of training, where epochs are not said
_MANY = 400  # sequences from which on some are held out, where that is not said
_HELD_OUT = 0.1
_FOLDS = 3  # of what needs sequences held out where none are
_ROWS = 128  # of a prediction at a time


Part = tuple[Sequences, NDArray[Any], Floats]  # sequences, targets and what each counts


class Lesson(NamedTuple):
    """What networks were trained with, to train others beside them."""

    made: networks.Architecture
    outputs: int
    seeds: list[int]
    settings: dict[str, Any]
    everything: Part
    validation: Part | None
    held: NDArray[Any]  # places of the validation's rows among all
    labels: NDArray[Any] | None


class Supervised(Estimator):
    """Base of :class:`SequenceClassifier` and :class:`SequenceRegressor`.

    A derived class says what targets are (``_fit_targets``) and how networks are trained for them (``_loss``).
    """

    network: Any
    cell: Any
    units: Any
    filters: Any
    dropout: Any
    causal: Any
    epochs: Any
    batch_size: Any
    learning_rate: Any
    validation_fraction: Any
    patience: Any
    ensemble: Any
    random_state: Any
    verbose: Any

    models_: list[Model]
    channels_: int
    table_: bool
    ragged_: bool
    n_features_in_: int
    front_: dict[str, Any]
    architecture_: dict[str, Any]
    history_: list[dict[str, list[float]]]
    training_: dict[str, Any]

    # Fitting.

    def __sklearn_is_fitted__(self) -> bool:
        return "models_" in vars(self)  # a fit that was broken off leaves none

    def _remember(self, sequences: Sequences) -> None:
        """What is known of the data's form."""
        self.channels_ = sequences.features
        self.table_ = sequences.table
        self.ragged_ = sequences.lengths is not None
        self.n_features_in_ = sequences.n_features_in()
        if sequences.names is not None:
            self.feature_names_in_ = sequences.names

    def _settings(self, rows: int) -> dict[str, Any]:
        """The parameters of training, checked."""
        who = type(self).__name__
        if not isinstance(self.causal, (bool, np.bool_)):
            raise TypeError(f"{who}: causal must be True or False, got {self.causal!r}")
        return check_training(self, rows, 64)

    def _architecture(self, sequences: Sequences, weights: Floats) -> networks.Architecture:
        """For the sequences that count anything: a weight of 0 is as if a sequence were not there."""
        steps = sequences.values.shape[1]
        if sequences.lengths is not None:
            steps = int(np.median(sequences.lengths[weights > 0]))
        return networks.architecture(
            type(self).__name__,
            network=self.network,
            cell=self.cell,
            units=self.units,
            filters=self.filters,
            dropout=self.dropout,
            causal=self.causal,
            channels=sequences.features,
            steps=steps,
        )

    def _learn(
        self,
        sequences: Sequences,
        rows: NDArray[Any],
        targets: NDArray[Any],
        counts: Floats,
        outputs: int,
        settings: Mapping[str, Any],
        made: networks.Architecture,
        labels: NDArray[Any] | None = None,
    ) -> "Lesson":
        """Train the networks on some rows of the sequences; with labels, of each are held out alike.

        Parameters
        ----------
        rows : ndarray of shape (M,)
            Of the sequences that are given.
        targets, counts, labels : ndarray of shape (M, …)
            Of these rows.
        """
        seeds = self._seeds(settings["ensemble"])
        taken = sequences.take(rows)
        self.front_ = front(taken)
        self.architecture_ = {**made._asdict(), "cell": networks.cell_name(made.cell)}
        train, held = split(len(rows), settings["fraction"], seeds[0], labels)
        everything: Part = (taken, targets, counts / counts.mean())
        if not counts[train].any() or not counts[held].any():
            train, held = np.arange(len(rows)), held[:0]
        parts: list[Part] = [(taken.take(part), targets[part], everything[2][part]) for part in (train, held)]
        validation = parts[1] if len(held) else None
        used = sequences.lengths if sequences.lengths is not None else np.array([sequences.values.shape[1]])
        self.training_ = {
            "sequences": len(sequences),
            "steps": [int(used.min()), int(used.max())],
            "learned_from": len(train),
            "held_out": len(held),
        }
        lesson = Lesson(made, outputs, seeds, dict(settings), everything, validation, held, labels)
        self.models_, self.history_ = self._train(lesson, parts[0], validation)
        return lesson

    def _held_out_scores(self, lesson: "Lesson") -> tuple[Floats, NDArray[Any], NDArray[Any]]:
        """Scores of sequences that the networks have not learned from, (M, outputs), their targets and their places.

        Of those held out; where none are, of all, each by networks trained for it on the other folds.
        """
        if lesson.validation is not None:
            sequences, targets, _ = lesson.validation
            return self._mean_scores(self.models_, sequences), targets, lesson.held
        sequences, targets, weights = lesson.everything
        scores = np.zeros((len(targets), lesson.outputs))
        place = folds(len(targets), min(_FOLDS, len(targets)), lesson.seeds[0], lesson.labels)
        for fold in np.unique(place):
            inside, outside = np.flatnonzero(place != fold), np.flatnonzero(place == fold)
            part = (sequences.take(inside), targets[inside], weights[inside])
            title = f"{type(self).__name__}, calibration {fold + 1} of {place.max() + 1}"
            models, _ = self._train(lesson, part, None, title)
            scores[outside] = self._mean_scores(models, sequences.take(outside))
        return scores, targets, np.arange(len(targets))

    def _mean_scores(self, models: list[Model], sequences: Sequences) -> Floats:
        model = networks.ensemble(models, sequences.features)
        return np.asarray(model.predict(sequences.values, lengths=sequences.lengths, verbose=0), np.float64)

    def _train(
        self, lesson: "Lesson", training: "Part", validation: "Part | None", title: str | None = None
    ) -> tuple[list[Model], list[dict[str, list[float]]]]:
        """Networks trained from seeds on (sequences, targets, weights)."""
        made, known, outputs, settings = lesson.made, self._known(), lesson.outputs, lesson.settings
        sequences, targets, weights = training
        batch = min(settings["batch"], len(sequences))
        steps = -(-len(sequences) // batch)
        epochs = settings["epochs"] or max(10, round(_STEPS / steps))
        total = max(2, epochs * steps)

        def build(seed: int) -> Model:
            model = networks.network(made, known, outputs, seed)
            rate = rekur.optimizers.schedules.OneCycle(settings["rate"], total)
            model.compile(rekur.optimizers.AdamW(rate, weight_decay=1e-2), self._loss(), metrics=self._metrics())
            return model

        data = {"x": sequences.values, "y": self._aims(targets), "sample_weight": weights, "lengths": sequences.lengths}
        held_out = None
        if validation is not None:
            rows, aims, counts = validation
            held_out = {"x": rows.values, "y": self._aims(aims), "sample_weight": counts, "lengths": rows.lengths}
        patience = settings["patience"]
        if validation is not None and patience is None:
            patience = max(5, epochs // 4)
        found, histories = fit_networks(
            build,
            lesson.seeds,
            data,
            epochs=epochs,
            who=type(self).__name__,
            batch_size=batch,
            validation=held_out,
            patience=patience,
            verbose=settings["verbose"],
            steps=steps,
            title=title,
        )
        bare = []
        for n, model in enumerate(found, 1):  # without the optimiser and its state, which no file needs
            other = networks.network(made, known, outputs, model.seed, f"network_{n}")
            other.set_weights(model.get_weights())
            bare.append(other)
        return bare, histories

    def _loss(self) -> Any:
        raise NotImplementedError

    def _aims(self, targets: NDArray[Any]) -> NDArray[Any]:
        """Targets as the loss takes them."""
        return targets

    def _metrics(self) -> list[Any]:
        return []

    def _known(self) -> Statistics:
        return Statistics(**self.front_)

    # What was learned, as one model.

    def _behind(self, scores: Any) -> Any:
        """What comes behind the mean of the networks' scores, as layers."""
        return scores

    def _final(self, scores: Any) -> Any:
        """What the deployed model has behind that."""
        return scores

    def _deployed(self) -> Model:
        """Raw sequences in, final answers out, as one model."""
        self._check_fitted()
        return networks.ensemble(self.models_, self.channels_, lambda y: self._final(self._behind(y)))

    def _scores(self, X: Any) -> NDArray[np.float32]:
        """What the networks give together, (N, outputs)."""
        self._check_fitted()
        sequences = read_sequences(X, like=self)
        model = vars(self).get("_whole_cache")
        if model is None:
            model = self._assemble()
        found: NDArray[np.float32] = model.predict(
            sequences.values, lengths=sequences.lengths, batch_size=_ROWS, verbose=0
        )
        return found

    def _assemble(self) -> Model:
        model = networks.ensemble(self.models_, self.channels_, self._behind)
        self._whole_cache = model
        return model

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        self._assemble()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.__sklearn_is_fitted__():
            self._assemble()

    # What it is.

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print what was understood of the data, and what was learned.

        Parameters
        ----------
        print_fn : function of a str
            Called with the whole text.
        """
        self._check_fitted()
        print_fn("\n".join([repr(self), *(f"  {line}" for line in self._told())]))

    def _told(self) -> list[str]:
        """The lines of :meth:`summary`."""
        seen, known = self.training_, self._known()
        channels = f"{self.channels_} channel{'' if self.channels_ == 1 else 's'}"
        shortest, longest = seen["steps"]
        steps = f"{longest} steps" if shortest == longest else f"{shortest} to {longest} steps"
        lines = [f"data      {seen['sequences']} sequences of {channels}, {steps}"]
        if missing := int(known.missing.sum()):
            lines.append(f"missing   values of {missing} of the channels; the network is told where")
        if seen["learned_from"] + seen["held_out"] < seen["sequences"]:
            lines.append("alike     sequences that come several times with one target are one, their weights summed")
        held = f", {seen['held_out']} held out" if seen["held_out"] else ""
        lines.append(f"training  on {seen['learned_from']} sequences{held}")
        made = networks.Architecture(**self.architecture_)
        count = sum(int(np.size(weight)) for weight in self.models_[0].get_weights())
        several = f", the mean of {len(self.models_)}" if len(self.models_) > 1 else ""
        lines.append(f"network   {networks.described(made)}: {count:,} weights{several}")
        epochs = [len(history["loss"]) for history in self.history_]
        losses = [min(history.get("val_loss", history["loss"])) for history in self.history_]
        what = "least held-out loss" if "val_loss" in self.history_[0] else "least loss"
        lines.append(f"epochs    {', '.join(map(str, epochs))}; {what} {', '.join(f'{loss:.4g}' for loss in losses)}")
        return lines

    # Deployment.

    def stream(self, batch: int = 1) -> Any:
        """Answers after every step of sequences that come step by step: a :class:`rekur.Stream` of raw values.

        Parameters
        ----------
        batch : int
            Sequences side by side.

        Raises
        ------
        ValueError
            If the network was not fitted with ``causal=True``: what comes later would change what was said.
        """
        model = self._deployed()
        if not self.architecture_["causal"]:
            raise ValueError(
                f"{type(self).__name__}: this network reads sequences in both directions, so it answers when they have "
                "ended; fit with causal=True for a stream"
            )
        return rekur.Stream(model, batch)

    def export_cpp(self, path: str | os.PathLike[str], namespace: str | None = None, **options: Any) -> Any:
        """Write the fitted network as a C++ header: :func:`rekur.export_cpp`; raw values in, answers out.

        Returns
        -------
        rekur.CppReport
        """
        return rekur.export_cpp(self._deployed(), path, namespace, **options)


def check_training(estimator: Any, rows: int, batch: int) -> dict[str, Any]:
    """The parameters of an estimator's training as numbers, for so many sequences.

    Parameters
    ----------
    batch : int
        The size of batches from 1000 sequences on, where the estimator does not say it.

    Raises
    ------
    ValueError, TypeError
        Naming the estimator and the parameter.
    """
    who = type(estimator).__name__
    size = estimator.batch_size
    if size is None:  # batches of about one size: statistics of a last one of few rows would be noise
        size = 16 if rows < 1000 else batch
        size = -(-rows // -(-rows // size))
    size = integer(size, f"{who}: batch_size")
    fraction = estimator.validation_fraction
    if fraction is None:
        fraction = _HELD_OUT if rows >= _MANY else 0.0
    fraction = real(fraction, f"{who}: validation_fraction", 0.0, 1.0)
    if fraction == 1.0:
        raise ValueError(f"{who}: validation_fraction must be below 1, got 1")
    patience, epochs = estimator.patience, estimator.epochs
    if isinstance(estimator.verbose, (str, float)) or estimator.verbose not in (0, 1):
        raise ValueError(f"{who}: verbose must be 0 or 1, got {estimator.verbose!r}")
    rate = real(estimator.learning_rate, f"{who}: learning_rate", 0.0)
    if rate == 0.0:
        raise ValueError(f"{who}: learning_rate must be above 0, got 0")
    return {
        "batch": size,
        "fraction": fraction,
        "patience": patience if patience is None else integer(patience, f"{who}: patience"),
        "epochs": epochs if epochs is None else integer(epochs, f"{who}: epochs"),
        "rate": rate,
        "ensemble": integer(estimator.ensemble, f"{who}: ensemble"),
        "verbose": int(estimator.verbose),
    }


def split(
    rows: int, fraction: float, seed: int, labels: NDArray[Any] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows to train on and rows held out, each in order; with labels of each class about the same share.

    At least one row of each class, and one in all, stays for training.
    """
    generator = np.random.default_rng(seed)
    held = np.zeros(rows, bool)
    if labels is None:
        held[generator.permutation(rows)[: min(rows - 1, math.ceil(rows * fraction))]] = True
    else:
        classes, counts = np.unique(labels, return_counts=True)
        # The largest remainders get what rounding leaves, so that the whole is the fraction of the whole.
        wanted = counts * fraction
        taken = np.floor(wanted).astype(int)
        short = round(rows * fraction) - taken.sum()
        taken[np.argsort(taken - wanted, kind="stable")[: max(0, short)]] += 1
        for label, count in zip(classes, np.minimum(taken, counts - 1), strict=True):
            held[generator.permutation(np.flatnonzero(labels == label))[:count]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def folds(rows: int, count: int, seed: int, labels: NDArray[Any] | None = None) -> NDArray[np.intp]:
    """The fold of each row; of each class about as many rows in every fold."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(rows)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    place = np.empty(rows, np.intp)
    place[order] = np.arange(rows) % count
    return place


def front(sequences: Sequences) -> dict[str, Any]:
    """What the layers in front know of the channels, as plain values."""
    known = statistics(sequences.values, sequences.lengths)
    return {"mean": known.mean, "deviation": known.deviation, "missing": known.missing}
