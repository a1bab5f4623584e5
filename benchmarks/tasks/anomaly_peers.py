"""Other libraries' detectors: TSB-AD's LSTMAD with the settings its benchmark names best, river's half-space trees."""

from __future__ import annotations

import contextlib
import os

import numpy as np

from benchmarks.tasks.anomaly_baselines import marked, scaled
from benchmarks.tasks.contender import PEER, Clock, Contender
from benchmarks.tasks.scores import anomaly_scores
from benchmarks.tasks.signals import AnomalyTask


def _lstmad(task: AnomalyTask, seed: int, clock: Clock) -> dict[str, float]:
    import torch
    from TSB_AD.HP_list import Optimal_Multi_algo_HP_dict, Optimal_Uni_algo_HP_dict

    np.Inf = np.inf  # type: ignore[attr-defined]  # tsb-ad 1.5 was written for NumPy 1
    from TSB_AD.models.LSTMAD import LSTMAD

    channels = task.train.shape[1]
    settings = (Optimal_Uni_algo_HP_dict if channels == 1 else Optimal_Multi_algo_HP_dict)["LSTMAD"]
    torch.manual_seed(seed)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        model = LSTMAD(feats=channels, **settings)
        with clock.fitting():
            model.fit(task.train)
        with clock.predicting():
            score = np.asarray(model.decision_function(task.test), float).ravel()
    return anomaly_scores(task, score)


def _half_space_trees(task: AnomalyTask, seed: int, clock: Clock) -> dict[str, float]:
    from river import anomaly, compose, preprocessing

    model = compose.Pipeline(preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=seed))
    train, test = scaled(task)
    with clock.fitting():
        for row in train:
            model.learn_one(dict(enumerate(row)))
    with clock.predicting():
        score = np.empty(len(test))
        for step, row in enumerate(test):
            values = dict(enumerate(row))
            score[step] = model.score_one(values)
            model.learn_one(values)
    return anomaly_scores(task, score)


CONTENDERS = [
    Contender("TSB-AD LSTMAD", PEER, _lstmad, needs=("TSB_AD", "torch", "torchinfo"), fits=marked),
    Contender("river HalfSpaceTrees", PEER, _half_space_trees, needs=("river",), fits=marked),
]
