/**
 * The wire of /sophia/voice: binary PCM16 both ways, JSON events, and a session that survives its connection.
 *
 * `session` gives the fields of session.start anew for each connection. A broken connection is made again
 * (after 0.5 s, then ever later, or when the server says) and takes its conversation up by the resume token.
 * One that was closed because nobody said anything waits for `wake`.
 *
 * A server that asks for a key gets it as a subprotocol, for a browser can send no header with a WebSocket.
 */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const START_DEADLINE_MS = 8000;
/** Microphone audio that the network has not taken yet; beyond 2 s of it new pieces are dropped. */
const MAX_BACKLOG_BYTES = 2 * 16000 * 2;
const CLOSE_IDLE = 4408;

/** What to offer in the handshake to be let in with `key`. */
export function subprotocols(key) {
  if (!key) return [];
  const encoded = btoa(String.fromCharCode(...new TextEncoder().encode(key)));
  return ["voxloop", `voxloop.key.${encoded.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`];
}

export class Voice {
  #url;
  #session;
  #handlers;
  #socket = null;
  #started = false;
  #token = "";
  #wait = FIRST_WAIT_MS;
  #retry = 0;
  #deadline = 0;
  #asleep = false;
  key = "";

  /** handlers: onEvent(event), onAudio(ArrayBuffer), onRefused(), onConnection("connecting" | "open" | "lost" | "idle"). */
  constructor(url, session, handlers) {
    this.#url = url;
    this.#session = session;
    this.#handlers = handlers;
  }

  /** Whether a session is open, so that what is sent arrives. */
  get started() {
    return this.#started;
  }

  connect() {
    clearTimeout(this.#retry);
    this.#handlers.onConnection("connecting");
    this.#asleep = false;
    const socket = new WebSocket(this.#url, subprotocols(this.key));
    let opened = false;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      opened = true;
      this.#start();
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.#event(JSON.parse(data)) : this.#handlers.onAudio(data));
    socket.onclose = ({ code }) => {
      this.#closed(code);
      if (!opened) this.#explain();
    };
    this.#socket = socket;
    this.#deadline = setTimeout(() => socket.close(), START_DEADLINE_MS);
  }

  /** A new connection for the same conversation; for settings that only session.start can change. */
  restart() {
    this.#wait = 0;
    this.#started = false;
    if (!this.#socket) return this.connect();
    this.#handlers.onConnection("connecting");
    this.#socket.close();
  }

  /** Somebody is there again. */
  wake() {
    if (this.#asleep) this.connect();
  }

  /** Microphone audio, PCM16 at the session's rate. */
  audio(pcm) {
    if (this.#started && this.#socket.bufferedAmount <= MAX_BACKLOG_BYTES) this.#socket.send(pcm);
  }

  text(text) {
    this.#send({ type: "text", text });
  }

  playback(playedMs) {
    this.#send({ type: "playback", played_ms: playedMs });
  }

  cancel() {
    this.#send({ type: "cancel" });
  }

  #send(message) {
    if (this.#started) this.#socket.send(JSON.stringify(message));
  }

  #start() {
    const start = { type: "session.start", ...this.#session() };
    if (this.#token) start.resume = this.#token;
    this.#socket.send(JSON.stringify(start));
  }

  #event(event) {
    if (event.type === "session.started") {
      clearTimeout(this.#deadline);
      this.#started = true;
      this.#token = event.resume_token;
      this.#wait = FIRST_WAIT_MS;
      this.#handlers.onConnection("open");
    } else if (event.type === "error" && !this.#started && this.#token && !event.retryable) {
      this.#token = "";
      this.#start();
      event = { ...event, message: "The earlier conversation is no longer known to the server; this is a new one." };
    }
    if (event.retry_after_s) this.#wait = 1000 * event.retry_after_s;
    this.#handlers.onEvent(event);
  }

  /** A browser does not say why a handshake failed; the same question over HTTP does. */
  async #explain() {
    const headers = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    const answer = await fetch("openapi.json", { method: "HEAD", headers }).catch(() => null);
    if (answer?.status !== 401) return;
    clearTimeout(this.#retry);
    this.#handlers.onRefused();
  }

  #closed(code) {
    clearTimeout(this.#deadline);
    this.#started = false;
    this.#socket = null;
    this.#asleep = code === CLOSE_IDLE;
    this.#handlers.onConnection(this.#asleep ? "idle" : "lost");
    if (this.#asleep) return;
    this.#retry = setTimeout(() => this.connect(), this.#wait);
    this.#wait = Math.min(LONGEST_WAIT_MS, 2 * this.#wait || FIRST_WAIT_MS);
  }
}
