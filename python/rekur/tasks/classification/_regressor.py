"""Numbers of sequences: networks, intervals with a promise, deployment."""

import math
import os
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rekur import layers
from rekur._validate import did_you_mean, real
from rekur.tasks import _sklearn
from rekur.tasks._sequences import Sequences, read_sequences
from rekur.tasks.classification import _onnx as onnx
from rekur.tasks.classification._supervised import Floats, Supervised
from rekur.tasks.classification._targets import distinct, read_numbers, read_weights

Self = TypeVar("Self", bound="SequenceRegressor")
_LOSSES = {"squared_error": "mean_squared_error", "absolute_error": "mean_absolute_error", "huber": "huber"}


class SequenceRegressor(Supervised):
    """Tell one or several numbers of each sequence: of one or several channels, of any lengths, with values missing.

    >>> regressor = rekur.tasks.SequenceRegressor(random_state=0)
    >>> regressor.fit(sequences, numbers)  # a list of arrays (steps, channels), and a number, or a row of them, each
    >>> regressor.predict(others)
    >>> regressor.predict_interval(others, coverage=0.9)

    Values and targets go in and come out as they are: scaling is in the network.

    Parameters
    ----------
    network, cell, units, filters, dropout, causal
        As of :class:`SequenceClassifier`.
    loss : "squared_error", "absolute_error" or "huber"
        What is made small: it leads to the mean, to the median, or to something between that few outliers move.
    epochs, batch_size, learning_rate, validation_fraction, patience
        As of :class:`SequenceClassifier`.
    calibrate : "auto", True or False
        Whether errors on sequences that the networks have not learned from are kept, for :meth:`predict_interval`: of
        those held out, or, where none are, by cross-validation in 3 folds, whose networks are trained beside the
        others. "auto": where sequences are held out.
    ensemble, random_state, verbose
        As of :class:`SequenceClassifier`.

    Attributes
    ----------
    models_ : list of rekur.Model
        The networks: raw sequences (B, T, F) to targets less their mean, over their deviation (B, K).
    targets_ : dict
        ``mean`` and ``deviation`` of each of the K targets, and ``flat``: y was of shape (N,).
    history_ : list of dict
        Losses of each network, epoch by epoch.
    residuals_ : ndarray of shape (M, K), or None
        Errors of M sequences that were not learned from.
    channels_, n_features_in_ : int
    """

    _kind = "sequence_regressor"
    _estimator_type = "regressor"

    targets_: dict[str, Any]
    residuals_: Floats | None

    def __init__(
        self,
        network: Any = "auto",
        *,
        cell: Any = None,
        units: Any = None,
        filters: Any = None,
        dropout: Any = None,
        causal: Any = False,
        loss: Any = "squared_error",
        epochs: Any = None,
        batch_size: Any = None,
        learning_rate: Any = 3e-3,
        validation_fraction: Any = None,
        patience: Any = None,
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
        self.loss = loss
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.calibrate = calibrate
        self.ensemble = ensemble
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = _sklearn.tags(self._estimator_type, **self._inputs)
        tags.target_tags.multi_output = True
        return tags

    def fit(self: Self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on sequences and their numbers.

        Parameters
        ----------
        X : array of shape (N, T) or (N, T, F), frame, or list of N arrays (Tᵢ,) or (Tᵢ, F)
            Of one channel, or of F. NaN stands for a missing value.
        y : array_like of shape (N,) or (N, K)
        sample_weight : array_like of shape (N,), optional
            What each sequence counts; 0: it is not there.

        Raises
        ------
        ValueError, TypeError
            For what is not so, or parameters that are not.
        """
        who = type(self).__name__
        sequences = read_sequences(X)
        numbers, flat = read_numbers(y, len(sequences), who)
        weights = read_weights(sample_weight, len(sequences), who)
        if not isinstance(self.loss, str):
            raise TypeError(f"{who}: loss must be one of {sorted(_LOSSES)}, got {self.loss!r:.60}")
        if self.loss not in _LOSSES:
            raise ValueError(f"{who}: loss {self.loss!r} is unknown{did_you_mean(self.loss, _LOSSES)}")
        automatic = isinstance(self.calibrate, str) and self.calibrate == "auto"
        if not automatic and not isinstance(self.calibrate, (bool, np.bool_)):
            raise ValueError(f"{who}: calibrate must be 'auto', True or False, got {self.calibrate!r:.60}")
        rows, counts = distinct(sequences, numbers, weights)
        settings = self._settings(len(rows))
        made = self._architecture(sequences, weights)

        self._forget()
        self._remember(sequences)
        aims = numbers[rows]
        mean = np.average(aims, axis=0, weights=counts)
        deviation = np.sqrt(np.average((aims - mean) ** 2, axis=0, weights=counts))
        deviation = np.where(deviation <= 1e-9 * np.abs(aims).max(axis=0, initial=0.0), 1.0, deviation)
        self.targets_ = {"mean": mean, "deviation": deviation, "flat": flat}
        scaled = ((aims - mean) / deviation).astype(np.float32)
        lesson = self._learn(sequences, rows, scaled, counts, aims.shape[1], settings, made)
        self.residuals_ = None
        if lesson.validation is not None if automatic else self.calibrate:
            scores, truth, _ = self._held_out_scores(lesson)
            self.residuals_ = (truth - scores) * deviation
        self._assemble()
        return self

    def _loss(self) -> Any:
        return _LOSSES[self.loss]

    def _final(self, scores: Any) -> Any:
        known = self.targets_
        return layers.Rescaling(known["deviation"].tolist(), known["mean"].tolist(), name="predictions")(scores)

    def _numbers(self, X: Any) -> Floats:
        scores = self._scores(X).astype(np.float64)
        found: Floats = scores * self.targets_["deviation"] + self.targets_["mean"]
        return found

    def predict(self, X: Any) -> Floats:
        """The number of each sequence: (N,), or (N, K) where y was so."""
        found = self._numbers(X)
        return found[:, 0] if self.targets_["flat"] else found

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Floats:
        """Bounds between which the numbers of so large a part of new sequences lie.

        Split conformal prediction (Lei et al., JASA 2018): the prediction, less and more the error that ⌈(M + 1) ·
        coverage⌉ of the M kept errors do not exceed. For sequences that are drawn like those, the number lies within
        with nearly that probability. It would be at least that if the network had no part in the M errors; but training
        stops early where those held out are told best, and errors of cross-validation are those of other networks, of
        fewer sequences. Weights of sequences, other than 0, and how often one is there, count nothing here.

        Parameters
        ----------
        coverage : float
            Above 0 and below 1.

        Returns
        -------
        ndarray of shape (N, 2), or (N, K, 2) where y was (N, K)

        Raises
        ------
        ValueError
            If no errors were kept, or too few for this coverage.
        """
        self._check_fitted()
        who = type(self).__name__
        coverage = real(coverage, f"{who}: coverage", 0.0, 1.0)
        if coverage in (0.0, 1.0):
            raise ValueError(f"{who}: coverage must be above 0 and below 1, got {coverage:g}")
        if self.residuals_ is None:
            raise ValueError(f"{who}: fit has kept no errors for intervals; set calibrate=True")
        count = len(self.residuals_)
        place = math.ceil((count + 1) * coverage - 1e-9)
        if place > count:
            raise ValueError(
                f"{who}: {count} sequences were held out; a coverage of {coverage:g} needs "
                f"{math.ceil(coverage / (1 - coverage) - 1e-9)} or more"
            )
        width = np.sort(np.abs(self.residuals_), axis=0)[place - 1]
        middle = self._numbers(X)
        found = np.stack([middle - width, middle + width], axis=-1)
        return found[:, 0] if self.targets_["flat"] else found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R², the share of the variance that is told, the mean over targets: 1 is best, 0 is what the mean tells."""
        found = self._numbers(X)
        truth, _ = read_numbers(y, len(found), type(self).__name__)
        weights = read_weights(sample_weight, len(found), type(self).__name__)
        if truth.shape != found.shape:
            raise ValueError(f"{type(self).__name__}: y has {truth.shape[1]} targets, expected {found.shape[1]}")
        error = np.average((truth - found) ** 2, axis=0, weights=weights)
        spread = np.average((truth - np.average(truth, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
        told = np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1), np.where(error > 0, 0.0, 1.0))
        return float(told.mean())

    def _told(self) -> list[str]:
        lines = super()._told()
        known = self.targets_
        several = len(known["mean"])
        spread = ", ".join(f"{m:.4g} ± {d:.4g}" for m, d in zip(known["mean"][:6], known["deviation"][:6], strict=True))
        lines.insert(1, f"targets   {several}: mean and deviation {spread}{', …' if several > 6 else ''}")
        if self.residuals_ is None:
            lines.append("errors    of sequences not learned from were not kept; calibrate=True keeps them")
        else:
            size = np.sqrt(np.mean(self.residuals_**2, axis=0))
            lines.append(
                f"errors    of {len(self.residuals_)} sequences not learned from: root mean square "
                f"{', '.join(f'{value:.4g}' for value in size[:6])}"
            )
        return lines

    def plot(self, X: Any = None, y: Any = None, *, target: int = 0, title: str = "") -> Any:
        """What the regressor tells beside what is true; without data: its training.

        Parameters
        ----------
        X, y : sequences and their numbers, optional
            Of which it has learned nothing.
        target : int
            Which of several.

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
        found = self._numbers(X)
        truth, _ = read_numbers(y, len(found), type(self).__name__)
        if not 0 <= target < found.shape[1]:
            raise ValueError(f"{type(self).__name__}: target must be from 0 to {found.shape[1] - 1}, got {target}")
        from rekur.tasks.report import plot_agreement

        return plot_agreement(truth[:, target], found[:, target], title=title or f"R² {self.score(X, y):.3f}")

    def export_onnx(self, path: str | os.PathLike[str], *, lengths: bool | None = None, **options: Any) -> Any:
        """Write one ONNX file: raw sequences in, numbers out.

        Inputs: ``X`` float (batch, time, channels), or (batch, columns) if X was a table; ``lengths`` int32 (batch,),
        the steps that each sequence has. Output: ``predictions`` (batch, K).

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
            If onnxruntime does not give what :meth:`predict` gives, to 1e-5: nothing is written.
        """
        model = self._deployed()

        def expected(x: NDArray[Any], counts: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
            return {"predictions": self._numbers(Sequences(x, counts))}

        return onnx.write(
            path,
            model,
            known=self._known(),
            table=self.n_features_in_ if self.table_ else None,
            lengths=self.ragged_ if lengths is None else bool(lengths),
            output="predictions",
            labels=None,
            expected=expected,
            options=options,
        )
