// Shows the OpenAPI document of this server. Text goes in as text, never as markup.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
// Words in backquotes are code, blank lines part paragraphs: all that doc comments use.
function prose(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((part) =>
    make("p", {}, ...part.split("`").map((piece, at) => at % 2 ? make("code", {}, piece) : piece)));
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
  return make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, ...[].concat(cell)))))));
}
function bodies(content) {
  return Object.entries(content || {}).map(([type, body]) => `${type}: ${nameOf(body.schema)}`).join(", ");
}
function operation(path, methods, described) {
  const parameters = table(["parameter", "in", "type", ""], (described.parameters || []).map((parameter) => [
    make("code", {}, parameter.name), parameter.in, nameOf(parameter.schema), prose(parameter.description)]));
  const body = described.requestBody
    ? make("p", {}, "Body: ", make("code", {}, bodies(described.requestBody.content))) : null;
  const responses = table(["status", "body", ""], Object.entries(described.responses).map(([status, response]) => [
    status, bodies(response.content), prose(response.description)]));
  const token = described.security ? make("p", { class: "muted" }, "Needs the token: Authorization: Bearer TOKEN") : null;
  return make("details", { class: "panel" }, make("summary", {},
    ...methods.map((method) => make("span", { class: `method is-${method}` }, method)), make("code", {}, path), " ",
    described.summary || ""),
    make("div", {}, ...prose(described.description), token, parameters, body, responses));
}
function fields(schema) {
  const parts = schema.allOf || [schema];
  return parts.flatMap((part) => part.$ref
    ? [[make("code", {}, "…"), nameOf(part), prose("The fields of that, too.")]]
    : Object.entries(part.properties || {}).map(([name, property]) => [
      make("code", {}, name), nameOf(property), prose(property.description)]));
}
function schemaOf(name, schema) {
  const values = schema.enum ? make("p", {}, nameOf(schema)) : null;
  return make("details", { class: "panel" }, make("summary", {}, make("code", {}, name)),
    make("div", {}, ...prose(schema.description), values, table(["field", "type", ""], fields(schema))));
}
function show(api) {
  const main = document.getElementById("main");
  main.replaceChildren(make("h1", {}, `${api.info.title} ${api.info.version}: HTTP`), ...prose(api.info.description),
    make("p", {}, make("a", { href: "openapi.json" }, "openapi.json")));
  for (const tag of api.tags || []) {
    main.append(make("h2", {}, tag.name), ...prose(tag.description));
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
  main.append(make("h2", {}, "What is in the bodies"));
  for (const [name, schema] of Object.entries(api.components.schemas)) main.append(schemaOf(name, schema));
}
fetch("openapi.json").then((response) => response.json()).then(show).catch((error) => {
  document.getElementById("main").append(make("p", { role: "alert" }, `openapi.json cannot be shown: ${error}`));
});
