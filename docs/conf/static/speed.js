// The form of docs/speed.md: the time of a layer of any shape, from the measured ones around it.
"use strict";
(() => {
  const form = document.getElementById("speed");
  const names = ["machine", "cell", "mode", "threads", "B", "T", "I", "H", "us"];
  const cases = JSON.parse(document.getElementById("speed-cases").textContent)
    .map((row) => Object.fromEntries(row.map((value, k) => [names[k], value])));
  const gates = { LSTM: 4, GRU: 3, RNN: 1 };
  const call = { infer: 1.2, train: 3.5 }; // µs of a call that does nothing

  const work = (c) => 2 * gates[c.cell] * c.H * (c.I + c.H) * c.B * c.T * (c.mode === "train" ? 3 : 1);

  // The rate is that of the measured cases, each weighted by how near it is; the constants are those with which a case
  // that is left out is best found from the others.
  function estimate(wanted) {
    let sum = 0, weights = 0;
    for (const c of cases) {
      if (["machine", "cell", "mode", "threads"].some((key) => c[key] !== wanted[key])) continue;
      const far = Math.log(c.B / wanted.B) ** 2 + Math.log(c.H / wanted.H) ** 2 + 0.2 * Math.log(c.T / wanted.T) ** 2 +
        0.1 * Math.log((c.I / c.H) / (wanted.I / wanted.H)) ** 2;
      const weight = (far + 0.5) ** -2;
      sum += weight * Math.log(work(c) / Math.max(c.us - call[c.mode], 0.05));
      weights += weight;
    }
    return weights ? call[wanted.mode] + work(wanted) / Math.exp(sum / weights) : null;
  }

  function written(us) {
    const [value, unit] = us < 1000 ? [us, "µs"] : us < 1e6 ? [us / 1000, "ms"] : [us / 1e6, "s"];
    return `${value.toPrecision(2).includes("e") ? Math.round(value) : Number(value.toPrecision(2))} ${unit}`;
  }

  function show() {
    const given = Object.fromEntries(new FormData(form));
    for (const key of "BTIH") given[key] = Math.round(Number(given[key]));
    const out = form.querySelector("output");
    if ([..."BTIH"].some((key) => !(given[key] >= 1))) {
      out.textContent = "Rows, steps, features and units are whole numbers from 1 on.";
      return;
    }
    const machines = [...new Set(cases.map((c) => `${c.machine}|${c.threads}`))];
    const rows = machines.map((name) => {
      const [machine, threads] = name.split("|");
      const times = ["infer", "train"].map((mode) => estimate({ ...given, machine, threads: Number(threads), mode }));
      const row = document.createElement("tr");
      for (const text of [machine, threads, ...times.map((us) => (us === null ? "–" : written(us)))]) {
        row.append(Object.assign(document.createElement("td"), { textContent: text }));
      }
      return row;
    });
    const head = document.createElement("tr");
    for (const text of ["one core of", "threads", "predict", "training step"]) {
      head.append(Object.assign(document.createElement("th"), { textContent: text }));
    }
    const table = Object.assign(document.createElement("table"), { className: "docutils" });
    table.append(head, ...rows);
    out.replaceChildren(table);
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
})();
