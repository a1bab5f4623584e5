"""Names that Keras has and rekur does not, with what does the same or comes near."""

import importlib
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from rekur._validate import did_you_mean


def _all(names: str, text: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), text)


def _plain(names: str) -> dict[str, str]:
    """Names without a counterpart."""
    return _all(names, "")


_IDS = "make integer ids of the text first and feed an Embedding"
_NUMPY = "do it to the arrays with NumPy before fit and predict"

_LAYERS: dict[str, str] = {
    "GroupNormalization": "LayerNormalization comes near",
    "ThresholdedReLU": "Activation(rekur.activations.ThresholdedReLU(alpha)), Keras's theta",
    "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU",
    "ReversibleEmbedding": "Embedding, and a Dense layer with weights of its own",
    "EinsumDense": "Dense works over the last axis",
    "StringLookup": _IDS,
    "IntegerLookup": _IDS,
    "Hashing": _IDS,
    "HashedCrossing": _IDS,
    "Discretization": _NUMPY,
    "CategoryEncoding": _NUMPY,
    "STFTSpectrogram": _NUMPY,
    "MelSpectrogram": _NUMPY,
    "InputSpec": "a layer checks its inputs when it is called",
    "serialize": "a model's description is model.spec",
    "deserialize": "rekur.Model.from_spec makes a model of its spec",
    **_plain(
        """AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D
        AdaptiveMaxPooling2D AdaptiveMaxPooling3D AugMix AutoContrast AveragePooling2D AveragePooling3D
        AvgPool2D AvgPool3D CenterCrop ContrastLimitedAdaptiveHistogramEqualization Conv2D Conv2DTranspose
        Conv3D Conv3DTranspose ConvLSTM3D Convolution2D Convolution2DTranspose
        Convolution3D Convolution3DTranspose Cropping2D Cropping3D CutMix DepthwiseConv2D Equalization
        FlaxLayer GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool2D GlobalAvgPool3D
        GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling2D GlobalMaxPooling3D JaxLayer MaxNumBoundingBoxes
        MaxPool2D MaxPool3D MaxPooling2D MaxPooling3D MixUp Pipeline RandAugment RandomBrightness
        RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform
        RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective
        RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation
        RandomZoom Resizing SeparableConv2D SeparableConvolution2D Solarization SpatialDropout2D
        SpatialDropout3D SpectralNormalization TFSMLayer TorchModuleWrapper UpSampling2D UpSampling3D
        ZeroPadding2D ZeroPadding3D"""
    ),
}

_INITIALIZERS: dict[str, str] = {
    **_plain("STFT STFTInitializer"),
}

_ACTIVATIONS: dict[str, str] = {
    "threshold": "rekur.activations.ThresholdedReLU(alpha), or lambda x: rekur.ops.threshold(x, threshold, value)",
    "glu": "a Dense layer of each half, and Multiply",
    "sparsemax": "'softmax' comes near",
}

_LOSSES: dict[str, str] = {}

_METRICS: dict[str, str] = {
    "MeanMetricWrapper": "a function of (y_true, y_pred) that returns one value a row is a metric too",
}

_OPTIMIZERS: dict[str, str] = {
    "Adafactor": "'adam' comes nearest",
    "Muon": "'adamw' comes nearest",
    "ScheduleFreeAdamW": "'adamw' comes nearest",
    "LossScaleOptimizer": "all is float32, whose gradients need no scaling",
    "legacy": "the optimizers here are those of Keras 3",
    **_plain("MultiOptimizer OptimizerMap"),
}

_CALLBACKS: dict[str, str] = {
    "OrbaxCheckpoint": "ModelCheckpoint",
}

_MODELS: dict[str, str] = {
    "save_model": "model.save(path)",
}

_TOP: dict[str, str] = {
    "InputSpec": "a layer checks its inputs when it is called",
    "Function": "rekur.Model(inputs, outputs)",
    "saving": "model.save and rekur.load",
    "datasets": "rekur.data has real series; arrays come from anywhere",
    "backend": "the engine is rekur's own",
    "random": "rekur.set_random_seed",
    "config": "all is float32; rekur.set_num_threads sets the threads",
    "mixed_precision": 'compile(precision="bf16") says it, docs/precision.md',
    "dtype_policies": "precision= of a layer or of compile says it, docs/precision.md",
    "export": "rekur.onnx.export and rekur.export_cpp",
    "quantizers": "rekur.quantize(model, 'int8') and model.quantize round a trained model",
    "wrappers": "",
    **_plain("Regularizer Operation Quantizer StatelessScope SymbolicScope Variable DTypePolicy FloatDTypePolicy"),
    **_plain("RematScope applications distribution distillation legacy name_scope remat tree visualization device"),
}

