"""Classes of sequences: networks, calibrated probabilities, deployment."""

import os
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur import layers
from rekur._validate import did_you_mean, real
from rekur.tasks._sequences import Sequences, read_sequences
from rekur.tasks.classification import _onnx as onnx
from rekur.tasks.classification._calibration import METHODS, calibration_error, log_loss, softmax
from rekur.tasks.classification._supervised import Floats, Supervised
from rekur.tasks.classification._targets import class_weights, distinct, read_labels, read_weights

Self = TypeVar("Self", bound="SequenceClassifier")


class SequenceClassifier(Supervised):
    """Classify sequences of numbers: of one or several channels, of any lengths, with values missing.

    >>> classifier = rekur.tasks.SequenceClassifier(random_state=0)
    >>> classifier.fit(sequences, labels)  # a list of arrays (steps, channels), and a label each
    >>> classifier.predict(others)
    >>> classifier.save("walks.safetensors")

    Values go in as they are: the network's first layers bring channels to mean 0 and deviation 1, and tell it where
    values are missing (NaN). Probabilities come from a network, or from the mean of several.

    Parameters
    ----------
    network : str
        "rnn_fcn" (which "auto" is): a recurrent layer, and beside it convolutions whose means over time count (Karim et
        al., arXiv:1709.05206; with several channels squeeze-and-excite blocks, arXiv:1801.04503). It reads the steps
        one after another, where the paper reads a whole channel at once, so that sequences may be of any length.
        "cnn_rnn": a recurrent layer that reads what convolutions find. "rnn": recurrent layers alone. "gru", "lstm",
        "cnn_gru", "cnn_lstm", "gru_fcn" are these with their cell; "lstm_fcn" has the paper's sizes, too.
    cell : str or rekur cell, optional
        "gru" by default, "lstm", another of :mod:`rekur.cells` by name, or a cell of one's own.
    units : int or tuple of int, optional
        Of the recurrent layers, one on the other. By default 64, with convolutions 32, of "lstm_fcn" 8.
    filters : tuple of int, optional
        Of the convolutions, by default (64, 128, 64), of "lstm_fcn" (128, 256, 128).
    dropout : float, optional
        From 0 to below 1, in training. By default 0, of "rnn" 0.2, of "lstm_fcn" 0.8.
    causal : bool
        The network reads forwards alone, so that :meth:`stream` gives probabilities after every step.
    epochs : int, optional
        By default as many as make about 800 steps of training, at least 10.
    batch_size : int, optional
        About 16 by default, 64 from 1000 sequences on, so that batches are of about one size.
    learning_rate : float
        The highest one: it rises to that in the first third of the steps and then falls (one cycle).
    label_smoothing : float
        What part of each label's probability is spread over all classes in training, from 0 to below 1.
    validation_fraction : float, optional
        What part of the sequences is held out, of each class alike, for early stopping and calibration. By default
        0.1 from 400 sequences on, else none, since few are needed for training; they are drawn from ``random_state``.
    patience : int, optional
        Training stops after so many epochs in which the held-out loss has not fallen, and the best epoch's weights are
        kept. By default a quarter of the epochs.
    class_weight : None, "balanced" or dict of label to number
        What each class counts in training. Calibration leaves it out: probabilities are those of the data as they are.
    calibrate : "auto", "temperature", "vector" or None
        Scaling of the scores so that probabilities say how often they are right: by one number, or by a scale and an
        offset for each class, fitted on the sequences held out; where none are, by cross-validation in 3 folds, whose
        networks are trained beside the others. "auto": by temperature where sequences are held out, else not.
    ensemble : int
        Networks, from as many seeds, whose scores are averaged.
    random_state : None, int, numpy RandomState or Generator
        With an int, the same data give the same bits.
    verbose : int
        1: a progress bar with the time that remains, on a terminal.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        The labels, sorted.
    models_ : list of rekur.Model
        The networks: raw sequences (B, T, F) to scores (B, C).
    history_ : list of dict
        Losses and accuracies of each network, epoch by epoch.
    calibration_ : dict
        ``method``, ``scale`` and ``offset`` of the scores, and ``log_loss`` and ``error`` (expected calibration error)
        ``before`` and ``after``, where it was fitted.
    channels_, n_features_in_ : int
        ``n_features_in_`` is the number of columns where X was a table, else the number of channels.

    Notes
    -----
    The order of the sequences does not matter, and a sequence that comes twice with its label is one of weight 2.
    """

    _kind = "sequence_classifier"
    _estimator_type = "classifier"

    classes_: NDArray[Any]
    calibration_: dict[str, Any]

    def __init__(
        self,
        network: Any = "auto",
        *,
        cell: Any = None,
        units: Any = None,
        filters: Any = None,
        dropout: Any = None,
        causal: Any = False,
        epochs: Any = None,
        batch_size: Any = None,
        learning_rate: Any = 3e-3,
        label_smoothing: Any = 0.0,
        validation_fraction: Any = None,
        patience: Any = None,
        class_weight: Any = None,
        calibrate: Any = "auto",
        ensemble: Any = 1,
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.network = network
        self.cell = cell
        self.units = units
        self.filters = filters
        self.dropout = dropout
        self.causal = causal
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.label_smoothing = label_smoothing
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.class_weight = class_weight
        self.calibrate = calibrate
        self.ensemble = ensemble
        self.random_state = random_state
        self.verbose = verbose

    def fit(self: Self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on sequences and their labels.

        Parameters
        ----------
        X : array of shape (N, T) or (N, T, F), frame, or list of N arrays (Tᵢ,) or (Tᵢ, F)
            Of one channel, or of F. NaN stands for a missing value.
        y : array_like of shape (N,)
            Labels: texts, integers, bools.
        sample_weight : array_like of shape (N,), optional
            What each sequence counts; 0: it is not there.

        Raises
        ------
        ValueError, TypeError
            For what is not so, or parameters that are not.
        """
        who = type(self).__name__
        sequences = read_sequences(X)
        labels = read_labels(y, len(sequences), who)
        weights = read_weights(sample_weight, len(sequences), who)
        classes, places = np.unique(labels[weights > 0], return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"{who}: y holds one class, {classes.tolist()[0]!r}; at least two classes are needed")
        whole = np.zeros(len(labels), np.intp)
        whole[weights > 0] = places.ravel()
        rows, counts = distinct(sequences, whole, weights)
        settings = self._settings(len(rows))
        smoothing = real(self.label_smoothing, f"{who}: label_smoothing", 0.0, 1.0)
        if smoothing == 1.0:
            raise ValueError(f"{who}: label_smoothing must be below 1, got 1")
        if self.calibrate not in (None, "auto", *METHODS):
            known = ["auto", *METHODS]
            raise ValueError(
                f"{who}: calibrate {self.calibrate!r} is unknown, and not None{did_you_mean(self.calibrate, known)}"
            )
        made = self._architecture(sequences, weights)
        of_class = class_weights(self.class_weight, classes, whole[rows], counts, who)
        learned = counts * of_class[whole[rows]]
        if not learned.any():
            raise ValueError(f"{who}: class_weight leaves nothing to learn from")

        self._forget()
        self._remember(sequences)
        self.classes_ = classes
        self.calibration_ = {"method": None}
        aims = whole[rows]
        lesson = self._learn(sequences, rows, aims, learned, len(classes), settings, made, aims)
        method = self.calibrate
        if method == "auto":
            method = "temperature" if lesson.validation is not None else None
        if method is not None:
            # Class weights are for training alone: probabilities are to be those of the data as they are.
            scores, truth, places = self._held_out_scores(lesson)
            self._calibrate(method, scores, truth, counts[places])
        self._assemble()
        return self

    def _loss(self) -> Any:
        if self.label_smoothing:
            return rekur.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=float(self.label_smoothing))
        return rekur.losses.SparseCategoricalCrossentropy(from_logits=True)

    def _aims(self, targets: NDArray[Any]) -> NDArray[Any]:
        return np.eye(len(self.classes_), dtype=np.float32)[targets] if self.label_smoothing else targets

    def _metrics(self) -> list[Any]:
        return ["accuracy"]

    def _calibrate(self, method: str, scores: Floats, labels: NDArray[Any], weights: Floats) -> None:
        found = METHODS[method](scores, labels, weights)
        self.calibration_ = {"method": method, "scale": found.scale, "offset": found.offset, "sequences": len(labels)}
        for name, values in (("before", scores), ("after", found(scores))):
            self.calibration_[name] = {
                "log_loss": log_loss(values, labels, weights),
                "error": calibration_error(softmax(values), labels),
            }

    def _behind(self, scores: Any) -> Any:
        if self.calibration_["method"] is None:
            return scores
        scale, offset = self.calibration_["scale"].tolist(), self.calibration_["offset"].tolist()
        return layers.Rescaling(scale, offset, name="calibrated")(scores)

    def _final(self, scores: Any) -> Any:
        return layers.Activation("softmax", name="probabilities")(scores)

    def decision_function(self, X: Any) -> Floats:
        """Scores of the classes, whose softmax are the probabilities.

        Returns
        -------
        ndarray of shape (N, C); of two classes (N,), how far the second is above the first
        """
        scores = self._scores(X).astype(np.float64)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities of the classes, in the order of ``classes_``: (N, C)."""
        return softmax(self._scores(X))

    def predict_log_proba(self, X: Any) -> Floats:
        """Their logarithms: (N, C)."""
        scores = self._scores(X).astype(np.float64)
        scores -= scores.max(axis=1, keepdims=True)
        found: Floats = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return found

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each sequence: (N,), of the type of ``classes_``."""
        places = self._scores(X).argmax(axis=1)
        found: NDArray[Any] = self.classes_[places]
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of sequences whose label is right, each weighed by ``sample_weight``."""
        found = self.predict(X)
        labels = read_labels(y, len(found), type(self).__name__)
        weights = read_weights(sample_weight, len(found), type(self).__name__)
        return float(np.average(found == labels, weights=weights))

    def _told(self) -> list[str]:
        lines = super()._told()
        names = ", ".join(str(label) for label in self.classes_[:12].tolist())
        lines.insert(1, f"classes   {len(self.classes_)}: {names}{', …' if len(self.classes_) > 12 else ''}")
        found = self.calibration_
        if found["method"] is None:
            lines.append(
                "scores    not calibrated: no sequences were held out" if self.calibrate else "scores    as they are"
            )
        else:
            before, after = found["before"], found["after"]
            lines.append(
                f"scores    calibrated by {found['method']} on {found['sequences']} sequences: log loss "
                f"{before['log_loss']:.4g} → {after['log_loss']:.4g}, calibration error {before['error']:.3g} → "
                f"{after['error']:.3g}"
            )
        return lines

    def plot(self, X: Any = None, y: Any = None, *, title: str = "") -> Any:
        """What the classifier takes for what, and how far its probabilities can be trusted; without data: its training.

        Parameters
        ----------
        X, y : sequences and their labels, optional
            Of which it has learned nothing.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            Without matplotlib, which ``pip install "rekur[tasks]"`` brings.
        """
        self._check_fitted()
        if X is None and y is None:
            from rekur.tasks.report import plot_training

            return plot_training(self.history_, title=title)
        if X is None or y is None:
            raise ValueError(f"{type(self).__name__}: plot takes X and y, or neither")
        probabilities = self.predict_proba(X)
        labels = read_labels(y, len(probabilities), type(self).__name__)
        names = np.unique(np.concatenate([self.classes_, labels]))
        answers = self.classes_[probabilities.argmax(axis=1)]
        counts = np.zeros((len(names), len(names)), int)
        np.add.at(counts, (np.searchsorted(names, labels), np.searchsorted(names, answers)), 1)
        from rekur.tasks.report import plot_confusion, plot_reliability
        from rekur.tasks.report._canvas import canvas, styled

        right = answers == labels
        with styled():
            figure = canvas(
                None, (10.4, 5.4), None, title or f"{right.sum()} of {len(right)} right ({right.mean():.1%})"
            )
            left, other = figure.subfigures(1, 2, width_ratios=(1.2, 1))
            plot_confusion(counts, names.tolist(), figure=left)
            plot_reliability((probabilities.max(axis=1), right), figure=other)
        return figure

    def export_onnx(self, path: str | os.PathLike[str], *, lengths: bool | None = None, **options: Any) -> Any:
        """Write one ONNX file: raw sequences in, labels and probabilities out.

        Inputs: ``X`` float (batch, time, channels), or (batch, columns) if X was a table; ``lengths`` int32 (batch,),
        the steps that each sequence has. Outputs: ``label`` (batch,), of strings, int64, double or bool as
        ``classes_`` has it, and ``probabilities`` (batch, C). Scaling, missing values (NaN), the mean of an ensemble
        and calibration are in the graph.

        Parameters
        ----------
        path : str or path
        lengths : bool, optional
            Whether the file has that input, which every run must then give. By default if X was ragged.
        **options
            Of :func:`rekur.onnx.export`, such as ``opset``.

        Returns
        -------
        rekur.onnx.ExportReport

        Raises
        ------
        RuntimeError
            If onnxruntime does not give what :meth:`predict_proba` gives, to 1e-5: nothing is written.
        """
        model = self._deployed()

        def expected(x: NDArray[Any], counts: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
            given = Sequences(x, counts)
            return {"probabilities": self.predict_proba(given), "label": self.predict(given)}

        return onnx.write(
            path,
            model,
            known=self._known(),
            table=self.n_features_in_ if self.table_ else None,
            lengths=self.ragged_ if lengths is None else bool(lengths),
            output="probabilities",
            labels=self.classes_,
            expected=expected,
            options=options,
        )
