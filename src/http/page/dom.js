// Makes elements, and changes what is shown to what it should be. Whatever comes from outside goes in as
// text or as the value of an attribute, never as markup.

const SVG = "http://www.w3.org/2000/svg";
// No text from outside may choose an attribute that runs or loads something.
const ATTRIBUTES = /^(class|id|role|tabindex|title|href|type|value|name|for|hidden|disabled|checked|scope|dateTime|datetime|min|max|step|autocomplete|spellcheck|autofocus|placeholder|open|d|x|y|x1|x2|y1|y2|r|rx|cx|cy|width|height|viewBox|text-anchor|marker-end|focusable|aria-[a-z]+|data-[a-z-]+)$/;

function make(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (!ATTRIBUTES.test(name)) throw new Error(`no attribute ${name}`);
    if (name === "href" && !/^(#|[a-z0-9.]+(\/|$))/i.test(value)) throw new Error(`no link ${value}`);
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element; children are elements or text. */
export const h = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) => make(document.createElementNS(SVG, tag), attributes, children);

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null);

function isSame(old, next) {
  return old.nodeType === next.nodeType && old.nodeName === next.nodeName && keyOf(old) === keyOf(next);
}

function change(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // What the user has opened stays open, where the cursor is it stays, and positions are set below.
    if (name === "open" || name === "style" || name === "tabindex") continue;
    if (!next.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of [...next.attributes]) {
    if (name === "open" || (name === "tabindex" && old.hasAttribute("tabindex") && old.hasAttribute("data-key"))) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  // Some draw what is inside themselves.
  if (!old.hasAttribute("data-drawn")) show(old, [...next.childNodes]);
}

/** Makes the children of `parent` what `wanted` says, and keeps those that stay: focus and scrolling survive. */
export function show(parent, wanted) {
  const nodes = wanted.flat(Infinity).filter((node) => node !== null && node !== undefined && node !== false)
    .map((node) => (typeof node === "string" ? document.createTextNode(node) : node));
  const keyed = new Map([...parent.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
  let at = parent.firstChild;
  for (const next of nodes) {
    let old = keyOf(next) === null ? at : keyed.get(keyOf(next)) ?? at;
    if (old && isSame(old, next)) {
      if (old === at) at = at.nextSibling;
      else parent.insertBefore(old, at);
      change(old, next);
    } else {
      parent.insertBefore(next, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

/** Lets arrow keys move through `selector` inside `box`; one of them is in the tab order. */
export function roving(box, selector, { onEnter } = {}) {
  box.addEventListener("keydown", (event) => {
    const all = [...box.querySelectorAll(selector)];
    const at = all.indexOf(event.target.closest(selector));
    if (at < 0) return;
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1
      : step ? Math.min(Math.max(at + step, 0), all.length - 1) : null;
    if (to !== null) {
      event.preventDefault();
      all[to].focus();
    } else if (onEnter && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      onEnter(all[at]);
    }
  });
  box.addEventListener("focusin", (event) => {
    const current = event.target.closest(selector);
    if (!current) return;
    for (const other of box.querySelectorAll(selector)) other.setAttribute("tabindex", other === current ? "0" : "-1");
  });
}

/** After a change: exactly one of `selector` is in the tab order. */
export function settle(box, selector, preferred) {
  const all = [...box.querySelectorAll(selector)];
  const inOrder = all.filter((element) => element.getAttribute("tabindex") === "0");
  if (inOrder.length === 1) return;
  const chosen = (preferred && box.querySelector(preferred)) ?? all[0];
  for (const element of all) element.setAttribute("tabindex", element === chosen ? "0" : "-1");
}

/** `1.4 s`, `2 min`. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** `12 B`, `1.5 MB`, in powers of 1024 as Redis writes them. */
export function size(bytes) {
  let value = bytes;
  for (const unit of ["B", "KB", "MB", "GB", "TB"]) {
    if (value < 1024 || unit === "TB") return `${unit === "B" || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return "";
}

/** `1 replica`, `2 replicas`. */
export const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
