// Documents that are dropped on the page.

const drop = document.getElementById("drop");

export function acceptDocuments({ allowed, headers, collection, say, done }) {
  let inside = 0;
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event) || !allowed()) return;
    inside += 1;
    drop.hidden = false;
  });
  addEventListener("dragleave", () => {
    inside = Math.max(0, inside - 1);
    drop.hidden = inside === 0;
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    inside = 0;
    drop.hidden = true;
    if (!allowed()) {
      say("This server does not take documents: start it with --allow-ingest.");
      return;
    }
    const told = [];
    let good = true;
    for (const file of event.dataTransfer.files) {
      say([...told, `Adding ${file.name}…`].join("\n"), { good });
      try {
        told.push(await add(file, { headers, collection }));
      } catch (error) {
        good = false;
        told.push(`${file.name}: ${error.message}`);
      }
      say(told.join("\n"), { good });
    }
    done();
  });
}

async function add(file, { headers, collection }) {
  const form = new FormData();
  form.set("file", file);
  form.set("collection", collection());
  const response = await fetch("/v1/documents/files", { method: "POST", headers: headers(), body: form });
  const told = await response.json();
  if (!response.ok) throw new Error(told.error?.message ?? "it was not taken");
  if (told.failures.length) throw new Error(told.failures[0]);
  if (told.unchanged) return `${file.name} was there already.`;
  return `${file.name} was added: ${told.passages} ${told.passages === 1 ? "passage" : "passages"}.`;
}
