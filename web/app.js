/** The page: puts the parts together, and says how the conversation stands. */

import { Conversation } from "./conversation.js";
import { Face } from "./face.js";
import { Microphone } from "./microphone.js";
import { Portrait } from "./portrait.js";
import { Speaker } from "./speaker.js";
import { Timeline } from "./timeline.js";
import { Voice } from "./voice.js";

const INPUT_RATE = 16000; // Hz
const OUTPUT_RATE = 24000;
const REPORT_MS = 250;
const NOTICE_MS = 15000;
const MAX_NOTICES = 3;

const STATES = {
  offline: "Not connected",
  ready: "Ready",
  listening: "Listening",
  hearing: "Listening to you",
  thinking: "Thinking",
  speaking: "Speaking",
  hushed: "Hushed: go on, I am listening",
};
const CONNECTIONS = {
  connecting: "connecting",
  open: "connected",
  lost: "connection lost, trying again",
  idle: "asleep: click or type to go on",
};
const KEY = "voxloop.key"; // where this tab remembers it

const part = (id) => document.getElementById(id);
const page = {
  connection: part("connection"),
  language: part("language"),
  stage: part("stage"),
  state: part("state-text"),
  talk: part("talk"),
  talkText: part("talk-text"),
  hush: part("hush"),
  notices: part("notices"),
  invitation: part("invitation"),
  form: part("typed"),
  text: part("text"),
  locked: part("locked"),
  key: part("key"),
};

export const speaker = new Speaker(OUTPUT_RATE);
export const face = new Face(() => (speaker.turn === null || speaker.paused ? null : speaker.heardMs));
const portrait = new Portrait(part("face"));
const conversation = new Conversation(part("log"));
const timeline = new Timeline({ turns: part("turns"), waterfall: part("waterfall"), empty: part("timing-empty") });
const microphone = new Microphone(INPUT_RATE, onPiece, onMicrophoneLost);
const address = new URL("sophia/voice", document.baseURI);
address.protocol = address.protocol.replace("http", "ws");
export const voice = new Voice(address, session, { onEvent, onAudio, onConnection, onRefused });

/** The turn that the server is busy with, whether all of it has come, and whether somebody speaks. */
let turn = null;
let complete = false;
let speech = false;
let turns = 0;
/** Whether the browser holds the sound until the user does something. */
let silenced = false;

function session() {
  return {
    sample_rate: INPUT_RATE,
    output_sample_rate: OUTPUT_RATE,
    language: page.language.value,
    animation: true,
  };
}

// What the server tells

const EVENTS = {
  "session.started": () => conversation.newSession(),
  "speech.started": () => (speech = true),
  "speech.stopped": () => (speech = false),
  "transcript.partial": ({ text }) => heard(() => conversation.partial(text)),
  "transcript.final": ({ text }) => heard(() => conversation.user(text)),
  "reply.started": (event) => {
    turn = event.turn;
    complete = false;
    speaker.begin(turn);
    face.drop();
    conversation.reply(turn, page.language.value);
  },
  "reply.text": ({ turn, text }) => conversation.append(turn, text),
  "reply.paused": () => {
    speaker.pause();
    report();
  },
  "reply.resumed": () => speaker.resume(),
  "reply.done": ({ turn, text }) => {
    conversation.done(turn, text);
    complete = true;
  },
  interrupted: ({ turn, spoken_text: spoken }) => {
    conversation.interrupted(turn, spoken);
    endReply();
  },
  "animation.header": ({ names }) => face.header(names),
  animation: ({ t_ms: t, weights }) => face.frame(t, weights),
  "turn.metrics": ({ stages }) => timeline.add(`turn ${++turns}`, stages, speaker.delayMs),
  error: ({ message, retryable, turn: failed }) => {
    const words = retryable ? `${message} (It may work if you try again.)` : message;
    if (failed === undefined) return notify(words);
    conversation.failed(failed, words);
    endReply();
  },
};

function onEvent(event) {
  EVENTS[event.type]?.(event); // what is not known here is of a later version
  show();
}

function onAudio(pcm) {
  speaker.play(pcm);
  show();
}

function onConnection(state) {
  page.connection.dataset.state = state;
  page.connection.textContent = CONNECTIONS[state];
  if (state === "lost" && turn !== null) {
    conversation.failed(turn, "The connection was lost in the middle of this reply.");
    endReply();
  }
  speech = false;
  show();
}

