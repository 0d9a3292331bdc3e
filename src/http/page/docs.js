// Shows the OpenAPI document of this server. Text goes in as text, never as markup.
import { h } from "./dom.js";

// Words in backquotes are code, blank lines part paragraphs: all that doc comments use.
function prose(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((part) =>
    h("p", {}, ...part.split("`").map((piece, at) => at % 2 ? h("code", {}, piece) : piece)));
}
function nameOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.allOf) return schema.allOf.map(nameOf).join(" & ");
  if (schema.oneOf) return schema.oneOf.map(nameOf).filter((name) => name !== "null").join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const types = [].concat(schema.type || "object").filter((type) => type !== "null");
  if (types[0] === "array") return nameOf(schema.items) + "[]";
  const bounds = schema.minimum !== undefined || schema.maximum !== undefined
    ? ` ${schema.minimum ?? ""}…${schema.maximum ?? ""}` : "";
  return types.join(" | ") + bounds;
}
function table(head, rows) {
  if (!rows.length) return null;
  return h("table", {}, h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", {}, ...[].concat(cell)))))));
}
function bodies(content) {
  return Object.entries(content || {}).map(([type, body]) => `${type}: ${nameOf(body.schema)}`).join(", ");
}
function operation(path, methods, described) {
  const parameters = table(["parameter", "in", "type", ""], (described.parameters || []).map((parameter) => [
    h("code", {}, parameter.name), parameter.in, nameOf(parameter.schema), prose(parameter.description)]));
  const body = described.requestBody
    ? h("p", {}, "Body: ", h("code", {}, bodies(described.requestBody.content))) : null;
  const responses = table(["status", "body", ""], Object.entries(described.responses).map(([status, response]) => [
    status, bodies(response.content), prose(response.description)]));
  const token = described.security ? h("p", { class: "muted" }, "Needs the token: Authorization: Bearer TOKEN") : null;
  return h("details", { class: "panel" }, h("summary", {},
    ...methods.map((method) => h("span", { class: `method is-${method}` }, method)), h("code", {}, path), " ",
    described.summary || ""),
    h("div", {}, ...prose(described.description), token, parameters, body, responses));
}
function fields(schema) {
  const parts = schema.allOf || [schema];
  return parts.flatMap((part) => part.$ref
    ? [[h("code", {}, "…"), nameOf(part), prose("The fields of that, too.")]]
    : Object.entries(part.properties || {}).map(([name, property]) => [
      h("code", {}, name), nameOf(property), prose(property.description)]));
}
function schemaOf(name, schema) {
  const values = schema.enum ? h("p", {}, nameOf(schema)) : null;
  return h("details", { class: "panel" }, h("summary", {}, h("code", {}, name)),
    h("div", {}, ...prose(schema.description), values, table(["field", "type", ""], fields(schema))));
}
function show(api) {
  const main = document.getElementById("main");
  main.replaceChildren(h("h1", {}, `${api.info.title} ${api.info.version}: HTTP`), ...prose(api.info.description),
    h("p", {}, h("a", { href: "openapi.json" }, "openapi.json")));
  for (const tag of api.tags || []) {
    main.append(h("h2", {}, tag.name), ...prose(tag.description));
    for (const [path, item] of Object.entries(api.paths)) {
      // Methods that mean the same are shown together.
      const groups = new Map();
      for (const [method, described] of Object.entries(item)) {
        if (!(described.tags || []).includes(tag.name)) continue;
        const key = described.summary;
        if (!groups.has(key)) groups.set(key, { methods: [], described });
        groups.get(key).methods.push(method);
      }
      for (const { methods, described } of groups.values()) main.append(operation(path, methods, described));
    }
  }
  main.append(h("h2", {}, "What is in the bodies"));
  for (const [name, schema] of Object.entries(api.components.schemas)) main.append(schemaOf(name, schema));
}
fetch("openapi.json").then((response) => response.json()).then(show).catch((error) => {
  document.getElementById("main").append(h("p", { role: "alert" }, `openapi.json cannot be shown: ${error}`));
});
