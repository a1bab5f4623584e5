"""``TextGenerator``: a network that has read a text goes on writing in its manner."""

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur._random import draw_seed
from rekur._validate import boolean, integer, one_of
from rekur.models import Model
from rekur.tasks._estimator import Estimator
from rekur.tasks._fitting import fit_networks
from rekur.tasks.text._generating import arranged, befriend_unknown, named, network, split_texts
from rekur.tasks.text._settings import below_one, falling_adam, level_of, optional, positive, recurrent_layer, sizes
from rekur.tasks.text._texts import read_corpus, read_texts
from rekur.tasks.text._vocabulary import MARK, UNKNOWN, Ids, Pieces, Vocabulary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WHO = "TextGenerator"
_NEVER = -1e4  # a logit of what is never written
_UPDATES, _FEWEST, _MOST = 1000, 5, 100  # steps of training that ``epochs=None`` aims at, and its epochs
_PIECE = 2048  # tokens that are scored at once


class TextGenerator(Estimator):
    """Writes as the texts do that it has read: characters, words or byte pairs, one after the other.

    A recurrent network reads the text from its beginning to its end in windows, its states carried from one to the next
    (truncated back-propagation through time), and learns to say what comes next. What is held out at the end decides
    which epoch's weights are kept.

    Parameters
    ----------
    level : {"character", "word", "byte_pairs"}
        What a token is. Characters need no choice, and suit small texts; words, with the spaces before them, suit large
        ones; byte pairs stand between them, and know every text.
    units : int or tuple of int
        Of the recurrent layers.
    cell : str or cell
        "lstm", "gru", any name in :mod:`rekur.cells`, or a cell of one's own.
    embedding : int, optional
        Numbers that stand for a token; by default 64 of characters, 128 of others.
    dropout : float
        Share of the numbers between layers that are left out in training.
    epochs : int, optional
        At most. By default as many as make some 1000 steps of training, from 5 to 100.
    batch_size : int
        Places of the text that are read side by side; fewer where the text is short.
    window : int
        Tokens that gradients go back.
    learning_rate : float
        The highest: it rises to it at the beginning and then falls along a cosine.
    validation_fraction : float
        Share of the text, its end, that is not learned from but decides which epoch's weights are kept; 0: none.
    patience : int
        Epochs without a better held-out loss after which training ends.
    max_tokens : int, optional
        Size of the vocabulary, at most; the frequent tokens are kept. By default 10,000 words, 1,000 byte pairs, and
        all characters.
    min_count : int
        How often a token must come to be in the vocabulary.
    precision : {"float32", "bf16"}
        What products are taken in (docs/precision.md). bf16 trains nearly twice as fast where a processor has it.
    random_state : int, RandomState, Generator or None
    verbose : int
        1: a bar with the time that remains, and a line at the end.

    Attributes
    ----------
    models_ : list of Model
        The one network: ids (B, T) to logits (B, T, tokens).
    vocabulary_ : dict
        Its tokens, and what they are of.
    history_ : dict of list
        Losses by epoch, in nats a token.
    held_out_ : dict
        ``tokens``, ``characters``, ``bits_per_character`` and ``perplexity`` of the end that was held out; None where
        nothing was.
    trained_on_ : dict
        ``texts``, ``characters``, ``tokens``.
    through_ : bool
        Whether it was one text, which has no end that could be learned.

    Examples
    --------
    >>> writer = rekur.tasks.TextGenerator(random_state=0, verbose=1).fit(Path("manual.txt"))
    >>> print(writer.generate("The statement ", 200, seed=1))
    >>> for piece in writer.stream("The statement "):
    ...     print(piece, end="")
    """

    _kind = "text_generator"
    _inputs: ClassVar[dict[str, Any]] = {"string": True, "two_d_array": False}

    def __init__(
        self,
        level: str = "character",
        *,
        units: Any = 256,
        cell: Any = "lstm",
        embedding: int | None = None,
        dropout: float = 0.0,
        epochs: int | None = None,
        batch_size: int = 32,
        window: int = 64,
        learning_rate: float = 0.004,
        validation_fraction: float = 0.05,
        patience: int = 4,
        max_tokens: int | None = None,
        min_count: int = 1,
        precision: str = "float32",
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
        self.window = window
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.max_tokens = max_tokens
        self.min_count = min_count
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    # Learning.

    def fit(self, X: Any, y: Any = None) -> "TextGenerator":
        """Learn to go on with a text.

        Parameters
        ----------
        X : str, pathlib.Path, or list, array or Series of str
            One text; the path of a file of one, in UTF-8; or several texts, each with a beginning and an end.
        y : None
            Not used; it is there for pipelines.

        Raises
        ------
        TypeError, ValueError
            For what is no text, and too short a text; settings out of range.
        OSError
            If a file cannot be read.
        """
        level = level_of(self.level, _WHO)
        units = sizes(self.units, f"{_WHO}: units")
        width = optional(self.embedding, f"{_WHO}: embedding") or (64 if level == "character" else 128)
        dropout = below_one(self.dropout, f"{_WHO}: dropout")
        window, rows = integer(self.window, f"{_WHO}: window", 2), integer(self.batch_size, f"{_WHO}: batch_size")
        held = below_one(self.validation_fraction, f"{_WHO}: validation_fraction")
        rate = positive(self.learning_rate, f"{_WHO}: learning_rate")
        patience = integer(self.patience, f"{_WHO}: patience")
        most = optional(self.max_tokens, f"{_WHO}: max_tokens", 256 if level == "byte_pairs" else 1)
        least = integer(self.min_count, f"{_WHO}: min_count")
        epochs = optional(self.epochs, f"{_WHO}: epochs")
        precision = one_of("float32", "bf16")(self.precision, f"{_WHO}: precision")
        if most is None and level != "character":
            most = 10_000 if level == "word" else 1_000
        recurrent_layer(self.cell, 1, _WHO)  # an unknown one is told before anything is done
        seeds = self._seeds(1)
        texts, through = read_corpus(X, f"{_WHO}: X")
        self._forget()
        vocabulary = Vocabulary.learn(texts, level, size=most, least=least, spaces=True)
        encoded = [vocabulary.encode(text) for text in texts]
        learned, tail = split_texts(encoded, held, through)
        count = sum(map(len, learned)) + len(learned) - through
        if count < 2:
            raise ValueError(f"{_WHO}: X: {count} token to learn from, 2 or more are needed")
        data, windows = arranged(learned, through, rows, window)
        epochs = epochs or min(max(-(-_UPDATES // windows), _FEWEST), _MOST)
        validation = arranged(tail, through, rows, window)[0] if sum(map(len, tail)) else None

        def build(seed: int) -> Model:
            model = network(len(vocabulary), width, units, self.cell, dropout, seed)
            loss = rekur.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(falling_adam(rate, windows * epochs), loss, precision=precision)
            return model

        models, histories = fit_networks(
            build,
            seeds,
            {**data, "tbptt": window, "shuffle": False},
            epochs=epochs,
            who=_WHO,
            batch_size=rows,
            validation=None if validation is None else validation,
            patience=patience,
            verbose=integer(self.verbose, f"{_WHO}: verbose", 0),
            steps=windows,
        )
        befriend_unknown(models[0], learned)
        if precision != "float32":  # it writes in float32, as it will from a file
            rounded, models = models[0], [rekur.models.clone_model(models[0])]
            models[0].set_weights(rounded.get_weights())
        self.vocabulary_ = vocabulary.state()
        self.models_, self.history_, self.through_ = models, histories[0], through
        characters = sum(map(len, texts))
        self.trained_on_ = {"texts": len(texts), "characters": characters, "tokens": sum(map(len, encoded))}
        self.unknown_ = int(sum(int((ids == UNKNOWN).sum()) for ids in encoded))
        self.held_out_ = None
        if validation is not None:
            at = min(self.history_["val_loss"])
            written = sum(len(vocabulary.decode(ids)) for ids in tail)
            tokens = sum(map(len, tail)) + (0 if through else len(tail))
            self.held_out_ = {
                "tokens": tokens,
                "characters": written,
                "bits_per_character": at * tokens / max(1, written) / math.log(2),
                "perplexity": math.exp(min(at, 700)),
            }
        return self

    def _restore(self, state: dict[str, Any]) -> None:
        Vocabulary.restored(state["vocabulary_"])
        super()._restore(state)

    @property
    def _vocabulary(self) -> Vocabulary:
        self._check_fitted()
        found: Vocabulary | None = vars(self).get("_vocabulary_cache")
        if found is None:
            found = self._vocabulary_cache = Vocabulary.restored(self.vocabulary_)
        return found

    @property
    def _writer(self) -> Model:
        """The network as it writes: what it never saw written, it does not write."""
        self._check_fitted()
        found: Model | None = vars(self).get("_writer_cache")
        if found is None:
            found = rekur.models.clone_model(self.models_[0])
            weights = self.models_[0].get_weights()
            weights[-1] = weights[-1].copy()
            weights[-1][[UNKNOWN, MARK] if self.through_ else [UNKNOWN]] = _NEVER
            found.set_weights(weights)
            self._writer_cache = found
        return found

    def _forget(self) -> None:
        super()._forget()
        for name in ("_vocabulary_cache", "_writer_cache"):
            vars(self).pop(name, None)

    # Writing.

    def generate(
        self,
        prompt: Any = "",
        length: int = 200,
        *,
        temperature: float = 0.7,
        top_k: int | None = None,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        n: int | None = None,
    ) -> Any:
        """What it goes on with.

        Parameters
        ----------
        prompt : str, or list of str
            What comes first; "" is a text's beginning. Characters and words that it never read are told by a warning.
        length : int
            Tokens that follow, at most; of one that has learned texts with an end, a text may end before.
        temperature : float
            Below 1 the probable becomes more probable; 0: always the most probable token.
        top_k, top_p, repetition_penalty
            As of :func:`rekur.generate`.
        seed : int, optional
            The same seed writes the same.
        n : int, optional
            So many continuations of each prompt.

        Returns
        -------
        str
            Without the prompt. Of a list of prompts a list of str, with ``n`` a list of n for each prompt.
        """
        several = not isinstance(prompt, str)
        prompts = read_texts(prompt, f"{_WHO}: prompt", least=0) if several else [prompt]
        times = 1 if n is None else integer(n, f"{_WHO}: n")
        rows: list[Ids] = []
        for text in prompts:
            rows += [self._prompt(text)] * times
        if not rows:
            return []
        found = rekur.generate(
            self._writer,
            rows,
            integer(length, f"{_WHO}: length"),
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            seed=seed,
            end=None if self.through_ else MARK,
            from_logits=True,
        )
        texts = [self._vocabulary.decode(row[row >= 0]) for row in found]
        if n is None:
            return texts if several else texts[0]
        made = [texts[k : k + times] for k in range(0, len(texts), times)]
        return made if several else made[0]

    def stream(
        self, prompt: str = "", length: int | None = None, *, seed: int | None = None, **settings: Any
    ) -> Iterator[str]:
        """What it goes on with, piece by piece as it is written: the text of :meth:`generate`, for a terminal, a page.

        Parameters
        ----------
        prompt : str
        length : int, optional
            Tokens at most; by default it ends where a text ends, or the caller does.
        seed, **settings
            As of :meth:`generate`: temperature, top_k, top_p, repetition_penalty.
        """
        settings = {"temperature": 0.7, **settings}
        begin = self._prompt(read_texts([prompt], f"{_WHO}: prompt")[0])
        length = optional(length, f"{_WHO}: length")
        generator = rekur.Generator(self._writer, seed=draw_seed() if seed is None else seed, from_logits=True)

        def pieces() -> Iterator[str]:
            written = Pieces(self._vocabulary)
            for label in generator.stream(begin, length, None if self.through_ else MARK, **settings):
                if piece := written.add(label):
                    yield piece
            if rest := written.end():
                yield rest

        return pieces()

    def _prompt(self, text: str) -> Ids:
        vocabulary = self._vocabulary
        if unknown := vocabulary.unknown(text):
            shown = ", ".join(repr(token) for token in unknown[:8]) + (", …" if len(unknown) > 8 else "")
            warnings.warn(
                f"{_WHO}: prompt: it has never read {shown}; each is taken for an unknown {named(vocabulary)}",
                stacklevel=3,
            )
        # One text has one beginning, and is read from many places: a prompt is one of them.
        begin = [] if self.through_ and text else [MARK]
        return np.concatenate([begin, vocabulary.encode(text)]).astype(np.int32)

    # How well it knows a text.

    def surprise(self, text: str) -> tuple[list[str], NDArray[np.float64]]:
        """How surprising each token of a text is.

        Parameters
        ----------
        text : str

        Returns
        -------
        tokens : list of str
        bits : ndarray of shape (T,)
            −log₂ of the probability it gave; NaN of a token that it never saw written.
        """
        ids = self._vocabulary.encode(read_texts([text], f"{_WHO}: text", empty=False)[0])
        tokens = self._vocabulary.split(text)
        if self._vocabulary.level == "byte_pairs":
            tokens = [token.encode("latin-1").decode("utf-8", "replace") for token in tokens]
        return tokens, self._bits(ids, False)

    def _bits(self, ids: Ids, ends: bool) -> NDArray[np.float64]:
        """The bits of each token of a text, and of its end."""
        whole = np.concatenate([[MARK], ids, [MARK]] if ends else [[MARK], ids]).astype(np.int32)
        read, right = whole[:-1], whole[1:]
        stream = rekur.Stream(self.models_[0])
        found = np.empty(len(right))
        for begin in range(0, len(right), _PIECE):
            logits = stream.process(read[begin : begin + _PIECE]).astype(np.float64)
            logits -= logits.max(axis=-1, keepdims=True)
            wanted = right[begin : begin + _PIECE]
            picked = np.take_along_axis(logits, wanted[:, None].astype(np.int64), axis=-1)[:, 0]
            found[begin : begin + _PIECE] = np.log(np.exp(logits).sum(axis=-1)) - picked
        found /= math.log(2)
        if not self.unknown_:
            found[right == UNKNOWN] = np.nan
        return found

    def _total(self, X: Any, what: str) -> tuple[float, int, int]:
        """Bits, characters and tokens of texts."""
        vocabulary = self._vocabulary
        texts, through = read_corpus(X, f"{_WHO}: {what}")
        bits, tokens, characters, left = 0.0, 0, 0, 0
        for text in texts:
            ids = vocabulary.encode(text)
            each = self._bits(ids, not through and not self.through_)
            there = ~np.isnan(each)
            bits, tokens = bits + float(each[there].sum()), tokens + int(there.sum())
            left += int(len(each) - there.sum())
            # What is unknown is one character, whatever stood there: that it was unknown is all that the bits tell.
            characters += len(vocabulary.decode(ids))
        if left:
            characters -= left
            warnings.warn(
                f"{_WHO}: {what}: {left} of {tokens + left} tokens never stood in what was learned, and are not "
                "counted",
                stacklevel=3,
            )
        if not tokens:
            raise ValueError(f"{_WHO}: {what}: none of its tokens is known")
        return bits, max(1, characters), tokens

    def bits_per_character(self, X: Any) -> float:
        """The mean of −log₂ p a character: what the texts would take, written down with its help.

        Parameters
        ----------
        X : as of :meth:`fit`
            Comparable between levels: the bits of words and byte pairs are divided by their characters. Characters that
            it never read are not counted, and told by a warning.
        """
        bits, characters, _ = self._total(X, "X")
        return bits / characters

    def perplexity(self, X: Any) -> float:
        """2 to the mean bits a token: among how many equally probable tokens it would be as unsure."""
        bits, _, tokens = self._total(X, "X")
        return math.pow(2.0, min(bits / tokens, 1000.0))

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the bits per character: the larger, the better it knows the texts."""
        return -self.bits_per_character(X)

    def diversity(self, texts: Any) -> dict[str, float]:
        """How varied some texts are, such as those of ``generate(n=20)``.

        Parameters
        ----------
        texts : list of str

        Returns
        -------
        dict
            ``distinct_1`` to ``distinct_4``: of all sequences of so many words, the share that is there for the first
            time (Li et al., arXiv:1510.03055); ``alike``: the mean share of a text's pairs of words that another one
            has, too.
        """
        split = [text.split() for text in read_texts(texts, f"{_WHO}: texts", least=1)]
        found: dict[str, float] = {}
        for n in range(1, 5):
            grams = [tuple(words[k : k + n]) for words in split for k in range(len(words) - n + 1)]
            found[f"distinct_{n}"] = len(set(grams)) / len(grams) if grams else math.nan
        pairs = [set(itertools.pairwise(words)) for words in split]
        shares = []
        for k, own in enumerate(pairs):
            others = set().union(*pairs[:k], *pairs[k + 1 :])
            if own and len(pairs) > 1:
                shares.append(len(own & others) / len(own))
        found["alike"] = float(np.mean(shares)) if shares else math.nan
        return found

    # Elsewhere.

    def export_onnx(self, path: Any, *, strings: bool = True, **options: Any) -> Any:
        """Write one step as an ONNX file, its states as inputs and outputs.

        Parameters
        ----------
        path : str or path
        strings : bool
            True: tokens as they are written. Inputs: ``token`` (B,) of strings ("" begins a text), ``temperature``, a
            number, ``draw`` (B,), a random number from 0 to 1 (1 excluded) each, and the states; outputs: ``next``
            (B,), the token that comes next, ``probabilities`` (B, tokens), and the states. False: labels, for
            :func:`rekur.onnx.generate`, which draws as :meth:`generate` does.
        **options
            Of :func:`rekur.onnx.export`: opset, tolerance, ….

        Returns
        -------
        rekur.onnx.ExportReport

        Raises
        ------
        rekur.onnx.VerificationError
            If onnxruntime computes something else. Then nothing is written.

        Notes
        -----
        The metadata name the ``states`` (pairs of an input and the output that is its next value; zeros at first), the
        ``tokens`` by label, what they are (``level``) and whether a text ``ends`` where "" comes next. The loop:

        >>> session = onnxruntime.InferenceSession("writer.onnx")
        >>> pairs = json.loads(session.get_modelmeta().custom_metadata_map["states"])
        >>> sizes = {value.name: value.shape[1:] for value in session.get_inputs()}
        >>> states = {before: np.zeros((1, *sizes[before]), np.float32) for before, _ in pairs}
        >>> names, token, waiting = [value.name for value in session.get_outputs()], "", list("The ")
        >>> for _ in range(200):
        ...     feed = {"token": np.array([token], object), "temperature": np.array(0.7, np.float32),
        ...             "draw": np.random.random(1).astype(np.float32), **states}
        ...     found = dict(zip(names, session.run(None, feed)))
        ...     states = {before: found[after] for before, after in pairs}
        ...     token = waiting.pop(0) if waiting else found["next"][0]
        ...     print(token, end="")
        """
        from rekur.tasks.text._onnx_generator import write_generator

        self._check_fitted()
        return write_generator(self, path, boolean(strings, f"{_WHO}: strings"), dict(options))

    def export_cpp(self, path: Any, namespace: str | None = None) -> Any:
        """Write a C++ header: the network as of :func:`rekur.export_cpp`, for ``rekur::Generator``, and its tokens.

        Parameters
        ----------
        path : str or path
        namespace : str, optional
            By default the file's name.

        Notes
        -----
        In the namespace stand ``model()``, ``tokens`` (a ``std::string_view`` a label), ``label(token)`` and ``ends``:

            const rekur::Model network = writer::model();
            rekur::Generator generator(network);
            std::int32_t label = writer::label("T");
            generator.read({&label, 1});
            while (generator.next({.temperature = 0.7f, .seed = 1}, {&label, 1})) std::cout << writer::tokens[label];

        Of one seed it writes what :meth:`generate` writes.
        """
        from rekur.tasks.text._cpp import write_header

        self._check_fitted()
        return write_header(self, path, namespace)

    # What was learned, to read and to see.

    def summary(self) -> str:
        """What was read and learned; printed, and returned."""
        from rekur.tasks.text._summary import of_generator

        text = of_generator(self)
        print(text)
        return text

    def plot(self, text: str | None = None, *, figure: "Figure | None" = None) -> "Figure":
        """How the loss fell; or of a text, how surprising each token of it is.

        Parameters
        ----------
        text : str, optional
        figure : matplotlib Figure, optional
            To draw into.
        """
        from rekur.tasks import report

        self._check_fitted()
        if text is not None:
            tokens, bits = self.surprise(text)
            return report.plot_surprise(tokens, bits, title="bits by token", figure=figure)
        curves = {key: np.array(values) / math.log(2) for key, values in self.history_.items()}
        title = f"bits per {named(self._vocabulary)}, of {self.trained_on_['characters']:,} characters"
        return report.plot_training(curves, names={"val_loss": "held out"}, title=title, figure=figure)
