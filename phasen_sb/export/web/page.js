// The page: what it shows, and how sound runs from its source to the speakers.

const LONGEST = 600; // seconds of a recording
const LOAD = 0.9; // share of a hop's time above which the page warns

const at = (id) => document.getElementById(id);
const say = (text) => (at("status").textContent = text);
const warn = (text) => {
  if (at("warning").textContent !== text) at("warning").textContent = text;
};
const explain = (error) => warn(String(error.message ?? error));

let facts, worker, running, recorded, load, missed, calm;

async function loadModel() {
  const get = async (name) => {
    const answer = await fetch(name);
    if (!answer.ok) throw new Error(`${name} cannot be loaded.`);
    return answer;
  };
  facts = await (await get("model.json")).json();
  const model = new Uint8Array(await (await get("model.onnx")).arrayBuffer());
  worker = new Worker("worker.js", { type: "module" });
  await new Promise((resolve, reject) => {
    worker.onerror = () => reject(new Error("worker.js cannot be loaded."));
    worker.onmessage = ({ data }) =>
      data.error ? reject(new Error(data.error)) : resolve();
    worker.postMessage({ facts, model }, [model.buffer]);
  });
  worker.onmessage = ({ data }) => {
    stop();
    explain(new Error(data.error));
  };
}

// Starts the sound; connect(context, node) plays a source into the node, and
// returns what ends that. Resolves to whether it is still wanted.
async function start(connect, name) {
  await stop();
  warn("");
  const context = new AudioContext({
    sampleRate: facts.sample_rate,
    latencyHint: "interactive",
  });
  const mine = (running = { context, close: () => {} });
  try {
    await context.audioWorklet.addModule("worklet.js");
    const node = new AudioWorkletNode(context, "live", {
      channelCount: 1,
      channelCountMode: "explicit",
      outputChannelCount: [1],
      processorOptions: {
        hop: facts.hop_length,
        share: share(),
      },
    });
    mine.node = node;
    const { port1, port2 } = new MessageChannel();
    worker.postMessage({ port: port1 }, [port1]);
    node.port.postMessage({ port: port2, recording: Boolean(recorded) }, [
      port2,
    ]);
    node.port.onmessage = ({ data }) => {
      if (data.report) show(data.report);
      else if (recorded) {
        recorded.push(data);
        if (recorded.length * hopTime() > 1000 * LONGEST) record();
      }
    };
    node.connect(context.destination);
    load = missed = calm = 0;
    mine.close = await connect(context, node);
    // Stopped, or another source chosen, while the user was asked.
    if (running !== mine) {
      await close(mine);
      return false;
    }
    await context.resume();
    at("stop").disabled = false;
    say(name);
    return true;
  } catch (error) {
    if (running === mine) await stop();
    throw error;
  }
}

async function close(part) {
  part.close();
  part.node?.port.postMessage({ stop: true });
  if (part.context.state !== "closed") await part.context.close();
}

async function stop() {
  const before = running;
  running = undefined;
  at("stop").disabled = true;
  at("microphone").setAttribute("aria-pressed", "false");
  if (!before) return;
  say("Stopped.");
  await close(before);
}

async function useMicrophone() {
  if (!navigator.mediaDevices)
    throw new Error(
      "Browsers give the microphone only to https pages and to localhost.",
    );
  const wanted = await start(async (context, node) => {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: {
        channelCount: 1,
        echoCancellation: false,
        noiseSuppression: false,
        autoGainControl: false,
      },
    });
    const [track] = stream.getAudioTracks();
    const close = () => track.stop();
    track.onended = () => running?.context === context && stop(); // unplugged
    try {
      context.createMediaStreamSource(stream).connect(node);
    } catch (error) {
      close();
      // Some browsers do not resample microphones.
      if (error.name === "NotSupportedError")
        throw new Error(
          `This browser cannot give the microphone at ${facts.sample_rate} ` +
            "Hz; try another browser, or play a file.",
        );
      throw error;
    }
    return close;
  }, "The microphone is on.");
  if (wanted) at("microphone").setAttribute("aria-pressed", "true");
}

