// The page: a conversation over one Realtime session.

import { Connection } from "/page/connection.js";
import { Choices } from "/page/choices.js";
import { Microphone, Player, Sound, wavFile } from "/page/sound.js";
import { Turn } from "/page/turns.js";
import { acceptDocuments } from "/page/documents.js";

const find = (id) => document.getElementById(id);
const LEAST_HOLD_MS = 300;
const LEAD_PIECES = 10; // 200 ms from before the button was pressed
const TAIL_MS = 200;
const KEPT_TURNS = 10;
const HARMLESS = new Set(["response_cancel_not_active", "item_not_found", "not_truncatable"]);

const choices = new Choices();
const connection = new Connection(() => choices.token);
const sound = new Sound();
const player = new Player(sound);
const microphone = new Microphone(sound);
const turns = [];

let status = {};
let current = null; // the turn whose answer is coming
let talking = false;
let talkedFrom = 0;
let handsFree = false;
let lead = [];
let streamed = 0; // samples of the microphone that the session was sent
let busy = false;
let awaited = null; // a turn of typed or recorded words that waits for its item

// ---- What the page says

function say(words, kind = "") {
  find("state").textContent = words;
  find("state").dataset.kind = kind;
}

function notice(words, { good = false } = {}) {
  find("notice").dataset.kind = good ? "good" : "bad";
  find("notice").firstElementChild.textContent = words;
  find("notice").hidden = !words;
}

function calm() {
  if (handsFree) say("Listening. Speak when you like.");
  else say(connection.isOpen ? "Ready." : "No connection to the server.");
}

function newTurn(options) {
  find("welcome").hidden = true;
  const turn = new Turn(find("turns"), options);
  turns.push(turn);
  turn.element.scrollIntoView({ behavior: "smooth", block: "start" });
  return turn;
}

function stopButton() {
  find("stop").disabled = !busy && !player.active;
}

// ---- The session

function configure() {
  const detection = handsFree ? { type: "server_vad", create_response: true, interrupt_response: true } : null;
  const form = { type: "audio/pcm", rate: sound.rate };
  connection.send("session.update", {
    session: {
      type: "realtime",
      output_modalities: [choices.modality],
      instructions: choices.instructions,
      audio: {
        input: { format: form, turn_detection: detection, transcription: {} },
        output: { format: form, speed: choices.speed },
      },
      voicerag: { ...choices.own, sources: true, timing: true, candidates: true, binary: true },
    },
  });
}

// A new session does not know what was said before; tell it the last turns.
function remind() {
  for (const turn of turns.slice(-KEPT_TURNS)) {
    if (!turn.words || !turn.text) continue;
    const message = (role, type, text) => connection.send("conversation.item.create", { item: { type: "message", role, content: [{ type, text }] } });
    message("user", "input_text", turn.words);
    message("assistant", "output_text", turn.text);
  }
}

const handlers = {
  "session.created"() {
    streamed = 0;
    configure();
    remind();
    calm();
  },
  "input_audio_buffer.speech_started"() {
    interrupt("heard");
    say("Listening…", "live");
  },
  "input_audio_buffer.speech_stopped"({ audio_end_ms: end }) {
    say("Searching…");
    ended = performance.now() - Math.max(0, (1000 * streamed) / sound.rate - end);
  },
  "input_audio_buffer.committed"({ item_id: item }) {
    const turn = newTurn({ spoken: true });
    turn.item = item;
    turn.asked = ended || performance.now();
    ended = 0;
  },
  "conversation.item.added"({ item }) {
    if (item.role === "user" && awaited) {
      awaited.item = item.id;
      awaited = null;
    }
  },
  "conversation.item.input_audio_transcription.completed"({ item_id: item, transcript }) {
    turnOf(item)?.hear(transcript);
  },
  "conversation.item.input_audio_transcription.failed"({ item_id: item, error }) {
    turnOf(item)?.hear("", error.code === "no_speech" ? "Nothing was heard" : "Could not be understood");
    if (error.code !== "no_speech") turnOf(item)?.fail(error.message);
  },
  "voicerag.candidates"({ passages = [] }) {
    if (passages.length) say(`Looking at: ${passages.map((one) => one.title || one.source).slice(0, 3).join(" · ")}`, "live");
  },
  "response.created"({ response }) {
    busy = true;
    current = turns.findLast((turn) => !turn.response) ?? newTurn({});
    current.response = response.id;
    current.wait("Searching…");
    stopButton();
  },
  "voicerag.sources"({ response_id: response, sources, passages, final }) {
    const turn = answering(response);
    turn?.place(passages, sources, recording, final);
    turn?.wait(final ? "Reading the passages…" : "Making out the words…");
    if (!turn?.text) say(final ? "Reading…" : "Making out the words…");
  },
  "response.output_item.added"({ response_id: response, item }) {
    const turn = answering(response);
    if (turn) turn.answer = item.id;
  },
  "response.output_audio_transcript.delta": words,
  "response.output_text.delta": words,
  "voicerag.timing"({ response_id: response, stages }) {
    answering(response)?.time(stages);
  },
  "conversation.item.truncated"({ item_id: item }) {
    turns.find((turn) => turn.answer === item)?.interrupt();
    connection.send("conversation.item.retrieve", { item_id: item });
  },
  "conversation.item.retrieved"({ item }) {
    turns.find((turn) => turn.answer === item.id)?.cut(item.content?.[0]?.transcript ?? "");
  },
  "response.done"({ response }) {
    busy = false;
    const turn = answering(response.id);
    turn?.end(response.status, {
      download: () => download(turn),
      replay: () => replay(turn),
    });
    if (response.status === "failed" && !turn?.text) turn?.fail(problem ?? "The answer failed.");
    problem = null;
    player.end();
    if (!player.active) calm();
    stopButton();
  },
  error({ error }) {
    if (HARMLESS.has(error.code)) return;
    if (busy) problem = error.message;
    else notice(error.message);
  },
};

