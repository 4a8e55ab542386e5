// Cuts the sound into hops for the worker, and plays what comes back.

const WAITING = 8; // hops that the worker may be behind
const LATE = 4; // hops beyond those ahead that may lie in the queue
const MOST_AHEAD = 10;

class Live extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    const { hop, share } = processorOptions;
    this.length = hop;
    // Hops that are ready before playing begins: more after an interruption,
    // as sound may be asked for in bursts.
    this.ahead = 2;
    this.target = this.share = share;
    this.hop = new Float32Array(hop);
    this.filled = 0;
    this.waiting = 0;
    this.queue = [];
    this.played = 0; // samples of the first block in the queue
    this.playing = false;
    this.recording = false;
    this.running = true;
    this.report = this.fresh(0);
    this.port.onmessage = ({ data }) => {
      if (data.port) this.connect(data.port);
      if (data.share !== undefined) this.target = data.share;
      if (data.recording !== undefined) this.recording = data.recording;
      if (data.stop) this.running = false;
    };
  }

  fresh(missed) {
    return { in: 0, out: 0, samples: 0, milliseconds: 0, hops: 0, missed };
  }

  connect(port) {
    this.worker = port;
    port.onmessage = ({ data }) => {
      this.waiting--;
      this.report.milliseconds += data.milliseconds;
      this.report.hops++;
      if (this.recording)
        this.port.postMessage({ noisy: data.dry, enhanced: data.wet });
      this.queue.push(data);
      if (this.queue.length > this.ahead + LATE) this.drop();
    };
  }

  drop() {
    this.queue.shift();
    this.played = 0;
    this.report.missed++;
  }

  process([[input]], [[output]]) {
    for (let i = 0; i < output.length; i++) {
      const sample = input ? input[i] : 0;
      this.hop[this.filled++] = sample;
      if (this.filled === this.length) this.send();
      output[i] = this.next();
      this.report.in += sample * sample;
      this.report.out += output[i] * output[i];
    }
    this.report.samples += output.length;
    if (this.report.samples >= sampleRate / 10) {
      const settled = this.ahead === MOST_AHEAD;
      const ahead = this.ahead;
      this.port.postMessage({ report: { ...this.report, ahead, settled } });
      this.report = this.fresh(this.report.missed);
    }
    return this.running;
  }

  send() {
    this.filled = 0;
    if (!this.worker) return;
    if (this.waiting === WAITING) {
      this.report.missed++;
      return;
    }
    const hop = this.hop.slice();
    this.worker.postMessage({ hop }, [hop.buffer]);
    this.waiting++;
  }

  next() {
    this.share += (this.target - this.share) * 0.002; // without a click
    if (!this.playing) {
      if (this.queue.length < this.ahead) return 0;
      this.playing = true;
    }
    if (!this.queue.length) {
      this.playing = false;
      this.ahead = Math.min(this.ahead + 1, MOST_AHEAD);
      this.report.missed++;
      return 0;
    }
    const { dry, wet } = this.queue[0];
    const i = this.played++;
    if (this.played === this.length) {
      this.queue.shift();
      this.played = 0;
    }
    return dry[i] + (wet[i] - dry[i]) * this.share;
  }
}

registerProcessor("live", Live);
