/**
 * How weights look: a face of a few curves on a 2D canvas, driven by ARKit's names.
 *
 * Units: the head is about 1.5 wide and 2 high, its middle is (0, 0), y points down. "Left" is the face's own
 * left, so it lies on the right of the picture.
 */

const SKIN = "#f0c9ae";
const SHADE = "#d9a184";
const LIPS = "#c4625f";
const LIPS_LIT = "#d47a74";
const HAIR = "#3c3140";
const HAIR_LIT = "#57475c";
const IRIS = "#2f7f77";
const INK = "#2b2430";

const GLOWS = {
  offline: "120, 130, 140",
  ready: "70, 150, 140",
  listening: "38, 166, 130",
  hearing: "38, 190, 120",
  thinking: "120, 120, 230",
  speaking: "40, 150, 220",
  hushed: "230, 160, 40",
};

export class Portrait {
  #canvas;
  #pen;
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.#fit();
  }

  #fit() {
    const { width, height } = this.#canvas.getBoundingClientRect();
    this.#canvas.width = Math.round(width * devicePixelRatio);
    this.#canvas.height = Math.round(height * devicePixelRatio);
  }

  /** weights: {name: 0…1}, all that are missing are 0; now in ms, for what moves on its own. */
  draw(weights, state, now) {
    const { width, height } = this.#canvas;
    const pen = this.#pen;
    const seconds = this.#still.matches ? 0 : now / 1000;
    const w = (name) => weights[name] ?? 0;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    const scale = Math.min(width / 2.4, height / 2.7);
    pen.setTransform(scale, 0, 0, scale, width / 2, height * 0.52);
    pen.lineCap = pen.lineJoin = "round";

    glow(pen, state, seconds);
    shoulders(pen);
    pen.translate(0, 0.012 * Math.sin(seconds * 1.4) + 0.02 * w("JawOpen") * Math.sin(seconds * 3));
    pen.rotate(0.014 * Math.sin(seconds * 0.7) + 0.05 * (w("MouthLeft") - w("MouthRight")));
    head(pen, w);
    for (const side of ["Left", "Right"]) {
      pen.save();
      if (side === "Right") pen.scale(-1, 1);
      cheek(pen, w, side);
      eye(pen, w, side);
      brow(pen, w, side);
      pen.restore();
    }
    nose(pen, w);
    mouth(pen, w);
    fringe(pen);
  }
}

function glow(pen, state, seconds) {
  const colour = GLOWS[state];
  const pulse = 1 + 0.05 * Math.sin(seconds * (state === "thinking" ? 5 : 1.6));
  const light = pen.createRadialGradient(0, 0, 0.5, 0, 0, 1.14 * pulse);
  light.addColorStop(0, `rgba(${colour}, 0.42)`);
  light.addColorStop(0.6, `rgba(${colour}, 0.16)`);
  light.addColorStop(1, `rgba(${colour}, 0)`);
  pen.fillStyle = light;
  pen.fillRect(-2, -2, 4, 4);
}

function shoulders(pen) {
  const cloth = pen.createLinearGradient(0, 1, 0, 1.4);
  cloth.addColorStop(0, "#1d8a78");
  cloth.addColorStop(1, "#12655a");
  pen.fillStyle = cloth;
  pen.beginPath();
  pen.moveTo(-1.02, 3);
  pen.lineTo(-1.02, 1.5);
  pen.bezierCurveTo(-1, 1.12, -0.55, 1.1, -0.24, 1.03);
  pen.quadraticCurveTo(0, 1.22, 0.24, 1.03);
  pen.bezierCurveTo(0.55, 1.1, 1, 1.12, 1.02, 1.5);
  pen.lineTo(1.02, 3);
  pen.fill();
  pen.fillStyle = SHADE;
  pen.beginPath();
  pen.moveTo(-0.24, 0.7);
  pen.lineTo(-0.24, 1.03);
  pen.quadraticCurveTo(0, 1.22, 0.24, 1.03);
  pen.lineTo(0.24, 0.7);
  pen.fill();
}

function head(pen, w) {
  const chin = 0.93 + 0.09 * w("JawOpen");
  const jaw = 0.05 * (w("JawLeft") - w("JawRight"));
  pen.fillStyle = HAIR; // behind the face
  ellipse(pen, 0, -0.22, 0.8, 0.82);
  pen.fillStyle = SHADE;
  ellipse(pen, -0.72, 0.02, 0.1, 0.15);
  ellipse(pen, 0.72, 0.02, 0.1, 0.15);

  const puff = 0.05 * w("CheekPuff");
  const skin = pen.createRadialGradient(0.15, -0.3, 0.1, 0, 0, 1.1);
  skin.addColorStop(0, "#fbdcc4");
  skin.addColorStop(0.65, SKIN);
  skin.addColorStop(1, SHADE);
  pen.fillStyle = skin;
  pen.beginPath();
  pen.moveTo(-0.72, -0.2);
  pen.bezierCurveTo(-0.76 - puff, 0.35, -0.56 - puff, 0.74, -0.24 + jaw, chin - 0.06);
  pen.quadraticCurveTo(jaw, chin + 0.06, 0.24 + jaw, chin - 0.06);
  pen.bezierCurveTo(0.56 + puff, 0.74, 0.76 + puff, 0.35, 0.72, -0.2);
  pen.bezierCurveTo(0.72, -1.08, -0.72, -1.08, -0.72, -0.2);
  pen.fill();
}

