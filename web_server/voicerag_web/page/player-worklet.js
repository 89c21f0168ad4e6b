// Plays samples in order. It waits for a little sound before it begins, for more after each gap, and
// counts what was played and what was thrown away.

const START_SECONDS = 0.12;
const GROW_SECONDS = 0.06;
const MOST_SECONDS = 0.6;
const FADE_SECONDS = 0.005;
const REPORT_SECONDS = 0.1;

class Player extends AudioWorkletProcessor {
  #queue = [];
  #at = 0;
  #queued = 0;
  #wanted = START_SECONDS * sampleRate;
  #playing = false;
  #complete = false;
  #played = 0;
  #flushed = 0;
  #fading = null;
  #unreported = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#take(data);
  }

  #take(message) {
    if (message.samples) {
      this.#queue.push(message.samples);
      this.#queued += message.samples.length;
      this.#complete = false;
    } else if (message.end) {
      this.#complete = true;
    } else if (message.flush) {
      this.#flush(message.flush);
    }
  }

  #flush(ticket) {
    if (this.#playing && this.#queued) this.#fading = this.#next(Math.round(FADE_SECONDS * sampleRate));
    this.#flushed += this.#queued;
    this.#queue = [];
    this.#at = 0;
    this.#queued = 0;
    this.#playing = false;
    this.#complete = false;
    this.#tell("flushed", { ticket });
  }

  // Take samples out of the queue; they count as played.
  #next(count) {
    const taken = new Float32Array(Math.min(count, this.#queued));
    let filled = 0;
    while (filled < taken.length) {
      const piece = this.#queue[0];
      const some = Math.min(piece.length - this.#at, taken.length - filled);
      for (let i = 0; i < some; i++) taken[filled + i] = piece[this.#at + i] / 32768;
      filled += some;
      this.#at += some;
      if (this.#at === piece.length) {
        this.#queue.shift();
        this.#at = 0;
      }
    }
    this.#queued -= taken.length;
    this.#played += taken.length;
    return taken;
  }

  #tell(what, more = {}) {
    this.port.postMessage({ what, played: this.#played, flushed: this.#flushed, ...more });
    this.#unreported = 0;
  }

  process(_inputs, [output]) {
    const out = output[0];
    if (this.#fading) {
      const fade = this.#fading;
      for (let i = 0; i < Math.min(fade.length, out.length); i++) out[i] = fade[i] * (1 - i / fade.length);
      this.#fading = null;
      return true;
    }
    if (!this.#playing) {
      if (!this.#queued || (this.#queued < this.#wanted && !this.#complete)) return true;
      this.#playing = true;
      this.#tell("started", { at: currentTime });
    }
    const samples = this.#next(out.length);
    out.set(samples);
    this.#unreported += samples.length;
    if (!this.#queued) {
      this.#playing = false;
      if (this.#complete) {
        this.#complete = false;
        this.#wanted = START_SECONDS * sampleRate;
        this.#tell("drained");
      } else {
        this.#wanted = Math.min(this.#wanted + GROW_SECONDS * sampleRate, MOST_SECONDS * sampleRate);
        this.#tell("gap");
      }
    } else if (this.#unreported >= REPORT_SECONDS * sampleRate) {
      this.#tell("played");
    }
    return true;
  }
}

registerProcessor("player", Player);
