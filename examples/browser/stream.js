/**
 * A model written by rekur.onnx.export(model, path, streaming=True), stepped through time: the file computes one step,
 * and this keeps the states that go from each step into the next.
 *
 * Nothing here is about a page: it runs in a browser and in Node, with the onnxruntime module it is given.
 */

const STATE = /^(.+_[hc])_in$/; // <layer>_h_in, <layer>_c_in: each comes out again as <layer>_h_out, <layer>_c_out
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
    this.#states = session.inputMetadata.flatMap(({ name, shape }) => {
      const output = STATE.test(name) && name.replace(/_in$/, "_out");
      return output && session.outputNames.includes(output) ? [{ input: name, output, units: shape.at(-1) }] : [];
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

  /** Forget everything: the next step is the first. */
  reset() {
    for (const { input, units } of this.#states) {
      this.#tensors[input] = new this.#ort.Tensor("float32", new Float32Array(this.#batch * units), [this.#batch, units]);
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
      const dims = [this.#batch, ...shape.slice(1)];
      const size = dims.reduce((a, b) => a * b, 1);
      if (values[name]?.length !== size) {
        throw new Error(`input ${name}: expected ${size} numbers (${dims.join(" × ")}), got ${values[name]?.length ?? "none"}`);
      }
      feed[name] = new this.#ort.Tensor(type, ARRAYS[type].from(values[name]), dims);
    }
    const results = await this.#session.run(feed);
    for (const { input, output } of this.#states) this.#tensors[input] = results[output];
    return Object.fromEntries(this.outputNames.map((name) => [name, results[name].data]));
  }

  async close() {
    await this.#session.release();
  }
}
