"""Tickets: a title, a body and tags go in, a priority and a department come out; losses and metrics by name."""

import numpy as np

import rekur as keras
from rekur import layers

rng = np.random.default_rng(1)
num_tags, num_words, num_departments = 12, 50, 4

title_input = keras.Input(shape=(None,), name="title")
body_input = keras.Input(shape=(None,), name="body")
tags_input = keras.Input(shape=(num_tags,), name="tags")

title_features = layers.Embedding(num_words, 16)(title_input)
body_features = layers.Embedding(num_words, 16)(body_input)
title_features = layers.LSTM(24)(title_features)
body_features = layers.LSTM(16)(body_features)

x = layers.concatenate([title_features, body_features, tags_input])
priority_pred = layers.Dense(1, name="priority")(x)
department_pred = layers.Dense(num_departments, name="department")(x)
model = keras.Model(
    inputs=[title_input, body_input, tags_input],
    outputs={"priority": priority_pred, "department": department_pred},
)
keras.utils.model_to_dot  # noqa: B018 - drawn where there is Graphviz

model.compile(
    optimizer=keras.optimizers.RMSprop(0.02),
    loss={
        "priority": keras.losses.BinaryCrossentropy(from_logits=True),
        "department": keras.losses.CategoricalCrossentropy(from_logits=True),
    },
    loss_weights={"priority": 1.0, "department": 0.5},
)

title = rng.integers(num_words, size=(256, 8)).astype("float32")
body = rng.integers(num_words, size=(256, 14)).astype("float32")
tags = rng.integers(2, size=(256, num_tags)).astype("float32")
priority = tags[:, :1]
department = keras.utils.to_categorical((title[:, -1] * num_departments // num_words).astype("int32"), num_departments)

history = model.fit(
    {"title": title, "body": body, "tags": tags},
    {"priority": priority, "department": department},
    epochs=12,
    batch_size=32,
    verbose=0,
)
assert history.history["priority_loss"][-1] < 0.3 < history.history["priority_loss"][0]
assert history.history["department_loss"][-1] < history.history["department_loss"][0]
np.testing.assert_allclose(
    history.history["loss"][-1],
    history.history["priority_loss"][-1] + 0.5 * history.history["department_loss"][-1],
    rtol=1e-5,
)
clone = keras.models.clone_model(model)
assert clone.count_params() == model.count_params()
assert [layer.name for layer in clone.layers] == [layer.name for layer in model.layers]
