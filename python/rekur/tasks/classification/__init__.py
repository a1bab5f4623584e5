"""Sequences and what they are: classes, numbers, tags."""

from rekur.tasks.classification._classifier import SequenceClassifier as SequenceClassifier
from rekur.tasks.classification._regressor import SequenceRegressor as SequenceRegressor
from rekur.tasks.classification._tagger import SequenceTagger as SequenceTagger
