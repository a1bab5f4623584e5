// The audio thread: a stream of the model over whatever comes in, sample by sample, left alone by the page.
import { Rekur } from "./rekur.js";

class Amp extends AudioWorkletProcessor {
  #stream;

  constructor({ processorOptions: { module, model } }) {
    super();
    try {
      const loaded = new Rekur(module).model(model);
      this.#stream = loaded.stream();
      loaded.free();
      if (this.#stream.inputSize !== 1 || this.#stream.outputSize !== 1) {
        throw new Error(`a model of one sample in and one out is expected, this one takes ${this.#stream.inputSize} and gives ${this.#stream.outputSize}`);
      }
      this.port.postMessage({ ready: true });
    } catch (error) {
      this.#stream = null;
      this.port.postMessage({ error: error.message });
    }
  }

  process([[dry]], [[wet]]) {
    if (this.#stream && dry) this.#stream.process(dry, wet, dry.length);
    return true;
  }
}

registerProcessor("amp", Amp);
