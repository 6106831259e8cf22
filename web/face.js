/**
 * Which weights the face shows now. Frames carry media time and the speaker's clock is the master: the frame
 * of the present moment is shown, and one whose moment has passed never is. Where there is none, the face
 * eases to neutral and lives on its own: it blinks, and looks as the conversation stands.
 */

const MAX_FRAMES = 900; // 30 s; the oldest go first
const HOLD_MS = 150; // a frame without a successor is shown this long, and so is one whose clock stands still
const FOLLOW_MS = 15; // time constant towards a frame: hides the step from neutral
const EASE_MS = 40; // … and back to neutral: an interrupted mouth does not snap, and is shut after 120 ms
const MOOD_MS = 260;
const BLINK_EVERY_MS = 3900;
const BLINK_MS = 220;
const LOOK_EVERY_MS = 1700;
const LOOK_MS = 60;

/** What the face looks like while the conversation is in this state; added to the frames. */
const MOODS = {
  offline: { EyeBlinkLeft: 0.35, EyeBlinkRight: 0.35, BrowInnerUp: 0.2 },
  ready: { MouthSmileLeft: 0.38, MouthSmileRight: 0.38 },
  listening: { MouthSmileLeft: 0.32, MouthSmileRight: 0.32, EyeWideLeft: 0.2, EyeWideRight: 0.2, BrowInnerUp: 0.12 },
  hearing: { EyeWideLeft: 0.3, EyeWideRight: 0.3, BrowInnerUp: 0.3, BrowOuterUpLeft: 0.2, BrowOuterUpRight: 0.2 },
  thinking: { EyeLookUpLeft: 0.55, EyeLookUpRight: 0.55, EyeLookOutLeft: 0.45, EyeLookInRight: 0.45, BrowOuterUpLeft: 0.45, BrowInnerUp: 0.15, MouthPucker: 0.15, MouthLeft: 0.2 },
  speaking: { MouthSmileLeft: 0.12, MouthSmileRight: 0.12, BrowInnerUp: 0.08 },
  hushed: { EyeWideLeft: 0.35, EyeWideRight: 0.35, BrowInnerUp: 0.45, BrowOuterUpLeft: 0.35, BrowOuterUpRight: 0.35 },
};

export class Face {
  #position;
  #names = [];
  #frames = []; // {t: ms, weights}
  #spoken = {};
  #mood = {};
  #now = 0;
  #last = { position: null, since: 0 };
  state = "ready";
  /** What `weights` answered last. */
  shown = {};

  /** position() gives the media time (ms) that is heard now, or null where no reply sounds. */
  constructor(position) {
    this.#position = position;
  }

  /** The names of the weights that follow. */
  header(names) {
    this.#names = names;
  }

  /** A frame for media time `t` (ms); they come in order. */
  frame(t, weights) {
    this.#frames.push({ t, weights });
    if (this.#frames.length > MAX_FRAMES) this.#frames.shift();
  }

  /** Forget all frames. */
  drop() {
    this.#frames = [];
  }

  get waiting() {
    return this.#frames.length;
  }

  /** {name: 0…1} to show at `now` (ms of any steady clock). */
  weights(now) {
    const step = Math.min(100, now - this.#now);
    this.#now = now;
    const frame = this.#current();
    ease(this.#spoken, frame ?? {}, step / (frame ? FOLLOW_MS : EASE_MS));
    ease(this.#mood, MOODS[this.state], step / MOOD_MS);

    const weights = { ...this.#spoken };
    for (const [name, weight] of Object.entries(this.#mood)) weights[name] = Math.min(1, (weights[name] ?? 0) + weight);
    if (!frame) {
      const lid = blink(now);
      for (const name of ["EyeBlinkLeft", "EyeBlinkRight"]) weights[name] = Math.max(weights[name] ?? 0, lid);
      if (this.state !== "thinking") for (const [name, weight] of Object.entries(look(now))) weights[name] = Math.max(weights[name] ?? 0, weight);
    }
    return (this.shown = weights);
  }

  /** The frame of the present moment, blended with its successor; null where there is none. */
  #current() {
    const position = this.#position();
    if (position !== this.#last.position) this.#last = { position, since: this.#now };
    const frames = this.#frames;
    if (position === null || this.#now - this.#last.since > HOLD_MS || !frames.length) return null;
    while (frames.length > 1 && frames[1].t <= position) frames.shift();
    const [frame, next] = frames;
    if (position < frame.t || position - frame.t > HOLD_MS) return null;
    const part = next ? (position - frame.t) / (next.t - frame.t) : 0;
    return Object.fromEntries(
      this.#names.map((name, index) => [name, frame.weights[index] * (1 - part) + (next ?? frame).weights[index] * part]),
    );
  }
}

/** Move every weight towards its target by `steps` time constants; one without a target goes to 0. */
function ease(weights, target, steps) {
  const share = 1 - Math.exp(-steps);
  for (const name of new Set([...Object.keys(weights), ...Object.keys(target)])) {
    const old = weights[name] ?? 0;
    weights[name] = old + ((target[name] ?? 0) - old) * share;
  }
}

/** How far the lids are closed at `now`; the golden ratio spreads the blinks unevenly. */
function blink(now) {
  const number = Math.floor(now / BLINK_EVERY_MS);
  const since = (now % BLINK_EVERY_MS) - ((number * 0.618) % 1) * (BLINK_EVERY_MS - BLINK_MS);
  return since < 0 || since > BLINK_MS ? 0 : Math.sin((Math.PI * since) / BLINK_MS) ** 2;
}

/** Where the eyes look at `now`: a jump to each next spot, as eyes do, and then rest; every third meets the viewer. */
function look(now) {
  const number = Math.floor(now / LOOK_EVERY_MS);
  const moved = Math.min(1, (now % LOOK_EVERY_MS) / LOOK_MS);
  const [fromSide, fromHeight] = spot(number - 1);
  const [toSide, toHeight] = spot(number);
  const side = fromSide + moved * (toSide - fromSide); // positive is the face's own left
  const height = fromHeight + moved * (toHeight - fromHeight);
  const [outer, inner] = side > 0 ? ["Left", "Right"] : ["Right", "Left"];
  const vertical = height > 0 ? "EyeLookUp" : "EyeLookDown";
  return {
    [`EyeLookOut${outer}`]: Math.abs(side),
    [`EyeLookIn${inner}`]: Math.abs(side),
    [`${vertical}Left`]: Math.abs(height),
    [`${vertical}Right`]: Math.abs(height),
  };
}

function spot(number) {
  if (number % 3 === 0) return [0, 0];
  return [0.22 * (2 * ((number * 0.618) % 1) - 1), 0.14 * (2 * ((number * 0.382) % 1) - 1)];
}
