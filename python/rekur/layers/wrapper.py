"""The base of layers that do something with another one."""

from typing import Any

from rekur._spec import Spec
from rekur.layers.base import Layer


class Wrapper(Layer):
    """A layer around another layer or model, for classes of one's own: they say in ``call`` what they do with it.

    ``Bidirectional`` and ``TimeDistributed`` are such layers ready to use.

    Parameters
    ----------
    layer : Layer or Model
        It is there as ``self.layer``; its weights are the wrapper's.

    Raises
    ------
    TypeError
        If it is no layer, or for Wrapper itself.

    Examples
    --------
    >>> import rekur
    >>> class Twice(rekur.layers.Wrapper):
    ...     def call(self, x):
    ...         return self.layer(self.layer(x))
    >>> x = rekur.Input((None, 4))
    >>> rekur.Model(x, Twice(rekur.layers.Dense(4))(x)).count_params()
    20
    """

    def __init__(self, layer: Any, *, name: str | None = None, **options: Any) -> None:
        from rekur.models.structure import Structure  # which is made of this package

        if type(self) is Wrapper:
            raise TypeError(
                "Wrapper: a class of your own derives from it and says in `call` what it does with self.layer"
            )
        super().__init__(name, options)
        if not isinstance(layer, (Layer, Structure)):
            raise TypeError(f"{self!r}: expected a layer or a model, got {layer!r}")
        self.layer = layer

    def get_config(self) -> Spec:
        from rekur.models.configs import serialize

        return {**super().get_config(), "layer": serialize(self.layer)}

    @classmethod
    def _of_config(cls, config: Spec, name: str | None) -> Layer:
        from rekur.models.configs import deserialize

        layer = config["layer"]
        return cls(**{**config, "layer": deserialize(layer) if isinstance(layer, dict) else layer}, name=name)
