"""What reports of classifiers count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassScores:
    """Counts and scores of answers.

    Attributes
    ----------
    classes
        C names.
    matrix
        (C, C): of the true class (row), taken for (column).
    precision, recall, f1
        (C,); NaN where nothing was answered, or nothing was there.
    accuracy, balanced, majority
        Of all answers; the mean recall of the classes that occur; the share of the most frequent class.
    """

    classes: list[Any]
    matrix: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    accuracy: float
    balanced: float
    majority: float

    @property
    def count(self) -> NDArray[np.int64]:
        """(C,): how many there were of each class."""
        counts: NDArray[np.int64] = self.matrix.sum(1)
        return counts


def count_classes(truth: Any, predicted: Any, classes: Sequence[Any] | None = None) -> ClassScores:
    """Count.

    Parameters
    ----------
    truth, predicted
        (N,) labels.
    classes
        All there are, in the order in which they are shown; by default those that occur.

    Raises
    ------
    ValueError
        If they differ in length, or hold a label that is none of the classes.
    """
    true, answers = list(np.asarray(truth).ravel().tolist()), list(np.asarray(predicted).ravel().tolist())
    if len(true) != len(answers):
        raise ValueError(f"predicted: expected {len(true)} labels, as truth has, not {len(answers)}")
    if classes is None:
        names = sorted({*true, *answers}, key=lambda label: (str(type(label)), label))
    else:
        names = list(np.asarray(classes).tolist())
    place = {label: i for i, label in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), np.int64)
    for a, b in zip(true, answers, strict=True):
        if a not in place or b not in place:
            raise ValueError(f"classes: no {a if a not in place else b!r:.60} among them")
        matrix[place[a], place[b]] += 1
    right = np.diag(matrix).astype(np.float64)
    there, said = matrix.sum(1), matrix.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(there > 0, right / there, np.nan)
        precision = np.where(said > 0, right / said, np.nan)
        f1 = np.where(there + said > 0, 2 * right / (there + said), np.nan)
    total = max(int(matrix.sum()), 1)
    return ClassScores(
        names,
        matrix,
        precision,
        recall,
        f1,
        accuracy=float(right.sum() / total),
        balanced=float(np.nanmean(recall)) if np.isfinite(recall).any() else float("nan"),
        majority=float(there.max(initial=0) / total),
    )


def frequent_mistakes(scores: ClassScores, most: int = 5) -> list[tuple[Any, Any, int, float]]:
    """(true class, taken for, how often, share of the class), the most frequent first."""
    off = scores.matrix.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:most]
    found = []
    for i, j in zip(*np.unravel_index(order, off.shape), strict=True):
        if off[i, j]:
            share = off[i, j] / max(int(scores.matrix[i].sum()), 1)
            found.append((scores.classes[i], scores.classes[j], int(off[i, j]), float(share)))
    return found
