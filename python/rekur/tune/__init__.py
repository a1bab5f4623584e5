"""Networks chosen for the data: searched by Optuna within a budget, and grown from one that is trained."""

from rekur.tune._cost import Budget, latency, memory, size, step
from rekur.tune._deepen import deepen
from rekur.tune._grow import grow
from rekur.tune._pruning import Pruning
from rekur.tune._result import Search, TrialResult
from rekur.tune._search import load, search
from rekur.tune._space import Recurrent, suggest
from rekur.tune._widen import growing_layers, widen

__all__ = [
    "Budget",
    "Pruning",
    "Recurrent",
    "Search",
    "TrialResult",
    "deepen",
    "grow",
    "growing_layers",
    "latency",
    "load",
    "memory",
    "search",
    "size",
    "step",
    "suggest",
    "widen",
]
