"""``Translator``: from one text to another, by a network that looks back at what it has read."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import rekur
from rekur import metrics
from rekur._validate import boolean, integer, not_negative
from rekur.models import Model
from rekur.tasks._estimator import Estimator
from rekur.tasks._fitting import fit_networks
from rekur.tasks.text._settings import below_one, falling_adam, level_of, optional, positive, recurrent_layer
from rekur.tasks.text._texts import read_texts
from rekur.tasks.text._translating import Alignment, Rare, Translation, network, text_of
from rekur.tasks.text._vocabulary import MARK, UNKNOWN, Ids, Vocabulary, padded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WHO = "Translator"
_UPDATES, _FEWEST, _MOST = 2000, 4, 100  # steps of training that ``epochs=None`` aims at, and its epochs
_LEAST_HELD = 8  # pairs; of fewer there is nothing to be learned about a network
_COPIES = 8  # unknown tokens of a source that can be written
_TOGETHER = 128  # texts that are translated at once


class Translator(Estimator):
    """Writes one text for another: dates into one form, a sentence into another language, a word as it is spoken.

    An encoder reads the whole source in both directions; a decoder writes token after token, looking at every step at
    what matters of the source (Luong et al., arXiv:1508.04025), and a beam search looks for the most probable text.

    Parameters
    ----------
    level : {"character", "word", "byte_pairs"}
        What a token of the sources is.
    target_level : {"character", "word", "byte_pairs"}, optional
        What a token of the targets is; by default the same.
    units : int
        Of the decoder; the encoder has half as many in each direction.
    cell : str or cell
        "lstm", "gru", any name in :mod:`rekur.cells`, or a cell of one's own.
    embedding : int
        Numbers that stand for a token.
    attention : {"general", "dot", "concat", "bahdanau"}
        As of :class:`rekur.layers.AttentionRNN`.
    dropout : float
        Share of the numbers between layers that are left out in training.
    epochs : int, optional
        At most. By default as many as make some 2000 steps of training, from 4 to 100.
    batch_size : int
    learning_rate : float
        The highest: it rises to it at the beginning and then falls along a cosine.
    validation_fraction : float
        Share of the pairs that is not learned from but decides which epoch's weights are kept. 0, or fewer than 8 such
        pairs: none.
    patience : int
        Epochs without a better held-out loss after which training ends.
    max_tokens : int, optional
        Tokens in each vocabulary, at most; the frequent ones are kept. By default 20,000 words, 2,000 byte pairs, and
        all characters.
    min_count : int, optional
        How often a token must come to be in its vocabulary: by default 2 of words where there are 1000 pairs or more,
        else 1.
    copy_unknown : bool
        Whether it learns to write what it does not know, a name for instance, as it stands in the source: the unknown
        tokens of a source are numbered, and those of a target are the numbers (Luong et al., arXiv:1410.8206).
    beam_width : int
        Beginnings that are kept while it writes; 1: the most probable token each time.
    length_penalty : float
        Above 0 long translations score better: log p / ((5 + n) / 6)^length_penalty.
    max_length : int, optional
        Tokens that it writes, at most; by default one and a half times the longest that it has learned.
    random_state : int, RandomState, Generator or None
    verbose : int
        1: a bar with the time that remains, and a line at the end.

    Attributes
    ----------
    models_ : list of Model
        The one network: ids of the source (B, S) and of what is written so far (B, T) to logits (B, T, tokens).
    source_vocabulary_, target_vocabulary_ : dict
    history_ : dict of list
        Losses by epoch, in nats a token.
    held_out_ : dict or None
        ``pairs``, ``exact``, ``character_error_rate`` of what was held out.
    longest_ : int
        Tokens of the longest target.

    Examples
    --------
    >>> dates = rekur.tasks.Translator(random_state=0, verbose=1).fit(written, iso)
    >>> dates.predict(["3 May 2021"])
    array(['2021-05-03'], dtype=object)
    >>> dates.translate("3.4.21", n=2)
    [Translation(text='2021-04-03', score=-0.2), Translation(text='2021-03-04', score=-1.8)]
    >>> dates.plot("3 May 2021")
    """

    _kind = "translator"
    _inputs: ClassVar[dict[str, Any]] = {"string": True, "two_d_array": False}

    def __init__(
        self,
        level: str = "character",
        target_level: str | None = None,
        *,
        units: int = 64,
        cell: Any = "lstm",
        embedding: int = 32,
        attention: str = "general",
        dropout: float = 0.0,
        epochs: int | None = None,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        validation_fraction: float = 0.05,
        patience: int = 4,
        max_tokens: int | None = None,
        min_count: int | None = None,
        copy_unknown: bool = True,
        beam_width: int = 4,
        length_penalty: float = 0.0,
        max_length: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.level = level
        self.target_level = target_level
        self.units = units
        self.cell = cell
        self.embedding = embedding
        self.attention = attention
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.max_tokens = max_tokens
        self.min_count = min_count
        self.copy_unknown = copy_unknown
        self.beam_width = beam_width
        self.length_penalty = length_penalty
        self.max_length = max_length
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.one_d_labels = True
        return tags

    # Learning.

    def fit(self, X: Any, y: Any) -> "Translator":
        """Learn from pairs.

        Parameters
        ----------
        X : list, array or Series of str, (N,)
            The sources.
        y : list, array or Series of str, (N,)
            What is to be written for each.

        Raises
        ------
        TypeError, ValueError
            For what are no texts, lists of different lengths, and settings out of range.
        """
        levels = self._levels()
        units, width = integer(self.units, f"{_WHO}: units", 2), integer(self.embedding, f"{_WHO}: embedding")
        dropout = below_one(self.dropout, f"{_WHO}: dropout")
        batch_size = integer(self.batch_size, f"{_WHO}: batch_size")
        rate = positive(self.learning_rate, f"{_WHO}: learning_rate")
        held = below_one(self.validation_fraction, f"{_WHO}: validation_fraction")
        patience = integer(self.patience, f"{_WHO}: patience")
        least = optional(self.min_count, f"{_WHO}: min_count")
        epochs = optional(self.epochs, f"{_WHO}: epochs")
        known = ("general", "dot", "concat", "bahdanau")
        if self.attention not in known:
            raise ValueError(f"{_WHO}: attention: expected one of {', '.join(known)}, got {self.attention!r}")
        self._writing()
        recurrent_layer(self.cell, 1, _WHO)  # an unknown one is told before anything is done
        verbose = integer(self.verbose, f"{_WHO}: verbose", 0)
        seeds = self._seeds(1)
        sources = read_texts(X, f"{_WHO}: X", empty=False)
        if y is None:
            raise ValueError(f"{_WHO} requires y to be passed, but the target y is None")
        targets = read_texts(y, f"{_WHO}: y")
        if len(sources) != len(targets):
            raise ValueError(
                f"{_WHO}: Found input variables with inconsistent numbers of samples: [{len(sources)}, "
                f"{len(targets)}]: X has a source, y what is to be written for it"
            )
        self._forget()
        order = np.random.default_rng(seeds[0]).permutation(len(sources))
        at = round(held * len(sources))
        at = at if at >= _LEAST_HELD else 0
        kept, learned = np.sort(order[:at]), np.sort(order[at:])
        copies = boolean(self.copy_unknown, f"{_WHO}: copy_unknown")
        vocabularies = []
        for texts, level, spaces in ((sources, levels[0], False), (targets, levels[1], True)):
            most = optional(self.max_tokens, f"{_WHO}: max_tokens", 256 if level == "byte_pairs" else 1)
            usual = {"word": 20_000, "byte_pairs": 2_000, "character": None}[level]
            count = least or (2 if level == "word" and len(learned) >= 1000 else 1)
            vocabularies.append(
                Vocabulary.learn((texts[row] for row in learned), level, size=most or usual, least=count, spaces=spaces)
            )
        source, target = vocabularies
        self.source_vocabulary_, self.target_vocabulary_ = source.state(), target.state()
        self.longest_ = max((len(target.encode(text)) for text in targets), default=0)
        self.copies_ = _COPIES if copies else 0
        made = {"source": len(source) + self.copies_, "target": len(target) + self.copies_}
        steps = -(-len(learned) // batch_size)
        epochs = epochs or min(max(-(-_UPDATES // steps), _FEWEST), _MOST)

        def build(seed: int) -> Model:
            model = network(made, width, units, self.cell, self.attention, dropout, seed)
            loss = rekur.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(falling_adam(rate, steps * epochs), loss)
            return model

        rows = rekur.Seq2Seq(build(0), MARK, MARK)
        rare = Rare(source, [sources[row] for row in learned], seeds[0]) if copies else None

        def arranged(which: NDArray[np.intp], rare: Rare | None = None) -> dict[str, Any]:
            pairs = [self._encode(source, target, sources[row], targets[row], rare) for row in which]
            x, lengths = padded([pair[0] for pair in pairs])
            inputs, labels, marks = rows._rows(x, [pair[1] for pair in pairs], lengths, None)
            return {"x": inputs, "y": labels, **marks}

        models, histories = fit_networks(
            build,
            seeds,
            arranged(learned, rare),
            epochs=epochs,
            who=_WHO,
            batch_size=batch_size,
            validation=arranged(kept) if len(kept) else None,
            patience=patience,
            verbose=verbose,
            steps=steps,
        )
        self.models_, self.history_ = models, histories[0]
        self.trained_on_ = {
            "pairs": len(sources),
            "source": sum(map(len, sources)),
            "target": sum(map(len, targets)),
            "unknown_source": sum(len(source.unknown(text)) > 0 for text in sources),
            "unknown_target": sum(len(target.unknown(text)) > 0 for text in targets),
        }
        self.held_out_ = None
        if len(kept):
            some = kept[:1000]
            scores = self.scores([sources[row] for row in some], [targets[row] for row in some])
            self.held_out_ = {"pairs": len(some), **scores}
        return self

    def _encode(
        self, source: Vocabulary, target: Vocabulary, text: str, wanted: str, rare: Rare | None = None
    ) -> tuple[Ids, Ids]:
        """The ids of a pair; unknown tokens are numbered, and those of the target are the numbers of the source's."""
        read, written = source.encode(text), target.encode(wanted)
        if not self.copies_ or "byte_pairs" in (source.level, target.level):
            return read, written
        tokens, wishes = source.split(text), target.split(wanted)
        if rare is not None:
            rare.hide(tokens, wishes, read, written)
        places: dict[str, int] = {}
        for k, at in enumerate(np.flatnonzero(read == UNKNOWN)[: self.copies_].tolist()):
            read[at] = len(source) + k
            places.setdefault(tokens[at], k)
        for at in np.flatnonzero(written == UNKNOWN).tolist():
            if (number := places.get(wishes[at].lstrip(" ") or wishes[at])) is not None:
                written[at] = len(target) + number
        return read, written

    def _levels(self) -> tuple[str, str]:
        first = level_of(self.level, _WHO)
        if self.target_level is None:
            return first, first
        return first, level_of(self.target_level, f"{_WHO}: target_level")

    def _writing(self) -> tuple[int, float, int | None, bool]:
        """The settings of how it writes, which may be set after ``fit``, too."""
        return (
            integer(self.beam_width, f"{_WHO}: beam_width"),
            not_negative(self.length_penalty, f"{_WHO}: length_penalty"),
            optional(self.max_length, f"{_WHO}: max_length"),
            boolean(self.copy_unknown, f"{_WHO}: copy_unknown"),
        )

    def _restore(self, state: dict[str, Any]) -> None:
        for name in ("source_vocabulary_", "target_vocabulary_"):
            Vocabulary.restored(state[name])
        super()._restore(state)

    def _forget(self) -> None:
        super()._forget()
        vars(self).pop("_parts_cache", None)

    @property
    def _parts(self) -> tuple[Vocabulary, Vocabulary, "rekur.Seq2Seq", Model]:
        """The vocabularies, the network as something that decodes, and the attention it pays."""
        self._check_fitted()
        found: Any = vars(self).get("_parts_cache")
        if found is None:
            model = self.models_[0]
            attention = Model(model.inputs, model.get_layer("decoder").output[1])
            decoder = rekur.Seq2Seq(model, MARK, MARK, from_logits=True)
            source, target = Vocabulary.restored(self.source_vocabulary_), Vocabulary.restored(self.target_vocabulary_)
            found = self._parts_cache = source, target, decoder, attention
        return found  # type: ignore[no-any-return]

    # Writing.

    def translate(self, text: Any, n: int | None = None, *, beam_width: int | None = None) -> Any:
        """What it writes for a text, or for several.

        Parameters
        ----------
        text : str, or list of str
        n : int, optional
            So many translations of each text, the most probable first.
        beam_width : int, optional
            As of the constructor, whose it is by default; at least ``n``.

        Returns
        -------
        str
            Of a list a list of str; with ``n`` a list of :class:`Translation` (text, score) for each text.
        """
        several = not isinstance(text, str)
        texts = read_texts(text, f"{_WHO}: text", least=0) if several else [text]
        count = 1 if n is None else integer(n, f"{_WHO}: n")
        width = self._writing()[0] if beam_width is None else integer(beam_width, f"{_WHO}: beam_width")
        found: list[list[Translation]] = []
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        made: dict[int, list[Translation]] = {}
        for begin in range(0, len(order), _TOGETHER):
            rows = order[begin : begin + _TOGETHER]
            made.update(
                zip(rows, self._translated([texts[row] for row in rows], count, max(width, count)), strict=True)
            )
        found = [made[row] for row in range(len(texts))]
        if n is None:
            return [row[0].text for row in found] if several else found[0][0].text
        return found if several else found[0]

    def _translated(self, texts: list[str], count: int, width: int) -> list[list[Translation]]:
        source, target, decoder, _ = self._parts
        _, penalty, _, copies = self._writing()
        ids = [self._encode(source, target, text, "")[0] for text in texts]
        x, lengths = padded(ids)
        labels, scores = decoder.decode(
            x, lengths=lengths, steps=self._most(), beam_width=width, top_paths=count, length_penalty=penalty
        )
        found: list[list[Translation]] = []
        for row, text in enumerate(texts):
            unknown = [source.split(text)[at] for at in np.flatnonzero(ids[row] >= len(source))] if copies else []
            paths = [labels[path, row][labels[path, row] >= 0] for path in range(count)]
            made = zip(paths, scores[row], strict=True)
            found.append([Translation(text_of(target, path, unknown), float(s)) for path, s in made if np.isfinite(s)])
        return found

    def _most(self) -> int:
        """The tokens that it writes at most, the end included."""
        return self._writing()[2] or (3 * self.longest_ + 1) // 2 + 2

    def _margin(self, text: str) -> float:
        """How far ahead of the second the most probable token was, at the least, along a greedy translation."""
        source, target, decoder, _ = self._parts
        ids = self._encode(source, target, text, "")[0]
        labels, _ = decoder.decode(ids[None], steps=self._most())
        written = labels[0, 0][labels[0, 0] >= 0]
        logits = self.models_[0].predict(
            [ids[None], np.concatenate([[MARK], written])[None].astype(np.int32)], verbose=0
        )
        ordered = np.sort(logits[0], axis=-1)
        return float((ordered[:, -1] - ordered[:, -2]).min())

    def _weights(self, ids: Ids, written: Ids) -> NDArray[np.float32]:
        """The attention at each written token: (written, read)."""
        _, _, _, attention = self._parts
        before = np.concatenate([[MARK], written[:-1]]).astype(np.int32)
        found: NDArray[np.float32] = attention.predict([ids[None], before[None]], verbose=0)[0]
        return found

    def predict(self, X: Any) -> NDArray[Any]:
        """What it writes for each text: ndarray of shape (N,) of str.

        Parameters
        ----------
        X : list, array or Series of str, (N,)
        """
        texts = read_texts(X, f"{_WHO}: X")
        found = np.empty(len(texts), dtype=object)
        found[:] = self.translate(texts)
        return found

    # How well.

    def score(self, X: Any, y: Any) -> float:
        """The share of texts for which it writes exactly what it should.

        Parameters
        ----------
        X, y : list, array or Series of str, (N,)
        """
        return self.scores(X, y)["exact"]

    def scores(self, X: Any, y: Any) -> dict[str, float]:
        """What it writes beside what it should.

        Parameters
        ----------
        X, y : list, array or Series of str, (N,)

        Returns
        -------
        dict
            ``exact``: the share that is right to the letter; ``character_error_rate`` and ``word_error_rate``: edits a
            character, a word of what it should be; ``bleu``: of words (Papineni et al., 2002).
        """
        texts = read_texts(X, f"{_WHO}: X")
        right = read_texts(y, f"{_WHO}: y")
        if len(texts) != len(right):
            raise ValueError(
                f"{_WHO}: Found input variables with inconsistent numbers of samples: [{len(texts)}, {len(right)}]"
            )
        written = self.translate(texts)
        some = any(right)
        return {
            "exact": float(np.mean([a == b for a, b in zip(written, right, strict=True)])),
            "character_error_rate": float(metrics.CharacterErrorRate()(right, written)) if some else float("nan"),
            "word_error_rate": float(metrics.WordErrorRate()(right, written)) if some else float("nan"),
            "bleu": float(metrics.BLEU()(right, written)) if some else float("nan"),
        }

    def alignment(self, text: str, translation: str | None = None) -> Alignment:
        """Where it looks in a text as it writes.

        Parameters
        ----------
        text : str
        translation : str, optional
            What it is to write; by default what it does.

        Returns
        -------
        Alignment
            ``source`` and ``written``, the tokens, and ``weights`` (written, read), whose rows sum to 1.
        """
        source, target, _, _ = self._parts
        text = read_texts([text], f"{_WHO}: text", empty=False)[0]
        wanted = self.translate(text) if translation is None else read_texts([translation], f"{_WHO}: translation")[0]
        ids, written = self._encode(source, target, text, wanted)
        read, tokens = source.split(text), [token.strip(" ") or token for token in target.split(wanted)]
        if not len(written):
            return Alignment(read, [], np.zeros((0, len(read)), np.float32))
        return Alignment(read, tokens, self._weights(ids, written))

    # Elsewhere.

    def export_onnx(self, path: Any, decoder: Any = None, *, tokens: bool = False, **options: Any) -> Any:
        """Write one ONNX file, texts in and translations out; or an encoder and a decoder, for a loop of one's own.

        Parameters
        ----------
        path : str or path
            Of the file, whose input is ``text`` (B,), one at least, and whose output is ``translation`` (B,), strings.
            It takes the most probable token at each step, as ``translate(…, beam_width=1)`` does. With ``decoder`` the
            encoder's.
        decoder : str or path, optional
            Of the decoder: then two files of labels are written (:func:`rekur.onnx.export_seq2seq`), whose metadata
            ``vocabulary`` says which label is which token.
        tokens : bool
            Of one file. False: onnxruntime's operator Tokenizer takes texts apart. True: standard operators alone; the
            input is ``characters`` or ``words``, (B, S) with "" behind the end.
        **options
            Of :func:`rekur.onnx.export`; opset is 20 or above for one file.

        Returns
        -------
        rekur.onnx.ExportReport or Seq2SeqReport

        Raises
        ------
        rekur.onnx.ExportError
            For texts of byte pairs in one file.
        rekur.onnx.VerificationError
            If onnxruntime writes something else. Then nothing is written.
        """
        from rekur.tasks.text import _onnx_translator

        self._check_fitted()
        tokens = boolean(tokens, f"{_WHO}: tokens")
        if decoder is None:
            return _onnx_translator.write_translator(self, path, tokens, dict(options))
        if tokens:
            raise ValueError(f"{_WHO}: tokens=True is of one file; an encoder and a decoder take and give labels")
        return _onnx_translator.write_halves(self, path, decoder, dict(options))

    # What was learned, to read and to see.

    def summary(self) -> str:
        """What was read and learned; printed, and returned."""
        from rekur.tasks.text._summary import of_translator

        text = of_translator(self)
        print(text)
        return text

    def plot(
        self, text: str | None = None, translation: str | None = None, *, figure: "Figure | None" = None
    ) -> "Figure":
        """Where it looks in a text as it writes; or, without a text, how the loss fell.

        Parameters
        ----------
        text, translation : str, optional
            As of :meth:`alignment`.
        figure : matplotlib Figure, optional
            To draw into.
        """
        from rekur.tasks import report

        self._check_fitted()
        if text is None:
            return report.plot_training(self.history_, names={"val_loss": "held out"}, figure=figure)
        found = self.alignment(text, translation)
        return report.plot_attention(found.weights, found.source, found.written, figure=figure)
