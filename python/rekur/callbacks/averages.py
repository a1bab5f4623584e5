"""SwapEMAWeights: evaluations with the averages of the weights in their place."""

from typing import NoReturn

import numpy as np

from rekur._own import check_options
from rekur._settings import Setting
from rekur._validate import boolean
from rekur.callbacks.base import Callback, Logs
from rekur.training.by_batch import unflatten

_AVERAGE = "optimizer/average"  # among the trainer's slots


class SwapEMAWeights(Callback):
    """Let the averages that an optimizer with ``use_ema=True`` keeps take the place of the weights in evaluations.

    Before an evaluation or a prediction, the validation of a fit too, weights and averages change places, and
    afterwards back again.

    Parameters
    ----------
    swap_on_epoch : bool
        Whether they do so at the end of each epoch as well, until the next begins, so that callbacks that follow, such
        as ModelCheckpoint, see and save the averages.

    Raises
    ------
    ValueError
        From the call, if the optimizer keeps no averages.
    """

    _kept = ("_swapped",)
    swap_on_epoch = Setting(boolean)

    def __init__(self, swap_on_epoch: bool = False, **options: NoReturn) -> None:
        check_options("callback", type(self), options)
        self.swap_on_epoch = swap_on_epoch
        self._swapped = False

    def _swap(self, swapped: bool) -> None:
        if swapped == self._swapped:
            return
        model, bound = self.model, self.model._trainer()
        if not bound.optimizer.use_ema:
            raise ValueError(
                "SwapEMAWeights must be used when `use_ema=True` is set on the optimizer. Received: use_ema=False"
            )
        if bound.trainer.iterations == 0:
            return  # there are none yet
        self._swapped = swapped
        engine, state = model._engine(), bound.state()
        weights, averages = engine.get_weights(), state[_AVERAGE].copy()
        change = np.zeros(len(weights), bool)
        marked = unflatten(engine, change)
        for weight in model.trainable_weights:
            marked[weight.path][...] = True
        weights[change], averages[change] = averages[change], weights[change]
        engine.set_weights(weights)
        bound.set_state({**state, _AVERAGE: averages}, bound.trainer.iterations, bound.epochs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._swap(False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if not self.swap_on_epoch:
            return
        self._swap(True)
        if epoch + 1 == self.params["epochs"] or self.model.stop_training:  # fit lets averages take the weights' place
            bound = self.model._trainer()
            state = {**bound.state(), _AVERAGE: self.model._engine().get_weights()}
            bound.set_state(state, bound.trainer.iterations, bound.epochs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._swapped = False  # fit has put the averages into the weights

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._swap(True)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._swap(False)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._swap(True)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._swap(False)