function fringe(pen) {
  const hair = pen.createLinearGradient(0.4, -1, -0.4, -0.4);
  hair.addColorStop(0, HAIR_LIT);
  hair.addColorStop(1, HAIR);
  pen.fillStyle = hair;
  pen.beginPath();
  pen.moveTo(-0.79, -0.05);
  pen.bezierCurveTo(-0.95, -1.3, 0.95, -1.36, 0.79, -0.05);
  pen.bezierCurveTo(0.74, -0.3, 0.68, -0.42, 0.58, -0.52);
  pen.bezierCurveTo(0.3, -0.5, -0.1, -0.58, -0.28, -0.76);
  pen.bezierCurveTo(-0.36, -0.6, -0.7, -0.5, -0.79, -0.05);
  pen.fill();
}

function cheek(pen, w, side) {
  const smile = w(`MouthSmile${side}`);
  pen.fillStyle = `rgba(226, 110, 100, ${0.13 + 0.16 * Math.max(smile, w(`CheekSquint${side}`))})`;
  ellipse(pen, 0.45, 0.26 - 0.03 * smile, 0.15, 0.095);
}

function eye(pen, w, side) {
  const [x, y, half] = [0.3, -0.06, 0.165];
  const closed = w(`EyeBlink${side}`);
  const top = 0.128 * (1 + 0.28 * w(`EyeWide${side}`) - 0.22 * w(`EyeSquint${side}`)) * (1 - closed) - 0.035 * closed;
  const bottom = 0.098 * (1 - 0.5 * w(`EyeSquint${side}`) - 0.2 * w(`CheekSquint${side}`)) * (1 - closed) + 0.035 * closed;
  pen.save();
  pen.beginPath();
  pen.moveTo(x - half, y + 0.015);
  pen.bezierCurveTo(x - half * 0.6, y - top * 1.3, x + half * 0.55, y - top * 1.3, x + half, y - 0.005);
  pen.bezierCurveTo(x + half * 0.55, y + bottom * 1.2, x - half * 0.6, y + bottom * 1.2, x - half, y + 0.015);
  pen.save();
  pen.clip();
  pen.fillStyle = "#fffdfa";
  pen.fillRect(x - 0.3, y - 0.3, 0.6, 0.6);
  const lookX = x + 0.07 * (w(`EyeLookOut${side}`) - w(`EyeLookIn${side}`));
  const lookY = y - 0.012 + 0.06 * (w(`EyeLookDown${side}`) - w(`EyeLookUp${side}`));
  pen.fillStyle = IRIS;
  ellipse(pen, lookX, lookY, 0.094, 0.094);
  pen.fillStyle = "#17322f";
  ellipse(pen, lookX, lookY, 0.046, 0.046);
  pen.fillStyle = "rgba(255, 255, 255, 0.9)";
  ellipse(pen, lookX + (side === "Left" ? 0.03 : -0.03), lookY - 0.034, 0.021, 0.021); // one light for both eyes
  pen.fillStyle = "rgba(60, 30, 30, 0.14)"; // the lid's shadow
  ellipse(pen, x, y - top - 0.03, half * 1.1, 0.07);
  pen.restore();
  pen.strokeStyle = INK;
  pen.lineWidth = 0.03;
  pen.beginPath(); // the lashes
  pen.moveTo(x - half, y + 0.015);
  pen.bezierCurveTo(x - half * 0.6, y - top * 1.3, x + half * 0.55, y - top * 1.3, x + half + 0.015, y - 0.015);
  pen.stroke();
  pen.restore();
}

function brow(pen, w, side) {
  const down = 0.07 * w(`BrowDown${side}`);
  const inner = -0.31 - 0.1 * w("BrowInnerUp") + down * 1.7;
  const outer = -0.3 - 0.1 * w(`BrowOuterUp${side}`) + down * 0.4;
  pen.strokeStyle = HAIR;
  pen.lineWidth = 0.048;
  pen.beginPath();
  pen.moveTo(0.15 - 0.02 * w(`BrowDown${side}`), inner);
  pen.quadraticCurveTo(0.32, Math.min(inner, outer) - 0.055, 0.48, outer + 0.02);
  pen.stroke();
}

