/** The page: loads the model, checks it against the engine's own numbers, then feeds it a live signal. */

import { Chart } from "./chart.js";
import { Scores } from "./scores.js";
import { Signal } from "./signal.js";
import { Stream } from "./stream.js";

const PAST = 160; // samples shown
const KEPT = 2000; // records kept
const TIMED = 200; // steps the time per step is a mean of
const TOLERANCE = 1e-5; // of the check, times the largest magnitude if that is above 1

const $ = (id) => document.getElementById(id);

class Live {
  running = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  rate = 30; // samples a second
  restartWanted = false; // carried out between two steps

  constructor(stream, check) {
    this.stream = stream;
    this.check = check;
    this.chart = new Chart($("chart"), $("surprise"), PAST, check.horizon);
    this.restart();
  }

  restart() {
    this.stream.reset();
    this.signal = Object.assign(new Signal(), this.signal && { period: this.signal.period, noise: this.signal.noise });
    this.scores = new Scores(this.check.horizon);
    this.records = [];
    this.times = [];
    this.steps = 0;
  }

  /** One sample: ask the model, note how well it had been foreseen. */
  async advance() {
    const sample = Math.fround(this.signal.next());
    const begin = performance.now();
    const forecast = (await this.stream.step({ [this.check.input]: [sample] }))[this.check.output];
    this.times = [...this.times.slice(1 - TIMED), performance.now() - begin];
    this.records.push({ sample, forecast, ...this.scores.add(sample, forecast) });
    if (this.records.length > KEPT) this.records.shift();
    this.steps += 1;
  }

  draw() {
    this.chart.draw(this.records, (lead) => this.scores.error(lead));
    const mean = this.times.reduce((sum, time) => sum + time, 0) / this.times.length;
    $("milliseconds").textContent = known(mean, (ms) => `${ms.toFixed(ms < 0.1 ? 3 : 2)} ms`);
    $("error-first").textContent = known(this.scores.error(1), (error) => error.toFixed(3));
    $("error-last").textContent = known(this.scores.error(this.check.horizon), (error) => error.toFixed(3));
    $("gain").textContent = known(this.scores.gain(), (gain) => `${(100 * gain).toFixed(0).replace("-", "−")} %`);
  }

  /** Runs for ever, in step with the screen: a page nobody looks at rests. */
  async run() {
    let due = 0;
    let before = await nextFrame();
    for (;;) {
      const now = await nextFrame();
      due = this.running ? Math.min(due + ((now - before) / 1000) * this.rate, this.rate / 4 + 1) : 0;
      before = now;
      if (this.restartWanted) {
        this.restartWanted = false;
        this.restart();
      }
      for (; due >= 1; due--) await this.advance();
      this.draw();
    }
  }
}

/** The largest difference to what rekur's engine computed, and the largest magnitude of that. */
async function compare(stream, check) {
  let difference = 0;
  let magnitude = 0;
  for (const [t, sample] of check.signal.entries()) {
    const forecast = (await stream.step({ [check.input]: [sample] }))[check.output];
    if (forecast.length !== check.forecast[t].length) throw new Error("model and check.json do not belong together");
    check.forecast[t].forEach((expected, k) => {
      const off = Math.abs(forecast[k] - expected);
      difference = Number.isNaN(off) ? NaN : Math.max(difference, off); // NaN stays: it compares as no agreement
      magnitude = Math.max(magnitude, Math.abs(expected));
    });
  }
  return { difference, magnitude };
}

function showCheck(check, { difference, magnitude }) {
  const agrees = difference <= TOLERANCE * Math.max(1, magnitude);
  const verdict = agrees ? "agree with" : "do NOT agree with";
  $("check").className = agrees ? "agrees" : "differs";
  $("check").textContent =
    `${agrees ? "✓" : "✗"} Self-check: ${check.signal.length} steps computed here ${verdict} rekur's engine; ` +
    `the largest difference is ${difference.toExponential(1)}.`;
}

function connect(live) {
  const pause = $("pause");
  const showPause = () => {
    pause.textContent = live.running ? "Pause" : "Go on";
  };
  pause.addEventListener("click", () => {
    live.running = !live.running;
    showPause();
  });
  showPause();
  $("disturb").addEventListener("click", () => live.signal.disturb());
  $("restart").addEventListener("click", () => {
    live.restartWanted = true;
  });
  slider("period", (value) => (live.signal.period = value), (value) => `${value} samples`);
  slider("noise", (value) => (live.signal.noise = value), (value) => `± ${value.toFixed(2)}`);
  slider("rate", (value) => (live.rate = value), (value) => `${value} a second`);
  for (const button of document.querySelectorAll("button")) button.disabled = false;
}

function slider(id, set, show) {
  const input = $(id);
  const changed = () => {
    set(input.valueAsNumber);
    document.querySelector(`output[for=${id}]`).textContent = show(input.valueAsNumber);
    input.setAttribute("aria-valuetext", show(input.valueAsNumber));
  };
  input.addEventListener("input", changed);
  changed();
}

const known = (value, show) => (Number.isFinite(value) ? show(value) : "–");

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));

async function load(address, how, hint) {
  try {
    return await how(address);
  } catch (error) {
    throw new Error(`${address} cannot be loaded: ${hint} (${error.message})`, { cause: error });
  }
}

async function fetched(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return response;
}

async function start() {
  const ort = await load("onnxruntime-web", (name) => import(name), "run `npm install` in this folder.");
  ort.env.wasm.numThreads = 1; // quickest for a small network; more would need headers that static servers do not send
  const made = "run make_model.py.";
  const check = await load("model/check.json", async (address) => (await fetched(address)).json(), made);
  const bytes = await load("model/forecaster.onnx", async (address) => (await fetched(address)).arrayBuffer(), made);
  const stream = await Stream.open(ort, new Uint8Array(bytes));
  for (const place of document.querySelectorAll(".horizon")) place.textContent = check.horizon;
  $("runtime").textContent =
    `onnxruntime-web ${ort.env.versions.web}, WebAssembly, one thread; model of ${(bytes.byteLength / 1024).toFixed(0)} KB made by ` +
    `rekur ${check.rekur}. Nothing leaves this computer.`;
  const result = await compare(stream, check);
  showCheck(check, result);

  const live = new Live(stream, check);
  connect(live);
  window.rekur = { live, check: result }; // for the console, and for tests
  document.documentElement.dataset.state = "live";
  await live.run();
}

start().catch((error) => {
  document.documentElement.dataset.state = "failed";
  $("failure").hidden = false;
  $("failure").textContent = error.message;
  $("check").textContent = "";
  console.error(error);
});
