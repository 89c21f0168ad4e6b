// One Realtime session over a WebSocket, opened again when it breaks.

const WAITS_MS = [500, 1000, 2000, 5000, 10000];

export class Connection extends EventTarget {
  #socket = null;
  #tries = 0;
  #timer = 0;
  #left = false;

  constructor(token) {
    super();
    this.token = token;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  async open() {
    clearTimeout(this.#timer);
    this.#left = false;
    this.#tell("connecting");
    const protocols = ["realtime"];
    try {
      if (this.token()) protocols.push(`openai-insecure-api-key.${await this.#secret()}`);
    } catch (error) {
      this.#again(error.message, error.final);
      return;
    }
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1/realtime`, protocols);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => {
      this.#tries = 0;
      this.#tell("open");
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      if (typeof data === "string") {
        const event = JSON.parse(data);
        this.dispatchEvent(new CustomEvent("event", { detail: event }));
      } else {
        this.dispatchEvent(new CustomEvent("sound", { detail: new Int16Array(data) }));
      }
    };
    socket.onclose = ({ reason }) => {
      if (socket === this.#socket) this.#again(reason || "The server does not answer.");
    };
  }

  close() {
    this.#left = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  send(type, fields = {}) {
    if (this.isOpen) this.#socket.send(JSON.stringify({ type, ...fields }));
  }

  sendSound(samples) {
    if (this.isOpen) this.#socket.send(samples.buffer);
  }

  // A page cannot set headers of a socket, so it asks for a secret that opens one.
  async #secret() {
    const response = await fetch("/v1/realtime/client_secrets", {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${this.token()}` },
      body: JSON.stringify({ session: {} }),
    });
    if (response.status === 401) {
      throw Object.assign(new Error("The access token is not accepted."), { final: true });
    }
    if (!response.ok) throw new Error("The server does not answer.");
    return (await response.json()).value;
  }

  #again(reason, final = false) {
    this.#socket = null;
    this.#tell("closed", reason);
    if (this.#left || final) return;
    const wait = WAITS_MS[Math.min(this.#tries, WAITS_MS.length - 1)];
    this.#tries += 1;
    this.#timer = setTimeout(() => this.open(), wait);
  }

  #tell(state, reason = "") {
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason } }));
  }
}
