"""The numbers that Keras's own tests of its recurrent layers expect, reached by the same calls, on arrays at once."""

import numpy as np
import pytest

from rekur import initializers, layers, ops

CONSTANT = {
    "kernel_initializer": initializers.Constant(0.01),
    "recurrent_initializer": initializers.Constant(0.02),
    "bias_initializer": initializers.Constant(0.03),
}


def counted(*shape):
    return np.arange(np.prod(shape)).reshape(shape).astype("float32")


def rows(*values, units):
    """Each value for so many units, a row each."""
    return np.array([[value] * units for value in values])


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def masked(layer, sequence, mask, **options):
    """What the layer gives under a mask, where masks are here."""
    try:
        return layer(sequence, mask=mask, **options)
    except TypeError as error:
        if "no argument 'mask'" in str(error):
            pytest.skip("masks are not here yet")
        raise


WHOLE = [
    ("LSTM", (3, 6, 4), 3, {}, (0.6288687, 0.86899155, 0.9460773)),
    ("LSTM", (3, 6, 4), 3, {"implementation": 1}, (0.6288687, 0.86899155, 0.9460773)),
    ("LSTM", (3, 6, 4), 3, {"unroll": True}, (0.6288687, 0.86899155, 0.9460773)),
    ("LSTM", (3, 6, 4), 3, {"go_backwards": True}, (0.35622165, 0.74789524, 0.8872726)),
    ("LSTM", (3, 6, 4), 3, {"unit_forget_bias": False}, (0.57019705, 0.8661914, 0.9459622)),
    ("LSTM", (3, 6, 4), 3, {"use_bias": False}, (0.54986924, 0.86226785, 0.9443936)),
    ("GRU", (3, 6, 4), 3, {}, (0.5217289, 0.6371659, 0.39384964)),
    ("GRU", (3, 6, 4), 3, {"unroll": True}, (0.5217289, 0.6371659, 0.39384964)),
    ("GRU", (3, 6, 4), 3, {"go_backwards": True}, (0.24406259, 0.611516, 0.3928808)),
    ("GRU", (3, 6, 4), 3, {"reset_after": False}, (0.51447755, 0.6426879, 0.40208298)),
    ("GRU", (3, 6, 4), 3, {"use_bias": False}, (0.49988455, 0.64701194, 0.4103359)),
    ("SimpleRNN", (2, 3, 4), 4, {}, (0.405432, 0.73605347)),
    ("SimpleRNN", (2, 3, 4), 4, {"unroll": True}, (0.405432, 0.73605347)),
    ("SimpleRNN", (2, 3, 4), 4, {"go_backwards": True}, (0.11144729, 0.5528889)),
    ("SimpleRNN", (2, 3, 4), 4, {"go_backwards": True, "unroll": True}, (0.11144729, 0.5528889)),
]


@pytest.mark.parametrize(("kind", "shape", "units", "options", "expected"), WHOLE)
def test_last_outputs(kind, shape, units, options, expected):
    layer = getattr(layers, kind)(units, **CONSTANT, **options)
    close(layer(counted(*shape)), rows(*expected, units=units))
    cell = {k: v for k, v in options.items() if k not in ("unroll", "go_backwards")}
    around = {k: v for k, v in options.items() if k in ("unroll", "go_backwards")}
    made = layers.RNN(getattr(layers, f"{kind}Cell")(units, **CONSTANT, **cell), **around)
    close(made(counted(*shape)), rows(*expected, units=units))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("LSTM", (0.3124785, 0.6863672)), ("GRU", (0.29542392, 0.5885018)), ("SimpleRNN", (0.40559256, 0.7361247))],
)
def test_statefulness(kind, expected):
    layer = getattr(layers, kind)(4, stateful=True, **CONSTANT)
    for _ in range(2):
        layer(counted(2, 3, 4))
        close(layer(counted(2, 3, 4)), rows(*expected, units=4))
        layer.reset_state()