async function play(file) {
  if (!file) return;
  const bytes = await file.arrayBuffer();
  await start(async (context, node) => {
    let sound;
    try {
      sound = await context.decodeAudioData(bytes);
    } catch {
      throw new Error(`${file.name} is no sound that this browser can read.`);
    }
    const source = new AudioBufferSourceNode(context, { buffer: sound });
    source.connect(node);
    source.onended = () => {
      // What the model and the queue still hold.
      const rest = facts.latency_ms + 11 * hopTime() + 100;
      setTimeout(() => running?.context === context && stop(), rest);
    };
    source.start();
    return () => source.disconnect();
  }, `Playing ${file.name}`);
}

const hopTime = () => (1000 * facts.hop_length) / facts.sample_rate;
const share = () => (at("on").checked ? at("strength").value / 100 : 0);

function changeShare() {
  at("strength-value").textContent = `${at("strength").value} %`;
  running?.node?.port.postMessage({ share: share() });
}

function show(report) {
  for (const side of ["in", "out"]) {
    const db = 10 * Math.log10(report[side] / report.samples + 1e-10);
    at(`level-${side}`).value = Math.max(db, -60);
    at(`level-${side}-value`).textContent =
      db > -60 ? `${db.toFixed(0)} dB` : "–";
  }
  if (report.hops) {
    const newest = report.milliseconds / report.hops / hopTime();
    load = load ? 0.8 * load + 0.2 * newest : newest;
    at("load").textContent = `${(100 * load).toFixed(0)} % of real time`;
  }
  const { baseLatency, outputLatency } = running?.context ?? {};
  const device = 1000 * (baseLatency || 0) + 1000 * (outputLatency || 0);
  const total = facts.latency_ms + report.ahead * hopTime() + device;
  at("latency").textContent =
    `${total.toFixed(0)} ms (model ${facts.latency_ms.toFixed(0)} ms)`;
  at("missed").textContent = report.missed;
  if ((report.missed > missed && report.settled) || load > LOAD) {
    calm = 0;
    warn(
      "This device does not keep up: sound is lost. Close other tabs and " +
        "programs, or use a smaller model.",
    );
  } else if (++calm === 50) warn("");
  missed = report.missed;
}

function record() {
  const begins = !recorded;
  at("record").setAttribute("aria-pressed", begins);
  running?.node?.port.postMessage({ recording: begins });
  if (begins) {
    recorded = [];
    return;
  }
  const parts = recorded;
  recorded = undefined;
  for (const name of ["noisy", "enhanced"]) {
    const link = at(name);
    URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(
      makeWav(
        parts.map((part) => part[name]),
        facts.sample_rate,
      ),
    );
    link.hidden = !parts.length;
  }
}

// A WAV file of 32-bit floats, one channel.
function makeWav(parts, rate) {
  const size = 4 * parts.reduce((sum, part) => sum + part.length, 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (offset, value) =>
    [...value].forEach((c, i) => header.setUint8(offset + i, c.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 3, true); // floats
  header.setUint16(22, 1, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, 4 * rate, true);
  header.setUint16(32, 4, true);
  header.setUint16(34, 32, true);
  text(36, "data");
  header.setUint32(40, size, true);
  return new Blob([header, ...parts], { type: "audio/wav" });
}

at("microphone").onclick = () =>
  (at("microphone").getAttribute("aria-pressed") === "true"
    ? stop()
    : useMicrophone()
  ).catch(explain);
at("stop").onclick = () => stop().catch(explain);
at("file").onchange = ({ target }) => {
  play(target.files[0]).catch(explain);
  target.value = "";
};
at("on").onchange = at("strength").oninput = changeShare;
at("record").onclick = record;
document.ondragover = (event) => {
  event.preventDefault();
  at("source").classList.add("over");
};
document.ondragleave = () => at("source").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  at("source").classList.remove("over");
  if (facts && worker) play(event.dataTransfer.files[0]).catch(explain);
};

try {
  await loadModel();
  for (const id of ["microphone", "file", "record"]) at(id).disabled = false;
  say("Ready.");
} catch (error) {
  say("");
  explain(error);
}
