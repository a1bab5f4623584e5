/** Two canvases on one time axis: the signal with its forecast, and below it the surprise of each sample. */

const MARGIN = { left: 40, right: 10, top: 8, bottom: 24 };
const SAMPLE_WIDTH = 4; // pixels at least: a narrow screen shows fewer samples

export class Chart {
  #signal;
  #surprise;
  #mostPast; // samples shown before now where there is room
  #past;
  #ahead;
  #limits = [-2, 2]; // of the value axis; they widen at once and narrow slowly

  constructor(signalCanvas, surpriseCanvas, past, ahead) {
    this.#signal = signalCanvas;
    this.#surprise = surpriseCanvas;
    this.#mostPast = past;
    this.#ahead = ahead;
  }

  /**
   * @param {{sample: number, forecast: ArrayLike<number>, surprise: number, limit: number, anomaly: boolean}[]} records
   *   the newest last; each has the forecast of the samples after it
   * @param {(lead: number) => number} error the typical error of a forecast so many samples ahead; NaN: not known
   */
  draw(records, error) {
    this.#past = Math.min(this.#mostPast, Math.floor(this.#signal.clientWidth / SAMPLE_WIDTH));
    const shown = records.slice(-this.#past);
    this.#drawSignal(shown, error);
    this.#drawSurprise(shown);
  }

  #drawSignal(records, error) {
    const forecast = Array.from(records.at(-1)?.forecast ?? []);
    const pen = new Pen(this.#signal, [-this.#past, this.#ahead], this.#follow(records, forecast));
    pen.grid(wholes(pen.y.range));
    pen.vertical(0);
    pen.labels([
      [-this.#past, `${this.#past} samples ago`, "left"],
      [0, "now", "right"],
      [this.#ahead, `+${this.#ahead}`, "right"],
    ]);
    if (!records.length) return;
    const line = records.map(({ sample }, i) => [i + 1 - records.length, sample]);
    const ahead = [line.at(-1), ...forecast.map((value, k) => [k + 1, value])];
    const earlier = Array.from(records.at(-1 - this.#ahead)?.forecast ?? [], (value, k) => [k + 1 - this.#ahead, value]);
    const band = forecast.map((value, k) => [k + 1, value, error(k + 1)]).filter(([, , width]) => width > 0);
    pen.area(band.map(([x, y, w]) => [x, y + w]), band.map(([x, y, w]) => [x, y - w]), "--band");
    pen.dashed(() => pen.line(earlier, "--forecast", 2));
    pen.line(ahead, "--forecast", 2.5);
    pen.line(line, "--signal", 2);
    pen.dots(line.filter((_, i) => records[i].anomaly), "--anomaly", 4);
    pen.dots([line.at(-1)], "--signal", 4);
  }

  #drawSurprise(records) {
    const limit = records.at(-1)?.limit ?? Infinity;
    const known = Number.isFinite(limit) ? limit : 0;
    const top = Math.max(0.1, 1.5 * known, ...records.map(({ surprise }) => surprise));
    const pen = new Pen(this.#surprise, [-this.#past, this.#ahead], [0, top], { ...MARGIN, bottom: 4 });
    pen.grid([0]);
    records.forEach(({ surprise, anomaly }, i) => {
      pen.bar(i + 1 - records.length, surprise, anomaly ? "--anomaly" : "--soft");
    });
    if (known) pen.threshold(known, "tolerated");
  }

  #follow(records, forecast) {
    const values = [...records.map(({ sample }) => sample), ...forecast];
    const [low, high] = [Math.min(-1.5, ...values) - 0.2, Math.max(1.5, ...values) + 0.2];
    const ease = (old, wanted, wider) => (wider ? wanted : old + 0.05 * (wanted - old));
    this.#limits = [ease(this.#limits[0], low, low < this.#limits[0]), ease(this.#limits[1], high, high > this.#limits[1])];
    return this.#limits;
  }
}

/** Draws in the units of the data, in the colours of the style sheet. */
class Pen {
  constructor(canvas, xRange, yRange, margin = MARGIN) {
    const scale = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    const [pixelWidth, pixelHeight] = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.width !== pixelWidth || canvas.height !== pixelHeight) {
      [canvas.width, canvas.height] = [pixelWidth, pixelHeight];
    }
    this.style = getComputedStyle(canvas);
    this.context = canvas.getContext("2d");
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.context.clearRect(0, 0, width, height);
    this.context.lineJoin = "round";
    this.context.font = `12px ${this.style.fontFamily}`;
    this.x = axis(xRange, [margin.left, width - margin.right]);
    this.y = axis(yRange, [height - margin.bottom, margin.top]);
  }

  colour(name) {
    return this.style.getPropertyValue(name);
  }

  #path(points) {
    this.context.beginPath();
    for (const [x, y] of points) this.context.lineTo(this.x(x), this.y(y));
  }

  line(points, colour, width) {
    this.#path(points);
    this.context.strokeStyle = this.colour(colour);
    this.context.lineWidth = width;
    this.context.stroke();
  }

  area(above, below, colour) {
    this.#path([...above, ...below.reverse()]);
    this.context.fillStyle = this.colour(colour);
    this.context.fill();
  }

  dots(points, colour, radius) {
    this.context.fillStyle = this.colour(colour);
    for (const [x, y] of points) {
      this.context.beginPath();
      this.context.arc(this.x(x), this.y(y), radius, 0, 2 * Math.PI);
      this.context.fill();
    }
  }

  bar(x, height, colour) {
    const width = Math.max(1, 0.7 * (this.x(1) - this.x(0)));
    this.context.fillStyle = this.colour(colour);
    this.context.fillRect(this.x(x) - width / 2, this.y(height), width, this.y(0) - this.y(height));
  }

  grid(values) {
    this.context.fillStyle = this.colour("--soft");
    this.context.textAlign = "right";
    this.context.textBaseline = "middle";
    for (const value of values) {
      this.line([[this.x.range[0], value], [this.x.range[1], value]], "--line", 1);
      this.context.fillText(value.toFixed(0).replace("-", "−"), this.x(this.x.range[0]) - 8, this.y(value));
    }
  }

  dashed(draw) {
    this.context.setLineDash([4, 4]);
    draw();
    this.context.setLineDash([]);
  }

  vertical(x) {
    this.dashed(() => this.line(this.y.range.map((y) => [x, y]), "--soft", 1));
  }

  threshold(y, text) {
    this.dashed(() => this.line(this.x.range.map((x) => [x, y]), "--soft", 1));
    this.context.fillStyle = this.colour("--soft");
    this.context.textAlign = "right";
    this.context.textBaseline = "bottom";
    this.context.fillText(text, this.x(this.x.range[1]), this.y(y) - 2);
  }

  /** Texts below the x axis: [x, text, alignment]. */
  labels(texts) {
    this.context.fillStyle = this.colour("--soft");
    this.context.textBaseline = "top";
    for (const [x, text, alignment] of texts) {
      this.context.textAlign = alignment;
      this.context.fillText(text, this.x(x), this.y(this.y.range[0]) + 6);
    }
  }
}

function axis(range, [from, to]) {
  const map = (value) => from + ((value - range[0]) / (range[1] - range[0])) * (to - from);
  map.range = range;
  return map;
}

function wholes([low, high]) {
  return Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, i) => Math.ceil(low) + i);
}
