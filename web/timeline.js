/** Where the time of the last turns went: a waterfall of one turn's stages, and a bar for each turn to choose it. */

const MAX_TURNS = 6;

/** In the words of the page; `here` is measured in the browser, the others by the server; a stage that is not here is shown by its own name. */
const STAGES = {
  speech_end_to_final: "your last sound → final transcript",
  llm_call: "→ first call of a function",
  tools: "→ first calls answered",
  llm_first_token: "→ first token of the answer",
  first_clause: "→ first clause complete",
  tts_first_audio: "→ first synthesised audio",
  first_audio_sent: "→ first audio sent",
  here: "→ out of your loudspeaker",
};
/** The length of the reply is no part of the wait for it. */
const LENGTH = "reply_audio";

export class Timeline {
  #turns;
  #waterfall;
  #empty;
  #history = []; // the newest first: {label, stages: [[name, ms]], total, length}
  #chosen = null;

  constructor({ turns, waterfall, empty }) {
    this.#turns = turns;
    this.#waterfall = waterfall;
    this.#empty = empty;
  }

  /** stages: {name: ms} in the order in which they happened; hereMs is the browser's own part, or null. */
  add(label, { [LENGTH]: length = 0, ...stages }, hereMs) {
    if (hereMs !== null) stages.here = hereMs;
    const total = Object.values(stages).reduce((sum, ms) => sum + ms, 0);
    this.#chosen = { label, stages: Object.entries(stages), total, length };
    this.#history = [this.#chosen, ...this.#history].slice(0, MAX_TURNS);
    this.#empty.hidden = true;
    this.#show();
  }

  #show() {
    const longest = Math.max(...this.#history.map(({ total }) => total));
    this.#turns.replaceChildren(...this.#history.map((turn) => this.#choice(turn, longest)));
    this.#draw(this.#chosen);
  }

  #choice(turn, longest) {
    const button = element("button", "", element("span", "label", turn.label), element("span", "figure", `${milliseconds(turn.total)} ms`), bars(turn, longest));
    button.type = "button";
    button.setAttribute("aria-pressed", String(turn === this.#chosen));
    button.setAttribute("aria-label", `${turn.label}: ${milliseconds(turn.total)} ms`);
    button.onclick = () => {
      const index = this.#history.indexOf(turn);
      this.#chosen = turn;
      this.#show();
      this.#turns.children[index].focus();
    };
    return button;
  }

  #draw({ label, stages, total, length }) {
    const [body] = this.#waterfall.tBodies;
    this.#waterfall.hidden = false;
    this.#waterfall.caption.textContent = `${label}, a reply of ${(length / 1000).toFixed(1)} s`;
    let start = 0;
    body.replaceChildren(
      ...stages.map(([name, ms]) => {
        const bar = piece(name, ms, total);
        bar.style.marginLeft = `${(100 * start) / total}%`;
        start += ms;
        return row(STAGES[name] ?? name, bar, milliseconds(ms));
      }),
    );
    this.#waterfall.tFoot.replaceChildren(row("until the reply is heard", "", `${milliseconds(total)} ms`));
  }
}

/** All stages of a turn side by side. */
function bars({ stages, total }, longest) {
  const bar = element("span", "bar", ...stages.map(([name, ms]) => piece(name, ms, total)));
  bar.style.width = `${(100 * total) / longest}%`;
  return element("span", "track", bar);
}

function piece(name, ms, total) {
  const part = element("span", "piece");
  part.dataset.stage = name;
  part.style.width = `${(100 * ms) / total}%`;
  return part;
}

function row(name, bar, figure) {
  const heading = element("th", "", name);
  heading.scope = "row";
  return element("tr", "", heading, element("td", "", bar), element("td", "figure", figure));
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

/** One decimal below 10 ms, where it says something. */
function milliseconds(ms) {
  return ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
}
