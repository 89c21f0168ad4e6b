// What the conversation looks like: questions, answers, passages, times. Text is set as text alone,
// since passages come from strangers' documents.

const MICROPHONE = '<svg viewBox="0 0 24 24" aria-hidden="true"><rect x="9" y="3" width="6" height="11" rx="3"/><path d="M5 11a7 7 0 0 0 14 0M12 18v3"/></svg>';
const STAGES = [
  ["early_sources", "passages by sound"],
  ["transcript", "words"],
  ["sources", "passages"],
  ["first_text", "first text"],
  ["first_audio", "first sound"],
  ["heard", "you hear it"],
];

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export class Turn {
  constructor(list, { words = "", spoken = false }) {
    this.words = words;
    this.text = "";
    this.passages = [];
    this.sources = [];
    this.stages = {};
    this.pieces = [];
    this.item = null;
    this.response = null;
    this.asked = 0;
    this.#question = element("p", { class: "asked" });
    this.#text = element("p", { class: "text", "data-waiting": "…" });
    this.#tools = element("div", { class: "tools" });
    this.#answer = element("div", { class: "answer" }, this.#text, this.#tools);
    this.#places = element("div", { class: "sources" });
    this.#times = element("div", { class: "stages" });
    if (spoken) this.#question.insertAdjacentHTML("afterbegin", MICROPHONE);
    this.#said = element("span");
    this.#question.append(this.#said);
    this.element = element("li", { class: "turn" }, this.#question, this.#answer, this.#places, this.#times);
    this.hear(words, spoken ? "What you said, as it is heard…" : "");
    list.append(this.element);
  }

  #question;
  #said;
  #text;
  #tools;
  #answer;
  #places;
  #times;

  // Show the words of the question; `otherwise` while they are not known.
  hear(words, otherwise = "") {
    this.words = words;
    this.#said.textContent = words || otherwise;
    this.#question.classList.toggle("unknown", !words);
  }

  wait(words) {
    if (!this.text) this.#text.dataset.waiting = words;
  }

  add(text) {
    this.text += text;
    this.#text.textContent = this.text;
  }

  // Show which part of an interrupted answer was heard.
  cut(heard) {
    if (!this.text.startsWith(heard) || heard.length === this.text.length) return;
    this.#text.replaceChildren(heard, element("span", { class: "unheard" }, this.text.slice(heard.length)));
  }

  fail(message) {
    this.#text.dataset.waiting = "";
    this.#answer.append(element("p", { class: "problem" }, message));
  }

  end(status, { download, replay }) {
    this.#text.dataset.waiting = "";
    this.#answer.dataset.status = status;
    this.#tools.replaceChildren();
    if (this.pieces.length) {
      this.#tools.append(
        element("button", { class: "plain", type: "button", onclick: replay }, "▸ Listen again"),
        element("button", { class: "plain", type: "button", onclick: download }, "↓ Download"),
      );
    }
    if (status === "cancelled") this.interrupt();
  }

  // Say that the answer was not heard to its end.
  interrupt() {
    this.wait("Interrupted before an answer.");
    if (!this.#tools.querySelector(".flag")) this.#tools.append(element("span", { class: "flag" }, "interrupted"));
  }

  // Show the passages, cited ones first open, with what was cited marked. What the sound of a
  // question found is not final: its words may find others.
  place(passages, sources, recording, final = true) {
    this.passages = passages;
    this.sources = sources;
    if (!passages.length) return;
    const open = new Set([...this.#places.querySelectorAll("details[open]")].map((one) => one.dataset.id));
    const cited = new Set(sources.map((source) => source.passage_id));
    const shown = passages.map((passage, index) => {
      const own = sources.filter((source) => source.passage_id === passage.id);
      return this.#passage(passage, own, index + 1, open.has(passage.id), recording);
    });
    const count = `${passages.length} ${passages.length === 1 ? "passage" : "passages"}`;
    const found = final ? `${count} found` : `${count} found by sound`;
    const title = cited.size ? `Sources: ${cited.size} of ${count} cited` : found;
    this.#places.classList.toggle("early", !final);
    this.#places.replaceChildren(element("h3", {}, title), ...shown);
  }

  #passage(passage, sources, number, open, recording) {
    // The first heading of a text is often its title.
    const path = (sources[0]?.path ?? []).filter((name) => name !== passage.title).map((name) => ` › ${name}`).join("");
    const head = element(
      "summary",
      {},
      element("span", { class: "number" }, String(number)),
      element("span", { class: "name" }, passage.title || passage.source || passage.id, element("span", { class: "path" }, path)),
      element("span", { class: "score", title: "Cosine similarity to the question" }, passage.score.toFixed(2)),
    );
    const where = element("p", { class: "where" });
    const link = sources.find((source) => /^https?:/.test(source.link ?? ""))?.link ?? (/^https?:/.test(passage.source) ? passage.source : null);
    if (link) where.append(element("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, "Open the source"));
    else if (passage.source) where.append(place(sources[0]?.source ?? passage.source));
    where.append(element("span", {}, `found by ${passage.found_by.join(" and ") || "order"}`));
    const details = element("details", { class: `source${sources.length ? " cited" : ""}`, "data-id": passage.id }, head, marked(passage.text, sources), where);
    details.open = open || sources.length > 0;
    const begins = passage.metadata?.start_seconds;
    if (typeof begins === "number" && recording) {
      const player = element("audio", { controls: "", preload: "none", "aria-label": `Recording from ${clock(begins)}` });
      player.src = `${recording(passage)}#t=${begins}`;
      where.prepend(element("span", {}, `from ${clock(begins)}`));
      details.append(player);
    }
    return details;
  }

  // Show how the time passed from the end of the question.
  time(stages) {
    Object.assign(this.stages, stages);
    const known = STAGES.filter(([name]) => name in this.stages).sort(([one], [other]) => this.stages[one] - this.stages[other]);
    const whole = Math.max(...known.map(([name]) => this.stages[name]), 0.001);
    const track = element("div", { class: "track", "aria-hidden": "true" });
    const list = element("ul", { "aria-label": "Time from the end of the question" });
    let before = 0;
    known.forEach(([name, label]) => {
      const colour = `c${1 + STAGES.findIndex(([one]) => one === name)}`;
      const part = element("span", { class: colour });
      part.style.width = `${(100 * (this.stages[name] - before)) / whole}%`;
      before = this.stages[name];
      track.append(part);
      list.append(element("li", {}, element("i", { class: colour, "aria-hidden": "true" }), `${label} ${this.stages[name].toFixed(2)} s`));
    });
    this.#times.replaceChildren(track, list);
  }
}

// A file is named by the end of its path; the whole of it shows under the pointer.
function place(source) {
  return element("span", { title: source }, source.split(/[\\/]/).at(-1) || source);
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// The text of a passage with its quotes marked; places are counted in code points.
function marked(text, sources) {
  const letters = Array.from(text);
  const body = element("p", { class: "body" });
  let at = 0;
  for (const { start, end } of [...sources].sort((one, other) => one.start - other.start)) {
    if (start < at || end <= start) continue;
    body.append(letters.slice(at, start).join(""), element("mark", {}, letters.slice(start, end).join("")));
    at = end;
  }
  body.append(letters.slice(at).join(""));
  return body;
}