let ended = 0; // when the question ended, for the time until it is heard
let problem = null;

function words({ response_id: response, delta }) {
  const turn = answering(response);
  turn?.add(delta);
  say(choices.modality === "audio" ? "Answering…" : "Writing…");
}

const turnOf = (item) => turns.find((turn) => turn.item === item);
const answering = (response) => turns.find((turn) => turn.response === response);
const recording = (passage) => `/v1/recordings?${new URLSearchParams({ passage: passage.id, collection: choices.collection || status.collection })}`;

connection.addEventListener("event", ({ detail }) => handlers[detail.type]?.(detail));
connection.addEventListener("sound", ({ detail }) => {
  if (!current) return;
  current.pieces.push(detail);
  player.play(detail, current.answer ?? current.response);
  stopButton();
});
connection.addEventListener("state", ({ detail: { state, reason } }) => {
  find("connection").dataset.state = state;
  find("connection").lastElementChild.textContent = { open: "connected", connecting: "connecting", closed: "not connected" }[state];
  if (state !== "closed") {
    if (state === "open") notice("");
    return;
  }
  busy = false;
  release({ drop: true });
  notice(`${reason} Trying again…`);
  calm();
  stopButton();
});

player.addEventListener("started", ({ detail: { item, at } }) => {
  const turn = turns.find((one) => (one.answer ?? one.response) === item);
  if (turn?.asked) turn.time({ heard: (sound.heardAt(at) - turn.asked) / 1000 });
  if (turn) turn.asked = 0;
  say("Speaking. Press the button to interrupt.");
  stopButton();
});
player.addEventListener("drained", () => {
  if (!busy) calm();
  stopButton();
});

// ---- Interrupting

// Fall silent, and tell the server what was heard.
async function interrupt(why) {
  const playing = player.active;
  const wasBusy = busy;
  if (why !== "heard" && wasBusy) connection.send("response.cancel");
  if (!playing) return;
  const silent = await player.flush();
  if (silent?.item) {
    connection.send("conversation.item.truncate", { item_id: silent.item, content_index: 0, audio_end_ms: silent.heardMs });
  }
  if (why === "stopped") calm();
  stopButton();
}

// ---- Speaking

async function openMicrophone() {
  say("Asking for the microphone…");
  try {
    await microphone.open();
    await Promise.all([sound.wake(), player.prepare()]);
    notice("");
    find("talk").dataset.off = "false";
    return true;
  } catch (error) {
    find("talk").dataset.off = "true";
    notice(error.message);
    say("No microphone. You can type your question.");
    return false;
  }
}

microphone.addEventListener("sound", ({ detail: { samples, level } }) => {
  const shown = talking || handsFree ? Math.min(1.35, 0.35 + Math.sqrt(level) * 2.2) : 0;
  find("talk").style.setProperty("--level", shown.toFixed(2));
  if (handsFree || talking) {
    streamed += samples.length;
    connection.sendSound(samples);
  } else {
    lead.push(samples);
    if (lead.length > LEAD_PIECES) lead.shift();
  }
});
microphone.addEventListener("lost", () => {
  notice("The microphone was unplugged.");
  setHandsFree(false);
});

async function press() {
  if (talking || handsFree) return;
  talking = true;
  talkedFrom = performance.now();
  find("talk").setAttribute("aria-pressed", "true");
  const asking = !microphone.isOpen;
  if (asking && !(await openMicrophone())) {
    release({ drop: true });
    return;
  }
  if (!talking) {
    calm();
    if (asking) say("The microphone is open. Hold the button while you speak.");
    return;
  }
  talkedFrom = performance.now();
  interrupt("pressed");
  connection.send("input_audio_buffer.clear");
  for (const samples of lead) connection.sendSound(samples);
  lead = [];
  say("Listening… let go when you have asked.", "live");
}