function nose(pen, w) {
  const sneer = Math.max(w("NoseSneerLeft"), w("NoseSneerRight"));
  pen.strokeStyle = "rgba(176, 104, 82, 0.75)";
  pen.lineWidth = 0.026;
  pen.beginPath();
  pen.moveTo(-0.075, 0.235 - 0.03 * sneer);
  pen.quadraticCurveTo(0, 0.29 - 0.02 * sneer, 0.075, 0.235 - 0.03 * sneer);
  pen.stroke();
}

/** The four lines of the lips, as y offsets from the line on which they close; x is half the mouth's width. */
function lips(w) {
  const both = (name) => (w(`${name}Left`) + w(`${name}Right`)) / 2;
  const round = Math.min(1, w("MouthPucker") + 0.6 * w("MouthFunnel"));
  const press = Math.min(1, both("MouthPress"));
  const open = 0.34 * w("JawOpen") * (1 - 0.85 * w("MouthClose"));
  const upper = 0.02 * both("MouthUpperUp") * 3 + 0.045 * w("MouthFunnel") + 0.12 * open;
  const lower = 0.02 * both("MouthLowerDown") * 3 + 0.045 * w("MouthFunnel") + 0.88 * open;
  const full = 1 + 0.45 * round - 0.35 * press;
  return {
    half: 0.265 * (1 - 0.42 * round + 0.16 * both("MouthStretch") + 0.06 * both("MouthDimple") + 0.14 * both("MouthSmile") - 0.1 * w("JawOpen")),
    upperIn: -upper,
    lowerIn: lower,
    upperOut: -upper - 0.052 * full * (1 - 0.75 * w("MouthRollUpper")) - 0.02 * w("MouthShrugUpper"),
    lowerOut: lower + 0.066 * full * (1 - 0.75 * w("MouthRollLower")) - 0.02 * w("MouthShrugLower"),
  };
}

function mouth(pen, w) {
  const { half, upperIn, lowerIn, upperOut, lowerOut } = lips(w);
  const y = 0.5;
  const x = 0.06 * (w("MouthLeft") - w("MouthRight")) + 0.04 * (w("JawLeft") - w("JawRight"));
  const corner = (side) => -0.17 * w(`MouthSmile${side}`) + 0.09 * w(`MouthFrown${side}`) - 0.02 * w(`MouthDimple${side}`);
  const [right, left] = [corner("Right"), corner("Left")]; // as in the picture
  const middle = (right + left) / -2.6; // a smile lowers the middle as it lifts the corners
  /** From corner to corner along an upper or a lower edge. */
  const edge = (dy, backwards) => {
    const [from, to, fromX, toX] = backwards ? [left, right, half, -half] : [right, left, -half, half];
    pen.bezierCurveTo(x + fromX * 0.55, y + from * 0.2 + middle + dy * 1.33, x + toX * 0.55, y + to * 0.2 + middle + dy * 1.33, x + toX, y + to);
  };
  const outline = (upper, lower) => {
    pen.beginPath();
    pen.moveTo(x - half, y + right);
    edge(upper, false);
    edge(lower, true);
    pen.closePath();
  };

  pen.fillStyle = "rgba(150, 80, 60, 0.14)"; // below the lower lip
  ellipse(pen, x, y + middle + lowerOut + 0.055, half * 0.5, 0.028);
  const tint = pen.createLinearGradient(0, y + upperOut, 0, y + lowerOut);
  tint.addColorStop(0, LIPS);
  tint.addColorStop(1, LIPS_LIT);
  pen.fillStyle = tint;
  outline(upperOut, lowerOut);
  pen.fill();

  pen.save();
  outline(upperIn, lowerIn);
  pen.fillStyle = "#4b1d27";
  pen.fill();
  pen.clip();
  pen.fillStyle = "#c9656b"; // the tongue lies low, and rises for a few sounds
  ellipse(pen, x, y + middle + lowerIn + 0.045 - 0.5 * w("TongueOut"), half * 0.62, 0.085);
  pen.fillStyle = "#fffaf3";
  pen.beginPath();
  pen.roundRect(x - half * 0.68, y + middle + upperIn - 0.06, half * 1.36, 0.105, 0.03);
  pen.fill();
  pen.restore();

  pen.strokeStyle = "rgba(96, 34, 42, 0.7)"; // where the lips meet
  pen.lineWidth = 0.014;
  outline(upperIn, lowerIn);
  pen.stroke();
}

function ellipse(pen, x, y, radiusX, radiusY) {
  pen.beginPath();
  pen.ellipse(x, y, radiusX, radiusY, 0, 0, 2 * Math.PI);
  pen.fill();
}