STATE = counted(2, 2)
GIVEN = [
    ("LSTM", 2, [STATE, STATE], {}, [[0.20574439, 0.3558822], [0.64930826, 0.66276]]),
    ("LSTM", 2, [STATE, STATE], {"go_backwards": True}, [[0.13281618, 0.2790356], [0.5839337, 0.5992567]]),
    ("GRU", 2, STATE, {}, [[0.23774096, 0.33508456], [0.83659905, 1.0227708]]),
    ("GRU", 2, STATE, {"go_backwards": True}, [[0.13486053, 0.23261218], [0.78257304, 0.9691353]]),
    ("SimpleRNN", 4, counted(2, 4), {}, rows(0.33621645, 0.6262637, units=4)),
    ("SimpleRNN", 4, counted(2, 4), {"go_backwards": True}, rows(0.07344437, 0.43043602, units=4)),
]


@pytest.mark.parametrize(("kind", "units", "state", "options", "expected"), GIVEN)
def test_initial_states(kind, units, state, options, expected):
    close(getattr(layers, kind)(units, **CONSTANT, **options)(counted(2, 4, 3), initial_state=state), expected)
    layer = getattr(layers, kind)(units, return_state=True, **CONSTANT, **options)
    output, *states = layer(counted(2, 4, 3), initial_state=state)
    close(output, expected)
    close(states[0], expected)


RIGHT = np.array([[True, True, True, False], [True, True, False, False]])
HOLES = np.array([[True, True, False, True], [True, False, False, True]])
MASKED = [
    ("LSTM", RIGHT, [0.01588910, 0.05552048, 0.11755939, 0.11755939], [0.14185596, 0.28556206, 0.28556206, 0.28556206]),
    ("GRU", HOLES, [0.03606692, 0.09497581, 0.09497581, 0.19393763], [0.16051409, 0.16051409, 0.16051409, 0.30818558]),
    ("SimpleRNN", HOLES, [0.0599281, 0.15122814, 0.15122814, 0.32394567], [0.3969304, 0.3969304, 0.3969304, 0.608085]),
]


@pytest.mark.parametrize(("kind", "mask", "first", "second"), MASKED)
def test_masks(kind, mask, first, second):
    expected = np.repeat(np.array([first, second])[..., None], 2, axis=-1)
    made = getattr(layers, kind)
    close(masked(made(2, unroll=True, **CONSTANT), counted(2, 4, 3), mask), expected[:, -1])
    close(masked(made(2, return_sequences=True, **CONSTANT), counted(2, 4, 3), mask), expected)
    zeros = made(2, return_sequences=True, zero_output_for_mask=True, **CONSTANT)
    close(masked(zeros, counted(2, 4, 3), mask), np.where(mask[..., None], expected, 0))


@pytest.mark.parametrize(
    ("kind", "units", "expected"), [("GRU", 2, (0.11669192, 0.28380975)), ("SimpleRNN", 4, (0.07376196, 0.43645123))]
)
def test_masks_backwards(kind, units, expected):
    layer = getattr(layers, kind)(units, go_backwards=True, **CONSTANT)
    close(masked(layer, counted(2, 4, 3), HOLES), rows(*expected, units=units))


# Bidirectional.


def test_bidirectional():
    sequence = counted(2, 3, 4)
    forward = layers.SimpleRNN(2, **CONSTANT)
    there, back = rows(0.39687276, 0.7237238, units=2), rows(0.10004295, 0.53391594, units=2)
    close(layers.Bidirectional(forward)(sequence), np.concatenate([there, back], axis=-1))
    close(layers.Bidirectional(forward, merge_mode="ave")(sequence), rows(0.24845785, 0.6288199, units=2))
    first, second = layers.Bidirectional(forward, merge_mode=None)(sequence)
    close(first, there)
    close(second, back)
    backward = layers.SimpleRNN(
        2,
        kernel_initializer=initializers.Constant(0.03),
        recurrent_initializer=initializers.Constant(0.02),
        bias_initializer=initializers.Constant(0.01),
        go_backwards=True,
    )
    layer = layers.Bidirectional(forward, backward_layer=backward, merge_mode="mul")
    close(layer(sequence), rows(0.08374989, 0.6740834, units=2))


