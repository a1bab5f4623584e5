"""``AnomalyDetector``: steps of series that are unlike those it was trained on."""

import dataclasses
import os
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur._validate import integer, real
from rekur.tasks._estimator import Estimator
from rekur.tasks.anomalies import _export, _inputs, _settings, _summary
from rekur.tasks.anomalies._alarms import Alarm, stretches
from rekur.tasks.anomalies._graph import Floats
from rekur.tasks.anomalies._inputs import Given
from rekur.tasks.anomalies._networks import outputs
from rekur.tasks.anomalies._stream import DetectorStream
from rekur.tasks.anomalies._tail import Tail
from rekur.tasks.anomalies._training import Fitting, learn

_WHO = "AnomalyDetector"


class AnomalyDetector(Estimator):
    """Finds steps of a time series that are unlike those it was trained on.

    ``fit`` learns from series that are normal, or nearly; rows are time steps, columns channels. Every step gets a
    score from what came up to it, so that the same numbers are there live (:meth:`stream`), in C++ and in ONNX. A step
    is an alarm where the score exceeds a threshold that extreme value theory sets for a wished rate of false alarms.

    Parameters
    ----------
    method : {"auto", "forecast", "reconstruction", "nearest"}, or several of them
        What the score is made of; see Notes. "auto" is "forecast" and "nearest" together.
    window : int, optional
        Steps of a window, by default 32 (fewer for short series): what "nearest" and "reconstruction" compare, and how
        many steps come before the first score. The first ``window`` scores of a series are the lowest that there are.
        That something fails to happen is seen by a window that is longer than the usual pause.
    horizon : int
        How many steps ahead "forecast" looks: a step is compared with what each of so many steps before said of it.
    season : int, optional
        Steps of a season, such as 24 for hours of a day: "forecast" then also reads what was one season ago.
    smoothing : int, optional
        Steps that errors of "forecast" and "reconstruction" are averaged over, by default 16 (fewer for short series).
        1 answers soonest and sees single steps best.
    false_alarms : float or str
        Wished false alarms a step, on data like the training data: 1e-4 is one in ten thousand steps. Of frames with
        times also "1/day", "2 per week", "1/month". An alarm is a stretch of steps.
    contamination : float, optional
        Instead of ``false_alarms``: the part of the training data's steps that the threshold makes alarms.
    units : int or tuple of int
        Of the recurrent layers.
    cell : str or rekur cell
        "gru", "lstm", "simple_rnn", or a name in :mod:`rekur.cells`.
    latent : int
        Numbers that "reconstruction" keeps of a window.
    prototypes : int
        At most so many windows a channel are kept by "nearest".
    dropout : float
    epochs : int, optional
        By default as many as make some 600 updates.
    batch_size : int
    learning_rate : float
        At first; it falls to 0 along half a cosine.
    validation_fraction : float
        The last part in time of the training data: what is usual is measured there, and training stops early on it.
    patience : int, optional
        Epochs without progress on that part until training stops (None: it goes on to the end).
    ensemble : int
        Networks from different seeds whose errors are averaged.
    time : name, optional
        A frame's column of times. A pandas frame whose index are times needs none.
    freq : str, optional
        The step of frames with times, such as "h", "15min", "D"; else it is found out. Rows are put on a grid of such
        steps: what lies within a step is averaged, a step without a row is a missing value.
    random_state : int, RandomState, Generator or None
    verbose : {0, 1}

    Attributes
    ----------
    models_ : list of rekur.Model
        One model that is the whole detector: raw values (B, T, F) to ``score`` (B, T, 1) and ``contributions``
        (B, T, F).
    offset_ : float
        ``score_samples`` below it are outliers; −``threshold_``.
    threshold_ : float
        Scores above it are alarms.
    tail_ : dict
        The fitted generalised Pareto distribution: level, rate, shape, scale, count, highest, apart, excesses.
    left_out_ : list of (series, first, end)
        Stretches of the training data that stand out so far that nothing was learned from them.
    notes_ : list of str
        What was unusual about the training data.
    history_ : list of dict
        Losses by epoch, one dict a network.
    n_features_in_, feature_names_in_
        As scikit-learn's.

    Notes
    -----
    *Score*: errors are divided by what is usual for their channel; the score is the mean over methods of
    log(1 + mean over channels), less its median, in robust standard deviations (1.4826 × the median absolute one):
    0 is usual. It depends on a step and those before it alone. A missing value (NaN) adds nothing to it.

    *"forecast"* is the squared error of a recurrent network's forecasts. It finds what comes unexpected: spikes, noise,
    breaks. What is smooth and can be foretold from the steps just before is not found by it, however odd its shape:
    on the UCR anomaly archive, one-step forecasts of LSTMAD reach a VUS-PR of 0.02 (TSB-AD). *"nearest"* is a window
    score, the distance of the last window to the nearest of the training data's typical windows (centres of k-means).
    It finds odd shapes and levels, and needs no likeness to be learned. *"reconstruction"* is another: a recurrent
    autoencoder keeps ``latent`` numbers of what it has read and has to give the last window back.

    docs/tasks.md has both beside simpler methods: where the signal's period is known and nothing has to be said live,
    the distance of a window's shape to the nearest one of the training data places anomalies more exactly than this
    detector does (:meth:`hindsight_scores` comes near).

    *Training data with anomalies*: stretches that the rest makes all but impossible are found, left out, and the
    detector is trained again without them (``left_out_``). Extreme values do not move means and deviations.

    *Threshold*: peaks over a level are fitted by a generalised Pareto distribution (of what happens together, the
    highest score), so that it may lie beyond anything seen. It means nothing any more where data cease to be like the
    training data.

    Examples
    --------
    >>> detector = AnomalyDetector(random_state=0).fit(normal)  # (T,) or (T, F), or a list of such series
    >>> detector.alarms(new)
    [Alarm(start=4187, end=4203, peak=4199, score=31.2, channel=0)]
    """

    _kind = "anomaly_detector"
    _estimator_type = "outlier_detector"

    #: scikit-learn's checks that do not hold of this estimator, and why.
    expected_failed_checks: ClassVar[dict[str, str]] = {
        "check_methods_sample_order_invariance": "rows are time steps: their order is what a detector looks at",
        "check_methods_subset_invariance": "rows are time steps: a score depends on the steps before it",
        "check_outliers_train": "unless contamination says how many, alarms are as rare as false_alarms",
        "check_outliers_fit_predict": "unless contamination says how many, alarms are as rare as false_alarms",
        "check_fit1d": "a series of one channel may be given as an array of one axis",
    }

    def __init__(
        self,
        method: Any = "auto",
        *,
        window: int | None = None,
        horizon: int = 1,
        season: int | None = None,
        smoothing: int | None = None,
        false_alarms: Any = 1e-4,
        contamination: float | None = None,
        units: Any = 32,
        cell: Any = "gru",
        latent: int = 8,
        prototypes: int = 128,
        dropout: float = 0.0,
        epochs: int | None = None,
        batch_size: int = 32,
        learning_rate: float = 5e-3,
        validation_fraction: float = 0.2,
        patience: int | None = None,
        ensemble: int = 1,
        time: Any = None,
        freq: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.method = method
        self.window = window
        self.horizon = horizon
        self.season = season
        self.smoothing = smoothing
        self.false_alarms = false_alarms
        self.contamination = contamination
        self.units = units
        self.cell = cell
        self.latent = latent
        self.prototypes = prototypes
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.ensemble = ensemble
        self.time = time
        self.freq = freq
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> "AnomalyDetector":
        """Learn what is normal.

        Parameters
        ----------
        X : array_like of shape (T, F) or (T,), a frame, or a list of these
            One series, or many of the same channels. NaN stands for a missing value.
        y : ignored

        Raises
        ------
        ValueError, TypeError
            For parameters or data that cannot be, naming them.
        """
        _settings.check_training(self, _WHO)
        given = _inputs.read(X, _WHO, least=_settings.LEAST_STEPS, time=self.time, freq=self.freq)
        seconds = given.placed[0].seconds if given.placed[0] is not None else None
        wished = _settings.per_step(self.false_alarms, seconds, _WHO)
        longest = max(len(piece) for piece in given.series)
        design = _settings.design(self, _WHO, longest)
        _refuse_all_missing(given)
        self._forget()
        fitting = Fitting(
            seeds=self._seeds(self.ensemble),
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            validation_fraction=self.validation_fraction,
            patience=self.patience,
            verbose=self.verbose,
            who=_WHO,
        )
        learned = learn(given.series, design, fitting)
        self.n_features_in_ = given.features
        if given.names is not None:
            self.feature_names_in_ = given.names
        self.models_ = [learned.model]
        self.history_ = learned.histories
        self.tail_ = vars(learned.tail) | {}
        self.left_out_ = [list(place) for place in learned.left_out]
        self.design_: dict[str, Any] = {
            "methods": list(design.methods), "window": design.window, "smoothing": design.smoothing,
            "horizon": design.horizon, "season": design.season,
        }  # fmt: skip
        self.scales_ = learned.scales
        self.mean_, self.deviation_ = learned.known.mean, learned.known.deviation
        self.notes_ = _notes(given, learned.left_out)
        self.timeline_ = given.timeline
        self.step_seconds_ = seconds
        self.false_alarms_ = wished
        self.steps_ = [len(piece) for piece in given.series]
        if self.contamination is None:
            threshold = learned.tail.threshold(wished)
        else:
            scores = np.concatenate([self._score(piece) for piece in given.series])
            threshold = float(np.percentile(scores, 100 * (1 - self.contamination)))
        self._set_threshold(threshold)
        return self

    @property
    def _tail(self) -> Tail:
        return Tail(**self.tail_)

    def _read(self, X: Any) -> Given:
        self._check_fitted()
        return _inputs.read(X, _WHO, like=self, time=self.time)

    def _outputs(self, piece: Floats) -> list[NDArray[np.float32]]:
        return outputs(self.models_[0], piece)

    def _score(self, piece: Floats) -> Floats:
        return np.asarray(self._outputs(piece)[0][:, 0], np.float64)

    def score_samples(self, X: Any) -> Any:
        """Minus the score of each step: the lower, the more unusual.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        float64 ndarray of shape (T,), or a list of them where a list came
            Numbers of float32; those of a stream, C++ and ONNX. Of a pandas frame whose index are times a Series with
            that index, as from the other methods.
        """
        given = self._read(X)
        return given.back([-self._score(piece) for piece in given.series])

    def decision_function(self, X: Any) -> Any:
        """``score_samples`` less ``offset_``: below 0 is an alarm."""
        given = self._read(X)
        return given.back([-self._score(piece) - self.offset_ for piece in given.series])

    def predict(self, X: Any) -> Any:
        """−1 where a step is an alarm, +1 where it is not, of shape (T,); a list of them where a list came."""
        given = self._read(X)
        found = [np.where(self._score(piece) > self.threshold_, -1, 1) for piece in given.series]
        return given.back(found)

    def fit_predict(self, X: Any, y: Any = None) -> Any:
        """``fit(X)``, then ``predict(X)``."""
        return self.fit(X).predict(X)

    def hindsight_scores(self, X: Any) -> Any:
        """How unusual each step is when looked back at: the mean of the scores of the ``window`` steps from it on.

        A score says of the last window, or of the errors of the last steps, that they are unusual; it rises behind the
        beginning of an anomaly and falls behind its end. This puts it where the anomaly is. It is for reports and
        comparisons (its VUS-PR is higher): it is not there live, and the threshold is not made for it.

        Returns
        -------
        float64 ndarray of shape (T,), or a list of them
            The higher, the more unusual.
        """
        given = self._read(X)
        window = int(self.design_["window"])
        return given.back([_ahead(self._score(piece), window) for piece in given.series])

    def contributions(self, X: Any) -> Any:
        """How unusual each channel is by itself.

        Returns
        -------
        float64 ndarray of shape (T, F), or a list of them
            The mean over methods of log(1 + error / what is usual for the channel): log 2 ≈ 0.7 is usual.
        """
        given = self._read(X)
        found = [np.asarray(self._outputs(piece)[1], np.float64) for piece in given.series]
        return given.back(found)

    def alarms(self, X: Any, *, threshold: float | None = None, gap: int | None = None) -> Any:
        """Alarms as stretches of steps.

        Parameters
        ----------
        X : as in :meth:`fit`
        threshold : float, optional
            By default ``threshold_``.
        gap : int, optional
            Stretches with at most so many steps between them are one alarm; by default what counts as one peak where
            the threshold was found.

        Returns
        -------
        list of Alarm, in time order; a list of such lists where a list of series came
        """
        given = self._read(X)
        found = [self._alarms(piece, threshold, gap) for piece in given.series]
        for place, alarms in zip(given.placed, found, strict=True):
            if place is not None:
                alarms[:] = [
                    dataclasses.replace(
                        each, start=place.time(each.start), end=place.time(each.end - 1), peak=place.time(each.peak)
                    )
                    for each in alarms
                ]
        return found if given.many else found[0]

    def _alarms(self, piece: Floats, threshold: float | None, gap: int | None) -> list[Alarm]:
        limit = self.threshold_ if threshold is None else real(threshold, f"{_WHO}: threshold")
        apart = int(self.tail_["apart"]) - 1 if gap is None else integer(gap, f"{_WHO}: gap", 0)
        names = getattr(self, "feature_names_in_", None)
        score, parts = self._outputs(piece)
        alarms = []
        for first, end in stretches(score[:, 0] > limit, apart):
            peak = first + int(np.argmax(score[first:end, 0]))
            channel = int(np.argmax(parts[first]))
            named = channel if names is None else names[channel]
            alarms.append(Alarm(first, end, peak, float(score[peak, 0]), named))
        return alarms

    def set_false_alarms(self, rate: Any) -> "AnomalyDetector":
        """Move the threshold to another wished rate of false alarms a step, without training.

        Parameters
        ----------
        rate : float or str
            As ``false_alarms``, whose place it takes; ``contamination`` is None from then on.
        """
        self._check_fitted()
        wished = _settings.per_step(rate, self.step_seconds_, _WHO)
        self.false_alarms, self.contamination, self.false_alarms_ = rate, None, wished
        self._set_threshold(self._tail.threshold(wished))
        return self

    def _set_threshold(self, threshold: float) -> None:
        # A number of float32, so that scores compare with it in the engine, in C++ and in ONNX as they do here.
        self.threshold_ = float(np.float32(threshold))
        self.offset_ = -self.threshold_

    def stream(
        self,
        *,
        rows: int = 1,
        adapt: str | None = None,
        depth: int = 500,
        normal: Any = None,
        false_alarms: Any = None,
    ) -> DetectorStream:
        """The detector live: one step a call, with the bits of ``score_samples``.

        Parameters
        ----------
        rows : int
            Series that go side by side.
        adapt : {None, "spot", "dspot"}
            None: the threshold is ``threshold_``. "spot": it learns from every step that is no alarm. "dspot": scores
            are compared with the mean of the last ``depth`` that were none, for data whose noise changes slowly.
        depth : int
            Of "dspot".
        normal : as X in :meth:`fit`
            Data without anomalies, which "dspot" begins with.
        false_alarms : float or str, optional
            The rate that the adapting threshold keeps, by default ``false_alarms``.

        Examples
        --------
        >>> live = detector.stream()
        >>> for x in readings:
        ...     score, alarm, channel = live.update(x)
        """
        self._check_fitted()
        if false_alarms is not None:
            false_alarms = _settings.per_step(false_alarms, self.step_seconds_, f"{_WHO}: stream")
        return DetectorStream(self, rows, adapt, depth, normal, false_alarms)

    def export_onnx(self, path: str | os.PathLike[str], *, streaming: bool = False, **options: Any) -> Any:
        """Write the detector as one ONNX file: raw values in, scores and alarms out.

        Input ``values`` (batch, time, F), NaN where missing; outputs ``score`` (batch, time, 1), ``alarm`` (…, 1), 1
        where the score exceeds the threshold, else 0, and ``contributions`` (batch, time, F). Nothing is written
        unless onnxruntime agrees with the detector, on data like the training data, on anomalies and missing values.

        Parameters
        ----------
        path : str or path
            Ends in ``.onnx``.
        streaming : bool
            One time step: (batch, F) to (batch, 1), with states as inputs and outputs (docs/onnx.md).
        **options
            Of :func:`rekur.onnx.export`: opset, states, doc, metadata.

        Returns
        -------
        rekur.onnx.ExportReport
        """
        self._check_fitted()
        return _export.onnx(self, path, {"streaming": streaming, **options})

    def export_cpp(
        self, path: str | os.PathLike[str], namespace: str | None = None, *, static: bool = False, **options: Any
    ) -> Any:
        """Write the detector as one C++ header, whose stream takes raw values and gives the bits of this one.

        A step takes F numbers (NaN where missing) and gives ``score`` (1), ``alarm`` (1: 1 or 0) and ``contributions``
        (F).

        Parameters
        ----------
        path : str or path
        namespace : str, optional
            By default the file's name.
        static : bool
            False: as :func:`rekur.export_cpp`, a program links the library and makes a ``rekur::Stream`` of
            ``NAMESPACE::model()``. True: as :func:`rekur.export_static`, ``NAMESPACE::Model`` needs nothing but the
            header.
        **options
            Of these functions.
        """
        self._check_fitted()
        write = rekur.export_static if static else rekur.export_cpp
        return write(_export.deployed(self), path, namespace, **options)

    def summary(self) -> None:
        """Print what was understood and learned."""
        self._check_fitted()
        print("\n".join(_summary.lines(self)))

    def plot(self, X: Any, *, labels: Any = None, times: Any = None, title: str = "") -> Any:
        """Values with alarms, and scores with the threshold.

        Parameters
        ----------
        X : array_like of shape (T, F) or (T,), or a frame
            One series; of a frame whose index are times, these are the axis.
        labels : array_like of shape (T,), optional
            Known anomalies, 1 or True.
        times : array_like of shape (T,), optional
        title : str

        Returns
        -------
        matplotlib.figure.Figure
            ``pip install "rekur[tasks]"`` has matplotlib.
        """
        from rekur.tasks import report

        given = self._read(X)
        if given.many:
            raise ValueError("X: expected one series to plot, got a list")
        (piece,) = given.series
        names = getattr(self, "feature_names_in_", None)
        return report.plot_anomalies(
            piece, self._score(piece), threshold=self.threshold_, labels=labels,
            alarms=[(alarm.start, alarm.end) for alarm in self._alarms(piece, None, None)],
            times=_inputs.times_of(given) if times is None else times,
            features=None if names is None else [str(name) for name in names], title=title,
        )  # fmt: skip

    def plot_threshold(self) -> Any:
        """How well the generalised Pareto distribution fits the highest scores of the training data."""
        from rekur.tasks import report

        self._check_fitted()
        return report.plot_tail(self.tail_["excesses"], self.tail_["shape"], self.tail_["scale"])


def _ahead(scores: Floats, steps: int) -> Floats:
    """Means of each score and those behind it, ``steps`` in all or as many as there are."""
    total = np.concatenate([[0.0], np.cumsum(scores)])
    ends = np.minimum(np.arange(len(scores)) + steps, len(scores))
    return np.asarray((total[ends] - total[:-1]) / (ends - np.arange(len(scores))))


def _notes(given: Given, left_out: list[tuple[int, int, int]]) -> list[str]:
    """Sentences on what is unusual about the training data."""
    notes = list(given.notes)
    missing = sum(int(np.isnan(piece).sum()) for piece in given.series)
    if missing:
        total = sum(piece.size for piece in given.series)
        notes.append(f"{missing:,} of {total:,} values are missing; they add nothing to scores.")
    for number, first, end in left_out:
        where = f"Steps {first:,} to {end - 1:,}" + (f" of series {number}" if given.many else "")
        notes.append(f"{where} stand out of the training data so far that nothing was learned from them.")
    return notes


def _refuse_all_missing(given: Given) -> None:
    rows = np.concatenate(given.series)
    if (gone := np.isnan(rows).all(axis=0)).any():
        channel = int(np.argmax(gone))
        name = repr(given.names[channel]) if given.names is not None else channel
        raise ValueError(f"X: every value of channel {name} is missing")
