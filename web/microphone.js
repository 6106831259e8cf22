/** The microphone: 20 ms pieces of PCM16, without the echo of our own replies as far as the browser can. */

const PIECE_MS = 20;

/** Its message is for the user. */
export class MicrophoneError extends Error {}

const REFUSALS = {
  NotAllowedError:
    "The browser does not lend its microphone to this page. Allow it in the address bar (the icon left of the address) and press Talk again. You can type meanwhile.",
  NotFoundError: "There is no microphone. Plug one in and press Talk again, or type.",
  NotReadableError: "The microphone is in use by another program, or the system holds it back. Free it and press Talk again.",
};

export class Microphone {
  #rate;
  #onPiece;
  #onLost;
  #context = null;
  #stream = null;

  /** rate in Hz; onPiece(ArrayBuffer, level 0…1); onLost(message) when the device goes away. */
  constructor(rate, onPiece, onLost) {
    this.#rate = rate;
    this.#onPiece = onPiece;
    this.#onLost = onLost;
  }

  get on() {
    return this.#stream !== null;
  }

  /** Throws MicrophoneError. */
  async start() {
    if (!navigator.mediaDevices) {
      throw new MicrophoneError(
        `Browsers lend a microphone only to https pages and to localhost, and this is ${location.origin}. Open it by https, or through a tunnel to localhost. You can type meanwhile.`,
      );
    }
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (error) {
      throw new MicrophoneError(REFUSALS[error.name] ?? `The microphone cannot be used: ${error.message}.`);
    }
    this.#stream.getAudioTracks()[0].onended = () => this.#lost();
    await this.#record();
  }

  async #record() {
    const context = (this.#context = new AudioContext());
    await context.audioWorklet.addModule(new URL("microphone-worklet.js", import.meta.url));
    if (context !== this.#context) return; // stopped meanwhile
    const recorder = new AudioWorkletNode(context, "recorder", {
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { rate: this.#rate, pieceMs: PIECE_MS },
    });
    recorder.port.onmessage = ({ data }) => this.on && this.#onPiece(data, level(data));
    context.createMediaStreamSource(this.#stream).connect(recorder);
    recorder.connect(context.destination); // it is silent; some browsers run only what leads there
  }

  stop() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#context?.close();
    this.#stream = this.#context = null;
  }

  #lost() {
    this.stop();
    this.#onLost("The microphone was taken away. Press Talk to try again.");
  }
}

/** 0 for silence up to 1 for loud speech, by the ear's scale: from -60 to -10 dBFS. */
function level(pcm) {
  const samples = new Int16Array(pcm);
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  const dbfs = 10 * Math.log10(power / 32768 ** 2 + 1e-9);
  return Math.max(0, Math.min(1, (dbfs + 60) / 50));
}