def test_bidirectional_states():
    output, h1, c1, h2, c2 = layers.Bidirectional(layers.LSTM(2, return_state=True, **CONSTANT))(counted(2, 4, 3))
    there, back = rows(0.1990008, 0.52335435, units=2), rows(0.12659755, 0.44717982, units=2)
    for found, expected in (
        (output, np.concatenate([there, back], axis=-1)),
        (h1, there),
        (c1, rows(0.35567185, 1.0492687, units=2)),
        (h2, back),
        (c2, rows(0.2501858, 0.941473, units=2)),
    ):
        close(found, expected)
    given = [STATE * k for k in (1, 2, 3, 4)]
    close(
        layers.Bidirectional(layers.LSTM(2, **CONSTANT))(counted(2, 4, 3), initial_state=given),
        [[0.20794602, 0.4577124, 0.14046375, 0.48191673], [0.6682636, 0.6711909, 0.60943645, 0.60950446]],
    )
    layer = layers.Bidirectional(layers.LSTM(2, stateful=True, **CONSTANT))
    for _ in range(2):
        layer(counted(2, 4, 3))
        close(layer(counted(2, 4, 3))[:, ::2], [[0.26234663, 0.16959146], [0.6137073, 0.5381646]])
        layer.reset_state()


def test_bidirectional_masks():
    layer = layers.Bidirectional(layers.GRU(2, **CONSTANT))
    found = masked(layer, counted(2, 4, 3), HOLES)
    close(found[:, ::2], [[0.19393763, 0.11669192], [0.30818558, 0.28380975]])


# Cells of one's own, as Keras's tests have them.


class OneState(layers.Layer):
    def __init__(self, units, state_size=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = state_size or units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer="ones", name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), initializer="ones", name="recurrent_kernel")

    def call(self, inputs, states):
        output = ops.matmul(inputs, self.kernel) + ops.matmul(states[0], self.recurrent)
        return output, [output]


class TwoStates(layers.Layer):
    def __init__(self, units, state_size=None, **kwargs):
        super().__init__(**kwargs)
        self.units = self.output_size = units
        self.state_size = state_size or [units, units]

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer="ones", name="kernel")
        square = (self.units, self.units)
        self.first = self.add_weight(shape=square, initializer="ones", name="recurrent_kernel_1")
        self.second = self.add_weight(shape=square, initializer="ones", name="recurrent_kernel_2")

    def call(self, inputs, states):
        h = ops.matmul(inputs, self.kernel)
        first, second = h + ops.matmul(states[0], self.first), h + ops.matmul(states[0], self.second)
        return first + second, [first, second]


ONES = np.ones((1, 2, 3))


def test_a_cell_of_one_state():
    close(layers.RNN(OneState(2))(ONES), [[9, 9]])
    output, state = layers.RNN(OneState(2, state_size=[2]), return_sequences=True, return_state=True)(ONES)
    close(output, [[[3, 3], [9, 9]]])
    close(state, [[9, 9]])
    close(layers.RNN(OneState(2))(np.ones((2, 3, 2)), initial_state=np.ones((2, 2))), np.full((2, 2), 22))
    stateful = layers.RNN(OneState(2), stateful=True)
    stateful(ONES)
    close(stateful(ONES), [[45, 45]])
    close(layers.RNN(OneState(2), go_backwards=True)(counted(2, 3, 4)), rows(202, 538, units=2))
    stateful = layers.RNN(OneState(2), stateful=True, return_state=True)
    stateful(counted(2, 3, 4))
    output, state = stateful(counted(2, 3, 4))
    close(output, rows(954, 3978, units=2))
    close(state, output)
    assert [w.shape for w in stateful.get_weights()] == [(4, 2), (2, 2)]


