"""Forecaster: from a table of series to forecasts with bands."""

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rekur._validate import integer
from rekur.tasks._estimator import Estimator
from rekur.tasks._series import SeriesSet, read_series
from rekur.tasks.forecasting import _calibration, _settings, _supervised, _tail, _training, scores
from rekur.tasks.forecasting._backtest import Backtest, run_backtest
from rekur.tasks.forecasting._calibration import quantiles_of
from rekur.tasks.forecasting._plan import Plan, make_plan
from rekur.tasks.forecasting._results import between, given_back, interval_names
from rekur.tasks.forecasting._scored import score
from rekur.tasks.forecasting._settings import WHO
from rekur.tasks.forecasting._supervised import Supervised
from rekur.tasks.forecasting.distributions import FAMILIES, Family

Self = TypeVar("Self", bound="Forecaster")
Doubles = NDArray[np.float64]


class Forecaster(Estimator):
    """Forecasts of one series or many, with bands, by a recurrent network.

    Parameters
    ----------
    horizon : int
        Steps ahead that are forecast.
    time, target, series : names of columns, optional
        Of times; of what is forecast (several: a list); of what tells many series in one table apart. Found out by
        default: see :func:`rekur.tasks.read_series`.
    past, future, static : names of columns
        Covariates known up to now (such as a measured wind), known ahead (holidays, prices that are set, a weather
        forecast), and constant for a series. Texts become categories.
    freq : str, number or timedelta, optional
        The step; found out by default.
    time_zone : str, optional
        IANA name, for times without a zone, and for hours, days and daylight saving.
    aggregate : str or dict
        How rows within one step become one value: "mean", "sum", …
    context : int, optional
        Steps that a forecast looks back. By default some seasons and twice the horizon, about 200 at most.
    season : int, optional
        Steps of the main season, 1: none. By default what the step suggests (24 of hours, 7 of days, 12 of months, …).
    output : str
        What is learned of each step. "quantiles": ``quantiles``, of which the median is the forecast. "point": the
        median alone. "mean": the mean alone (trained by squared errors). Or a distribution, trained by its likelihood:
        "normal", "student_t" (heavy tails), "laplace"; "lognormal" of values above 0; "negative_binomial" and "poisson"
        of counts.
    quantiles : sequence of float
        Between 0 and 1. Mirrored ones, such as 0.1 and 0.9, bound a band. The median is always among them.
    calibrate : bool
        Whether bands are made wider or narrower, step by step, so that they hold as often as they say on the windows
        held back (conformalised quantile regression; the width of a distribution is multiplied).
    units : int or tuple of int
        Of the recurrent layers of the encoder, and of the decoder.
    cell : str or cell
        "gru", "lstm", or any of :mod:`rekur.cells`.
    dropout : float
        Behind the recurrent layers, in training.
    epochs : int
        At most.
    batch_size : int
        Windows of a training step.
    windows_per_epoch : int
        At most so many windows are an epoch; the next one goes on with others.
    learning_rate : float
    validation_fraction : float
        The last part in time of each series is held back: training stops when forecasts of it no longer become better,
        and it says how wide bands are. At least one horizon, where a series has that.
    patience : int, optional
        Epochs without a better forecast of what is held back before training ends; None: all epochs are done.
    ensemble : int
        So many networks of different seeds; forecasts are the mean of theirs, quantile by quantile.
    random_state : int, RandomState, Generator or None
        The same int gives the same bits, for any number of threads.
    verbose : int
        1: a bar with the remaining time, on a terminal.

    Attributes
    ----------
    models_ : list of rekur.Model
        Raw windows in, quantiles out: scaling, gaps, calendar and calibration are layers of them.
    plan_, description_ : dict
        What the networks look at, and how the data were read.
    quantiles_ : list of float
    history_ : list of dict
        Losses by epoch, of each network.
    naive_errors_ : ndarray of shape (series, targets)
        By which MASE divides.
    notes_ : list of str
        What was unusual in the data.
    n_features_in_ : int
        Columns of ``X``, where ``y`` was given.

    Notes
    -----
    The network is an encoder and a decoder (Cho et al., arXiv:1406.1078, as in Wen et al., A Multi-Horizon Quantile
    Recurrent Forecaster, arXiv:1711.11053) that sees each window from its last value in units of its own moves, and
    corrects the value of a season ago plus a linear map of the window (Zeng et al., arXiv:2205.13504).

    Examples
    --------
    >>> model = Forecaster(24, time="date", target="load").fit("load.csv")
    >>> model.predict()  # the next 24 hours
    >>> model.predict_interval(coverage=0.8)
    >>> model.predict("load_until_today.csv")
    """

    _kind = "forecaster"

    def __init__(
        self,
        horizon: int = 1,
        *,
        time: Any = None,
        target: Any = None,
        series: Any = None,
        past: Any = (),
        future: Any = (),
        static: Any = (),
        freq: Any = None,
        time_zone: str | None = None,
        aggregate: Any = "mean",
        context: int | None = None,
        season: int | None = None,
        output: str = "quantiles",
        quantiles: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        calibrate: bool = True,
        units: Any = 32,
        cell: Any = "gru",
        dropout: float = 0.1,
        epochs: int = 60,
        batch_size: int = 64,
        windows_per_epoch: int = 6400,
        learning_rate: float = 0.002,
        validation_fraction: float = 0.15,
        patience: int | None = 6,
        ensemble: int = 1,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.horizon = horizon
        self.time = time
        self.target = target
        self.series = series
        self.past = past
        self.future = future
        self.static = static
        self.freq = freq
        self.time_zone = time_zone
        self.aggregate = aggregate
        self.context = context
        self.season = season
        self.output = output
        self.quantiles = quantiles
        self.calibrate = calibrate
        self.units = units
        self.cell = cell
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.windows_per_epoch = windows_per_epoch
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.ensemble = ensemble
        self.random_state = random_state
        self.verbose = verbose

    # Learning.

    def fit(self: Self, X: Any, y: Any = None) -> Self:
        """Learn from series.

        Parameters
        ----------
        X : frame, dict, array, list of arrays, path
            A table with the targets, rows in time: see :func:`rekur.tasks.read_series`. None, where ``y`` is all.
        y : array_like of shape (T,) or (T, K), optional
            scikit-learn's form: the targets, beside which ``X`` (T, F) holds covariates that are known ahead.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            Naming the parameter or the column, what was expected and what came.
        """
        settings = _settings.check(self)
        self._forget()
        supervised = None if y is None else Supervised.of(X, y)
        self._fit_series(self._read(X) if supervised is None else supervised.read(), settings)
        if supervised is not None:
            self.n_features_in_ = supervised.features
            if supervised.names is not None:
                self.feature_names_in_ = np.asarray(supervised.names, object)
        return self

    def _fit_series(self, known: SeriesSet, settings: _settings.Settings) -> None:
        plan = make_plan(known, settings.horizon, settings.context, settings.season)
        trained = _training.train(known, plan, settings, self._seeds(settings.ensemble))
        self._learn(known, plan, settings, trained)

    def _read(self, data: Any) -> SeriesSet:
        if isinstance(data, SeriesSet):
            return data
        names = ("time", "target", "series", "past", "future", "static", "freq", "time_zone", "aggregate")
        return read_series(data, **{name: getattr(self, name) for name in names})

    def _learn(self, known: SeriesSet, plan: Plan, settings: Any, trained: Any) -> None:
        self.models_ = trained.models
        self.history_ = trained.histories
        self.plan_ = plan.state()
        self.output_ = settings.output
        self.quantiles_ = settings.quantiles
        self.dependence_ = trained.dependence
        self.description_ = known.state()
        self.notes_ = [*known.notes, *_tail.rounding(known)]
        self.tail_ = _tail.tail_of(known, plan)
        self.naive_errors_ = np.asarray(
            [[scores.naive_error(s.target[:, k], plan.season) for k in range(plan.targets)] for s in known.series]
        )
        self.sizes_ = {
            "series": len(known),
            "steps": sum(len(series) for series in known.series),
            "missing": int(sum(np.isnan(series.target).sum() for series in known.series)),
            "training": len(trained.parts.training),
            "held_back": len(trained.parts.validation),
        }
        # Made now rather than by the first forecast.
        self._inputs_cache = (self._ends, _tail.last_windows(self._ends, self._plan))

    # What was learned, as objects; made when first used, and again after a load.

    @property
    def _plan(self) -> Plan:
        found = vars(self).get("_plan_cache")
        if found is None or found[0] is not self.plan_:
            found = self._plan_cache = (self.plan_, Plan.of_state(self.plan_))
        plan: Plan = found[1]
        return plan

    @property
    def _ends(self) -> SeriesSet:
        """The ends of the series that were trained on."""
        found = vars(self).get("_ends_cache")
        if found is None or found[0] is not self.tail_:
            like = SeriesSet.of_state(self.description_)
            found = self._ends_cache = (self.tail_, _tail.series_of(self.tail_, like))
        ends: SeriesSet = found[1]
        return ends

    # Forecasts.

    def _series_to_forecast(self, X: Any, future: Any, what: str) -> SeriesSet:
        """The series whose ends are forecast from: those of ``X``, or those that were trained on.

        Where ``fit`` was given ``y``, those that were trained on, with ``X`` as what is known ahead of them.
        """
        self._check_fitted()
        if "n_features_in_" in vars(self):
            return _supervised.ahead_of(self, X, future, what)
        known = self._series_of(X, future)
        self._warn_of_missing(known)
        return known

    def _series_of(self, X: Any, future: Any) -> SeriesSet:
        known = self._ends
        if X is not None:
            plain = _tail.of_array(X, known, self._plan.context)
            if plain is not None:
                return plain
            known = X if isinstance(X, SeriesSet) else read_series(X, like=known.without_series())
            if not known.series:
                raise ValueError(f"{WHO}: predict: X has no series")
        if future is not None:
            known = known.with_future(future)
        return known

    def _warn_of_missing(self, known: SeriesSet) -> None:
        """Tell that covariates which the network learned to look at ahead are not there."""
        names, horizon = self._plan.future.names, self._plan.horizon
        if not names:
            return
        lacking = []
        for series in known.series:
            ahead = series.future[len(series) : len(series) + horizon]
            lacking.append(horizon - int(np.isfinite(ahead).any(axis=1).sum()))
        if any(lacking):
            of = f" of {sum(map(bool, lacking))} of {len(lacking)} series" if len(lacking) > 1 else ""
            warnings.warn(
                f"{WHO}: {', '.join(map(repr, names))} known ahead are missing for {max(lacking)} of the {horizon} "
                f"steps to come{of}; forecasts are made without them there. Give them in future=.",
                UserWarning,
                stacklevel=4,
            )

    def _forecast(self, known: SeriesSet, levels: Sequence[float], what: str) -> Doubles:
        """As :meth:`_ahead`, of as many steps as covariates were given in scikit-learn's form."""
        found = self._ahead(known, levels, what)
        return found[:, : known.series[0].extra] if vars(self).get("n_features_in_") else found

    @property
    def _family(self) -> Family | None:
        """Of distributions, where the output is one."""
        return FAMILIES.get(self.output_)

    def _told(self, inputs: dict[str, NDArray[Any]], levels: Sequence[float], what: str) -> Doubles:
        """Quantiles of windows, (n, H, K, Q)."""
        family = self._family
        found = quantiles_of(self.models_, inputs, self._plan.targets, family, levels)
        if family is not None or (len(levels) == len(self.quantiles_) and np.allclose(levels, self.quantiles_)):
            return found
        return np.asarray(found @ between(self.quantiles_, levels, what))

    def _ahead(self, known: SeriesSet, levels: Sequence[float], what: str) -> Doubles:
        """Quantiles beyond the ends of series: (N, H, K, Q)."""
        if known is self._ends:  # nothing new: its windows are made once
            made = vars(self).get("_inputs_cache")
            if made is None or made[0] is not known:
                made = self._inputs_cache = (known, _tail.last_windows(known, self._plan))
            return self._told(made[1], levels, what)
        return self._told(_tail.last_windows(known, self._plan), levels, what)

    def predict(self, X: Any = None, future: Any = None) -> Any:
        """The forecast of the next ``horizon`` steps: the median (with ``output="mean"`` the mean).

        Parameters
        ----------
        X : table, optional
            New data as ``fit`` took it, up to the step from which to forecast; series that were not trained on, too.
            None: forecasts follow the training data. Where ``fit`` was given ``y``: the covariates (n, F) of the n
            steps after the training data; forecasts of all of them come back, (n,).
        future : table, optional
            The known-ahead covariates of the steps to come, with times and series as in the data. Where steps lack them
            there is a UserWarning. Not where ``fit`` was given ``y``.

        Returns
        -------
        The kind of table that the data came as, with times and targets (and series); of arrays (H,) or (H, K), of
        several series (N, H) or (N, H, K); of a list a list.
        """
        self._check_fitted()
        if "n_features_in_" in vars(self):
            return _supervised.predict_rows(self, X, future)
        known = self._series_to_forecast(X, future, "predict")
        return given_back(known, self._ahead(known, [0.5], "predict"), [""])

    def predict_quantiles(self, X: Any = None, future: Any = None, quantiles: Sequence[float] | None = None) -> Any:
        """Quantiles of the next steps.

        Parameters
        ----------
        X, future : as of :meth:`predict`
            Covariates in scikit-learn's form have at most ``horizon`` rows; so have the others below.
        quantiles : sequence of Q floats, optional
            Above 0 and below 1. By default those of the parameter ``quantiles``. Others are found between them.

        Returns
        -------
        A table with a column for each target and quantile, ``load 0.1``; of arrays (…, Q).
        """
        self._check_has_quantiles("predict_quantiles")
        known = self._series_to_forecast(X, future, "predict_quantiles")
        wanted = self.quantiles if quantiles is None else quantiles
        levels = [_settings.level(q, f"{WHO}: predict_quantiles: quantiles") for q in wanted]
        if not levels:
            raise ValueError(f"{WHO}: predict_quantiles: quantiles must be numbers between 0 and 1, got none")
        found = self._forecast(known, levels, "predict_quantiles")
        return given_back(known, found, [f" {q:g}" for q in levels])

    def predict_interval(self, X: Any = None, future: Any = None, coverage: float = 0.8) -> Any:
        """The forecast, and a band that the next values lie in with probability ``coverage``, step by step.

        Parameters
        ----------
        X, future : as of :meth:`predict`
        coverage : float
            Above 0 and below 1.

        Returns
        -------
        A table with ``load``, ``load-lo-80`` and ``load-hi-80``; of arrays (…, 3): forecast, lower, upper bound.
        """
        self._check_has_quantiles("predict_interval")
        share = _settings.level(coverage, f"{WHO}: predict_interval: coverage")
        known = self._series_to_forecast(X, future, "predict_interval")
        levels = [0.5, 0.5 - share / 2, 0.5 + share / 2]
        found = self._forecast(known, levels, "predict_interval")
        return given_back(known, found, ["", *interval_names(share)])

    def sample(self, n: int = 100, X: Any = None, future: Any = None, random_state: Any = None) -> Any:
        """Paths that the next steps may take: draws from the forecast distribution of all steps together.

        Each step's values are distributed as :meth:`predict_quantiles` says; steps go together as the errors of
        forecasts of the windows held back did (a normal copula: correlations of their normal scores). Sums and maxima
        over the horizon are those of paths.

        Parameters
        ----------
        n : int
            How many paths.
        X, future : as of :meth:`predict`
        random_state : int, Generator, RandomState or None
            Of the draws.

        Returns
        -------
        A table with a column for each target and path, ``load path 1``; of arrays (…, n).
        """
        self._check_has_quantiles("sample")
        count = integer(n, "sample: n")
        known = self._series_to_forecast(X, future, "sample")
        family = self._family
        levels = _calibration.levels_of(family, self.quantiles_)
        told = self._ahead(known, levels, "sample")
        rng = _calibration.generator(random_state)
        drawn = _calibration.draw_scores(self.dependence_, count, told.shape[:3], rng)
        paths = _calibration.values_at(drawn, told, levels)
        if family is not None and family.counts:
            paths = np.maximum(np.round(paths), 0.0)
        elif family is not None and family.positive:
            paths = np.maximum(paths, 0.0)
        if vars(self).get("n_features_in_"):
            paths = paths[:, :, : known.series[0].extra]
        return given_back(known, np.moveaxis(paths, 0, -1), [f" path {k + 1}" for k in range(count)])

    def backtest(
        self,
        X: Any,
        y: Any = None,
        *,
        folds: int = 5,
        stride: int | None = None,
        refit: bool | int = False,
        baselines: Sequence[str] | str = "auto",
    ) -> Backtest:
        """How good forecasts would have been: made at points of the past, beside what came and beside baselines.

        This estimator stays as it is; copies of it are fitted, each on what lies before its forecasts alone.

        Parameters
        ----------
        X, y : as of :meth:`fit`
        folds : int
            How many forecasts of ``horizon`` steps each series gets, the last of which ends where the series ends.
        stride : int, optional
            Steps from one to the next; by default the horizon.
        refit : bool or int
            False: one fit, on what precedes the first forecast; the later ones see the values up to their own
            beginnings. True: a fit before each. k: a fit before every k-th.
        baselines : sequence of str, or "auto"
            Of "naive", "seasonal naive", "AutoETS" and "AutoARIMA" (the last two with statsforecast). "auto": the first
            two, and the others where statsforecast is installed and they take no longer than about a minute.

        Returns
        -------
        Backtest

        Raises
        ------
        ValueError
            If no series is long enough.
        """
        settings = _settings.check(self)
        known = self._read(X) if y is None else Supervised.of(X, y).read()
        return run_backtest(self, known, settings, folds, stride, refit, baselines)

    def score(self, X: Any = None, y: Any = None) -> float:
        """Minus the mean absolute scaled error (larger is better) of forecasts of data that were not trained on.

        Parameters
        ----------
        X : table
            Data behind the training data: forecasts of ``horizon`` steps follow one another through it, each from the
            values before it. Rows without times, such as arrays, must hold the training data too, from their first
            row on, for nothing else says where they end. Where ``fit`` was given ``y``: the covariates of
            the steps after the training data.
        y : array_like, optional
            In the latter case the values of these steps, forecast at once.
        """
        self._check_fitted()
        return score(self, X, y)

    # What it is.

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print what was understood of the data, and what was learned.

        Parameters
        ----------
        print_fn : function of a str
            Called with the whole text.
        """
        from rekur.tasks.forecasting._explained import lines

        self._check_fitted()
        print_fn("\n".join([repr(self), *(f"  {line}" for line in lines(self))]))

    def plot(self, X: Any = None, future: Any = None, *, figure: Any = None) -> Any:
        """The forecast beside the end of the series, with its bands: a matplotlib Figure.

        Parameters
        ----------
        X, future : as of :meth:`predict`
        figure : matplotlib Figure, optional
            To draw into.
        """
        from rekur.tasks.forecasting._explained import picture

        known = self._series_to_forecast(X, future, "plot")
        return picture(self, known, figure)

    # Elsewhere.

    def export_onnx(self, filepath: str | os.PathLike[str], *, verify: bool = True) -> list[str]:
        """Write one ONNX file that takes raw values, times and texts and gives forecasts.

        Inputs: ``target`` (batch, context, targets), NaN where missing; ``past`` (batch, context, columns), ``future``
        (batch, context + horizon, columns) and ``static`` (batch, columns), those of them that are numbers, and each
        column of texts by itself as ``future NAME`` (batch, context + horizon) of strings; ``time`` int64 (batch,
        context + horizon), local time in seconds since 1970 (where time is no date, the number of each step), if
        calendar features are used. Outputs: ``forecast`` (batch, horizon, targets) and ``quantiles`` (…, quantiles).
        Of counts there are ``parameters`` (…, n) instead, those of several networks one after another. The file's
        metadata ``rekur.forecaster`` says all that in JSON.

        Parameters
        ----------
        filepath : str or path
        verify : bool
            Run the file in onnxruntime, and compare it with the engine, before it is written.

        Returns
        -------
        list of str
            The names of the outputs.

        Raises
        ------
        RuntimeError
            If the file would differ from the engine.
        OSError
            If it cannot be written.
        """
        from rekur.tasks.forecasting._export import export_onnx

        self._check_fitted()
        return export_onnx(self, filepath, verify)

    def export_cpp(self, filepath: str | os.PathLike[str], **options: Any) -> Any:
        """Write the network as a C++ header: raw windows in, quantiles or parameters out, as ``models_[0]`` has them.

        Parameters
        ----------
        filepath : str or path
        options
            Of :func:`rekur.export_cpp`.

        Raises
        ------
        ValueError
            For an ensemble, whose networks are exported one by one from ``models_``.
        """
        import rekur

        self._check_fitted()
        if len(self.models_) > 1:
            raise ValueError(f"{WHO}: export_cpp: there are {len(self.models_)} networks; export each of models_")
        return rekur.export_cpp(self.models_[0], filepath, **options)

    def _check_has_quantiles(self, what: str) -> None:
        self._check_fitted()
        if len(self.quantiles_) < 2 and self._family is None:
            raise ValueError(f"{WHO}: {what}: output={self.output!r} gives points alone; fit with output='quantiles'")
