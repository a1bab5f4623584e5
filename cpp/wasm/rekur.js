/**
 * rekur in WebAssembly, for browsers (also in an AudioWorklet), Node and Deno:
 *
 *   import { Rekur } from "./rekur.js";
 *   const rekur = await Rekur.load(fetch("rekur.wasm"));
 *   const model = rekur.model(new Uint8Array(await (await fetch("amp.safetensors")).arrayBuffer()));
 *   const stream = model.stream();
 *   model.free();                      // a stream does not need its model
 *   stream.process(input, output, n);  // Float32Arrays; in the audio callback
 *
 * What cannot be done throws a RekurError whose message says why. Models and streams are freed by hand: `free()`, once.
 */

const BYTES_OF_TENSOR = 128, BYTES_OF_INFO = 96, MAX_RANK = 8; // as rekur.h lays them out
const OK = 0, BAD_DESCRIPTOR = 8, NOT_THERE = 52; // of WASI

/** A refusal of the library; `code` is a rekur_code. */
export class RekurError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "RekurError";
    this.code = code;
  }
}

// UTF-8 by hand: an AudioWorklet has neither TextDecoder nor TextEncoder.
function textOf(bytes, at) {
  let encoded = "";
  for (; bytes[at] !== 0; ++at) encoded += `%${bytes[at].toString(16).padStart(2, "0")}`;
  return decodeURIComponent(encoded);
}

/** What wasi-libc asks of a system, of which there is none here: no environment, no files; what is printed goes to the console. */
function system(module, memory) {
  const view = () => new DataView(memory().buffer);
  const known = {
    environ_sizes_get: (count, size) => (view().setUint32(count, 0, true), view().setUint32(size, 0, true), OK),
    environ_get: () => OK,
    fd_prestat_get: () => BAD_DESCRIPTOR,
    fd_write(fd, pieces, count, written) {
      let bytes = 0, text = "";
      for (let k = 0; k < count; ++k) {
        const at = view().getUint32(pieces + 8 * k, true), size = view().getUint32(pieces + 8 * k + 4, true);
        text += String.fromCharCode(...new Uint8Array(memory().buffer, at, size));
        bytes += size;
      }
      console.error(text.trimEnd());
      view().setUint32(written, bytes, true);
      return OK;
    },
    proc_exit(code) {
      throw new Error(`rekur: ended with ${code}`);
    },
  };
  const imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (kind === "function") (imports[from] ??= {})[name] = known[name] ?? (() => NOT_THERE);
  }
  return imports;
}

export class Rekur {
  #exports;
  #bytes = new Uint8Array();
  #numbers = new Float32Array();

  /** From the bytes of rekur.wasm, a Response or the promise of one, or a WebAssembly.Module. */
  static async load(source) {
    let given = await source;
    if (typeof Response !== "undefined" && given instanceof Response) {
      if (!given.ok) throw new Error(`${given.url}: ${given.status}`);
      given = await given.arrayBuffer();
    }
    return new Rekur(given instanceof WebAssembly.Module ? given : await WebAssembly.compile(given));
  }

  /** At once, from a WebAssembly.Module: for an AudioWorklet, which is given one by a message or as an option. */
  constructor(module) {
    let exports;
    exports = new WebAssembly.Instance(module, system(module, () => exports.memory)).exports;
    this.#exports = exports;
    exports._initialize?.();
  }

  /** The library's functions and memory, as rekur.h has them; what is above goes by them. */
  get exports() {
    return this.#exports;
  }
  get version() {
    return this.text(this.#exports.rekur_version());
  }

  /** A model from the bytes of its file; they are not needed afterwards. */
  model(bytes) {
    return this.#with(bytes.byteLength + 8, (room) => {
      this.bytes.set(new Uint8Array(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, bytes.byteLength), room + 8);
      this.check(this.#exports.rekur_model_load_memory(room + 8, bytes.byteLength, room));
      return new Model(this, new DataView(this.bytes.buffer).getUint32(room, true));
    });
  }

