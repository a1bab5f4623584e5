"""The C++ engine. Private: use the classes of ``rekur`` instead."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Shape = tuple[int | None, ...]
_Array = NDArray[np.float32] | NDArray[np.int32]
_Floats = NDArray[np.float32]
_Ints = NDArray[np.int32]
# None, lengths by input, or a dict of "lengths" (B,), "masks" and "resets" (B, T) uint8, each by input.
_Steps = Sequence[_Ints | None] | Mapping[str, Sequence[NDArray[Any] | None]] | None
# (output, whether the gradient is wanted) to float64 values, one a row or step, and the float32 gradient.
_OwnLoss = Callable[[_Floats, bool], tuple[NDArray[np.float64], _Floats | None]]
_Path = str | bytes  # bytes (os.fsencode) where it need not be UTF-8

__version__: str

def isa() -> str: ...
def available_isas() -> list[str]: ...
def set_isa(name: str) -> None: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...

class ThreadLimit:
    def __init__(self, threads: int) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, type: object, error: object, traceback: object) -> None: ...

def _allow_any_number_of_threads(allow: bool) -> None: ...
def _disturb_teams(seed: int) -> int: ...
def _cgroup_cores(root: str) -> int: ...
def cpu_info() -> str: ...
def layer_types() -> list[str]: ...
def operation_names() -> list[str]: ...
def inference_cell(layer: str) -> str: ...
def time_axes(
    spec: str,
) -> tuple[
    dict[str, tuple[_Shape, int]], dict[str, int], list[tuple[str, int, int, str, tuple[int, int, int, int]]]
]: ...
def parameter_shapes(spec: str) -> list[tuple[str, tuple[int, ...]]]: ...
def few_outputs(inputs: int, outputs: int) -> bool: ...
def infer_layer(layer: str, inputs: Sequence[tuple[_Shape, str]]) -> list[tuple[_Shape, str]]:
    """Output (shape, dtype) of one layer, given as JSON, for inputs of (shape, dtype); shape[0] is the batch (None)."""

class Equations:
    """Equations that a code of the engine has. Equal signatures are compiled alike."""

    @property
    def signature(self) -> str: ...
    @property
    def compiled(self) -> bool:
        """Whether there is a function for the instruction set in use."""

def equations_abi() -> int: ...
def all_equations() -> list[Equations]: ...
def equations_heard(make: Callable[[], object]) -> list[Equations]:
    """Those of the codes that are made on this thread while the function runs."""

def equations_text(equations: Sequence[Equations]) -> str: ...
def load_equations(path: str) -> None: ...
def written_equations(equations: str, by_row: Sequence[bool]) -> dict[str, Any]:
    """{"equations": …} as a listing: values in order, outputs, passes over a row, constants."""

def written_cell(layer: str, features: int, step_features: Sequence[int], weights: _Floats) -> dict[str, Any]:
    """A recurrent layer's step as a program: products, parts by phase as listings, weights as the engine takes them."""

def int8_matrix(matrix: _Floats) -> tuple[NDArray[np.int8], _Floats]:
    """A matrix (K, N) of eight bits: its integers, and the scale of each column, NaN of one that is not finite."""

def negative_exponentials(x: _Floats) -> _Floats: ...
def stream_program(model: Model) -> dict[str, Any]:
    """What a stream does at a step: its arrays, inputs, outputs, layers and their states. Raises as a stream does."""

def stream_steps(model: Model, inputs: Sequence[_Array]) -> list[_Floats]:
    """What a stream of one row gives, step by step. For tests."""

def _use_compiled(use: bool) -> None: ...
def activate(name: str, alpha: float, beta: float, x: _Floats) -> _Floats:
    """An activation applied elementwise by the ISA in use (``"exp"`` too). For tests."""

class Tape:
    """What a training forward pass keeps; consumed by Model.backward."""