_UTILS: dict[str, str] = {
    "get_file": "urllib.request.urlretrieve fetches a file",
    "split_dataset": "slices of the arrays, or fit(validation_split=…)",
    "get_custom_objects": "a file holds no code, and needs none",
    "custom_object_scope": "a file holds no code, and needs none",
    "CustomObjectScope": "a file holds no code, and needs none",
    "register_keras_serializable": "a file holds no code, and needs none",
    **_plain(
        """Config Progbar FeatureSpace array_to_img audio_dataset_from_directory bounding_boxes deserialize_keras_object
        get_registered_name get_registered_object get_source_inputs image_dataset_from_directory img_to_array
        is_interactive_logging_enabled is_keras_tensor legacy load_img pack_x_y_sample_weight save_img
        serialize_keras_object set_random_state text_dataset_from_directory unpack_x_y_sample_weight"""
    ),
}

_KINDS = {
    "utils": _UTILS,
    "layer": _LAYERS,
    "initializer": _INITIALIZERS,
    "activation": _ACTIVATIONS,
    "loss": _LOSSES,
    "metric": _METRICS,
    "optimizer": _OPTIMIZERS,
    "callback": _CALLBACKS,
    "cell": {},
    "estimator": {},
    "picture": {},
    "model": _MODELS,
    "top": _TOP,
}


def _plainest(name: str) -> str:
    """What names in any spelling share: ``LogCosh``, ``log_cosh`` and ``logcosh``."""
    return name.replace("_", "").lower()


def advice(kind: str, name: object) -> str | None:
    """What to do instead of a name that Keras has; empty where there is nothing, None for a name it does not have."""
    if not isinstance(name, str):
        return None
    names = {_plainest(n): text for n, text in _KINDS[kind].items()}
    return names.get(_plainest(name))


def unknown(kind: str, name: object, known: Iterable[str], word: str = "") -> str:
    """The message for a name that is not there.

    ``"activation 'gelu' is Keras's and not here yet: …"``, or for any other ``"unknown activation 'rellu'; did you mean
    'relu'?"``. ``word`` is what the kind is called.
    """
    word, names = word or kind, list(known)
    found = advice(kind, name)
    if found is None:
        return f"unknown {word} '{name}'{did_you_mean(name, names)}"
    return f"{word} '{name}' is Keras's and not here yet{_instead(found, names)}"


def _instead(text: str, known: list[str]) -> str:
    return f": {text}" if text else f"; known are {', '.join(known)}"


def no_attribute(module: str, kind: str, name: str, depth: int) -> NoReturn:
    """What a module's ``__getattr__`` raises; ``depth`` is the distance of the frame that asked.

    Raises
    ------
    ImportError
        Where ``from … import`` asks: an AttributeError's words would be lost there.
    AttributeError
        Everywhere else.
    """
    found = advice(kind, name)
    if found is not None:
        text = f"module '{module}' has no '{name}', which Keras has{f': {found}' if found else '; it is not here yet'}"
    elif name in _spellings(kind):
        text = f"module '{module}' has no '{name}': give its name, '{name}', as a string"
    else:
        text = f"module '{module}' has no attribute '{name}'{did_you_mean(name, _public(module))}"
    if _is_import(sys._getframe(depth)):
        raise ImportError(text, name=module)
    raise AttributeError(text, name=name)


def _public(module: str) -> list[str]:
    found = vars(sys.modules[module])
    names = found.get("__all__") or [n for n, value in found.items() if getattr(value, "__module__", "") == module]
    return [n for n in names if not n.startswith("_")]


def _spellings(kind: str) -> tuple[str, ...]:
    """What is a function or a lower-case name in Keras and a string here."""
    if kind == "activation":
        module = importlib.import_module("rekur.activations")
        return (*module.NAMES, *module.LIBRARY)
    if kind == "loss":
        return tuple(importlib.import_module("rekur.losses").KNOWN)
    if kind == "metric":
        losses = importlib.import_module("rekur.losses")
        return (*importlib.import_module("rekur.metrics").KNOWN, *losses.KNOWN, *losses._MORE_ALIASES)
    if kind == "initializer":
        module = importlib.import_module("rekur.initializers")
        return (*module.NAMES, *module._ALIASES)
    return ()


def _is_import(frame: Any) -> bool:
    """Whether the frame stands in ``from … import``."""
    import dis

    return bool(dis.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_FROM")
