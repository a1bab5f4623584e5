"""Labels, or numbers, that a model goes on with by itself."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._random import draw_seed
from rekur._spec import nodes, split_reference
from rekur._streams import Stream, engine_of
from rekur._validate import as_float32, as_int32, boolean, integer, real, show

Labels = NDArray[np.int32]


def gives_logits(spec: Any) -> bool:
    """Whether the first output is to be read as logits: it does not end in a softmax or another probability."""
    by_name = {node["name"]: node for node in nodes(spec)}
    return _logits(by_name, spec["outputs"][0])


def _logits(by_name: dict[str, Any], reference: str) -> bool:
    node = by_name[split_reference(reference)[0]]
    # What probabilities are mixed to are some, too.
    mixes = node["type"] in ("Dropout", "Step", "Reshape", "Add", "Multiply", "Rescaling")
    if node["type"] == "Lambda":  # Multiply of several shapes, Maximum, Minimum
        mixes = {operation[0] for operation in node["equations"]["nodes"]} <= {"add", "multiply", "maximum", "minimum"}
    if mixes:
        return any(_logits(by_name, ref) for ref in node["inputs"])
    activation = node.get("activation", "linear")
    name = activation.get("name") if isinstance(activation, dict) else activation
    if node["type"] in ("Dense", "Activation", "Conv1D"):
        return name not in ("softmax", "sigmoid")
    return bool(node["type"] != "Softmax")


def logits_of(model: Any, said: bool | None, what: str) -> bool:
    """Whether a model gives logits: as the caller says, or by what it ends in."""
    return gives_logits(model.spec) if said is None else boolean(said, f"{what}: from_logits")


def sampling(
    temperature: float, top_k: int | None, top_p: float, repetition_penalty: float, seed: int | None, what: str
) -> dict[str, Any]:
    """The engine's options of how a label is drawn, checked."""
    if not real(repetition_penalty, f"{what}: repetition_penalty", 0) > 0:
        raise ValueError(f"{what}: repetition_penalty must be above 0, got {repetition_penalty!r}")
    if not real(top_p, f"{what}: top_p", 0, 1) > 0:
        raise ValueError(f"{what}: top_p must be above 0, got {top_p!r}")
    return {
        "temperature": real(temperature, f"{what}: temperature", 0),
        "top_k": 0 if top_k is None else integer(top_k, f"{what}: top_k", 0),
        "top_p": float(top_p),
        "repetition_penalty": float(repetition_penalty),
        "seed": draw_seed() if seed is None else integer(seed, f"{what}: seed", 0),
    }


def padded(rows: Sequence[Labels]) -> Labels:
    """Rows of labels as one array, -1 behind those that are shorter."""
    found = np.full((len(rows), max((len(row) for row in rows), default=0)), -1, np.int32)
    for row, labels in zip(found, rows, strict=True):
        row[: len(labels)] = labels
    return found


def label_rows(value: Any, classes: int, what: str) -> tuple[list[Labels], bool]:
    """Rows of labels, of an array (B, P), whose rows end at the first -1, or of a list; and whether it is one."""
    single = False
    if isinstance(value, (list, tuple)) and value and not np.isscalar(value[0]) and np.ndim(value[0]) == 1:
        rows = [as_int32(row, f"{what}: row {k}") if len(row) else np.zeros(0, np.int32) for k, row in enumerate(value)]
    else:
        array = as_int32(value, what)
        if array.ndim == 1:
            array, single = array[None], True
        if array.ndim != 2:
            raise ValueError(f"{what}: expected labels of shape (B, P) or (P,), got {show(array.shape)}")
        rows = [row[: int(np.argmax(row == -1))] if (row == -1).any() else row for row in array]
    for k, row in enumerate(rows):
        wrong = row[(row < 0) | (row >= classes)]
        if wrong.size:
            raise ValueError(f"{what}: expected labels from 0 to {classes - 1}, got {wrong[0]} in row {k}")
    return rows, single


