"""``TextClassifier``: which class a text is of, by its words, its characters, or both."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur._validate import boolean, integer
from rekur.models import Model
from rekur.tasks._estimator import Estimator
from rekur.tasks._fitting import fit_networks
from rekur.tasks.classification._calibration import softmax
from rekur.tasks.classification._targets import class_weights, read_labels, read_weights
from rekur.tasks.text._classifying import Warm, as_targets, cool, measured, network, read_targets, sigmoid, split_rows
from rekur.tasks.text._settings import below_one, falling_adam, level_of, optional, positive, recurrent_layer
from rekur.tasks.text._texts import read_texts
from rekur.tasks.text._vocabulary import Ids, Vocabulary, padded, pattern

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
_WHO = "TextClassifier"
_LEVELS = ("word", "character", "both")
_LONGEST = {"word": 256, "character": 1024}  # tokens that are read of a text
_SIZES = {"word": 20_000, "character": 1_000}
_UPDATES, _FEWEST, _MOST = 1000, 5, 60  # steps of training that ``epochs=None`` aims at, and its epochs
_TOGETHER = 256  # texts that are classified at once


class TextClassifier(Estimator):
    """Tells classes of texts apart: topics, authors, languages, what is spam.

    The words (or characters) of a text go through a bidirectional recurrent network; what is largest and what is the
    mean along the text, and the mean of the words themselves, lead to the classes. Probabilities are calibrated on
    texts that were held out.

    Parameters
    ----------
    level : {"word", "character", "both"}
        What is read of a text. Words suit topics; characters languages, misspelt words and short codes; both take
        longer.
    units : int
        Of the recurrent layer, in each direction.
    cell : str or cell
        "gru", "lstm", any name in :mod:`rekur.cells`, or a cell of one's own.
    embedding : int
        Numbers that stand for a word.
    dropout : float
        Share of the numbers between layers that are left out in training.
    epochs : int, optional
        At most. By default as many as make some 1000 steps of training, from 5 to 60.
    batch_size : int
    learning_rate : float
        The highest: it rises to it at the beginning and then falls along a cosine.
    validation_fraction : float
        Share of the texts, of each class alike, that is not learned from: it decides which epoch's weights are kept,
        and calibrates. 0, or fewer than 10 such texts: none.
    patience : int
        Epochs without a better held-out loss after which training ends.
    max_tokens : int, optional
        Words, or characters, in the vocabulary, at most; the frequent ones are kept. By default 20,000 and 1,000.
    min_count : int, optional
        How often a word must come to be in the vocabulary: by default 2 where there are 1000 texts or more, else 1.
    max_length : int, optional
        Words, or characters, that are read of a text: its beginning. By default 256 and 1024.
    lower : bool
        Whether "The" and "THE" are the word "the".
    class_weight : None, "balanced" or dict of label to number
    calibrate : bool
        Whether the held-out texts set the temperature of the probabilities (Guo et al., arXiv:1706.04599).
    ensemble : int
        Networks of different seeds, whose probabilities are averaged.
    random_state : int, RandomState, Generator or None
    verbose : int
        1: a bar with the time that remains, and a line at the end.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
    models_ : list of Model
        Ids of words, of characters, or of both to calibrated logits (B, C).
    vocabularies_ : dict
        By level.
    multilabel_ : bool
        Whether a text may have several classes.
    history_ : list of dict
        Losses by epoch, one a network.
    held_out_ : dict or None
        ``labels`` and ``predicted`` (as places in classes_), ``confidence``, ``accuracy``, ``log_loss``,
        ``calibration_error``.
    trained_on_ : dict
        ``texts``, ``empty``, ``longer`` (than is read).

    Examples
    --------
    >>> topics = rekur.tasks.TextClassifier(random_state=0, verbose=1).fit(texts, labels)
    >>> topics.predict(["The compiler says no."])
    array(['computers'], dtype='<U9')
    >>> topics.explain("The compiler says no.")
    [('The', 0.02), ('compiler', 3.1), ('says', -0.2), ('no', 0.1), ('.', 0.0)]
    """

    _kind = "text_classifier"
    _estimator_type = "classifier"
    _inputs: ClassVar[dict[str, Any]] = {"string": True, "two_d_array": False}

    def __init__(
        self,
        level: str = "word",
        *,
        units: int = 64,
        cell: Any = "gru",
        embedding: int = 64,
        dropout: float = 0.5,
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 0.006,
        validation_fraction: float = 0.1,
        patience: int = 3,
        max_tokens: int | None = None,
        min_count: int | None = None,
        max_length: int | None = None,
        lower: bool = True,
        class_weight: Any = None,
        calibrate: bool = True,
        ensemble: int = 1,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.level = level
        self.units = units
        self.cell = cell
        self.embedding = embedding
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.max_tokens = max_tokens
        self.min_count = min_count
        self.max_length = max_length
        self.lower = lower
        self.class_weight = class_weight
        self.calibrate = calibrate
        self.ensemble = ensemble
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # Learning.

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "TextClassifier":
        """Learn to tell classes apart.

        Parameters
        ----------
        X : list, array or Series of str, (N,)
        y : array_like of shape (N,), or (N, C) of 0 and 1
            A label a text; or, of texts that may have several, a column a class.
        sample_weight : array_like of shape (N,), optional
            What each text counts.

        Raises
        ------
        TypeError, ValueError
            For what are no texts and no labels, for one class alone, and settings out of range.
        """
        level = level_of(self.level, _WHO, _LEVELS)
        levels = ("word", "character") if level == "both" else (level,)
        units, width = integer(self.units, f"{_WHO}: units"), integer(self.embedding, f"{_WHO}: embedding")
        dropout = below_one(self.dropout, f"{_WHO}: dropout")
        batch_size = integer(self.batch_size, f"{_WHO}: batch_size")
        rate = positive(self.learning_rate, f"{_WHO}: learning_rate")
        held = below_one(self.validation_fraction, f"{_WHO}: validation_fraction")
        patience = integer(self.patience, f"{_WHO}: patience")
        most, least = optional(self.max_tokens, f"{_WHO}: max_tokens"), optional(self.min_count, f"{_WHO}: min_count")
        epochs, longest = optional(self.epochs, f"{_WHO}: epochs"), optional(self.max_length, f"{_WHO}: max_length")
        lower, calibrate = boolean(self.lower, f"{_WHO}: lower"), boolean(self.calibrate, f"{_WHO}: calibrate")
        verbose = integer(self.verbose, f"{_WHO}: verbose", 0)
        recurrent_layer(self.cell, 1, _WHO)  # an unknown one is told before anything is done
        seeds = self._seeds(integer(self.ensemble, f"{_WHO}: ensemble"))
        texts = read_texts(X, f"{_WHO}: X")
        if not any(text.strip() for text in texts):
            raise ValueError(f"{_WHO}: X: all {len(texts)} texts are empty")
        weights = read_weights(sample_weight, len(texts), _WHO)
        classes, targets, multilabel = read_targets(y, len(texts))
        if multilabel and self.class_weight is not None:
            raise ValueError(f"{_WHO}: class_weight is for one label a text; where y is (N, C), give sample_weight")
        if not multilabel:
            weights = weights * class_weights(self.class_weight, classes, targets, weights, _WHO)[targets]
        self._forget()
        rng = np.random.default_rng(seeds[0])
        learned, kept = split_rows(targets, held, multilabel, rng)
        least = least or (2 if len(learned) >= 1000 else 1)
        vocabularies = {
            each: Vocabulary.learn(
                (texts[row] for row in learned),
                each,
                size=most or _SIZES[each],
                least=least,
                lower=lower and each == "word",
            )
            for each in levels
        }
        self.lengths_ = {each: longest or _LONGEST[each] for each in levels}
        self.vocabularies_ = {each: vocabulary.state() for each, vocabulary in vocabularies.items()}
        self.classes_, self.multilabel_ = classes, multilabel
        sizes_of = {each: len(vocabulary) for each, vocabulary in vocabularies.items()}
        encoded = [self._encode(text) for text in texts]
        data = self._arrays([encoded[row] for row in learned])
        steps = -(-len(learned) // batch_size)
        epochs = epochs or min(max(-(-_UPDATES // steps), _FEWEST), _MOST)
        weights = weights * (len(learned) / weights[learned].sum()) if weights[learned].any() else weights
        uniform = bool((weights == weights[0]).all())
        data |= {"y": as_targets(targets[learned], multilabel)}
        data |= {} if uniform else {"sample_weight": weights[learned].astype(np.float32)}
        validation: dict[str, Any] | None = None
        if len(kept):
            validation = {**self._arrays([encoded[row] for row in kept]), "y": as_targets(targets[kept], multilabel)}
            if not uniform and weights[kept].any():
                validation["sample_weight"] = weights[kept].astype(np.float32)

        warm = calibrate and validation is not None

        def build(seed: int) -> Model:
            model = network(sizes_of, len(classes), width, units, self.cell, dropout, seed)
            loss: Any = rekur.losses.SparseCategoricalCrossentropy(from_logits=True)
            if multilabel:
                loss = rekur.losses.BinaryCrossentropy(from_logits=True)
            model.compile(falling_adam(rate, steps * epochs), loss)
            return model

        self.models_, self.history_ = fit_networks(
            build,
            seeds,
            data,
            epochs=epochs,
            who=_WHO,
            batch_size=batch_size,
            validation=validation,
            patience=patience,
            verbose=verbose,
            steps=steps,
            callbacks=[Warm(self, [encoded[row] for row in kept], targets[kept], multilabel)] if warm else [],
        )
        self.held_out_ = None
        self.temperatures_ = [1.0] * len(seeds)
        if len(kept):
            rows = [encoded[row] for row in kept]
            if calibrate:
                for number, model in enumerate(self.models_):
                    self.temperatures_[number] = cool(model, self._logits(model, rows), targets[kept], multilabel)
            self.held_out_ = measured(self._probabilities(rows), targets[kept], multilabel)
        self.trained_on_ = {
            "texts": len(texts),
            "empty": sum(not text.strip() for text in texts),
            "longer": sum(max(self._tokens(text)) > 1 for text in texts),
            "held_out": len(kept),
        }
        return self

    def _tokens(self, text: str) -> list[float]:
        """How long a text is, by level, in units of what is read of it."""
        return [
            (len(text) if level == "character" else len(pattern(False).findall(text))) / length
            for level, length in self.lengths_.items()
        ]

    def _restore(self, state: dict[str, Any]) -> None:
        for vocabulary in state["vocabularies_"].values():
            Vocabulary.restored(vocabulary)
        super()._restore(state)

    def _forget(self) -> None:
        super()._forget()
        vars(self).pop("_vocabularies_cache", None)

    @property
    def _vocabularies(self) -> dict[str, Vocabulary]:
        found: dict[str, Vocabulary] | None = vars(self).get("_vocabularies_cache")
        if found is None:
            found = {level: Vocabulary.restored(state) for level, state in self.vocabularies_.items()}
            self._vocabularies_cache = found
        return found

    def _encode(self, text: str) -> tuple[Ids, ...]:
        """The ids of a text, by level, as far as they are read."""
        return tuple(v.encode(text)[: self.lengths_[level]] for level, v in self._vocabularies.items())

    def _arrays(self, encoded: Sequence[tuple[Ids, ...]]) -> dict[str, Any]:
        """What a network takes: ids and lengths by level."""
        x, lengths = {}, {}
        for number, level in enumerate(self.vocabularies_):
            x[level], lengths[level] = padded([ids[number] for ids in encoded])
        return {"x": x, "lengths": lengths}

    # Telling.

    def _logits(self, model: Model, encoded: Sequence[tuple[Ids, ...]]) -> NDArray[np.float32]:
        if len(encoded) <= _TOGETHER:
            given = self._arrays(encoded)
            found: NDArray[np.float32] = model.predict(given["x"], lengths=given["lengths"], verbose=0)
            return found
        # Texts of a length stand together, so that few steps are of none.
        order = sorted(range(len(encoded)), key=lambda row: tuple(map(len, encoded[row])))
        made = np.empty((len(encoded), len(self.classes_)), np.float32)
        for begin in range(0, len(order), _TOGETHER):
            rows = order[begin : begin + _TOGETHER]
            made[rows] = self._logits(model, [encoded[row] for row in rows])
        return made

    def _probabilities(self, encoded: Sequence[tuple[Ids, ...]]) -> Floats:
        found = np.zeros((len(encoded), len(self.classes_)))
        for model in self.models_:
            logits = self._logits(model, encoded)
            found += sigmoid(logits) if self.multilabel_ else softmax(logits)
        return found / len(self.models_)

    def predict_proba(self, X: Any) -> Floats:
        """The probability of each class.

        Parameters
        ----------
        X : list, array or Series of str, (N,)

        Returns
        -------
        float64 ndarray of shape (N, C)
            In the order of ``classes_``. Rows sum to 1, but where a text may have several classes.
        """
        self._check_fitted()
        return self._probabilities([self._encode(text) for text in read_texts(X, f"{_WHO}: X")])

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of each text; where a text may have several, (N, C) of 0 and 1.

        Parameters
        ----------
        X : list, array or Series of str, (N,)
        """
        probabilities = self.predict_proba(X)
        if self.multilabel_:
            return (probabilities >= 0.5).astype(np.int64)
        found: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return found

    def decision_function(self, X: Any) -> Floats:
        """Logarithms of :meth:`predict_proba`; of two classes the logarithm of their ratio, (N,)."""
        probabilities = np.maximum(self.predict_proba(X), 1e-300)
        if self.multilabel_:
            return np.asarray(np.log(probabilities) - np.log(np.maximum(1 - probabilities, 1e-300)))
        logs = np.log(probabilities)
        return np.asarray(logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of texts whose class (or, of several, all of them) is told rightly."""
        texts = read_texts(X, f"{_WHO}: X")
        predicted = self.predict(texts)
        weights = read_weights(sample_weight, len(texts), _WHO)
        if self.multilabel_:
            given = np.asarray(y)
            if given.shape != predicted.shape:
                raise ValueError(f"{_WHO}: y: expected shape {predicted.shape}, got {given.shape}")
            return float(np.average((given == predicted).all(axis=1), weights=weights))
        return float(np.average(read_labels(y, len(texts), _WHO) == predicted, weights=weights))

    # Why.

    def explain(self, text: str, label: Any = None, *, most: int = 200) -> list[tuple[str, float]]:
        """What in a text speaks for a class: how much less likely it is where a word is left out.

        Parameters
        ----------
        text : str
        label : class, optional
            By default the most probable one.
        most : int
            Words that are looked at, at most: the first ones.

        Returns
        -------
        list of (str, float)
            The words of the text in order, and by how much each raises ln (p / (1 − p)) of the class; below 0: it
            speaks against it. Each word is left out by itself (Li et al., arXiv:1612.08220), whatever the level.
        """
        self._check_fitted()
        text = read_texts([text], f"{_WHO}: text")[0]
        place = None if label is None else self._place(label)
        found = list(pattern(False).finditer(text))[: integer(most, f"{_WHO}: most")]
        without = [text[: word.start()] + text[word.end() :] for word in found]
        probabilities = self._probabilities([self._encode(one) for one in [text, *without]])
        at = int(probabilities[0].argmax()) if place is None else place
        p = np.clip(probabilities[:, at], 1e-12, 1 - 1e-12)
        odds = np.log(p) - np.log1p(-p)
        return [(word.group(), float(odds[0] - other)) for word, other in zip(found, odds[1:], strict=True)]

    def _place(self, label: Any) -> int:
        known = self.classes_.tolist()
        if label not in known:
            raise ValueError(f"{_WHO}: label: expected one of {known!r:.200}, got {label!r}")
        return int(known.index(label))

    def telling_words(self, X: Any, n: int = 10) -> dict[Any, list[tuple[str, float]]]:
        """The words that speak most for each class, in texts that are taken for it.

        Parameters
        ----------
        X : list of str
            Some hundred texts tell enough; each of their words is left out once.
        n : int
            Words of a class.

        Returns
        -------
        dict of class to list of (str, float)
            As of :meth:`explain`, the mean over where a word stands, less what one standing once can tell by chance.
        """
        texts = read_texts(X, f"{_WHO}: X")
        n = integer(n, f"{_WHO}: n")
        sums: dict[Any, dict[str, list[float]]] = {label: {} for label in self.classes_.tolist()}
        lower = boolean(self.lower, f"{_WHO}: lower")
        for text, probabilities in zip(texts, self.predict_proba(texts), strict=True):
            label = self.classes_.tolist()[int(probabilities.argmax())]
            for word, weight in self.explain(text, label):
                sums[label].setdefault(word.lower() if lower else word, []).append(weight)
        told = {}
        for label, words in sums.items():
            means = {word: sum(values) / (len(values) + 1) for word, values in words.items()}
            best = sorted(means, key=lambda word: (-means[word], word))
            told[label] = [(word, means[word]) for word in best[:n] if means[word] > 0]
        return told

    # Elsewhere.

    def export_onnx(self, path: Any, *, tokens: bool = False, **options: Any) -> Any:
        """Write one ONNX file: texts in, labels and probabilities out.

        Its input ``text`` is a tensor of strings, (B,), one at least; its outputs are ``label`` (B,) and
        ``probabilities`` (B, C).

        Parameters
        ----------
        path : str or path
        tokens : bool
            False: onnxruntime's operator Tokenizer takes texts apart, for which ONNX itself has none. True: standard
            operators alone; the inputs are ``words`` and ``characters``, tensors of strings (B, T) with "" behind the
            end, as :meth:`tokens` makes them, for a runtime without that operator.
        **options
            Of :func:`rekur.onnx.export`: opset, tolerance, ….

        Returns
        -------
        rekur.onnx.ExportReport

        Raises
        ------
        rekur.onnx.VerificationError
            If onnxruntime gives something else than predict. Then nothing is written.
        """
        from rekur.tasks.text._onnx_classifier import write_classifier

        self._check_fitted()
        return write_classifier(self, path, boolean(tokens, f"{_WHO}: tokens"), options)

    def tokens(self, text: str) -> dict[str, list[str]]:
        """The tokens of a text by level, as they are read: what a file with ``tokens=True`` is fed with.

        A word is letters, digits and combining marks, with apostrophes between them; any other sign is one by itself.
        """
        self._check_fitted()
        text = read_texts([text], f"{_WHO}: text")[0]
        return {level: v.split(text)[: self.lengths_[level]] for level, v in self._vocabularies.items()}

    # What was learned, to read and to see.

    def summary(self) -> str:
        """What was read and learned; printed, and returned."""
        from rekur.tasks.text._summary import of_classifier

        text = of_classifier(self)
        print(text)
        return text

    def plot(
        self, X: Any = None, y: Any = None, *, kind: str = "confusion", figure: "Figure | None" = None
    ) -> "Figure":
        """What was taken for what; or whether probabilities are as often right as they say; or the training.

        Parameters
        ----------
        X, y : texts and labels, optional
            By default those that were held out.
        kind : {"confusion", "reliability", "training"}
        figure : matplotlib Figure, optional
            To draw into.
        """
        from rekur.tasks import report

        self._check_fitted()
        if kind == "training":
            return report.plot_training(self.history_, names={"val_loss": "held out"}, figure=figure)
        if kind not in ("confusion", "reliability"):
            raise ValueError(f"{_WHO}: kind: expected 'confusion', 'reliability' or 'training', got {kind!r}")
        if X is None:
            told = self.held_out_
            if told is None:
                raise ValueError(f"{_WHO}: plot: no texts were held out: give X and y")
        else:
            texts = read_texts(X, f"{_WHO}: X")
            told = measured(self.predict_proba(texts), self._places(y, len(texts)), self.multilabel_)
        if kind == "reliability":
            right = np.asarray(told["labels"]) == np.asarray(told["predicted"])
            return report.plot_reliability((np.asarray(told["confidence"]), right), figure=figure)
        if self.multilabel_:
            raise ValueError(f"{_WHO}: plot: texts of several classes have no confusion; kind='reliability' is drawn")
        count = len(self.classes_)
        matrix = np.zeros((count, count), np.int64)
        np.add.at(matrix, (told["labels"], told["predicted"]), 1)
        title = f"{len(told['labels']):,} texts, {told['accuracy']:.1%} right"
        return report.plot_confusion(matrix, self.classes_.tolist(), title=title, figure=figure)

    def _places(self, y: Any, count: int) -> NDArray[Any]:
        if self.multilabel_:
            return np.asarray(y).astype(np.int64)
        labels = read_labels(y, count, _WHO)
        known = {label: place for place, label in enumerate(self.classes_.tolist())}
        for row, label in enumerate(labels.tolist()):
            if label not in known:
                raise ValueError(f"{_WHO}: y[{row}]: the label {label!r} is none of classes_")
        return np.array([known[label] for label in labels.tolist()], np.int64)
