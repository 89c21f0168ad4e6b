// The device's sound: one AudioContext at its own rate, a microphone, a loudspeaker.

const MOST_RATE = 48000;

export class Sound {
  #ready = null;

  constructor() {
    this.context = new AudioContext({ latencyHint: "interactive" });
    if (this.context.sampleRate > MOST_RATE) {
      this.context.close();
      this.context = new AudioContext({ latencyHint: "interactive", sampleRate: MOST_RATE });
    }
  }

  get rate() {
    return this.context.sampleRate;
  }

  // Load the worklets; without them a page can only show text.
  prepare() {
    this.#ready ??= Promise.all(
      ["/page/capture-worklet.js", "/page/player-worklet.js"].map((file) => this.context.audioWorklet.addModule(file)),
    );
    return this.#ready;
  }

  // When a moment of the context leaves the loudspeaker, on the clock of performance.now().
  heardAt(moment) {
    const { contextTime, performanceTime } = this.context.getOutputTimestamp?.() ?? {};
    if (!performanceTime) return performance.now() + 1000 * (moment - this.context.currentTime);
    return performanceTime + 1000 * (moment - contextTime);
  }

  // Browsers begin with a silent context until a person does something.
  async wake() {
    if (this.context.state !== "running") await this.context.resume();
  }
}

export class Player extends EventTarget {
  #node = null;
  #ticket = 0;
  #flushes = new Map();
  #before = 0; // samples played and flushed of earlier answers
  #whose = null;
  #sent = 0;

  constructor(sound) {
    super();
    this.sound = sound;
    this.received = 0;
    this.played = 0;
    this.flushed = 0;
    this.active = false;
  }

  async prepare() {
    await this.sound.prepare();
    this.#node ??= new AudioWorkletNode(this.sound.context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#node.connect(this.sound.context.destination);
    this.#node.port.onmessage = ({ data }) => this.#follow(data);
  }

  // Play samples of an answer; `whose` is its item.
  play(samples, whose) {
    if (!this.#node) return;
    if (whose !== this.#whose) {
      this.#whose = whose;
      this.#before = this.received;
      this.#sent = 0;
    }
    this.received += samples.length;
    this.#sent += samples.length;
    this.active = true;
    const copy = samples.slice();
    this.#node.port.postMessage({ samples: copy }, [copy.buffer]);
  }

  end() {
    this.#node?.port.postMessage({ end: true });
  }

  // Fall silent; resolves to the item that was playing and its milliseconds that were heard.
  async flush() {
    if (!this.#node || !this.active) return null;
    const whose = this.#whose;
    this.#ticket += 1;
    const done = new Promise((resolve) => this.#flushes.set(this.#ticket, resolve));
    this.#node.port.postMessage({ flush: this.#ticket });
    return { item: whose, heardMs: await done };
  }

  // Milliseconds of the current answer that have left the loudspeaker.
  get heardMs() {
    return this.#heard(this.played + this.flushed);
  }

  // Samples are consumed in order, so those of this answer come after all that were received before.
  #heard(consumed) {
    const late = (this.sound.context.outputLatency || 0) * this.sound.rate;
    const heard = Math.max(0, Math.min(consumed - this.#before, this.#sent) - late);
    return Math.floor((1000 * heard) / this.sound.rate);
  }

  #follow({ what, played, flushed, ticket, at }) {
    const heard = this.#heard(played + this.flushed);
    this.played = played;
    this.flushed = flushed;
    if (what === "flushed" || what === "drained") this.active = false;
    if (what === "flushed") {
      this.#flushes.get(ticket)?.(heard);
      this.#flushes.delete(ticket);
    }
    this.dispatchEvent(new CustomEvent(what, { detail: { item: this.#whose, at } }));
  }
}

// What went wrong with the microphone, in words.
const REFUSALS = {
  NotAllowedError: "The browser does not let this page use the microphone. Allow it at the address bar, then press the button again. You can type meanwhile.",
  NotFoundError: "No microphone was found. Plug one in, or type your question.",
  NotReadableError: "Another program is using the microphone. Close it, or type your question.",
  OverconstrainedError: "This microphone cannot be used. Choose another one in the system's settings, or type.",
};
const INSECURE =
  "Browsers open the microphone, and play the answers, on secure pages alone. Open this page at http://localhost, through an SSH tunnel " +
  "(ssh -L 8090:localhost:8090 SERVER), or over HTTPS behind a proxy. You can type meanwhile; answers are text here.";

export class Microphone extends EventTarget {
  #stream = null;
  #node = null;

  constructor(sound) {
    super();
    this.sound = sound;
  }

  get isOpen() {
    return Boolean(this.#stream?.getAudioTracks().some((track) => track.readyState === "live"));
  }

  // Open the microphone; throws an Error that says in words what is in the way.
  async open() {
    if (this.isOpen) return;
    if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) throw new Error(INSECURE);
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (error) {
      throw new Error(REFUSALS[error.name] ?? `The microphone cannot be opened (${error.message}).`);
    }
    await this.sound.prepare();
    const source = this.sound.context.createMediaStreamSource(this.#stream);
    this.#node = new AudioWorkletNode(this.sound.context, "capture", { numberOfOutputs: 0 });
    this.#node.port.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("sound", { detail: data }));
    source.connect(this.#node);
    for (const track of this.#stream.getAudioTracks()) {
      track.onended = () => {
        this.close();
        this.dispatchEvent(new Event("lost"));
      };
    }
  }

  close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#node?.disconnect();
    this.#stream = this.#node = null;
  }
}

// A WAV file of 16-bit samples.
export function wavFile(pieces, rate) {
  const size = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const word = (at, letters) => [...letters].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  word(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  word(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head, ...pieces], { type: "audio/wav" });
}
