// What the person chose, kept in the browser.

const find = (id) => document.getElementById(id);
const KEY = "voicerag";
const STRATEGIES = {
  "": "as the server is set",
  adaptive: "by sound, by words if unsure",
  e2e: "by sound alone",
  hybrid: "by sound and words",
  asr: "by words",
  two_round: "twice: the model asks again",
};

export class Choices extends EventTarget {
  #kept = {};

  constructor() {
    super();
    try {
      this.#kept = JSON.parse(localStorage.getItem(KEY)) ?? {};
    } catch {
      // nothing is kept: private windows may forbid it
    }
    for (const [value, label] of Object.entries(STRATEGIES)) find("strategy").append(new Option(label, value));
    for (const name of ["modality", "limit", "strategy", "speed", "instructions", "temperature", "top-p"]) {
      if (this.#kept[name] !== undefined) find(name).value = this.#kept[name];
      find(name).addEventListener("change", () => this.#keep(name, find(name).value));
    }
    find("token").value = this.token;
    find("token").addEventListener("change", () => this.#keep("token", find("token").value.trim()));
    find("collection").addEventListener("change", () => this.#keep("collection", find("collection").value));
  }

  get token() {
    return this.#kept.token ?? "";
  }

  get collection() {
    return find("collection").value;
  }

  get modality() {
    return find("modality").value;
  }

  get instructions() {
    return find("instructions").value.trim();
  }

  get speed() {
    return Number(find("speed").value) || 1;
  }

  // The part of the session that this server alone knows.
  get own() {
    const number = (id) => (find(id).value === "" ? null : Number(find(id).value));
    const limit = Math.max(1, Math.min(20, Math.round(Number(find("limit").value)) || 4));
    return {
      collection: this.collection || null,
      strategy: find("strategy").value || null,
      limit,
      temperature: number("temperature"),
      top_p: number("top-p"),
    };
  }

  headers() {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  }

  // Show what the server has.
  offer(status) {
    const list = find("collection");
    const names = status.collections.map((one) => one.name);
    if (!names.includes(status.collection)) names.unshift(status.collection);
    const wanted = list.value || this.#kept.collection;
    list.replaceChildren(
      ...names.map((name) => {
        const found = status.collections.find((one) => one.name === name);
        return new Option(found ? `${name} (${found.passages})` : name, name);
      }),
    );
    list.value = names.includes(wanted) ? wanted : status.collection;
    find("sampling").hidden = status.stack !== "glm";
    find("about").textContent =
      `voicerag ${status.version}, stack ${status.stack}, tenant ${status.tenant}, database ${status.database}. ` +
      (status.voices.length ? "" : "There is no voice here: answers are text.");
    if (!status.voices.length) find("modality").value = "text";
  }

  #keep(name, value) {
    this.#kept[name] = value;
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#kept));
    } catch {
      // it holds until the page is closed
    }
    this.dispatchEvent(new CustomEvent("changed", { detail: { [name]: true } }));
  }
}