/** The server wants a key, or another one. */
function onRefused() {
  page.connection.textContent = voice.key ? "this key is not accepted" : "a key is needed";
  sessionStorage.removeItem(KEY);
  if (page.locked.open) return;
  page.key.value = "";
  page.locked.showModal();
}

function onKey(event) {
  event.preventDefault();
  voice.key = page.key.value.trim();
  sessionStorage.setItem(KEY, voice.key);
  page.locked.close();
  voice.connect();
}

function heard(write) {
  page.invitation.hidden = true;
  write();
}

function endReply() {
  turn = null;
  speaker.drop();
  face.drop();
}

/** Tell the server what has been heard of the reply: its history and its pace follow that. */
function report() {
  if (speaker.turn !== null && speaker.queuedMs > 0) voice.playback(speaker.heardMs);
}

/** Not by the frames of the screen: a hidden tab draws none, and is heard all the same. */
function tick() {
  silenced = speaker.blocked;
  if (turn !== null) report();
  if (turn !== null && complete && speaker.heardMs >= speaker.queuedMs) turn = null;
  show();
}

// What the user does

async function onTalk() {
  speaker.unlock();
  if (microphone.on) {
    microphone.stop();
    page.talk.style.setProperty("--level", 0);
    speech = false;
  } else {
    page.talk.disabled = true;
    try {
      await microphone.start();
      page.notices.replaceChildren();
    } catch (error) {
      microphone.stop();
      notify(error.message);
    }
    page.talk.disabled = false;
    page.talk.focus();
  }
  show();
}

function onPiece(pcm, level) {
  page.talk.style.setProperty("--level", level.toFixed(2));
  voice.audio(pcm);
}

function onMicrophoneLost(message) {
  notify(message);
  show();
}

function onTyped(event) {
  event.preventDefault();
  speaker.unlock();
  const text = page.text.value.trim();
  if (!text) return;
  if (!voice.started) {
    notify("This is not connected to sophia just now; your text is kept until it is.");
    return;
  }
  report();
  voice.text(text);
  heard(() => conversation.user(text));
  page.text.value = "";
}

function onHush() {
  if (turn === null) return;
  report();
  voice.cancel(); // answered by `interrupted`, unless all of it had been heard
  endReply();
  show();
}

function onLanguage() {
  onHush();
  voice.restart(); // only session.start can change it; the conversation is kept
}

function notify(message) {
  if ([...page.notices.children].some((notice) => notice.textContent === message)) return;
  const notice = document.createElement("p");
  notice.textContent = message;
  page.notices.append(notice);
  if (page.notices.children.length > MAX_NOTICES) page.notices.firstElementChild.remove();
  setTimeout(() => notice.remove(), NOTICE_MS);
}

// How it stands

function state() {
  if (!voice.started) return "offline";
  if (turn !== null && speaker.paused) return "hushed";
  if (turn !== null) return speaker.queuedMs > 0 ? "speaking" : "thinking";
  if (!microphone.on) return "ready";
  return speech ? "hearing" : "listening";
}

function show() {
  const now = state();
  face.state = now;
  page.stage.dataset.state = now;
  const words = silenced ? "The browser holds the sound: click anywhere" : STATES[now];
  if (page.state.textContent !== words) page.state.textContent = words;
  page.talk.setAttribute("aria-pressed", String(microphone.on));
  page.talkText.textContent = microphone.on ? "Stop listening" : "Talk";
  page.hush.hidden = turn === null;
}

function draw(now) {
  portrait.draw(face.weights(now), face.state, now);
  requestAnimationFrame(draw);
}

page.talk.addEventListener("click", onTalk);
page.hush.addEventListener("click", onHush);
page.form.addEventListener("submit", onTyped);
page.language.addEventListener("change", onLanguage);
document.addEventListener("keydown", (event) => event.key === "Escape" && onHush());
document.addEventListener("click", () => silenced && speaker.unlock());
for (const sign of ["click", "keydown"]) document.addEventListener(sign, () => voice.wake());
page.locked.addEventListener("submit", onKey);
addEventListener("online", () => voice.started || voice.restart());
setInterval(tick, REPORT_MS);

voice.key = sessionStorage.getItem(KEY) ?? "";
voice.connect();
show();
requestAnimationFrame(draw);
