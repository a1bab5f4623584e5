"use strict";
// What the page does: reads what was pasted, asks the service, draws the answer. No library, no address but this one.
(() => {
  const $ = (id) => document.getElementById(id);
  const { task, card } = JSON.parse($("data").textContent);
  const API = "/v1";

  // ---- Reading.

  function csv(text) {
    const rows = [];
    let row = [], cell = "", quoted = false;
    const rest = text.slice(0, 2000);
    const comma = rest.includes("\t") ? "\t" : !rest.includes(",") && rest.includes(";") ? ";" : ",";
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (quoted) {
        if (c === '"' && text[i + 1] === '"') { cell += c; i++; }
        else if (c === '"') quoted = false;
        else cell += c;
      } else if (c === '"') quoted = true;
      else if (c === comma) { row.push(cell); cell = ""; }
      else if (c === "\n") { row.push(cell.replace(/\r$/, "")); rows.push(row); row = []; cell = ""; }
      else cell += c;
    }
    if (cell !== "" || row.length) { row.push(cell.replace(/\r$/, "")); rows.push(row); }
    return rows;
  }

  const missing = (s) => s === "" || /^(na|nan|null|none)$/i.test(s);
  const isNumber = (s) => missing(s) || (s.trim() !== "" && Number.isFinite(Number(s)));

  function table(text) {
    const rows = csv(text).filter((r) => r.some((c) => c.trim() !== ""));
    if (rows.length < 2) throw new Error("Data: expected a line of column names, and lines of values below it.");
    const names = rows[0].map((n) => n.trim());
    const columns = {};
    names.forEach((name, j) => {
      const cells = rows.slice(1).map((r) => (r[j] ?? "").trim());
      columns[name] = cells.every(isNumber) ? cells.map((c) => (missing(c) ? null : Number(c)))
        : cells.map((c) => (c === "" ? null : c));
    });
    return columns;
  }

  function steps(text, what) {
    const lines = csv(text);
    const rows = lines.map((r, i) => r.map((c) => {
      const s = c.trim();
      if (!isNumber(s)) {
        if (i === 0) return undefined; // a line of names
        throw new Error(`${what}, line ${i + 1}: “${s.slice(0, 40)}” is no number.`);
      }
      return missing(s) ? null : Number(s);
    }));
    return rows.filter((r) => !r.includes(undefined));
  }

  const flat = (rows) => (rows.every((r) => r.length === 1) ? rows.map((r) => r[0]) : rows);
  const lines = (text) => text.split("\n").map((s) => s.trim()).filter(Boolean);

  function request() {
    const text = $("input").value;
    if (task === "forecast") {
      const body = { data: text.trim() === "" ? null : table(text) };
      if ($("future") && $("future").value.trim()) body.future = table($("future").value);
      return body;
    }
    if (task === "sequences") {
      const parts = text.split(/\n[ \t\r]*\n/).filter((p) => p.trim() !== "");
      return { sequences: parts.map((p) => flat(steps(p.replace(/^\n+/, ""), "Data"))) };
    }
    if (task === "anomalies") return { series: flat(steps(text.trim(), "Data")) };
    if (task === "write") return { prompt: text, length: Number($("length").value), ...writing() };
    if (task === "tokens") return { sequences: lines(text).map((line) => line.split(/\s+/)) };
    return { texts: lines(text) };
  }

  function writing() {
    const settings = { temperature: Number($("temperature").value) };
    if ($("seed").value !== "") settings.seed = Number($("seed").value);
    return settings;
  }

  // ---- Asking.

  async function ask(path, body) {
    const answer = await fetch(API + path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const data = await answer.json();
    if (!answer.ok) throw new Error(data.detail || data.title || `${answer.status}`);
    return data;
  }

  function showProblem(error) {
    $("problem").textContent = error.message;
    $("problem").hidden = false;
    $("answer").hidden = true;
  }

  function busy(on, text = "") {
    for (const id of ["go", "live"]) if ($(id)) $(id).disabled = on;
    $("state").textContent = text;
  }

  function clear() {
    $("problem").hidden = true;
    $("answer").hidden = false;
    for (const id of ["picture", "table"]) $(id).hidden = true;
    $("words").replaceChildren();
  }

  // ---- Showing.

  const SVG = "http://www.w3.org/2000/svg";
  function node(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }
  const shown = (v) => (v === null || v === undefined ? "–" : typeof v === "number" ? String(+v.toPrecision(5)) : String(v));

  function ticks(low, high, count) {
    const raw = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((s) => s >= raw);
    const found = [];
    for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) found.push(+t.toPrecision(12));
    return found;
  }

  // lines: [{name, x, y, style, dash, width}], bands: [{name, x, low, high, opacity}], spans: [[from, to]], labels: of x.
  function draw(title, panels, labels) {
    const wide = Math.min($("answer").clientWidth || 700, 960), left = 52, right = 14, each = 210, gap = 34;
    const height = panels.length * (each + gap) + 26;
    const svg = node("svg", { viewBox: `0 0 ${wide} ${height}`, role: "img", "aria-label": title });
    const all = panels.flatMap((p) => [...p.lines, ...(p.bands || [])]);
    const xs = all.flatMap((l) => l.x);
    const x0 = Math.min(...xs), x1 = Math.max(...xs);
    const X = (x) => left + ((x - x0) / (x1 - x0 || 1)) * (wide - left - right);
    panels.forEach((p, k) => {
      const top = k * (each + gap) + 20, bottom = top + each;
      const ys = [...p.lines.flatMap((l) => l.y), ...(p.bands || []).flatMap((b) => [...b.low, ...b.high])]
        .filter((v) => v !== null && v !== undefined);
      if (!ys.length) return;
      let low = ys.reduce((a, b) => Math.min(a, b)), high = ys.reduce((a, b) => Math.max(a, b));
      const room = (high - low) * 0.06 || 1;
      low -= room; high += room;
      const Y = (y) => bottom - ((y - low) / (high - low)) * each;
      svg.append(node("text", { x: left, y: top - 6 }, p.name));
      for (const t of ticks(low, high, 4)) {
        svg.append(node("line", { x1: left, x2: wide - right, y1: Y(t), y2: Y(t), stroke: "var(--grid)" }));
        svg.append(node("text", { x: left - 7, y: Y(t) + 4, "text-anchor": "end" }, shown(t)));
      }
      for (const [a, b] of p.spans || []) {
        svg.append(node("rect", { x: X(a), width: Math.max(X(b) - X(a), 2), y: top, height: each, fill: "var(--alarm)", opacity: 0.2 }));
        svg.append(node("path", { d: `M${(X(a) + X(b)) / 2 - 5} ${top - 8}h10l-5 8z`, fill: "var(--alarm)" }));
      }
      for (const b of p.bands || []) {
        const there = b.x.map((x, i) => [x, b.low[i], b.high[i]]).filter((v) => v[1] !== null && v[2] !== null);
        const path = [...there.map((v) => `${X(v[0])} ${Y(v[2])}`), ...there.reverse().map((v) => `${X(v[0])} ${Y(v[1])}`)];
        svg.append(node("path", { d: `M${path.join("L")}z`, fill: "var(--series1)", opacity: b.opacity }));
      }
      for (const l of p.lines) {
        let path = "", pen = "M";
        l.x.forEach((x, i) => {
          if (l.y[i] === null || l.y[i] === undefined) pen = "M";
          else { path += `${pen}${X(x).toFixed(1)} ${Y(l.y[i]).toFixed(1)}`; pen = "L"; }
        });
        svg.append(node("path", {
          d: path || "M0 0", fill: "none", stroke: l.colour, "stroke-width": l.width || 1.5, "stroke-linejoin": "round",
          "stroke-dasharray": l.dash || "none",
        }));
      }
    });
    const base = height - 6, count = Math.max(1, Math.floor(wide / 190));
    const last = labels.length - 1;
    for (let i = 0; i <= count; i++) {
      const at = Math.round((i * last) / count);
      const anchor = i === 0 ? "start" : i === count ? "end" : "middle";
      svg.append(node("text", { x: X(x0 + ((x1 - x0) * at) / (last || 1)), y: base, "text-anchor": anchor }, labels[at]));
    }
    $("picture-title").textContent = title;
    $("drawn").replaceChildren(svg);
    const key = element("figcaption");
    key.textContent = panels.flatMap((p) => [...p.lines, ...(p.bands || [])]).map((l) => l.said).filter(Boolean).join(" · ");
    $("drawn").append(key);
    $("picture").hidden = false;
  }

  function showTable(names, rows) {
    const made = element("table"), head = element("tr"), body = element("tbody");
    names.forEach((n, j) => {
      const th = element("th", n, rows.some((r) => typeof r[j] === "number") ? "n" : "");
      th.scope = "col";
      head.append(th);
    });
    for (const row of rows.slice(0, 500)) {
      const tr = element("tr");
      row.forEach((v) => tr.append(element("td", shown(v), typeof v === "number" ? "n" : shown(v).length < 24 ? "short" : "")));
      body.append(tr);
    }
    const thead = element("thead");
    thead.append(head);
    made.append(thead, body);
    $("table").replaceChildren(made);
    if (rows.length > 500) $("table").append(element("p", `The first 500 of ${rows.length} rows.`, "note"));
    $("table").hidden = false;
  }

  const clock = (v) => (typeof v === "string" ? v.replace("T", " ").replace(/(\d\d:\d\d):00(\.0+)?([+-]\d\d:\d\d|Z)?$/, "$1") : String(v));

  function showForecast(body, answer) {
    const names = Object.keys(answer.columns), columns = answer.columns;
    const rows = columns[names[0]].map((_, i) => names.map((n) => columns[n][i]));
    const time = names.find((n) => !answer.targets.some((t) => n === t || n.startsWith(`${t} `)));
    const ahead = columns[answer.targets[0]].length;
    const history = body.data ? Math.min(Object.values(body.data)[0].length, Math.max(3 * ahead, 48)) : 0;
    const several = names.filter((n) => !answer.targets.some((t) => n === t || n.startsWith(`${t} `))).length > 1;
    if (!several) {
      const panels = answer.targets.map((target) => {
        const xs = columns[target].map((_, i) => i + 1);
        const made = [{ name: target, x: xs, y: columns[target], colour: "var(--series1)", width: 2.2, said: "thick line: forecast" }];
        const past = history && body.data[target] ? body.data[target].slice(-history) : null;
        if (past && past.every((v) => v === null || typeof v === "number"))
          made.unshift({ name: target, x: past.map((_, i) => i + 1 - past.length), y: past, colour: "var(--ink)", width: 1.2, said: "thin line: your data" });
        const levels = [...answer.quantiles].sort((a, b) => a - b);
        const bands = [];
        for (let i = 0; i < levels.length >> 1; i++) {
          const a = levels[i], b = levels[levels.length - 1 - i];
          const low = columns[`${target} ${+a.toPrecision(6)}`], high = columns[`${target} ${+b.toPrecision(6)}`];
          if (low && high && Math.abs(a + b - 1) < 1e-6 && (i === 0 || i === (levels.length >> 1) - 1))
            bands.push({ x: xs, low, high, opacity: 0.2, said: `band: ${Math.round((b - a) * 100)} % interval` });
        }
        return { name: target, lines: made, bands };
      });
      const dates = (body.data && time && body.data[time] ? body.data[time].slice(-history) : Array.from({ length: history }, (_, i) => i + 1 - history));
      draw("The forecast", panels, [...dates, ...columns[time || names[0]]].map(clock));
    }
    showTable(names, rows.map((r) => r.map((v) => (typeof v === "string" ? clock(v) : v))));
  }

  function showLabels(answer) {
    answer.labels.slice(0, 20).forEach((label, i) => {
      const sure = answer.probabilities ? ` ${(100 * Math.max(...answer.probabilities[i])).toFixed(1)} %` : "";
      const line = element("p");
      line.append(element("span", String(label), "big"), element("span", sure, "given"));
      $("words").append(line);
    });
    if (answer.probabilities)
      showTable(["Class", ...answer.labels.map((_, i) => (answer.labels.length > 1 ? `Probability ${i + 1}` : "Probability"))],
        answer.classes.map((c, j) => [String(c), ...answer.probabilities.map((p) => p[j])]));
  }

  function showScores(body, answer) {
    const rows = body.series.map((r) => (Array.isArray(r) ? r : [r]));
    const xs = rows.map((_, i) => i);
    const spans = answer.stretches.map((s) => [s.start - 0.5, s.end - 0.5]);
    const colours = ["var(--ink)", "var(--series3)", "var(--series4)", "var(--series2)"];
    const dashes = ["none", "6 3", "2 2", "8 3 2 3"];
    const signal = rows[0].slice(0, 4).map((_, j) => ({ x: xs, y: rows.map((r) => r[j]), colour: colours[j], dash: dashes[j], width: 1.2 }));
    signal[0].said = "triangles: alarms";
    draw("Scores and alarms", [
      { name: "the signal", lines: signal, spans },
      { name: "score", spans: [], lines: [
        { x: xs, y: answer.scores, colour: "var(--series1)", said: "solid line: score" },
        { x: [0, Math.max(xs.length - 1, 1)], y: [answer.threshold, answer.threshold], colour: "var(--series2)", dash: "6 4", said: "dashed line: threshold" },
      ] },
    ], xs.map(String));
    $("words").append(element("p", answer.stretches.length ? `${answer.stretches.length} alarm${answer.stretches.length > 1 ? "s" : ""}.` : "No alarm."));
    if (answer.stretches.length) showTable(["First step", "Last step", "Highest score"], answer.stretches.map((s) => [s.start, s.end - 1, s.score]));
  }

  function show(body, answer) {
    clear();
    if (task === "forecast") showForecast(body, answer);
    else if (task === "anomalies") showScores(body, answer);
    else if (answer.labels) showLabels(answer);
    else if (answer.tags) {
      const rows = answer.tags.flatMap((tags, i) => tags.map((tag, j) => {
        const step = body.sequences[i][j];
        return [i + 1, task === "tokens" ? step : j + 1, String(tag)];
      }));
      showTable(["Sequence", task === "tokens" ? "Word" : "Step", "Tag"], rows);
    }
    else if (answer.values) showTable(["Sequence", "Answer"], answer.values.map((v, i) => [i + 1, Array.isArray(v) ? v.map(shown).join(", ") : v]));
    else if (answer.texts) showTable(["Text", "Translation"], answer.texts.map((t, i) => [body.texts[i], t]));
    else $("words").append(element("span", body.prompt, "given"), element("span", answer.text));
  }

  // ---- Live.

  async function live() {
    const body = request();
    clear();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${API}/stream`);
    const next = () => new Promise((done, fail) => {
      socket.onmessage = (m) => {
        const data = JSON.parse(m.data);
        if (data.status >= 400) fail(new Error(data.detail)); else done(data);
      };
      socket.onclose = (e) => fail(new Error(e.reason || "the service closed the stream"));
      socket.onerror = () => fail(new Error("there is no connection to the service"));
    });
    await new Promise((done, fail) => { socket.onopen = done; socket.onerror = () => fail(new Error("there is no connection to the service")); });
    const say = (data) => { const answer = next(); socket.send(JSON.stringify(data)); return answer; };
    try {
      if (task === "write") {
        await say({ begin: { prompt: body.prompt, ...writing() } });
        const text = element("span");
        $("words").append(element("span", body.prompt, "given"), text);
        for (let left = body.length; left > 0; left -= 8) {
          const more = await say({ length: Math.min(8, left) });
          text.textContent += more.text;
          if (more.ended) break;
        }
      } else {
        const answer = { scores: [], alarms: [], threshold: card.threshold, stretches: [] };
        const piece = Math.max(1, Math.ceil(body.series.length / 40));
        for (let i = 0; i < body.series.length; i += piece) {
          const more = await say({ values: body.series.slice(i, i + piece) });
          answer.scores.push(...more.scores);
          answer.alarms.push(...more.alarms);
          answer.stretches = runs(answer.alarms, answer.scores);
          clear();
          showScores({ series: body.series.slice(0, i + piece) }, answer);
        }
      }
    } finally {
      socket.onclose = null;
      socket.close();
    }
  }

  function runs(alarms, scores) {
    const found = [];
    alarms.forEach((on, i) => {
      const last = found[found.length - 1];
      if (!on) return;
      if (last && last.end === i) { last.end = i + 1; last.score = Math.max(last.score, scores[i]); }
      else found.push({ start: i, end: i + 1, score: scores[i] });
    });
    return found;
  }

  // ---- Wiring.

  function tell() {
    let body;
    try { body = JSON.stringify(request()); } catch { return; }
    if (body.length > 700) body = `${body.slice(0, 700)}…`;
    $("curl").textContent = `curl ${location.origin}${API}/predict \\\n  -H 'Content-Type: application/json' \\\n  -d '${body.replaceAll("'", "'\\''")}'`;
  }

  async function act(work) {
    busy(true, "…");
    const begun = performance.now();
    try {
      await work();
      busy(false, `answered in ${Math.round(performance.now() - begun)} ms`);
    } catch (error) {
      showProblem(error);
      busy(false);
    }
  }

  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    act(async () => { const body = request(); show(body, await ask("/predict", body)); });
  });
  if ($("live")) $("live").addEventListener("click", () => act(live));
  if ($("file")) $("file").addEventListener("change", async () => {
    const file = $("file").files[0];
    if (file) { $("input").value = await file.text(); tell(); }
  });
  $("form").addEventListener("input", tell);
  tell();
})();
