/**
 * node wasm.mjs REKUR.wasm MODEL.safetensors X Y STEPS: float32 of X through a stream of the model, to Y: step by step, then
 * its states, then in blocks of STEPS, then the whole sequence at once. Prints JSON: {version, nanoseconds, errors, memory}.
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";

import { Rekur, RekurError } from "../../cpp/wasm/rekur.js";

const [wasm, path, from, to, block] = process.argv.slice(2);
const rekur = await Rekur.load(readFileSync(wasm));
const floats = (bytes) => new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
const x = floats(readFileSync(from)), bytes = readFileSync(path);

const model = rekur.model(bytes), stream = model.stream();
const [F, O] = [stream.inputSize, stream.outputSize], steps = x.length / F;
const single = new Float32Array(steps * O), blocks = new Float32Array(steps * O);
for (let t = 0; t < steps; ++t) stream.step(x.subarray(t * F, (t + 1) * F), single.subarray(t * O, (t + 1) * O));
const { state } = stream;
stream.reset();
for (let t = 0; t < steps; t += Number(block)) {
  const n = Math.min(Number(block), steps - t);
  stream.process(x.subarray(t * F, (t + n) * F), blocks.subarray(t * O, (t + n) * O), n);
}
const whole = model.predict(x, [1, steps, F]);
writeFileSync(to, Buffer.concat([single, state, blocks, whole.data].map((a) => Buffer.from(a.buffer, a.byteOffset, a.byteLength))));

// A state that is put back: the next step is what it was.
stream.reset();
const [first, again] = [new Float32Array(O), new Float32Array(O)];
const before = stream.state;
stream.step(x.subarray(0, F), first);
stream.state = before;
stream.step(x.subarray(0, F), again);
if (first.some((value, k) => value !== again[k])) throw new Error("a state that was put back is another");

const errors = [];
const refused = (action) => {
  try {
    action();
  } catch (error) {
    if (!(error instanceof RekurError)) throw error;
    return errors.push(error.message);
  }
  throw new Error("expected a refusal");
};
for (let k = 0; k < 200; ++k) refused(() => rekur.model(bytes.subarray(0, 100 + k)));
refused(() => stream.step(new Float32Array(F), new Float32Array(O - 1)));
refused(() => model.stream(0));
refused(() => model.predict(x, [2, steps, F]));

const [dry, wet] = [new Float32Array(128 * F), new Float32Array(128 * O)];
let best = Infinity;
for (let round = 0; round < 20; ++round) {
  const begin = process.hrtime.bigint();
  for (let k = 0; k < 10; ++k) stream.process(dry, wet, 128);
  best = Math.min(best, Number(process.hrtime.bigint() - begin) / 1280);
}
model.free();
stream.free();
for (let k = 0; k < 300; ++k) {
  const one = rekur.model(bytes), its = one.stream(2);
  one.free();
  its.free();
}
const memory = rekur.exports.memory.buffer.byteLength;
console.log(JSON.stringify({ version: rekur.version, nanoseconds: best, errors: [errors[0], ...errors.slice(200)], memory }));
