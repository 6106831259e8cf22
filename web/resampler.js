/**
 * Streaming sample rate conversion by a windowed sinc, one kernel for each phase of the ratio.
 * Browsers record at the sound card's rate, and not all of them convert on their own.
 */

const PASSED = 0.9; // of the lower rate's half
const ZERO_CROSSINGS = 16; // on each side

export class Resampler {
  #up;
  #down;
  #half;
  #kernels;
  #input;
  #at; // index in #input at or before the next output, and how far behind it that lies, in 1/up
  #phase = 0;

  /** Rates in Hz. */
  constructor(from, to) {
    const divisor = greatestCommonDivisor(from, to);
    this.#up = to / divisor;
    this.#down = from / divisor;
    const cutoff = (PASSED / 2) * Math.min(1, to / from); // cycles a sample of the input
    this.#half = Math.ceil(ZERO_CROSSINGS / (2 * cutoff));
    this.#kernels = Array.from({ length: this.#up }, (_, phase) => kernel(phase / this.#up, this.#half, cutoff));
    this.#input = new Float32Array(this.#half);
    this.#at = this.#half;
  }

  /** Float32 samples in, the Float32 samples that are ready out. */
  feed(block) {
    const input = new Float32Array(this.#input.length + block.length);
    input.set(this.#input);
    input.set(block, this.#input.length);
    const output = [];
    while (this.#at + this.#half < input.length) {
      output.push(dot(input, this.#at - this.#half + 1, this.#kernels[this.#phase]));
      this.#phase += this.#down;
      this.#at += Math.floor(this.#phase / this.#up);
      this.#phase %= this.#up;
    }
    const done = Math.min(input.length, this.#at - this.#half + 1);
    this.#input = input.slice(done);
    this.#at -= done;
    return Float32Array.from(output);
  }
}

/** 2 * half weights for the samples around an output that lies `fraction` behind the middle one. */
function kernel(fraction, half, cutoff) {
  const weights = Float64Array.from({ length: 2 * half }, (_, index) => {
    const distance = index - half + 1 - fraction;
    const angle = 2 * Math.PI * cutoff * distance;
    const window = 0.42 + 0.5 * Math.cos((Math.PI * distance) / half) + 0.08 * Math.cos((2 * Math.PI * distance) / half);
    return (angle === 0 ? 1 : Math.sin(angle) / angle) * window;
  });
  const sum = weights.reduce((total, weight) => total + weight);
  return weights.map((weight) => weight / sum);
}

function dot(samples, from, weights) {
  let sum = 0;
  for (let index = 0; index < weights.length; index++) sum += samples[from + index] * weights[index];
  return sum;
}

function greatestCommonDivisor(a, b) {
  return b ? greatestCommonDivisor(b, a % b) : a;
}