  // For the classes below. Memory that grows has another buffer.
  get bytes() {
    const { buffer } = this.#exports.memory;
    if (this.#bytes.buffer !== buffer) this.#bytes = new Uint8Array(buffer);
    return this.#bytes;
  }
  get numbers() {
    const { buffer } = this.#exports.memory;
    if (this.#numbers.buffer !== buffer) this.#numbers = new Float32Array(buffer);
    return this.#numbers;
  }
  text(at) {
    return textOf(this.bytes, at);
  }
  check(code) {
    if (code !== OK) throw new RekurError(code, this.text(this.#exports.rekur_last_error()));
  }
  take(bytes) {
    const at = this.#exports.malloc(bytes);
    if (at === 0) throw new RekurError(3, `rekur: no memory for ${bytes} bytes`);
    return at;
  }
  #with(bytes, action) {
    const room = this.take(bytes);
    try {
      return action(room);
    } finally {
      this.#exports.free(room);
    }
  }
  /** A handle that `create(at)` writes to where it is told. */
  handle(create) {
    return this.#with(4, (room) => {
      this.check(create(room));
      return new DataView(this.bytes.buffer).getUint32(room, true);
    });
  }
  /** [{name, shape, type}] of what `count` and `describe` tell. */
  infos(handle, count, describe) {
    return this.#with(BYTES_OF_INFO, (room) =>
      Array.from({ length: count(handle) }, (_, index) => {
        this.check(describe(handle, index, room));
        const view = new DataView(this.bytes.buffer, room, BYTES_OF_INFO);
        const rank = view.getInt32(8 + 8 * MAX_RANK, true);
        return {
          name: this.text(view.getUint32(0, true)),
          shape: Array.from({ length: rank }, (_, d) => Number(view.getBigInt64(8 + 8 * d, true))),
          type: view.getInt32(12 + 8 * MAX_RANK, true) === 0 ? "float32" : "int32",
        };
      }),
    );
  }
}

class Model {
  #rekur;
  #handle;

  constructor(rekur, handle) {
    this.#rekur = rekur;
    this.#handle = handle;
  }