class Model:
    def __init__(self, spec: str, shared: Mapping[str, tuple[Model, str]] = ...) -> None:
        """`shared`: by layer (model, its layer) whose weights it has."""
    @property
    def spec(self) -> str: ...
    @property
    def signal(self) -> tuple[float, int]:
        """(sample rate or 0, latency); set alike."""
    @signal.setter
    def signal(self, signal: tuple[float, int]) -> None: ...
    @property
    def training(self) -> list[tuple[str, bool, float]]:
        """(name, trained, factor of the learning rate) of each layer of the spec."""
    def set_trained(self, layer: str, trained: bool, learning_rate_scale: float = 1.0) -> None: ...
    @property
    def inputs(self) -> list[tuple[str, _Shape, str]]: ...
    @property
    def outputs(self) -> list[tuple[str, _Shape, str]]: ...
    @property
    def parameters(self) -> list[tuple[str, tuple[int, ...], int]]:
        """(name, shape, offset) of each parameter in the flat buffer."""
    def initialize(self, seed: int, keep: Sequence[str] = ()) -> None:
        """Draw all parameters but those named in `keep`. Ctrl-C ends it, with no parameter changed."""
    def get_weights(self) -> _Floats:
        """A copy of the flat parameter buffer."""
    def rounded_weights(self, type: str) -> _Floats:
        """The same with every matrix rounded to "bf16" or "fp16", or those of eight bits to "int8". ValueError for a
        weight that is too large for it, and for "int8" where there is no such matrix.
        """
    @property
    def matrices(self) -> list[str]:
        """Names of the parameters that are rounded to sixteen bits."""
    @property
    def int8_matrices(self) -> list[str]:
        """Names of the parameters that products of eight bits read."""
    def int8_weights(self) -> tuple[NDArray[np.int8], _Floats]:
        """Integers and scales of those, one after the other."""
    def set_weights(self, flat: _Floats) -> None: ...
    def output_shapes(self, inputs: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]: ...
    def run_memory(self, inputs: Sequence[tuple[int, ...]], training: bool = False, remat: bool = False) -> int:
        """Bytes of a run on inputs of these shapes."""
    def layers_across_time(self) -> list[str]:
        """Layers whose output at a step depends on other steps in a way that no state carries on."""
    def valid_steps(self, inputs: Sequence[_Array], lengths: _Steps = None) -> list[NDArray[np.bool_] | None]:
        """By output which steps are there; None: all, or no time axis."""
    def predict(self, inputs: Sequence[_Array], lengths: _Steps = None) -> list[_Floats]: ...
    def forward(
        self, inputs: Sequence[_Array], lengths: _Steps = None, seed: int = 0, step: int = 0
    ) -> tuple[list[_Floats], Tape]: ...
    def backward(self, tape: Tape, output_gradients: Sequence[_Floats | None]) -> tuple[_Floats, list[_Floats | None]]:
        """(flat weight gradients, gradient of each float32 input)."""
    def save(
        self,
        path: _Path,
        tensors: dict[str, _Floats] | None = None,
        metadata: dict[str, str] | None = None,
        weights: str = "float32",
    ) -> None: ...
    def pack(
        self, path: _Path, isas: Sequence[str], one_row: bool, more_rows: bool, metadata: dict[str, str]
    ) -> None: ...
    @staticmethod
    def map(path: _Path) -> Model:
        """The model of a file whose weights are used where they lie, as far as they can be."""
    @property
    def mapped_bytes(self) -> int: ...

def load(path: _Path) -> tuple[Model, dict[str, _Floats], dict[str, str]]:
    """(model, further tensors, further metadata) of a file written by Model.save."""

class Trainer:
    def __init__(self, model: Model, config: str) -> None: ...
    def step(
        self,
        inputs: Sequence[_Array],
        targets: Sequence[_Array | None],
        lengths: _Steps = None,
        sample_weights: Sequence[_Floats | None] | None = None,
        want_outputs: bool = False,
        own_losses: Sequence[_OwnLoss | None] | None = None,
    ) -> tuple[float, list[float], list[_Floats] | None, list[int]]:
        """One training step: (loss, loss of each output, predictions or None)."""
    def evaluate(
        self,
        inputs: Sequence[_Array],
        targets: Sequence[_Array | None],
        lengths: _Steps = None,
        sample_weights: Sequence[_Floats | None] | None = None,
        want_outputs: bool = False,
        own_losses: Sequence[_OwnLoss | None] | None = None,
    ) -> tuple[float, list[float], list[_Floats] | None, list[int]]: ...
    def sums_size(self) -> int:
        """Floats of the sums of a step in parts: gradients, then what layers observe of the rows."""
    def add(
        self,
        inputs: Sequence[_Array],
        targets: Sequence[_Array | None],
        lengths: _Steps,
        sample_weights: Sequence[_Floats | None] | None,
        want_outputs: bool,
        own_losses: Sequence[_OwnLoss | None] | None,
        counts: Sequence[int],
        rows: int,
        number: int,
        sums: _Floats,
        ready: Callable[[int, int], None] | None = None,
    ) -> tuple[float, list[float], list[_Floats] | None, list[int]]:
        """A part of a step: its share of the losses; ``sums`` is overwritten."""
    def finish(self, sums: _Floats) -> float:
        """The update by the sums over all parts; what regularizers add to the loss."""
    def apply_gradients(self, flat: _Floats) -> None:
        """An update by gradients of the caller's own, flat as the parameters."""
    def finalize(self) -> None:
        """The averages of the weights take their place, where the optimiser keeps any."""
    def set_optimizer(self, config: str) -> None:
        """Other hyperparameters for the next step on; the state stays."""
    def set_remat(self, remat: bool) -> None:
        """For the next step on: keep little and compute it again."""
    @property
    def iterations(self) -> int: ...
    def state(self) -> dict[str, _Floats]: ...
    def set_state(self, slots: dict[str, _Floats], iterations: int) -> None: ...

