/** How good the forecasts turn out to be, once the samples they are about have come. */

const MEMORY = 150; // samples over which errors fade
const ALARM = 5; // typical errors: a surprise greater than this many counts as an anomaly
const SETTLED = 60; // samples before anything is called an anomaly: the model has to hear the rhythm first

export class Scores {
  #horizon;
  #forecasts = []; // the last ones, the newest first
  #samples = []; // likewise
  #model; // mean square error by lead
  #naive; // the same of repeating the latest sample
  #seen = 0;

  constructor(horizon) {
    this.#horizon = horizon;
    this.#model = new Fading(horizon);
    this.#naive = new Fading(horizon);
  }

  /**
   * A sample has come, and with it the forecast of those after it.
   * @returns {{surprise: number, limit: number, anomaly: boolean}} how far the sample lies from its forecast, and what is tolerated
   */
  add(sample, forecast) {
    const expected = this.#forecasts[0]?.[0];
    const surprise = expected === undefined ? 0 : Math.abs(sample - expected);
    const limit = this.#seen < SETTLED ? Infinity : ALARM * this.error(1);
    const anomaly = surprise > limit;
    if (!anomaly) {
      this.#forecasts.forEach((earlier, k) => this.#model.add(k, sample - earlier[k]));
      this.#samples.forEach((earlier, k) => this.#naive.add(k, sample - earlier));
    }
    this.#forecasts = [forecast, ...this.#forecasts].slice(0, this.#horizon);
    this.#samples = [sample, ...this.#samples].slice(0, this.#horizon);
    this.#seen += 1;
    return { surprise, limit, anomaly };
  }

  /** The typical (root mean square) error of forecasts so many samples ahead; NaN before there is one. */
  error(lead) {
    return Math.sqrt(this.#model.mean(lead - 1));
  }

  /** How much less than repeating the latest sample errs, over all leads: 1 is perfect, 0 no better, NaN not known yet. */
  gain() {
    return 1 - Math.sqrt(this.#model.total() / this.#naive.total());
  }
}

/** Mean squares that forget: a plain mean at first, later an exponential one over about MEMORY samples. */
class Fading {
  #means;
  #counts;

  constructor(size) {
    this.#means = new Float64Array(size).fill(NaN);
    this.#counts = new Float64Array(size);
  }

  add(k, error) {
    this.#counts[k] = Math.min(this.#counts[k] + 1, MEMORY);
    const before = this.#counts[k] === 1 ? 0 : this.#means[k];
    this.#means[k] = before + (error * error - before) / this.#counts[k];
  }

  mean(k) {
    return this.#means[k];
  }

  total() {
    return this.#means.reduce((sum, mean) => sum + mean, 0);
  }
}