def generate(
    model: Any,
    prompt: Any,
    steps: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    seed: int | None = None,
    end: int | None = None,
    beam_width: int = 1,
    length_penalty: float = 0.0,
    from_logits: bool | None = None,
) -> Any:
    """What a model of what comes next goes on with.

    Of a model of labels, from ids (B, T) or one-hot vectors (B, T, classes) to the probabilities or logits of the next
    one: labels, drawn one after the other by the engine. Of a model of numbers, (B, T, F) to the next (B, T, F) or
    (B, F): its outputs, each the input of the next step.

    Parameters
    ----------
    model : Model
        Goes step by step (:class:`rekur.Stream` says what can). Its states go on from the prompt to what follows.
    prompt : array_like of int, shape (B, P) or (P,), or a list of rows
        What comes first, one label at least; rows of an array end at the first -1. Of a model of numbers float,
        (B, P, F) or (P, F).
    steps : int
        How many labels follow, at most.
    temperature : float
        What logits are divided by; 0: the most probable label each time.
    top_k : int, optional
        Only so many of the most probable labels are drawn.
    top_p : float
        Only the most probable labels whose probabilities reach it together are drawn (nucleus sampling, Holtzman et
        al., arXiv:1904.09751).
    repetition_penalty : float
        What positive logits of labels that there are already are divided by, and negative ones multiplied (Keskar et
        al., arXiv:1909.05858).
    seed : int, optional
        The same seed draws the same labels, whatever the other rows and the threads; by default another one each call.
        A draw depends on the seed, the row's number and how many labels came before alone: with some of what was drawn
        added to the prompt, the rest is drawn as it was, and :class:`rekur.Generator` draws the same.
    end : int, optional
        The label that ends a row; it is not among those returned.
    beam_width, length_penalty : int, float
        Above 1: no label is drawn, but the most probable sequence looked for (:meth:`rekur.Seq2Seq.decode`).
    from_logits : bool, optional
        Whether the model gives logits, not probabilities; by default what does not end in a softmax or sigmoid does.

    Returns
    -------
    int32 ndarray of shape (B, L), or (L,) of one prompt; -1 stands behind rows that have ended. Of a model of numbers
    float32 (B, steps, F) or (steps, F).

    Raises
    ------
    ValueError
        For a model of another kind, labels that are no class, and settings out of range.
    """
    steps = integer(steps, "generate: steps")
    stream_of = Stream(model)
    (_, shape, dtype), outputs = stream_of._inputs[0], stream_of._outputs
    if len(stream_of._inputs) != 1 or len(outputs) < 1:
        raise ValueError(f"generate: expected a model of one input, got {len(stream_of._inputs)}")
    given = np.asarray(prompt) if not isinstance(prompt, (list, tuple)) else prompt
    if dtype == "float32" and _is_numbers(given):
        return _continued(model, as_float32(prompt, "generate: prompt"), steps, shape, outputs[0][1])
    decoder = _core.Decoder(model._engine(), [], logits_of(model, from_logits, "generate"))
    rows, single = label_rows(prompt, decoder.classes, "generate: prompt")
    if not rows:
        return np.zeros((0, 0), np.int32)
    for k, row in enumerate(rows):
        if not len(row):
            raise ValueError(f"generate: prompt: row {k} is empty: at least one label comes first")
    options: dict[str, Any] = {"steps": steps, "end": _label(end, decoder.classes, "generate: end")}
    if integer(beam_width, "generate: beam_width") > 1:
        options |= {"beam_width": beam_width, "length_penalty": real(length_penalty, "generate: length_penalty", 0)}
    else:
        drawn = sampling(temperature, top_k, top_p, repetition_penalty, seed, "generate")
        options |= {"sample": True, **drawn}
    begins = [
        np.zeros((len(rows), *(size or 0 for size in shape[1:])), np.float32) for _, shape, _ in decoder.beginnings
    ]
    found = [paths[0][0] for paths in decoder.decode(begins, None, rows, options)]
    return found[0] if single else padded(found)


def _label(value: int | None, classes: int, what: str) -> int:
    label = -1 if value is None else integer(value, what, 0)
    if label >= classes:
        raise ValueError(f"{what}: expected a label below {classes}, got {label}")
    return label


def _is_numbers(prompt: Any) -> bool:
    first = prompt
    while isinstance(first, (list, tuple)) and len(first):
        first = first[0]
    return np.asarray(first).dtype.kind == "f"