def test_a_cell_whose_output_is_none_of_its_states():
    output, first, second = layers.RNN(TwoStates(2), return_sequences=True, return_state=True)(ONES)
    close(output, [[[6, 6], [18, 18]]])
    close(first, [[9, 9]])
    close(second, [[9, 9]])
    given = [np.ones((2, 2)), np.ones((2, 2))]
    close(layers.RNN(TwoStates(2))(np.ones((2, 3, 2)), initial_state=given), np.full((2, 2), 44))
    stateful = layers.RNN(TwoStates(2, state_size=(2, 2)), stateful=True, return_state=True)
    stateful(ONES)
    for found, expected in zip(stateful(ONES), (90, 45, 45), strict=True):
        close(found, [[expected] * 2])
    assert [w.shape for w in stateful.get_weights()] == [(3, 2), (2, 2), (2, 2)]


def test_stacks_of_cells():
    sequence = counted(2, 3, 4)
    output, first, second = layers.RNN([OneState(3), OneState(2)], return_sequences=True, return_state=True)(sequence)
    close(output[..., 0], [[18, 156, 786], [162, 1020, 4386]])
    close(first, rows(158, 782, units=3))
    close(second, rows(786, 4386, units=2))
    output, first, second = layers.RNN([TwoStates(3), TwoStates(2)], return_state=True)(sequence)
    close(output, rows(3144, 17544, units=2))
    for state in first:
        close(state, rows(158, 782, units=3))
    for state in second:
        close(state, rows(1572, 8772, units=2))
    for kind, expected in ((OneState, (34092, 173196)), (TwoStates, (136368, 692784))):
        layer = layers.RNN([kind(3), kind(2)], stateful=True)
        layer(sequence)
        close(layer(sequence), rows(*expected, units=2))


def test_a_cell_under_a_mask():
    layer = layers.RNN(OneState(2), return_sequences=True)
    found = masked(layer, counted(2, 4, 3), RIGHT)
    close(found[..., 0], [[3, 18, 57, 57], [39, 126, 126, 126]])


@pytest.mark.parametrize("kind", [OneState, TwoStates])
def test_shapes_before_anything_is_built(kind):
    states = len(kind(8).state_size) if kind is TwoStates else 1
    assert layers.RNN(kind(8)).compute_output_shape((3, 4, 5)) == (3, 8)
    assert layers.RNN(kind(8), return_sequences=True).compute_output_shape((None, None, 3)) == (None, None, 8)
    found = layers.RNN(kind(8), return_state=True).compute_output_shape((3, 4, 5))
    assert found == ((3, 8),) * (1 + states)


# What stands around recurrence.


def test_time_distributed():
    if not hasattr(layers, "TimeDistributed"):
        pytest.skip("TimeDistributed is not here yet")
    inner = layers.Dense(1, kernel_initializer=initializers.Constant(0.01), use_bias=False)
    found = layers.TimeDistributed(inner)(counted(3, 2, 4))
    close(found, [[[0.06], [0.22]], [[0.38], [0.54]], [[0.7], [0.86]]])


def test_conv_lstm():
    layer = layers.ConvLSTM1D(filters=2, kernel_size=3, **CONSTANT)
    found = layer(counted(2, 3, 4, 5) / 10)
    close(found[..., 0], [[0.40807986, 0.46421072], [0.80933154, 0.8233646]])
    layer = layers.ConvLSTM2D(filters=2, kernel_size=3, **CONSTANT)
    found = layer(counted(2, 3, 4, 4, 5) / 100)
    expected = [[[0.48694518, 0.50237733], [0.5461202, 0.5598283]], [[0.8661607, 0.86909103], [0.8774414, 0.8800861]]]
    close(found[..., 0], expected)