def read_safetensors(path: _Path) -> tuple[dict[str, str], dict[str, Any]]:
    """(metadata, arrays by name) of any safetensors file whose types NumPy has; bf16 is read as float32."""

def write_safetensors(path: _Path, metadata: dict[str, str], tensors: dict[str, Any]) -> None: ...
def write_file(path: _Path, data: bytes) -> None:
    """The path holds the old file or the new one, never a piece; what a rename must not replace is refused."""

def check_writable(path: _Path) -> None:
    """Raise what write_file would raise at once."""

class NGram:
    """Logarithms of probabilities of n-grams, whose labels stand one behind the other."""

    def __init__(
        self,
        order: int,
        unknown: float,
        labels: _Ints,
        sizes: _Ints,
        log_p: NDArray[np.float64],
        backoff: NDArray[np.float64],
    ) -> None: ...
    def score(self, labels: _Ints) -> float: ...

def ctc_loss(
    logits: _Floats, labels: _Ints, counts: _Ints, valid: NDArray[np.uint8] | None, blank: int, want_gradient: bool
) -> tuple[NDArray[np.float64], _Floats | None]:
    """Values (B,), and derivatives of each by its own logits."""

def ctc_greedy(logits: _Floats, lengths: _Ints | None, blank: int, merge_repeated: bool) -> tuple[_Ints, _Floats]: ...
def ctc_beam(
    logits: _Floats,
    lengths: _Ints | None,
    blank: int,
    width: int,
    paths: int,
    scorer: NGram | None,
    alpha: float,
    beta: float,
) -> tuple[_Ints, NDArray[np.float64]]: ...
def crf_decode(
    emissions: _Floats,
    transitions: _Floats,
    start: _Floats | None,
    end: _Floats | None,
    lengths: _Ints | None,
    paths: int,
) -> tuple[_Ints, NDArray[np.float64]]: ...
def crf_marginals(
    emissions: _Floats, transitions: _Floats, start: _Floats | None, end: _Floats | None, lengths: _Ints | None
) -> _Floats: ...
def crf_scores(
    emissions: _Floats,
    transitions: _Floats,
    start: _Floats | None,
    end: _Floats | None,
    lengths: _Ints | None,
    tags: _Ints,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(log Z, score of the tags) of each row."""

def edit_distances(a: _Ints, a_sizes: _Ints, b: _Ints, b_sizes: _Ints) -> NDArray[np.int64]:
    """Of pairs of sequences, whose labels stand one behind the other."""

class Stream:
    """rekur::Stream. Arrays follow `inputs`, `outputs` and `beginnings`; of several steps one after the other."""

    def __init__(self, model: Model, batch: int = 1, whole: Sequence[str] = ..., sample_rate: float = 0.0) -> None: ...
    @property
    def rate_match(self) -> str: ...
    @property
    def inputs(self) -> list[tuple[str, _Shape, str]]: ...
    @property
    def outputs(self) -> list[tuple[str, _Shape, str]]: ...
    @property
    def states(self) -> list[tuple[str, _Shape, str]]: ...
    @property
    def beginnings(self) -> list[tuple[str, _Shape, str]]: ...
    @property
    def rows(self) -> int: ...
    def step(self, x: Sequence[_Array]) -> list[_Floats]: ...
    def process(self, x: Sequence[_Array], count: int) -> list[_Floats]: ...
    def begin(self, arrays: Sequence[_Floats], steps: _Steps = None) -> None: ...
    def select(self, rows: Sequence[int]) -> None: ...
    def reset(self, row: int | None = None) -> None: ...
    def get_state(self) -> _Floats: ...
    def set_state(self, state: _Floats) -> None: ...

class Decoder:
    """rekur::Decoder."""

    def __init__(self, model: Model, whole: Sequence[str], logits: bool, attention: int = -1) -> None: ...
    @property
    def classes(self) -> int: ...
    @property
    def beginnings(self) -> list[tuple[str, _Shape, str]]: ...
    def decode(
        self, given: Sequence[_Floats], steps: _Steps, prompts: Sequence[_Ints], options: Mapping[str, Any]
    ) -> list[list[tuple[_Ints, float, float, bool]]]:
        """By row its paths, best first: labels, log p, score, whether it ended."""

def draw_labels(logits: _Floats, number: int, history: Sequence[_Ints], options: Mapping[str, Any]) -> _Ints:
    """A label of each row (B, V) that has read `number` labels, as a Decoder draws it; -1 where none can be."""

class Generator:
    """rekur::Generator."""

    def __init__(self, model: Model, batch: int, whole: Sequence[str], logits: bool) -> None: ...
    @property
    def classes(self) -> int: ...
    def begin(self, arrays: Sequence[_Floats], steps: _Steps = None) -> None: ...
    def reset(self) -> None: ...
    def read(self, labels: _Ints) -> bool: ...
    def next(self, options: Mapping[str, Any], batch: int) -> _Ints | None: ...
    def logits(self) -> _Floats: ...

_Rows = tuple[int, int, int]  # the first number's address (0: none), floats from row to row and from step to step

class StackTape:
    """What a training pass of a Stack leaves: in memory of its own, or at an address on a cache line's border."""

    def __init__(self, memory: int = ..., floats: int = ...) -> None: ...
    @property
    def used(self) -> bool: ...

class Stack:
    """Layers of one cell on float32 memory of another library, told by addresses, in torch's layouts; 0: there is none.

    States are [num_layers·directions, B, width], weights as torch's _flat_weights. x and y have T·B rows, or where
    batch_sizes (int64 [T]) are given `rows`, packed as torch packs them. masks: by layer but the last, which its
    outputs' rows are multiplied with, step by step. The caller has looked at all that an address does not say.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        proj_size: int,
        num_layers: int,
        bidirectional: bool,
        bias: bool,
    ) -> None: ...
    @property
    def tape_size(self) -> tuple[int, int]:
        """Floats of a tape: at most the first times T·B, and the second."""

    def forward(
        self,
        threads: int,
        T: int,
        B: int,
        x: _Rows,
        batch_sizes: int,
        rows: int,
        h: int,
        c: int,
        weights: Sequence[int],
        masks: Sequence[int],
        y: _Rows,
        hn: int,
        cn: int,
        tape: StackTape | None,
    ) -> None: ...
    def step(
        self,
        threads: int,
        B: int,
        x: int,
        stride: int,
        h: int,
        c: int,
        weights: Sequence[int],
        hn: int,
        cn: int,
        tape: StackTape | None,
    ) -> None:
        """`forward` of one step without y, for which each argument counts."""

    def backward(
        self,
        tape: StackTape,
        threads: int,
        T: int,
        B: int,
        x: _Rows,
        batch_sizes: int,
        rows: int,
        h: int,
        c: int,
        weights: Sequence[int],
        masks: Sequence[int],
        dy: _Rows,
        dhn: int,
        dcn: int,
        dx: _Rows,
        dh: int,
        dc: int,
        d_weights: Sequence[int],
    ) -> None:
        """Writes the gradients that have an address."""

def layer_run(
    spec: str, weights: Sequence[_Floats], inputs: Sequence[_Floats], steps: _Steps, keep: bool
) -> tuple[list[_Floats], NDArray[np.uint32] | None]:
    """A model's outputs with weights of the caller's, and the token of what a training pass kept."""

def layer_back(
    spec: str,
    weights: Sequence[_Floats],
    inputs: Sequence[_Floats],
    steps: _Steps,
    token: NDArray[np.uint32],
    output_gradients: Sequence[_Floats | None],
    wanted: Sequence[bool],
) -> list[_Floats]:
    """Gradients of the wanted ones of weights and inputs. What the token names is used where it is there."""

def set_tape_memory(limit: int) -> None: ...
def tape_memory() -> int: ...
def _idle_memory() -> int: ...
def layer_calls_address() -> int:
    """Of the table that python/rekur/jax/layer_calls.h describes."""