function release({ drop = false } = {}) {
  if (!talking) return;
  find("talk").setAttribute("aria-pressed", "false");
  find("talk").style.setProperty("--level", 0);
  const held = performance.now() - talkedFrom;
  if (drop || held < LEAST_HOLD_MS || !microphone.isOpen) {
    talking = false;
    connection.send("input_audio_buffer.clear");
    if (!drop) say("Hold the button while you speak.");
    return;
  }
  const end = performance.now();
  setTimeout(() => {
    talking = false;
    ended = end;
    connection.send("input_audio_buffer.commit");
    connection.send("response.create");
    say("Searching…");
  }, TAIL_MS);
}

async function setHandsFree(on) {
  if (on && !microphone.isOpen && !(await openMicrophone())) on = false;
  handsFree = on;
  find("hands-free").checked = on;
  find("talk").setAttribute("aria-pressed", String(on));
  find("talk-hint").textContent = on
    ? "The microphone is open. Speak, and pause when you have asked."
    : "Hold the button or the space bar to talk.";
  if (!on) find("talk").style.setProperty("--level", 0);
  configure();
  calm();
}

// ---- Typing and recordings

function ask(content, turn) {
  interrupt("pressed");
  awaited = turn;
  turn.asked = performance.now();
  connection.send("conversation.item.create", { item: { type: "message", role: "user", content: [content] } });
  connection.send("response.create");
  say("Searching…");
}

async function typed(text) {
  if (!connection.isOpen) {
    notice("There is no connection to the server. The question is kept; send it again in a moment.");
    return false;
  }
  await Promise.all([sound.wake(), player.prepare()]).catch(() => {});
  ask({ type: "input_text", text }, newTurn({ words: text }));
  return true;
}

// The server reads the file, as it reads every recording.
async function recorded(file) {
  await Promise.all([sound.wake(), player.prepare()]).catch(() => {});
  say(`Reading ${file.name}…`);
  try {
    const response = await fetch(`/v1/audio/samples?rate=${sound.rate}`, { method: "POST", headers: choices.headers(), body: file });
    if (!response.ok) throw new Error((await response.json()).error?.message ?? "The recording cannot be read.");
    const samples = new Uint8Array(await response.arrayBuffer());
    let letters = "";
    for (let at = 0; at < samples.length; at += 8192) letters += String.fromCharCode(...samples.subarray(at, at + 8192));
    ask({ type: "input_audio", audio: btoa(letters) }, newTurn({ spoken: true }));
  } catch (error) {
    notice(`${file.name}: ${error.message}`);
    calm();
  }
}

function download(turn) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(wavFile(turn.pieces, sound.rate));
  link.download = "answer.wav";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function replay(turn) {
  await player.flush();
  for (const piece of turn.pieces) player.play(piece, turn.answer);
  player.end();
}

// ---- Controls

find("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = find("question").value.trim();
  if (text && (await typed(text))) find("question").value = "";
});
find("clip").addEventListener("click", () => find("clip-file").click());
find("clip-file").addEventListener("change", ({ target }) => {
  if (target.files[0]) recorded(target.files[0]);
  target.value = "";
});
find("stop").addEventListener("click", () => interrupt("stopped"));
find("dismiss").addEventListener("click", () => notice(""));
find("hands-free").addEventListener("change", ({ target }) => setHandsFree(target.checked));
find("open-settings").addEventListener("click", () => find("settings").showModal());

const talk = find("talk");
talk.addEventListener("pointerdown", (event) => {
  talk.setPointerCapture(event.pointerId);
  press();
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) talk.addEventListener(name, () => release());
talk.addEventListener("contextmenu", (event) => event.preventDefault());
const forTalking = (event) => event.code === "Space" && !event.target.closest("input, select, textarea, a, summary, dialog, button:not(#talk)");
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !find("settings").open) interrupt("stopped");
  if (!forTalking(event)) return;
  event.preventDefault();
  if (!event.repeat) press();
});
document.addEventListener("keyup", (event) => {
  if (forTalking(event)) {
    event.preventDefault();
    release();
  }
});
window.addEventListener("blur", () => release());

async function begin() {
  choices.addEventListener("changed", ({ detail }) => {
    if (detail.token) load().then(() => connection.open());
    else configure();
  });
  acceptDocuments({
    allowed: () => status.may_ingest,
    headers: () => choices.headers(),
    collection: () => choices.collection || status.collection,
    say: notice,
    done: load,
  });
  player.prepare().catch(() => {
    if (window.isSecureContext) notice("This browser cannot play the answers; they are shown as text.");
  });
  await load();
  connection.open();
}

// Fetch what the server offers.
async function load() {
  try {
    const response = await fetch("/v1/status", { headers: choices.headers() });
    if (response.status === 401) {
      notice("This server asks for an access token. Enter it in the settings.");
      find("settings").showModal();
      return;
    }
    if (!response.ok) throw new Error((await response.json()).error?.message);
    status = await response.json();
    choices.offer(status);
    find("empty").hidden = !status.empty;
    find("how-to-fill").textContent = status.how_to_fill ?? "";
    find("welcome").hidden = Boolean(turns.length) || status.empty;
  } catch (error) {
    notice(error.message || "The server does not answer.");
  }
}

window.voicerag = { player, connection, turns, sound }; // for tests and for the curious
begin();
