"""Layers with a memory of their own: positions, states that are matrices, attention over the last steps."""

import math

import numpy as np

from rekur import _core
from rekur._cpp_text import literal
from rekur._static._writer import Floats, Layer, Writer, lines

POSITIONS, MATRICES, ATTENTION = (f"rekur/detail/static_{name}.hpp" for name in ("positions", "matrices", "attention"))


def write_position(w: Writer, layer: Layer) -> None:
    w.needs.add(POSITIONS)
    ((name, size, initial),) = layer.states
    at, t, n = w.state(layer.name, name, size, initial), w.name("at"), layer.features
    y = w.output(layer)
    w.line(f"const double {t} = count_step({at});")
    if layer.type == "PositionEmbedding":
        rows = layer.weights["embeddings"].shape[0]
        table = w.matrix(layer.name, "embeddings", layer.weights["embeddings"])
        w.line(f"position_embedding<{rows}, {n}>({t}, {table}, {y});")
        return
    wavelength, rates = float(layer.spec.get("max_wavelength", 10000)), w.name("rate")
    w.line(f"fill<{n}>(0.0f, {y});")
    if layer.type == "SinePositionEncoding":
        powers = [math.pow(wavelength, -float(i - i % 2) / float(n)) for i in range(n)]
        w.line(f"static constexpr double {rates}[] = {{{', '.join(p.hex() for p in powers)}}};")
        w.line(f"sine_position<{n}>({t}, {rates}, {y});")
    else:
        powers = [math.pow(wavelength, -2.0 * float(i) / float(n)) for i in range(n // 2)]
        scaling = float(layer.spec.get("scaling_factor", 1))
        w.line(f"static constexpr double {rates}[] = {{{', '.join(p.hex() for p in powers)}}};")
        w.line(f"rotary_position<{n}>({t} / {scaling.hex()}, {rates}, {layer.inputs[0]}, {y});")


def write_selective(w: Writer, layer: Layer) -> None:
    w.needs.add(MATRICES)
    p, F = layer.weights, layer.features
    taps, E = p["convolution"].shape
    N, R, U = p["A_log"].shape[0], p["dt_kernel"].shape[0], p["output_kernel"].shape[1]
    selected = p["selection_kernel"].shape[1]
    wide = lines(E)

    def constant(what: str, values: Floats | None = None) -> str:
        return w.constant(layer.name, what, p.get(what) if values is None else values)

    def matrix(what: str) -> str:
        return w.matrix(layer.name, what, p[what])

    ((name, size, _),) = layer.states
    state = w.state(layer.name, name, size, None)
    w.states[-1].rows = (N + taps - 1, E)
    x, u, r, y, selection = (w.array(n) for n in (2 * wide, E, E, E, selected))
    w.line(f"product<{F}, {2 * E}, {E}, 0, {E}>({layer.inputs[0]}, {matrix('kernel')}, {constant('bias')}, {x});")
    before = f"{state} + {N * wide}"
    w.line(f"convolve<{taps}, {E}>({x}, {matrix('convolution')}, {constant('convolution_bias')}, {before}, {u});")
    w.line(f"product<{E}, {selected}, {selected}, 0>({u}, {matrix('selection_kernel')}, nullptr, {selection});")
    w.line(f"product<{R}, {E}, {E}, 0>({selection}, {matrix('dt_kernel')}, {constant('dt_bias')}, {r});")
    decays = constant("decays", _core.negative_exponentials(p["A_log"].reshape(-1)))
    b, c = f"{selection} + {R}", f"{selection} + {R + N}"
    w.line(f"selective_scan<{E}, {N}>({decays}, {constant('D')}, {state}, {u}, {r}, {x} + {wide}, {b}, {c}, {y});")
    out = w.output(layer)
    w.line(f"product<{E}, {U}, {U}, 0>({y}, {matrix('output_kernel')}, {constant('output_bias')}, {out});")
    if layer.spec.get("return_state", False):
        whole = w.output(layer, 1)
        w.line(f"copy_rows<{N + taps - 1}, {E}, {wide}, {E}>({state}, {whole});")


def write_matrix(w: Writer, layer: Layer) -> None:
    w.needs.add(MATRICES)
    p, spec, mlstm = layer.weights, layer.spec, layer.type == "MLSTM"
    rule = "mlstm" if mlstm else spec.get("mode", "gated")
    H, K = spec["num_heads"], spec["key_dim"]
    V = spec.get("value_dim", K)
    F, columns = p["kernel"].shape
    U, L = p["output_kernel"].shape[1], V + mlstm
    gate = H * V if spec.get("output_gate", True) else 0
    # Where the numbers of a step stand in the projection, and how far apart heads have them.
    widths = {"q": (H * K, K), "k": (H * K, K), "v": (H * V, V)}
    if mlstm:
        widths |= {"b": (H, 1), "z": (gate, V), "a": (H, 1)}
    else:
        decay = {"gated": (H * K, K), "gated_delta": (H, 1)}.get(rule, (0, 0))
        widths |= {"a": decay, "b": (H if "delta" in rule else 0, 1), "z": (gate, V)}
    places, at = {}, 0
    for what, (width, each) in widths.items():
        places[what], at = (at, each), at + width
    assert at == columns
    bias = np.concatenate([p["bias"], p["forget_bias"]]) if "forget_bias" in p else p.get("bias")
    row = w.name("p")
    # Heads are read in whole vectors, the last ones past the end.
    w.line(f"alignas(64) float {row}[{lines(columns) + 16}] = {{}};")
    kernel, biases = w.matrix(layer.name, "kernel", p["kernel"]), w.constant(layer.name, "bias", bias)
    w.line(f"product<{F}, {columns}, {columns}, 0>({layer.inputs[0]}, {kernel}, {biases}, {row});")
    o, normal, head = w.name("o"), w.array(H * V), w.name("head")
    w.line(f"alignas(64) float {o}[{lines(H * V) + 16}] = {{}};")
    gamma = w.constant(layer.name, "gamma", p["gamma"])
    root = np.float32(1) / np.sqrt(np.float32(K))
    scales = [literal(1 if mlstm else root), literal(root if mlstm else 1)]
    power = literal(np.float32(1) / np.float32(spec.get("decay_normalizer", 16.0)) if not mlstm else 1)
    each = K * lines(L) + 16 * mlstm
    ((name, size, _),) = layer.states
    state = w.state(layer.name, name, size, None)
    w.states[-1].heads = (H, K, L, mlstm)

    def of_head(what: str) -> str:
        first, width = places[what]
        return f"{row} + {first} + {head} * {width}"

    w.line(f"for (int {head} = 0; {head} < {H}; ++{head}) {{")
    w.line(f"float* const own = {state} + {head} * {each};")
    numbers = ", ".join([*scales, power, *(of_head(what) for what in "qkvab")])
    m = f"own + {K * lines(L)}" if mlstm else "nullptr"
    w.line(f"matrix_head<MatrixRule::{rule}, {K}, {V}>({numbers}, own, {m}, {o} + {head} * {V});")
    z = of_head("z") if gate else "nullptr"
    epsilon, by = literal(spec.get("epsilon", 1e-5)), f"{gamma} + {head} * {V if mlstm else 0}"
    to = f"{normal} + {head} * {V}"
    w.line(f"matrix_norm<{V}, {str(mlstm).lower()}>({epsilon}, {by}, {o} + {head} * {V}, {z}, {to});")
    w.line("}")
    y = w.output(layer)
    kernel = w.matrix(layer.name, "output_kernel", p["output_kernel"])
    biases = w.constant(layer.name, "output_bias", p.get("output_bias"))
    w.line(f"product<{H * V}, {U}, {U}, 0>({normal}, {kernel}, {biases}, {y});")
    if spec.get("return_state", False):
        whole, head_size = w.output(layer, 1), K * L + mlstm
        for h in range(H):
            w.line(f"copy_rows<{K}, {L}, {lines(L)}, {L}>({state} + {h * each}, {whole} + {h * head_size});")
            if mlstm:
                w.line(f"{whole}[{h * head_size + K * L}] = {state}[{h * each + K * lines(L)}];")


def _attention(w: Writer, layer: Layer, q: str, k: str, v: str, to: str, sizes: tuple[int, int, int, int], scale: float,
               additive: Floats | None) -> None:  # fmt: skip
    w.needs.add(ATTENTION)
    heads, key_heads, dim, value = sizes
    window = layer.spec["sliding_window"]
    (position, _, _), (cache, size, _) = layer.states
    place = w.state(layer.name, position, 1, None)
    ring = w.state(layer.name, cache, size, None)
    room = (window - 1 + 127) // 128 * 128 + 128
    each = room * (dim + lines(value))
    shape = f"{dim}, {value}, {window}"
    at, factors = w.name("at"), w.constant(layer.name, "factors", additive)
    w.line(f"const int {at} = attention_place<{room}>({place});")
    for head in range(key_heads):
        own = f"{ring} + {head * each}"
        by = literal(1 if additive is None else scale)
        w.line(f"attention_enter<{shape}>({at}, {k} + {head * dim}, {by}, {v} + {head * value}, {own});")
    for head in range(heads):
        own = f"{ring} + {head // (heads // key_heads) * each}"
        numbers = f"{q} + {head * dim}, {literal(scale)}, {factors}, {own}, {to} + {head * value}"
        w.line(f"attend<{shape}>({at}, {numbers});")
    w.line(f"attention_next<{room}>({at}, {place});")


def write_attention(w: Writer, layer: Layer) -> None:
    """Attention and AdditiveAttention: one head, no weights but the scores' factors."""
    dim, value, flat = layer.features, layer.output_shapes[0][-1], layer.flat
    use_scale = layer.spec.get("use_scale", layer.type == "AdditiveAttention")
    scale, additive = np.float32(1), None
    if layer.type == "AdditiveAttention":
        additive = flat if use_scale else np.ones(dim, np.float32)
    else:
        scale = flat[0] if use_scale else scale
        if layer.spec.get("score_mode", "dot") == "concat":
            additive = np.full(dim, flat[1 if use_scale else 0], np.float32)
    q, v, k = layer.inputs[0], layer.inputs[1], layer.inputs[-1]
    y = w.output(layer)
    w.line(f"fill<{value}>(0.0f, {y});")
    _attention(w, layer, _beyond(w, q, dim), k, v, y, (1, 1, dim, value), float(scale), additive)


def _beyond(w: Writer, x: str, n: int) -> str:
    """A copy with room for a vector that begins at its last number."""
    own = w.name()
    w.line(f"alignas(64) float {own}[{lines(n) + 16}] = {{}};")
    w.line(f"copy<{n}>({x}, {own});")
    return own


def write_heads(w: Writer, layer: Layer) -> None:
    """MultiHeadAttention and GroupQueryAttention: projections around the heads."""
    p, spec = layer.weights, layer.spec
    if layer.type == "MultiHeadAttention":
        heads = key_heads = spec["num_heads"]
        dim = spec["key_dim"]
        value = spec.get("value_dim", dim)
    else:
        heads, key_heads = spec["num_query_heads"], spec["num_key_value_heads"]
        dim = value = spec["head_dim"]

    def project(part: str, x: str, features: int, n: int, to: str) -> str:
        kernel = w.matrix(layer.name, f"{part}_kernel", p[f"{part}/kernel"])
        bias = w.constant(layer.name, f"{part}_bias", p.get(f"{part}/bias"))
        w.line(f"product<{features}, {n}, {n}, 0>({x}, {kernel}, {bias}, {to});")
        return to

    def room(n: int) -> str:
        name = w.name()
        w.line(f"alignas(64) float {name}[{lines(n) + 16}] = {{}};")
        return name

    last = len(layer.inputs) - 1
    q = project("query", layer.inputs[0], layer.input_shapes[0][-1], heads * dim, room(heads * dim))
    k = project("key", layer.inputs[last], layer.input_shapes[last][-1], key_heads * dim, room(key_heads * dim))
    v = project("value", layer.inputs[1], layer.input_shapes[1][-1], key_heads * value, room(key_heads * value))
    o = room(heads * value)
    scale = float(np.float32(1) / np.sqrt(np.float32(dim)))
    _attention(w, layer, q, k, v, o, (heads, key_heads, dim, value), scale, None)
    y = w.output(layer)
    project("attention_output", o, heads * value, layer.output_shapes[0][-1], y)
