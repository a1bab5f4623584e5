/**
 * A model written by rekur.onnx.export(model, path, streaming=True), stepped through time: the file computes one step,
 * and this keeps the states that go from each step into the next.
 *
 * Nothing here is about a page: it runs in a browser and in Node, with the onnxruntime module it is given.
 */

// <layer>_h_in comes out again as <layer>_h_out, and so does every other state. Where a layer of that name exists,
// underscores follow.
const STATE = /^(.+_.+)_(in|out)_*$/;
const ARRAYS = { float32: Float32Array, int32: Int32Array };

export class Stream {
  #ort;
  #session;
  #states; // [{input, output, units}]
  #tensors = {}; // the states, by the name of the input they go into next
  #batch;

  /**
   * @param ort the module onnxruntime-web
   * @param {string | Uint8Array} model its address, or its bytes
   * @param {number} batch how many sequences go side by side
   */
  static async open(ort, model, batch = 1) {
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    return new Stream(ort, session, batch);
  }

  constructor(ort, session, batch = 1) {
    this.#ort = ort;
    this.#session = session;
    this.#batch = batch;
    this.#states = statePairs(session.inputNames, session.outputNames).map(([input, output]) => {
      const { shape } = session.inputMetadata.find(({ name }) => name === input);
      return { input, output, units: shape.at(-1) };
    });
    if (!this.#states.length) {
      throw new Error(`not a streaming model: no input <layer>_h_in among ${session.inputNames.join(", ")}`);
    }
    const inputs = new Set(this.#states.map(({ input }) => input));
    const outputs = new Set(this.#states.map(({ output }) => output));
    /** What a step is given: [{name, type, shape}], without the states. */
    this.inputs = session.inputMetadata.filter(({ name }) => !inputs.has(name));
    /** The names of what a step returns. */
    this.outputNames = session.outputNames.filter((name) => !outputs.has(name));
    this.reset();
  }

  /**
   * Forget everything: the next step is the first.
   * @param {Object<string, ArrayLike<number>>} states to begin with, by their input, (batch, units) row after row; else zeros
   */
  reset(states = {}) {
    for (const { input, units } of this.#states) {
      const dims = [this.#batch, units];
      const zeros = new Float32Array(this.#batch * units);
      this.#tensors[input] = this.#tensor(input, "float32", dims, input in states ? states[input] : zeros);
    }
  }

  /**
   * One time step.
   * @param {Object<string, ArrayLike<number>>} values by input: (batch, features) row after row, ids: (batch)
   * @returns {Promise<Object<string, Float32Array>>} by output: (batch, features) row after row
   */
  async step(values) {
    const feed = { ...this.#tensors };
    for (const { name, type, shape } of this.inputs) {
      feed[name] = this.#tensor(name, type, [this.#batch, ...shape.slice(1)], values[name]);
    }
    const results = await this.#session.run(feed);
    for (const { input, output } of this.#states) this.#tensors[input] = results[output];
    return Object.fromEntries(this.outputNames.map((name) => [name, results[name].data]));
  }

  #tensor(name, type, dims, values) {
    const size = dims.reduce((a, b) => a * b, 1);
    if (values?.length !== size) {
      throw new Error(`input ${name}: expected ${size} numbers (${dims.join(" × ")}), got ${values?.length ?? "none"}`);
    }
    return new this.#ort.Tensor(type, ARRAYS[type].from(values), dims);
  }

  async close() {
    await this.#session.release();
  }
}

/** The states stand behind the model's own inputs and outputs, in one order: [[input, output]]. */
function statePairs(inputs, outputs) {
  const pairs = [];
  while (pairs.length < Math.min(inputs.length, outputs.length)) {
    const [input, output] = [inputs.at(-1 - pairs.length), outputs.at(-1 - pairs.length)];
    const [taken, given] = [STATE.exec(input), STATE.exec(output)];
    if (taken?.[2] !== "in" || given?.[2] !== "out" || taken[1] !== given[1]) break;
    pairs.push([input, output]);
  }
  return pairs.reverse();
}
