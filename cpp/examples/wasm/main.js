// Loads rekur.wasm and a model, hands both to the audio thread, and draws what goes in and what comes out.
import { Rekur } from "./rekur.js";

const element = (id) => document.getElementById(id);
const say = (text) => (element("status").textContent = text);
let context, model, node, source;

// A plucked string (Karplus and Strong, 1983), a new note every half second.
export function pluck(seconds, rate) {
  const samples = new Float32Array(seconds * rate), notes = [82.4, 110, 146.8, 196, 246.9, 329.6];
  let noise = 1;
  for (let note = 0; note < 2 * seconds; ++note) {
    const string = new Float32Array(Math.floor(rate / notes[note % 6]));
    for (let k = 0; k < string.length; ++k) {
      noise = (Math.imul(noise, 1664525) + 1013904223) >>> 0;
      string[k] = 0.6 * (noise / 2147483648 - 1);
    }
    for (let t = 0; t < rate / 2; ++t) {
      const k = t % string.length, value = string[k];
      samples[(note * rate) / 2 + t] += value;
      string[k] = 0.499 * (value + string[(k + 1) % string.length]);
    }
  }
  return samples;
}

function draw(canvas, lines) {
  const pen = canvas.getContext("2d"), { width, height } = canvas;
  pen.clearRect(0, 0, width, height);
  for (const [samples, colour] of lines) {
    pen.strokeStyle = colour;
    pen.beginPath();
    for (let k = 0; k < width; ++k) {
      const y = height / 2 - (height / 2) * samples[Math.floor((k * samples.length) / width)];
      if (k === 0) pen.moveTo(k, y);
      else pen.lineTo(k, y);
    }
    pen.stroke();
  }
}

// A second of the string through the model, in this thread: what it costs, and a picture.
async function tryOut(bytes) {
  const module = await WebAssembly.compile(await (await fetch("rekur.wasm")).arrayBuffer());
  const rekur = new Rekur(module), loaded = rekur.model(bytes), stream = loaded.stream();
  const dry = pluck(1, 48000), wet = new Float32Array(dry.length), begin = performance.now();
  for (let t = 0; t < dry.length; t += 128) stream.process(dry.subarray(t, t + 128), wet.subarray(t, t + 128), Math.min(128, dry.length - t));
  const nanoseconds = ((performance.now() - begin) * 1e6) / dry.length;
  stream.free();
  loaded.free();
  draw(element("picture"), [[dry.subarray(0, 2400), "#999"], [wet.subarray(0, 2400), "#06c"]]);
  element("cost").textContent = `${nanoseconds.toFixed(0)} ns a sample, ${(1e9 / 48000 / nanoseconds).toFixed(0)} times real time`;
  model = { module, bytes };
  window.tried = { wet: Array.from(wet.subarray(0, 480)), nanoseconds }; // for tests
  element("play").disabled = false;
  say("ready");
}

async function open(name, bytes) {
  try {
    say(`reading ${name} …`);
    await tryOut(bytes);
  } catch (error) {
    element("play").disabled = true;
    say(`${name}: ${error.message}`);
  }
}

async function play() {
  if (context) {
    await context.close();
    context = node = source = undefined;
    element("play").textContent = "Play";
    return;
  }
  context = new AudioContext({ sampleRate: 48000 });
  await context.audioWorklet.addModule("amp-worklet.js");
  node = new AudioWorkletNode(context, "amp", {
    outputChannelCount: [1],
    processorOptions: { module: model.module, model: model.bytes },
  });
  node.port.onmessage = ({ data }) => say(data.error ?? "playing");
  if (element("microphone").checked) {
    const options = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    source = context.createMediaStreamSource(await navigator.mediaDevices.getUserMedia({ audio: options }));
  } else {
    source = context.createBufferSource();
    const samples = pluck(6, 48000), buffer = context.createBuffer(1, samples.length, 48000);
    buffer.copyToChannel(samples, 0);
    source.buffer = buffer;
    source.loop = true;
    source.start();
  }
  source.connect(node).connect(context.destination);
  element("play").textContent = "Stop";
}

element("play").addEventListener("click", () => play().catch((error) => say(error.message)));
element("file").addEventListener("change", async ({ target }) => {
  const file = target.files[0];
  if (file) await open(file.name, new Uint8Array(await file.arrayBuffer()));
});
const response = await fetch("amp.safetensors");
if (response.ok) await open("amp.safetensors", new Uint8Array(await response.arrayBuffer()));
else say("choose a model");
