/**
 * The live signal: a rhythm with an overtone and noise, one sample a call. make_model.py trains on signals of this kind,
 * with other rhythms and other random numbers.
 */

const DISTURBANCE = [1.6, 2.2, 1.8, 1.1, 0.5]; // added to the samples after disturb()

export class Signal {
  period = 32; // samples
  noise = 0.05; // standard deviation
  #phase = 0; // of the rhythm, in turns
  #disturbed = [];
  #random;

  constructor(seed = 1) {
    this.#random = uniform(seed);
  }

  next() {
    const turn = 2 * Math.PI * this.#phase;
    this.#phase = (this.#phase + 1 / this.period) % 1;
    const rhythm = Math.sin(turn) + 0.4 * Math.sin(2 * turn + 1);
    return rhythm + this.noise * this.#normal() + (this.#disturbed.shift() ?? 0);
  }

  disturb() {
    this.#disturbed = [...DISTURBANCE];
  }

  #normal() {
    const radius = Math.sqrt(-2 * Math.log(1 - this.#random())); // Box and Muller; 1 − u is never 0
    return radius * Math.cos(2 * Math.PI * this.#random());
  }
}

/** Numbers in [0, 1): a linear congruential generator modulo 2³², the same in every browser. */
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
