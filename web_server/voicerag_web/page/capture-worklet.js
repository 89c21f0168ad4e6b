// Turns the microphone into pieces of 20 ms of 16-bit samples at the device's own rate.

class Capture extends AudioWorkletProcessor {
  #piece = new Int16Array(Math.round(sampleRate * 0.02));
  #filled = 0;
  #squares = 0;

  process([input]) {
    const samples = input[0];
    if (!samples) return true;
    for (const sample of samples) {
      const held = Math.max(-1, Math.min(1, sample));
      this.#piece[this.#filled] = Math.round(held * 32767);
      this.#squares += held * held;
      this.#filled += 1;
      if (this.#filled === this.#piece.length) {
        const level = Math.sqrt(this.#squares / this.#filled);
        this.port.postMessage({ samples: this.#piece, level }, [this.#piece.buffer]);
        this.#piece = new Int16Array(Math.round(sampleRate * 0.02));
        this.#filled = 0;
        this.#squares = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
