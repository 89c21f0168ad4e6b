// A session by @openai/agents-realtime: node agents_realtime.mjs URL; prints JSON lines.
// The package is found through NODE_PATH's folder, given as the second argument.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , url, modules] = process.argv;
const require = createRequire(`${modules}/`);
const found = require.resolve("@openai/agents-realtime");
const { RealtimeAgent, RealtimeSession } = await import(pathToFileURL(found).href);

const tell = (kind, value) => console.log(JSON.stringify({ kind, value }));
const agent = new RealtimeAgent({ name: "Reader", instructions: "Answer." });
const session = new RealtimeSession(agent, { transport: "websocket", model: "voicerag" });

const words = (item) => (item.content ?? []).map((part) => part.transcript ?? part.text ?? "").join("");
const until = (event, test = () => true) => new Promise((resolve) => {
  const handler = (...values) => {
    if (!test(...values)) return;
    session.off(event, handler);
    resolve(values);
  };
  session.on(event, handler);
});

let bytes = 0;
session.on("error", (error) => tell("error", String(error?.error?.message ?? JSON.stringify(error))));
session.on("audio", (event) => { bytes += event.data.byteLength; });
await session.connect({ apiKey: "none", url });
tell("connected", true);

const ended = until("agent_end");
session.sendMessage("Where does the Rhine rise?");
const [, , text] = await ended;
tell("answer", text);
tell("bytes", bytes);

// 0.5 s of silence and 1 s of a tone, then silence: a spoken turn
const rate = 24000;
const sound = (seconds, amplitude) => {
  const samples = new Int16Array(Math.round(seconds * rate));
  for (let at = 0; at < samples.length; at++)
    samples[at] = amplitude * Math.sin((2 * Math.PI * 220 * at) / rate);
  return samples.buffer;
};
const again = until("agent_end");
for (const [seconds, amplitude] of [[1.5, 0], [1, 8000], [1, 0]])
  for (let sent = 0; sent < seconds; sent += 0.1) session.sendAudio(sound(0.1, amplitude));
await again;
const heard = session.history.filter((item) => item.role === "user").map(words);
tell("heard", heard);

const last = session.history.filter((item) => item.role === "assistant").at(-1);
const cut = until("history_updated", (history) =>
  history.some((item) => item.itemId === last.itemId && words(item) !== words(last)));
session.transport.sendEvent({ type: "conversation.item.truncate", item_id: last.itemId,
  content_index: 0, audio_end_ms: 150 });
await cut;
tell("cut", words(session.history.find((item) => item.itemId === last.itemId)));
session.close();
process.exit(0);