  /** What goes in and comes out, [{name, shape, type}]; -1 in a shape is known only when data arrive. */
  get inputs() {
    const e = this.#rekur.exports;
    return this.#rekur.infos(this.#handle, e.rekur_model_input_count, e.rekur_model_input);
  }
  get outputs() {
    const e = this.#rekur.exports;
    return this.#rekur.infos(this.#handle, e.rekur_model_output_count, e.rekur_model_output);
  }
  /** The model's description. */
  get spec() {
    return JSON.parse(this.#rekur.text(this.#rekur.exports.rekur_model_spec(this.#handle)));
  }

  /** A live sequence, or `batch` of them side by side, one time step a call. */
  stream(batch = 1) {
    const { exports } = this.#rekur;
    return new Stream(this.#rekur, this.#rekur.handle((at) => exports.rekur_stream_create(this.#handle, BigInt(batch), at)));
  }

  /** A whole sequence of a model with one input and one output, of floats: {data, shape}. */
  predict(x, shape) {
    const rekur = this.#rekur, { exports } = rekur;
    const [inBytes, outAt] = [4 * x.length, BYTES_OF_TENSOR];
    const room = rekur.take(2 * BYTES_OF_TENSOR + inBytes);
    let y = 0;
    try {
      rekur.bytes.fill(0, room, room + 2 * BYTES_OF_TENSOR);
      const data = room + 2 * BYTES_OF_TENSOR;
      rekur.numbers.set(x, data / 4);
      let view = new DataView(rekur.bytes.buffer, room);
      view.setUint32(0, data, true);
      view.setBigInt64(8, BigInt(x.length), true);
      shape.forEach((size, d) => view.setBigInt64(16 + 8 * d, BigInt(size), true));
      view.setInt32(16 + 8 * MAX_RANK, shape.length, true);
      rekur.check(exports.rekur_model_output_shape(this.#handle, room, 1, 0, room + outAt));
      view = new DataView(rekur.bytes.buffer, room);
      const count = Number(view.getBigInt64(outAt + 8, true));
      y = rekur.take(4 * Math.max(count, 1));
      new DataView(rekur.bytes.buffer, room).setUint32(outAt, y, true);
      rekur.check(exports.rekur_model_predict(this.#handle, room, 1, room + outAt, 1));
      view = new DataView(rekur.bytes.buffer, room);
      const rank = view.getInt32(outAt + 16 + 8 * MAX_RANK, true);
      return {
        data: rekur.numbers.slice(y / 4, y / 4 + count),
        shape: Array.from({ length: rank }, (_, d) => Number(view.getBigInt64(outAt + 16 + 8 * d, true))),
      };
    } finally {
      exports.free(y);
      exports.free(room);
    }
  }

  free() {
    this.#rekur.exports.rekur_model_free(this.#handle);
    this.#handle = 0;
  }
}

class Stream {
  #rekur;
  #handle;
  #room = 0;
  #steps = 0;

  constructor(rekur, handle) {
    this.#rekur = rekur;
    this.#handle = handle;
    const e = rekur.exports;
    this.inputs = rekur.infos(handle, e.rekur_stream_input_count, e.rekur_stream_input);
    this.outputs = rekur.infos(handle, e.rekur_stream_output_count, e.rekur_stream_output);
    /** Numbers of one step: of its input, which is floats, and its output. */
    this.inputSize = this.inputs[0].shape.reduce((a, b) => a * b, 1);
    this.outputSize = this.outputs[0].shape.reduce((a, b) => a * b, 1);
    this.#prepare(128);
  }

  #prepare(steps) {
    const { exports } = this.#rekur;
    exports.free(this.#room);
    this.#room = this.#steps = 0;
    this.#room = this.#rekur.take(4 * steps * (this.inputSize + this.outputSize));
    this.#steps = steps;
  }

  /** One step: Float32Arrays of inputSize and outputSize numbers. */
  step(x, y) {
    this.process(x, y, 1);
  }

  /** `steps` steps, one after the other; up to 128 take no memory. */
  process(x, y, steps) {
    const n = steps * this.inputSize, m = steps * this.outputSize;
    if (!(steps >= 0) || x.length < n || y.length < m) {
      throw new RekurError(1, `process: ${steps} steps take ${n} numbers and give ${m}, got arrays of ${x.length} and ${y.length}`);
    }
    if (steps > this.#steps) this.#prepare(steps);
    const rekur = this.#rekur, at = this.#room / 4;
    rekur.numbers.set(x.length === n ? x : x.subarray(0, n), at);
    rekur.check(rekur.exports.rekur_stream_process(this.#handle, this.#room, this.#room + 4 * n, BigInt(steps)));
    const { numbers } = rekur;
    for (let k = 0; k < m; ++k) y[k] = numbers[at + n + k]; // no view is made: nothing is left for the collector
  }

  /** The beginning of a sequence. */
  reset() {
    this.#rekur.check(this.#rekur.exports.rekur_stream_reset(this.#handle));
  }

  /** All states, one after the other. */
  get state() {
    const rekur = this.#rekur, { exports } = rekur, size = exports.rekur_stream_state_size(this.#handle);
    const room = rekur.take(4 * Math.max(size, 1));
    try {
      rekur.check(exports.rekur_stream_state_get(this.#handle, room, size));
      return rekur.numbers.slice(room / 4, room / 4 + size);
    } finally {
      exports.free(room);
    }
  }
  set state(numbers) {
    const rekur = this.#rekur, room = rekur.take(4 * Math.max(numbers.length, 1));
    try {
      rekur.numbers.set(numbers, room / 4);
      rekur.check(rekur.exports.rekur_stream_state_set(this.#handle, room, numbers.length));
    } finally {
      rekur.exports.free(room);
    }
  }

  free() {
    this.#rekur.exports.rekur_stream_free(this.#handle);
    this.#rekur.exports.free(this.#room);
    this.#handle = this.#room = this.#steps = 0;
  }
}
