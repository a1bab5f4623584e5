"""torch's recurrent modules on rekur's engine: the same constructors, parameters, results and errors, in less time.

    from rekur.torch import LSTM                  # in place of torch.nn's
    rekur.torch.accelerate(model)                 # or the recurrent modules of a model that is there already

`LSTM`, `GRU`, `RNN`, `LSTMCell`, `GRUCell` and `RNNCell` are subclasses of torch's: state_dicts, hooks, `deepcopy`,
pickles, `isinstance` and the random numbers of `reset_parameters` and dropout are torch's own. What is of float32 on
the CPU runs on the engine; anything else (float64, half, other devices, empty batches, `torch.func` and forward-mode
derivatives, tracing and `torch.export`, second derivatives) runs in torch itself, with torch's results and errors.
The number of threads is `torch.get_num_threads()`. docs/coming-from-pytorch.md has examples.

`RNN` takes a cell of rekur's in place of `input_size`, too: `rekur.torch.RNN(rekur.cells.min_gru, 16, 32)`.

Needs PyTorch, which rekur does not install.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("rekur.torch needs PyTorch, which is not installed: pip install torch") from error

from rekur.torch._accelerate import Accelerated, accelerate
from rekur.torch._cells import GRUCell, LSTMCell, RNNCell
from rekur.torch._dynamo import allow_in_compile as _allow_in_compile
from rekur.torch._layers import GRU, LSTM, RNN
from rekur.torch._own_cells import CellRNN

__all__ = ["GRU", "LSTM", "RNN", "Accelerated", "CellRNN", "GRUCell", "LSTMCell", "RNNCell", "accelerate"]

_allow_in_compile()
