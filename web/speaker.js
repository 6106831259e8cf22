/**
 * The sound of a reply, piece after piece on one AudioContext, whose clock is the clock of the reply.
 *
 * A pause suspends the whole context, so queued sound stops at once and later goes on at the same sample.
 * The microphone has a context of its own.
 */

/** Where the queue has run dry, the next piece starts this much later, for the network's jitter. */
const MARGIN_S = 0.05;

export class Speaker {
  #rate;
  #context = null;
  #sources = new Set();
  #pieces = []; // {start: s of the context, from: ms of the reply, ms: length}
  #end = 0; // s of the context at which the queue runs dry
  #queuedMs = 0;
  #heardMs = 0;
  #delayMs = null;
  #turn = null;
  #paused = false;

  /** rate in Hz of the PCM that `play` is given. */
  constructor(rate) {
    this.#rate = rate;
  }

  /** The reply that is being spoken, or null. */
  get turn() {
    return this.#turn;
  }

  get paused() {
    return this.#paused;
  }

  /** ms of sound that `play` was given for this reply. */
  get queuedMs() {
    return this.#queuedMs;
  }

  /** From the arrival of the first piece to its sound, or null. */
  get delayMs() {
    return this.#delayMs;
  }

  /** Whether the browser holds the sound until the user does something. */
  get blocked() {
    return this.#context !== null && this.#context.state !== "running" && !this.#paused;
  }

  /** ms of this reply that have left the loudspeaker. Never goes back. */
  get heardMs() {
    if (!this.#pieces.length) return this.#heardMs;
    const now = this.#context.currentTime - this.#latency;
    for (const { start, from, ms } of this.#pieces) {
      if (now >= start) this.#heardMs = Math.max(this.#heardMs, from + Math.min(ms, (now - start) * 1000));
    }
    this.#pieces = this.#pieces.filter(({ start, ms }) => now < start + ms / 1000);
    return this.#heardMs;
  }

  get #latency() {
    return this.#context.outputLatency || this.#context.baseLatency || 0; // s; Safari has only the second
  }

  /** Call this where the user has done something: only then browsers let a page make sound. */
  unlock() {
    this.#context ??= new AudioContext({ sampleRate: this.#rate, latencyHint: "interactive" });
    if (!this.#paused) this.#context.resume();
  }

  /** What comes now belongs to this turn; what is left of an older one is dropped. */
  begin(turn) {
    this.drop();
    this.#turn = turn;
  }

  /** Queue PCM16 (an ArrayBuffer). Without a turn it is the rest of one that was dropped. */
  play(pcm) {
    if (this.#turn === null) return;
    if (!this.#context) this.unlock();
    const context = this.#context;
    const samples = new Int16Array(pcm);
    const buffer = context.createBuffer(1, samples.length, this.#rate);
    const channel = buffer.getChannelData(0);
    for (let index = 0; index < samples.length; index++) channel[index] = samples[index] / 32768;

    const start = Math.max(this.#end, context.currentTime + (this.#end > context.currentTime ? 0 : MARGIN_S));
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    source.onended = () => this.#sources.delete(source);
    source.start(start);
    this.#sources.add(source);

    const ms = buffer.duration * 1000;
    this.#delayMs ??= (start - context.currentTime + this.#latency) * 1000;
    this.#pieces.push({ start, from: this.#queuedMs, ms });
    this.#queuedMs += ms;
    this.#end = start + buffer.duration;
  }

  /** Hold the sound at once, also what is queued. */
  pause() {
    this.#paused = true;
    this.#context?.suspend();
  }

  resume() {
    this.#paused = false;
    this.#context?.resume();
  }

  /** Forget the reply and all of its sound. */
  drop() {
    for (const source of this.#sources) {
      source.onended = null;
      source.stop();
    }
    this.#sources.clear();
    this.#pieces = [];
    this.#end = this.#queuedMs = this.#heardMs = 0;
    this.#turn = this.#delayMs = null;
    if (this.#paused) this.resume();
  }
}
