"""rekur.jax under jax.shard_map: outputs and gradients as of one device. In a process of its own, of two devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax")

SCRIPT = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec as P
from rekur import jax as rj

if sys.argv[1] == "compiled":
    rj.compile(folder=sys.argv[2])
mesh = Mesh(np.array(jax.devices()), ("d",))
rng = np.random.default_rng(0)
x = jnp.asarray(rng.standard_normal((4, 5, 3)), jnp.float32)
params = {
    kind: {n: jnp.asarray(rng.standard_normal(w.shape) / 2, jnp.float32) for n, w in rj.init(kind, 0, 3, 4).items()}
    for kind in ("lstm", "gru")
}
h = jnp.asarray(rng.standard_normal(4), jnp.float32)


def close(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        shards = [np.asarray(s.data) for s in a.addressable_shards]
        assert len(shards) == 2
        if shards[0].shape == b.shape:
            for shard in shards:
                np.testing.assert_allclose(shard, b, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


for kind, p in params.items():
    call = getattr(rj, kind)

    def loss(p, x):
        return (call(p, x)[0] ** 2).sum()

    def by_example(p, x):
        return (jax.vmap(lambda row: call(p, row)[0])(x) ** 2).sum()

    def started(p, x):  # states that are the same on all devices
        state = jnp.broadcast_to(p["recurrent_kernel"][0, :4], (x.shape[0], 4))
        return (call(p, x, (state, state) if kind == "lstm" else state)[0] ** 2).sum()

    for f in (loss, by_example, started):
        want = jax.grad(f, (0, 1))(p, x)
        specs = dict(mesh=mesh, in_specs=(P(), P("d")))
        inside = jax.shard_map(lambda p, x: jax.grad(f, (0, 1))(p, x), out_specs=(P(), P("d")), **specs)
        whole = jax.shard_map(lambda p, x: jax.lax.psum(f(p, x), "d"), out_specs=P(), **specs)
        close(jax.jit(inside)(p, x), want)
        close(jax.jit(jax.grad(whole, (0, 1)))(p, x), want)
    outputs = jax.shard_map(lambda p, x: call(p, x), out_specs=P("d"), mesh=mesh, in_specs=(P(), P("d")))
    close(outputs(p, x), call(p, x))
    close(jax.jit(outputs)(p, x), call(p, x))
    # what differs from device to device is not taken for what does not
    try:
        jax.shard_map(
            lambda pp, x: call(jax.tree.map(lambda a: a[0], pp), x)[0], mesh=mesh, in_specs=(P("d"), P()), out_specs=P()
        )(jax.tree.map(lambda a: jnp.stack([a, 2 * a]), p), x)
    except ValueError as error:
        assert "replicat" in str(error) or "vary" in str(error), error
    else:
        raise AssertionError("accepted")
print("done")
"""


@pytest.mark.parametrize("way", ["callback", "compiled"])
def test_gradients_under_shard_map_are_those_of_one_device(way: str, tmp_path: Path) -> None:
    flags = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, way, str(tmp_path / "cache")],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0 and "done" in done.stdout, done.stderr[-3000:]