def _continued(model: Any, prompt: Any, steps: int, step: Any, output: Any) -> Any:
    """Numbers: each output is the next input."""
    single = prompt.ndim == len(step)
    x = prompt[None] if single else prompt
    if tuple(step[1:]) != tuple(output[1:]):
        raise ValueError(
            f"generate: each output is the next input, but a step of the input is {show(step)}, of the output "
            f"{show(output)}"
        )
    if x.ndim != len(step) + 1 or x.shape[2:] != tuple(step[1:]) or not x.shape[1]:
        expected = f"(B, P, …) with steps of {show(tuple(step[1:]))}"
        raise ValueError(f"generate: prompt: expected shape {expected}, got {show(prompt.shape)}")
    if not len(x):
        return np.zeros((0, steps, *step[1:]), np.float32)
    stream = Stream(model, batch=len(x))
    y = stream.process(x)
    y = (y[0] if isinstance(y, list) else y)[:, -1]
    found = [y]
    for _ in range(steps - 1):
        y = stream.step(y)
        y = y[0] if isinstance(y, list) else y
        found.append(y)
    made = np.stack(found, axis=1)
    return made[0] if single else made


class Generator:
    """A model of labels that goes on by itself, one label a call, its states kept between calls.

    Parameters
    ----------
    model : Model
        As of :func:`rekur.generate`. Its weights are taken as they are now.
    batch : int
        Sequences that go side by side.
    seed : int, optional
        Of what is drawn, which is what :func:`rekur.generate` draws with it; after :meth:`reset` the same again.
    from_logits : bool, optional
        As of :func:`rekur.generate`.

    Examples
    --------
    >>> generator = rekur.Generator(model, seed=1)
    >>> for label in generator.stream(prompt, steps=200, temperature=0.8):
    ...     print(letters[label], end="")
    """

    def __init__(self, model: Any, batch: int = 1, seed: int | None = None, from_logits: bool | None = None) -> None:
        engine = engine_of(model, "Generator")
        self._batch = integer(batch, "Generator: batch")
        self._seed = draw_seed() if seed is None else integer(seed, "Generator: seed", 0)
        self._core = _core.Generator(engine, self._batch, [], logits_of(model, from_logits, "Generator"))

    @property
    def classes(self) -> int:
        return self._core.classes

    def read(self, labels: Any) -> None:
        """Take labels as what comes next: (P,) of one sequence, (batch, P) of several.

        Raises
        ------
        ValueError
            For labels that are no class, and another number of rows.
        """
        array = as_int32(labels, "Generator: labels")
        if self._batch == 1 and array.ndim == 1:
            array = array[None]
        if array.ndim != 2 or len(array) != self._batch:
            raise ValueError(f"Generator: expected labels of shape ({self._batch}, P), got {show(array.shape)}")
        wrong = array[(array < 0) | (array >= self.classes)]
        if wrong.size:
            raise ValueError(f"Generator: expected labels from 0 to {self.classes - 1}, got {wrong[0]}")
        for step in np.ascontiguousarray(array.T):
            self._core.read(step)

    def next(
        self,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
    ) -> Any:
        """Draw the next label, and read it.

        The settings are those of :func:`rekur.generate`; labels that there are already are the last 1024.

        Returns
        -------
        int, or of several sequences int32 ndarray of shape (batch,)

        Raises
        ------
        ValueError
            Before the first label was read, and where the model's outputs are no numbers.
        """
        options = sampling(temperature, top_k, top_p, repetition_penalty, self._seed, "Generator")
        labels = self._core.next(options, self._batch)
        if labels is None:
            raise ValueError("Generator: nothing was read yet, or what the model gives is no probability of any label")
        return int(labels[0]) if self._batch == 1 else labels

    def stream(self, prompt: Any, steps: int | None = None, end: int | None = None, **settings: Any) -> Iterator[Any]:
        """Read a prompt, then give label after label; ``end`` ends it, and is not given."""
        if prompt is not None:
            self.read(prompt)
        steps = None if steps is None else integer(steps, "Generator: steps")
        last = _label(end, self.classes, "Generator: end")
        if last >= 0 and self._batch > 1:
            raise ValueError("Generator: end: of several sequences none ends the others")
        count = 0
        while steps is None or count < steps:
            label = self.next(**settings)
            if self._batch == 1 and label == last:
                return
            yield label
            count += 1

    def reset(self) -> None:
        """Another sequence: states zero, nothing read."""
        self._core.reset()

    @property
    def logits(self) -> NDArray[np.float32]:
        """Logits, or logarithms of probabilities, of what comes next: (batch, classes)."""
        return self._core.logits()
