// ------------------------------------------------------- blind listening test

// Exact tail of the binomial distribution: P(at least k of n).
function tail(k, n, p) {
  if (k <= 0) return 1;
  let term = (1 - p) ** n;
  let below = 0;
  for (let i = 0; i < k; i++) {
    below += term;
    term *= ((n - i) / (i + 1)) * (p / (1 - p));
  }
  return Math.max(0, 1 - below);
}

// Clopper and Pearson's 95 % interval of a proportion.
function interval(k, n) {
  const solve = (atLeast, goal) => {
    let [low, high] = [0, 1];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (tail(atLeast, n, middle) < goal) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  };
  return [k === 0 ? 0 : solve(k, 0.025), k === n ? 1 : solve(k + 1, 0.975)];
}

function drawNumber(below) {
  // Without the bias of a remainder: numbers of the last, partial run are drawn again.
  const limit = 2 ** 32 - (2 ** 32 % below);
  const [number] = crypto.getRandomValues(new Uint32Array(1));
  return number < limit ? number % below : drawNumber(below);
}

function shuffle(list) {
  const order = [...list];
  for (let i = order.length - 1; i > 0; i--) {
    const j = drawNumber(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

const questions = {
  abx: { a: "X is A", b: "X is B" },
  prefer: { a: "A is better", b: "B is better" },
};

class BlindTest {
  constructor(recordings, versions, question, count) {
    Object.assign(this, { recordings, versions, question, count });
    this.trials = [];
    this.queue = [];
    this.players = {};
    this.next();
  }

  // Every recording comes once before any comes again.
  next() {
    this.silence();
    if (!this.queue.length) this.queue = shuffle(this.recordings);
    const recording = this.queue.pop();
    const [a, b] = shuffle(this.versions);
    const x = drawNumber(2) ? a : b;
    const versions = this.question === "abx" ? { a, b, x } : { a, b };
    this.trial = { recording: recording.name, ...versions, plays: { a: 0, b: 0, x: 0 } };
    this.players = {};
    for (const [slot, version] of Object.entries(versions)) {
      this.players[slot] = new Audio(recording.audio[version]);
    }
  }

  silence() {
    for (const player of Object.values(this.players)) player.pause();
  }

  // Goes on where the last one was, so that the same moment can be compared.
  play(slot) {
    const player = this.players[slot];
    if (!player) return;
    for (const other of document.querySelectorAll("audio")) other.pause();
    const last = this.playing && this.players[this.playing];
    if (last && last !== player) {
      player.currentTime = last.ended ? 0 : last.currentTime;
    }
    this.silence();
    this.playing = slot;
    this.trial.plays[slot] += 1;
    player.play();
  }

  answer(slot) {
    const { trial } = this;
    trial.answer = trial[slot];
    if (this.question === "abx") trial.correct = trial.answer === trial.x;
    this.trials.push(trial);
    this.playing = undefined;
    if (!this.done) this.next();
    else this.silence();
  }

  get done() {
    return this.trials.length >= this.count;
  }

  get result() {
    const [one, other] = this.versions;
    const asked = this.question === "abx";
    const n = this.trials.length;
    const k = this.trials.filter((t) => (asked ? t.correct : t.answer === one)).length;
    const p = asked ? tail(k, n, 0.5) : Math.min(1, 2 * tail(Math.max(k, n - k), n, 0.5));
    return {
      question: asked ? "Which is X?" : "Which do you prefer?",
      versions: this.versions,
      counted: asked ? "correct answers" : `preferences for ${one} over ${other}`,
      count: k,
      trials_done: n,
      trials_planned: this.count,
      proportion: k / n,
      interval95: interval(k, n),
      p_value: p,
      trials: this.trials,
      date: new Date().toISOString(),
      made_by: document.querySelector("meta[name=generator]").content,
    };
  }
}

function phrase({ question, versions, count, trials_done: n, trials_planned: planned, interval95, p_value: p, proportion }) {
  const percent = (share) => `${Math.round(100 * share)} %`;
  const range = `95 % interval ${percent(interval95[0])} to ${percent(interval95[1])}, p = ${p.toFixed(3)}`;
  const early = n < planned ? ` The test was ended after ${n} of ${planned} trials, which makes it weaker than it looks.` : "";
  const [one, other] = versions;
  if (question === "Which is X?") {
    const verdict = p < 0.05 ? "you hear a difference" : "this does not show that you hear a difference";
    return `${count} of ${n} right (${percent(proportion)}; ${range}) between ${one} and ${other}: ${verdict}.${early}`;
  }
  const better = proportion > 0.5 ? one : other;
  const verdict = p < 0.05 ? `you prefer ${better}` : "this shows no preference";
  return `${one} preferred to ${other} in ${count} of ${n} (${percent(proportion)}; ${range}): ${verdict}.${early}`;
}

if (byId("blind")) {
  const recordings = [...document.querySelectorAll(".utterance")].map((utterance) => ({
    name: utterance.querySelector("h3").firstChild.textContent.trim(),
    audio: Object.fromEntries(
      [...utterance.querySelectorAll(".clip")].map((clip) => [
        clip.querySelector("strong").textContent,
        clip.querySelector("audio").src,
      ]),
    ),
  }));
  const versions = [...new Set(recordings.flatMap(({ audio }) => Object.keys(audio)))];
  const [one, other] = ["blind-one", "blind-other"].map(byId);
  for (const select of [one, other]) for (const version of versions) select.add(new Option(version, version));
  // The runs, or the noisy input and the only run.
  const runs = versions.filter((version) => version !== "noisy" && version !== "clean");
  one.value = runs[0] ?? versions[0];
  other.value = runs[1] ?? "noisy";
  let test = null;

  const refuse = (text) => one.setCustomValidity(text);
  const show = () => {
    byId("blind-progress").textContent = `Trial ${test.trials.length + 1} of ${test.count}.`;
    const asked = test.question === "abx";
    document.querySelector("[data-play=x]").hidden = !asked;
    for (const slot of ["a", "b"]) {
      document.querySelector(`[data-answer=${slot}]`).innerHTML = `<kbd>${slot.toUpperCase()}</kbd> ${questions[test.question][slot]}`;
    }
  };
  const end = () => {
    test.silence();
    byId("blind-trial").hidden = true;
    byId("blind-result").hidden = test.trials.length === 0;
    if (test.trials.length) {
      byId("blind-verdict").textContent = phrase(test.result);
      byId("blind-verdict").focus();
    }
  };
  const answer = (slot) => {
    test.answer(slot);
    if (test.done) end();
    else show();
  };

  byId("blind-setup").addEventListener("input", () => refuse(""));
  byId("blind-setup").addEventListener("submit", (event) => {
    event.preventDefault();
    const pair = [one.value, other.value];
    const shared = recordings.filter(({ audio }) => pair.every((version) => version in audio));
    if (pair[0] === pair[1]) refuse("Choose two different versions.");
    else if (!shared.length) refuse("No file is there in both versions.");
    if (!event.target.reportValidity()) return;
    if (test) test.silence();
    test = new BlindTest(shared, pair, byId("blind-question").value, byId("blind-trials").valueAsNumber);
    byId("blind-result").hidden = true;
    byId("blind-trial").hidden = false;
    show();
    byId("blind-progress").focus();
  });
  for (const button of document.querySelectorAll("#blind-trial [data-play]")) {
    button.addEventListener("click", () => test.play(button.dataset.play));
  }
  for (const button of document.querySelectorAll("#blind-trial [data-answer]")) {
    button.addEventListener("click", () => answer(button.dataset.answer));
  }
  byId("blind-pause").addEventListener("click", () => test.silence());
  byId("blind-stop").addEventListener("click", end);
  byId("blind-download").addEventListener("click", () =>
    save("blind_test.json", "application/json", `${JSON.stringify(test.result, null, 1)}\n`),
  );
  document.addEventListener("keydown", (event) => {
    if (byId("blind-trial").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.repeat || event.target.matches("input, select, audio")) return;
    const slot = { 1: "a", 2: "b", 3: "x" }[event.key];
    const key = event.key.toLowerCase();
    if (slot) test.play(slot);
    else if (key === "0") test.silence();
    else if (key === "a" || key === "b") answer(key);
    else if (key === "escape") end();
    else return;
    event.preventDefault();
  });
}
