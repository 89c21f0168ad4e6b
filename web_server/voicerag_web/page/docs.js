// Shows /openapi.json: every door with its fields. No library, no request to another origin.

const make = (name, text, parts = []) => {
  const node = document.createElement(name);
  if (text) node.textContent = text;
  node.append(...parts);
  return node;
};

const resolved = (schema, all) =>
  schema?.$ref ? all[schema.$ref.split("/").pop()] : schema;

const kind = (schema, all) => {
  if (!schema) return "";
  if (schema.$ref) return resolved(schema, all).title ?? "object";
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map((one) => kind(one, all)).join(" | ");
  if (schema.type === "array") return `list of ${kind(schema.items, all)}`;
  return schema.format ? `${schema.type} (${schema.format})` : schema.type ?? "any";
};

const fieldsOf = (operation, all) => {
  const rows = (operation.parameters ?? []).map((one) => [
    one.name, `${kind(one.schema, all)}${one.required ? ", required" : ""}`,
    one.description ?? one.schema?.description ?? "",
  ]);
  for (const [media, body] of Object.entries(operation.requestBody?.content ?? {})) {
    const schema = resolved(body.schema, all);
    const required = new Set(schema?.required ?? []);
    for (const [name, field] of Object.entries(schema?.properties ?? {}))
      rows.push([name, `${kind(field, all)}${required.has(name) ? ", required" : ""}`,
        field.description ?? (media === "application/json" ? "" : media)]);
  }
  return rows;
};

const door = (path, method, operation, all) => {
  const summary = make("summary", "", [
    Object.assign(make("span", method.toUpperCase()), { className: "method" }),
    make("code", path), document.createTextNode(` — ${operation.summary ?? ""}`),
  ]);
  const table = make("table", "", [make("tbody", "", fieldsOf(operation, all).map((cells) =>
    make("tr", "", [make("td", "", [make("code", cells[0])]), make("td", cells[1]),
      make("td", cells[2])])))]);
  return make("details", "", [summary, make("p", operation.description ?? ""), table]);
};

const show = async () => {
  const about = document.getElementById("about");
  const answer = await fetch("/openapi.json");
  if (!answer.ok) {
    about.textContent = answer.status === 401
      ? "This server asks for a token; fetch /openapi.json with it." : `Failed: ${answer.status}`;
    return;
  }
  const spec = await answer.json();
  about.textContent = `${spec.info.title} ${spec.info.version}. `
    + "The Realtime protocol is a WebSocket at /v1/realtime. ";
  about.append(Object.assign(make("a", "The description as OpenAPI"), { href: "/openapi.json" }));
  const groups = new Map();
  for (const [path, methods] of Object.entries(spec.paths))
    for (const [method, operation] of Object.entries(methods)) {
      const name = operation.tags?.[0] ?? "other";
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(door(path, method, operation, spec.components?.schemas ?? {}));
    }
  for (const [name, doors] of groups)
    document.getElementById("doors").append(make("section", "", [make("h2", name), ...doors]));
};

show();
