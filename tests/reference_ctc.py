"""CTC in NumPy and float64: all rows and labels at once, a time step after the other."""

import numpy as np

_BLANK = 0


def ctc(y_true, logits, valid, want_gradient):
    """Values (B,) and, if wanted, derivatives by the logits (B, T, F); ``valid`` (B, T): which steps are there."""
    with np.errstate(invalid="ignore"):  # NaN among the logits
        return _ctc(y_true, logits.astype(np.float64), valid, want_gradient)


def _ctc(y_true, x, valid, want_gradient):
    x = x - x.max(axis=-1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    rows, steps = log_p.shape[:2]
    labels = y_true.astype(np.int64)
    count = (labels != _BLANK).sum(axis=1)
    states = np.full((rows, 2 * labels.shape[1] + 1), _BLANK)  # blank, label, blank, label, …, blank
    states[:, 1::2] = labels
    # A label may follow the one before it without a blank, unless both are the same.
    skips = np.zeros(states.shape, bool)
    skips[:, 3::2] = (labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] != _BLANK)
    inside = np.arange(states.shape[1]) <= 2 * count[:, None]
    emitted = np.take_along_axis(log_p, np.broadcast_to(states[:, None], (rows, steps, states.shape[1])), axis=-1)
    emitted = np.where(inside[:, None], emitted, -np.inf)

    def before(alpha, skips):
        padded = np.pad(alpha, ((0, 0), (2, 0)), constant_values=-np.inf)
        skipped = np.where(skips, padded[:, :-2], -np.inf)
        return np.asarray(np.logaddexp(np.logaddexp(alpha, padded[:, 1:-1]), skipped))

    begin = np.where(np.arange(states.shape[1]) == 0, 0.0, -np.inf)
    alpha = np.empty((steps + 1, *states.shape))
    alpha[0] = np.broadcast_to(begin, states.shape)
    first = np.ones(rows, bool)
    for t in range(steps):
        begins = np.where(np.arange(states.shape[1]) < 2, 0.0, -np.inf)
        reached = np.where(first[:, None], begins, before(alpha[t], skips)) + emitted[:, t]
        alpha[t + 1] = np.where(valid[:, t, None], reached, alpha[t])
        first &= ~valid[:, t]
    places = np.arange(rows)
    ends = np.logaddexp(alpha[-1][places, 2 * count], np.where(count > 0, alpha[-1][places, 2 * count - 1], -np.inf))
    ends = np.where(first, np.where(count == 0, 0.0, -np.inf), ends)
    if not want_gradient:
        return -ends, None

    possible = np.isfinite(ends)
    gradient = np.zeros(log_p.shape)
    last = np.full(states.shape, -np.inf)
    last[places, 2 * count] = 0.0
    last[places[count > 0], 2 * count[count > 0] - 1] = 0.0
    beta = last  # of what follows step t, from each state
    after_skips = np.pad(skips[:, 2:], ((0, 0), (0, 2)))
    one_hot_rows = places[:, None].repeat(states.shape[1], axis=1)
    for t in range(steps - 1, -1, -1):
        there = valid[:, t] & possible
        share = np.exp(np.where(there[:, None], alpha[t + 1] + beta - np.where(possible, ends, 0.0)[:, None], -np.inf))
        np.add.at(gradient[:, t], (one_hot_rows, states), -share)
        gradient[there, t] += np.exp(log_p[there, t])
        onward = beta + emitted[:, t]
        padded = np.pad(onward, ((0, 0), (0, 2)), constant_values=-np.inf)
        skipped = np.where(after_skips, padded[:, 2:], -np.inf)
        earlier = np.logaddexp(np.logaddexp(onward, padded[:, 1:-1]), skipped)
        beta = np.where(valid[:, t, None], earlier, beta)
    return -ends, gradient
