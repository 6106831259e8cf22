/** What was said, as bubbles: a partial transcript in grey, of an interrupted reply only what was heard in full ink. */

const MAX_BUBBLES = 200; // the oldest go first
const NEAR_PX = 60;

export class Conversation {
  #log;
  #draft = null;
  #replies = new Map(); // turn → bubble, of the present session

  #following = true; // until the reader scrolls back

  constructor(log) {
    this.#log = log;
    log.onscroll = () => (this.#following = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX);
    new ResizeObserver(() => this.#scroll()).observe(log);
  }

  /** Turns are counted anew from here, and nothing more comes of older ones. */
  newSession() {
    for (const bubble of this.#replies.values()) if (bubble.classList.contains("waiting")) bubble.remove();
    this.#replies.clear();
    this.#draft?.remove();
    this.#draft = null;
  }

  /** What has been recognised so far; it may still change. */
  partial(text) {
    this.#draft ??= this.#add("user partial");
    this.#draft.setAttribute("aria-hidden", "true"); // the final one is worth reading out
    this.#draft.textContent = text;
    this.#scroll();
  }

  /** What the user has said or typed. */
  user(text) {
    this.#draft?.remove();
    this.#draft = null;
    this.#add("user").textContent = text;
    this.#scroll();
  }

  reply(turn, language) {
    const bubble = this.#add("reply waiting");
    bubble.lang = language;
    this.#replies.set(turn, bubble);
  }

  /** A piece of the reply's text. */
  append(turn, text) {
    const bubble = this.#replies.get(turn);
    if (!bubble) return;
    bubble.classList.remove("waiting");
    bubble.append(bubble.hasChildNodes() ? text : text.trimStart());
    this.#scroll();
  }

  done(turn, text) {
    const bubble = this.#replies.get(turn);
    if (bubble) bubble.textContent = text;
  }

  /** `spoken` is what was heard of the reply; the rest is struck through. */
  interrupted(turn, spoken) {
    const bubble = this.#replies.get(turn);
    if (!bubble) return;
    const [heard, rest] = split(bubble.textContent.trimEnd(), spoken);
    const struck = document.createElement("s");
    struck.textContent = rest;
    struck.setAttribute("aria-label", `not spoken: ${rest}`);
    bubble.replaceChildren(heard, ...(rest ? [struck] : []));
    bubble.classList.remove("waiting");
    bubble.classList.add("interrupted");
  }

  failed(turn, message) {
    const bubble = this.#replies.get(turn);
    if (!bubble) return;
    const reason = document.createElement("small");
    reason.textContent = message;
    bubble.append(reason);
    bubble.classList.remove("waiting");
    bubble.classList.add("failed");
    this.#scroll();
  }

  #add(kind) {
    const bubble = document.createElement("li");
    bubble.className = kind;
    this.#log.append(bubble);
    while (this.#log.children.length > MAX_BUBBLES) this.#log.firstElementChild.remove();
    this.#scroll();
    return bubble;
  }

  #scroll() {
    if (this.#following) this.#log.scrollTop = this.#log.scrollHeight;
  }
}

/** Cut `text` behind `spoken`, whose white space may differ, and the space that follows it. */
export function split(text, spoken) {
  let left = spoken.replace(/\s/gu, "").length;
  let cut = 0;
  while (left > 0 && cut < text.length) if (!/\s/u.test(text[cut++])) left--;
  while (cut > 0 && /\s/u.test(text[cut] ?? "")) cut++;
  return [text.slice(0, cut), text.slice(cut)];
}
