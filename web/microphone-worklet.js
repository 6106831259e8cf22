/** Runs on the audio thread: what the microphone hears, in pieces of PCM16 at the wanted rate. */

import { Resampler } from "./resampler.js";

class Recorder extends AudioWorkletProcessor {
  #resampler;
  #piece;
  #filled = 0;

  constructor({ processorOptions: { rate, pieceMs } }) {
    super();
    this.#resampler = new Resampler(sampleRate, rate);
    this.#piece = new Int16Array((rate * pieceMs) / 1000);
  }

  process([[channel]]) {
    if (channel) for (const sample of this.#resampler.feed(channel)) this.#put(sample);
    return true;
  }

  #put(sample) {
    this.#piece[this.#filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
    if (this.#filled < this.#piece.length) return;
    const full = this.#piece;
    this.#piece = new Int16Array(full.length);
    this.#filled = 0;
    this.port.postMessage(full.buffer, [full.buffer]);
  }
}

registerProcessor("recorder", Recorder);
