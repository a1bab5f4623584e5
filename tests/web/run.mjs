/**
 * node run.mjs CASES.json RESULTS.json: runs exported models in onnxruntime-web's WASM backend, on one thread.
 *
 * CASES: {"ort": FOLDER that holds node_modules/onnxruntime-web,
 *         "cases": [{"model": PATH, "inputs": {NAME: TENSOR}, "outputs": [NAME], "streaming": BOOL,
 *                    "states": {NAME: TENSOR}}]}
 * TENSOR: {"dims": [...], "type": "float32" | "int32", "data": [...]}; streaming: dims are (steps, batch, ...), and the
 *         model is stepped through them from these states by the Stream of examples/browser, twice.
 * RESULTS: {"version": TEXT, "cases": [[{NAME: TENSOR}, ...]]}: each run's outputs; streaming: (steps, batch, features).
 */

import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";

import { Stream } from "../../examples/browser/stream.js";

const ARRAYS = { float32: Float32Array, int32: Int32Array };

const [casesPath, resultsPath] = process.argv.slice(2);
const { ort: folder, cases } = JSON.parse(await readFile(casesPath, "utf8"));
const ort = createRequire(path.join(path.resolve(folder), "here.js"))("onnxruntime-web");
ort.env.wasm.numThreads = 1;

const results = [];
for (const one of cases) results.push(await (one.streaming ? runStream(one) : runSequence(one)));
await writeFile(resultsPath, JSON.stringify({ version: ort.env.versions.web, cases: results }));

async function runSequence({ model, inputs, outputs }) {
  const session = await ort.InferenceSession.create(await readFile(model), { executionProviders: ["wasm"] });
  const feed = {};
  for (const [name, { type, data, dims }] of Object.entries(inputs)) {
    feed[name] = new ort.Tensor(type, ARRAYS[type].from(data), dims);
  }
  const result = await session.run(feed);
  await session.release();
  return [Object.fromEntries(outputs.map((name) => [name, tensor(result[name].dims, result[name].data)]))];
}

async function runStream({ model, inputs, outputs, states }) {
  const [steps, batch] = Object.values(inputs)[0].dims;
  const stream = await Stream.open(ort, await readFile(model), batch);
  const runs = [];
  for (let run = 0; run < 2; run++) {
    stream.reset(Object.fromEntries(Object.entries(states).map(([name, { data }]) => [name, data])));
    const collected = Object.fromEntries(outputs.map((name) => [name, []]));
    for (let t = 0; t < steps; t++) {
      const step = Object.entries(inputs).map(([name, { data }]) => {
        const size = data.length / steps;
        return [name, data.slice(t * size, (t + 1) * size)];
      });
      const result = await stream.step(Object.fromEntries(step));
      for (const name of outputs) collected[name].push(...result[name]);
    }
    runs.push(
      Object.fromEntries(
        outputs.map((name) => [name, tensor([steps, batch, collected[name].length / (steps * batch)], collected[name])]),
      ),
    );
  }
  await stream.close();
  return runs;
}

function tensor(dims, data) {
  return { dims, data: Array.from(data) };
}
