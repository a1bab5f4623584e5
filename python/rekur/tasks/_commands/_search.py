"""``--search``: an estimator's parameters are chosen on what comes before the test."""

from typing import Any

from rekur.tasks._commands._output import Teller, counted

_COSTS = ("latency", "size", "memory")


def searched(model: Any, data: Any, given: Any, options: Any, tell: Teller) -> tuple[Any, str]:
    """The estimator with parameters that a search has found, not yet fitted, and in words what they are.

    Parameters
    ----------
    model : Estimator
    data : as ``fit`` of it takes them
        Without what it will be tested on.
    given : collection of str
        Parameters that stay as they are.
    options : argparse.Namespace
        ``search``, how many are tried; ``budget``, a dict or None; ``seed``; ``quiet``.
    tell : Teller
    """
    from rekur.tune import search  # which knows the estimators, and Optuna
    from rekur.tune._result import described
    from rekur.tune._space import space_of

    plain = type(model)(**{**model.get_params(deep=False), "verbose": 0})
    space = {name: choices for name, choices in space_of(plain, None).items() if name not in given}
    if not space:
        raise ValueError("search: nothing is left to be searched: leave --cell or --units out")
    found = search(
        plain, data, space=space, budget=options.budget, trials=options.search, seed=options.seed,
        verbose=0 if options.quiet else 1,
    )  # fmt: skip
    best = found.best
    model.set_params(**{name: getattr(found.best_model, name) for name in space})
    words = f"the best of {counted(len(found.trials), 'trial')} takes {described(best)}"
    tell.notes([words])
    return model, words


def budget(text: str) -> dict[str, Any]:
    """``latency=0.001,size=200KB`` as a budget of :mod:`rekur.tune`.

    Raises
    ------
    ValueError
        For what is none.
    """
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals or name not in _COSTS:
            raise ValueError(f"expected COST=LIMIT with a cost of {', '.join(_COSTS)}, got {part.strip()!r}")
        try:
            found[name] = float(value) if name == "latency" else value
        except ValueError:
            raise ValueError(f"expected seconds, as latency=0.001, got {part.strip()!r}") from None
    return found
