// The page of a sentinel: asks it for what it sees, follows its events, and shows both.

import { h, s, show, roving, settle, duration, size, count } from "./dom.js";
import { sentence, tone, isLoud, Failovers, fromRecord, PHASES } from "./story.js";
import { liveScene, pastScene, draw } from "./topology.js";

/** Masters on a page of the list. */
const PER_PAGE = 25;
/** How often to ask when nothing happens, and how soon after an event. */
const PERIOD_MS = 2000;
const AFTER_EVENT_MS = 200;
const ANSWER_MS = 8000;
/** Events that are kept, and shown. */
const EVENTS_MAX = 500;
const EVENTS_SHOWN = 150;
const DECISIONS_SHOWN = 20;
/** How long each phase of a replay is looked at, at least and at most. */
const DWELL_MS = [1100, 3000];
const THEMES = ["auto", "light", "dark"];

const byId = (id) => document.getElementById(id);
const state = {
  search: "", filter: "all", page: 1,
  selected: null, node: null,
  sentinel: null, list: null, detail: null, records: [],
  token: null,
  events: [], only: false,
  failovers: new Failovers(), failover: null, replay: null,
  lostSince: null, missing: false,
};

// ---------------------------------------------------------------- asking

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS), headers: { Accept: "application/json" } });
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.error ?? response.statusText), { status: response.status });
  return body;
}

let timer = 0;
let due = Infinity;
let asking = false;
let again = false;

/** Asks in so long, unless it is to be sooner anyway: a stream of events must not put it off for ever. */
function soon(ms) {
  const at = performance.now() + ms;
  if (at >= due) return;
  clearTimeout(timer);
  due = at;
  timer = setTimeout(refresh, ms);
}

/** Asks for what is shown; one question at a time. */
async function refresh() {
  // Before anything else: a time that is past and kept would let nothing be asked for ever after.
  clearTimeout(timer);
  due = Infinity;
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  try {
    const filter = new URLSearchParams({ page: state.page, per_page: PER_PAGE });
    if (state.search) filter.set("search", state.search);
    if (state.filter !== "all") filter.set("filter", state.filter);
    const list = await ask(`masters?${filter}`);
    if (state.page > list.pages) {
      state.page = list.pages;
      again = true;
    }
    state.list = list;
    if (!state.selected) state.selected = list.masters[0]?.name ?? null;
    await refreshDetail();
    state.lostSince = null;
  } catch (error) {
    state.lostSince ??= Date.now();
    state.lostWhy = error.name === "TimeoutError" ? "it does not answer" : error.message;
  }
  asking = false;
  soon(again ? 0 : document.hidden ? PERIOD_MS * 5 : PERIOD_MS);
  again = false;
  render();
}

async function refreshDetail() {
  const wanted = state.selected;
  const about = await cluster(wanted);
  state.sentinel = about.sentinel;
  if (state.selected !== wanted) return;
  state.detail = about.masters[0] ?? null;
  state.missing = wanted !== null && !state.detail;
  if (state.detail) state.records = (await ask(`masters/${encodeURIComponent(wanted)}/history`)).records;
}

/** The sentinel, and one master if there is one of this name. */
async function cluster(name) {
  const without = { masters: [] };
  if (name === null) return { ...await ask("cluster?per_page=1"), ...without };
  try {
    return await ask(`cluster?${new URLSearchParams({ master: name })}`);
  } catch (error) {
    if (error.status !== 404) throw error;
    return { ...await ask("cluster?per_page=1"), ...without };
  }
}

// ---------------------------------------------------------------- events

let source = null;
let coming = 0;
let rendering = 0;

function follow() {
  clearTimeout(coming);
  source?.close();
  source = new EventSource("events?tail=300");
  source.onopen = () => live("on");
  source.onerror = () => {
    live("off");
    // The browser comes back by itself with the last id, unless it was refused.
    if (source.readyState === EventSource.CLOSED) coming = setTimeout(follow, PERIOD_MS * 2);
  };
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (state.events.some((old) => old.id === message.lastEventId)) return;
    event.id = message.lastEventId;
    state.events.unshift(event);
    state.events.length = Math.min(state.events.length, EVENTS_MAX);
    state.failovers.add(event);
    if (Date.now() - event.at_ms < 10_000) {
      announce(event);
      soon(AFTER_EVENT_MS);
    }
    if (!rendering) rendering = requestAnimationFrame(() => { rendering = 0; renderEvents(); });
  };
  source.addEventListener("reset", () => {
    state.events = [];
    state.failovers.clear();
    refresh();
  });
}

function live(how) {
  byId("live").dataset.state = how;
  byId("live").textContent = how === "on" ? "Live" : "Reconnecting";
}

let unsaid = [];
function announce(event) {
  if (!isLoud(event)) return;
  unsaid.push(`${event.master ?? ""}: ${sentence(event)}`);
  if (unsaid.length > 1) return;
  setTimeout(() => {
    const more = unsaid.length > 3 ? ` and ${unsaid.length - 3} more` : "";
    byId("announcer").textContent = unsaid.slice(-3).join(". ") + more;
    unsaid = [];
  }, 1000);
}

// ---------------------------------------------------------------- acting

async function send(path) {
  // Headers are bytes, which fetch wants one to a character.
  const token = String.fromCharCode(...new TextEncoder().encode(state.token));
  const headers = { Authorization: `Bearer ${token}` };
  const response = await fetch(path, { method: "POST", headers, signal: AbortSignal.timeout(ANSWER_MS * 2) });
  const text = await response.text();
  let body = {};
  try { body = JSON.parse(text); } catch { /* the status says it */ }
  // 403: this sentinel has no token, so that none can be right.
  if ([401, 403].includes(response.status)) lock();
  return { ok: response.ok, status: response.status, body };
}

function lock() {
  state.token = null;
  render();
}

function close() {
  byId("dialog").close();
}

function openDialog(title, ...content) {
  const dialog = byId("dialog");
  dialog.replaceChildren(h("form", { class: "ask" }, h("h2", { id: "dialog-title" }, title), ...content));
  dialog.showModal();
  return dialog.querySelector("form");
}

function askToken() {
  if (state.token !== null) return lock();
  if (state.sentinel && !state.sentinel.can_act) {
    openDialog("No token is configured",
      h("p", {}, "Nothing can be ordered through this sentinel's page: give it an ", h("code", {}, "http-token"), " or an ", h("code", {}, "http-token-file"), " in its configuration, and start it again."),
      h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", "data-close": "" }, "Close")));
    return;
  }
  const form = openDialog("Token",
    h("p", {}, "With the ", h("code", {}, "http-token"), " of this sentinel you can order failovers and pauses. It stays in this tab's memory and is gone when the tab is closed or loaded again."),
    h("label", { for: "token" }, "Token"),
    h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false" }),
    h("div", { class: "buttons" }, h("button", { type: "button", class: "quiet", "data-close": "" }, "Cancel"), h("button", { type: "submit", class: "primary" }, "Use it")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    state.token = byId("token").value || null;
    close();
    render();
  });
}

const ACTIONS = {
  failover: {
    title: (m) => `Fail over ${m.name}?`,
    text: (m) => `A replica takes the place of ${m.address}. Clients are cut off and must look the master up again; what the replica has not received is lost.`,
    button: "Fail over", done: "The failover has begun. The events tell how it goes on.",
  },
  pause: {
    title: (m) => `Pause automatic failovers of ${m.name}?`,
    text: () => "The sentinels neither start an automatic failover of it nor vote for one. Ordered failovers still work.",
    button: "Pause", done: "Automatic failovers are paused.",
  },
  resume: {
    title: (m) => `Resume automatic failovers of ${m.name}?`,
    text: () => "From now on the sentinels fail over again when the quorum finds the master down.",
    button: "Resume", done: "Automatic failovers are possible again.",
  },
};

function confirmAction(kind) {
  const { detail } = state;
  const action = ACTIONS[kind];
  const result = h("div", { class: "result", role: "status" });
  const form = openDialog(action.title(detail),
    h("p", {}, action.text(detail)),
    kind === "pause" ? [h("label", { for: "how-long" }, "For how long (such as 15m or 2h; empty: until resumed)"),
      h("input", { id: "how-long", type: "text", value: "15m", autocomplete: "off" })] : null,
    result,
    h("div", { class: "buttons" }, h("button", { type: "button", class: "quiet", "data-close": "" }, "Cancel"),
      h("button", { type: "submit", class: kind === "failover" ? "primary danger" : "primary" }, action.button)));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("[type=submit]");
    // Enter in the field comes here too: one order at a time, and none after one that was taken.
    if (button.disabled) return;
    button.disabled = true;
    result.className = "result";
    result.textContent = "Asking the sentinel …";
    const answer = await order(kind, detail.name, byId("how-long")?.value.trim());
    result.classList.add(answer.ok ? "ok" : "bad");
    result.replaceChildren(...(answer.ok ? told(answer.body, action.done) : [answer.body.error ?? `HTTP ${answer.status}`, answer.body.hint ? ` (${answer.body.hint})` : ""]));
    button.hidden = answer.ok;
    button.disabled = answer.ok;
    const closing = form.querySelector("[data-close]");
    closing.textContent = answer.ok ? "Close" : "Cancel";
    if (form.isConnected) (answer.ok ? closing : button).focus();
    refresh();
  });
}

// What the sentinel says beside "ok": which others are paused, and which cannot be.
function told(body, done) {
  return body.sentinels?.length ? body.sentinels.map((line) => h("p", {}, line)) : [done];
}

async function order(kind, name, howLong) {
  const query = howLong ? `?${new URLSearchParams({ duration: howLong })}` : "";
  try {
    return await send(`masters/${encodeURIComponent(name)}/${kind}${query}`);
  } catch (error) {
    return { ok: false, status: 0, body: { error: `No answer: ${error.message}`, hint: "it may still be done; look before you try again" } };
  }
}

// ---------------------------------------------------------------- replay

let player = 0;

function failovers() {
  const { selected } = state;
  const recorded = state.records.filter((record) => /failover/.test(record.decision) && record.phases.length)
    .map((record) => ({ ...fromRecord(record), decision: record.decision }));
  const seen = state.failovers.of(selected).filter((one) => one.phases.length);
  // The record knows more than the events of the same failover.
  const isRecorded = (one) => recorded.some((other) => Math.abs(other.at - one.at) < 15_000 && (other.to === one.to || !one.to));
  return [...seen.filter((one) => !isRecorded(one)), ...recorded].sort((a, b) => b.at - a.at).slice(0, 20);
}

function currentFailover(all = failovers()) {
  return all.find((one) => one.id === state.failover) ?? all[0] ?? null;
}

/** The phases of a failover and its end, each with when it began. */
function scenes(failover) {
  let begin = 0;
  const phases = failover.phases.map((phase) => {
    const scene = { name: phase.phase, begin, ms: phase.ms };
    begin += phase.ms;
    return scene;
  });
  return [...phases, { name: "end", begin, ms: 0 }];
}

function goTo(index) {
  const failover = currentFailover();
  if (!failover) return;
  const all = scenes(failover);
  state.replay = { id: failover.id, at: Math.min(Math.max(index, 0), all.length - 1), playing: state.replay?.playing ?? false };
  renderDetail();
}

function play() {
  clearTimeout(player);
  const failover = currentFailover();
  if (!failover) return;
  if (state.replay?.playing) {
    state.replay.playing = false;
    return renderDetail();
  }
  const all = scenes(failover);
  const atEnd = !state.replay || state.replay.at >= all.length - 1;
  state.replay = { id: failover.id, at: atEnd ? 0 : state.replay.at, playing: true };
  renderDetail();
  const step = () => {
    if (!state.replay?.playing) return;
    if (state.replay.at >= all.length - 1) {
      state.replay.playing = false;
      return renderDetail();
    }
    state.replay.at += 1;
    renderDetail();
    player = setTimeout(step, dwell(all[state.replay.at]));
  };
  player = setTimeout(step, dwell(all[state.replay.at]));
}

const dwell = (scene) => Math.min(Math.max(scene.ms, DWELL_MS[0]), DWELL_MS[1]);

function stopReplay() {
  clearTimeout(player);
  state.replay = null;
  renderDetail();
}

// ---------------------------------------------------------------- showing

const STATUS = {
  ok: ["ok", "OK"], sdown: ["warn", "Down for this sentinel"], odown: ["bad", "Down"], failover: ["info", "Failover"],
};

const chip = (kind, text) => h("span", { class: `chip ${kind}` }, text);
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const when = (ms) => {
  const date = new Date(ms);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? clock(ms) : `${date.toLocaleDateString([], { month: "short", day: "numeric" })} ${clock(ms)}`;
};

function pausedText(master) {
  if (!master.paused) return null;
  const left = master.paused.until_ms === undefined ? 0 : master.paused.until_ms - Date.now();
  return left > 0 ? `Paused here for ${duration(left)}` : "Paused here";
}

function render() {
  renderTop();
  renderList();
  renderDetail();
  renderEvents();
}

function renderTop() {
  const { sentinel } = state;
  const banner = byId("banner");
  banner.hidden = state.lostSince === null;
  const lost = `This sentinel cannot be reached (${state.lostWhy}). What is shown is from ${clock(state.lostSince ?? 0)}.`;
  if (!banner.hidden && banner.textContent !== lost) banner.textContent = lost;
  byId("unlock").textContent = state.token === null ? "Enter token" : "Forget token";
  if (!sentinel) return;
  const masters = sentinel.masters;
  byId("who").textContent = `${sentinel.id.slice(0, 12)}, version ${sentinel.version}, epoch ${sentinel.current_epoch}`;
  const bad = [];
  if (sentinel.tilt_ms !== undefined) bad.push(`in TILT for ${duration(sentinel.tilt_ms)}`);
  if (sentinel.save_error) bad.push(`cannot save its state: ${sentinel.save_error}`);
  if (sentinel.loop_age_ms > 2000) bad.push(`its loop has not run for ${duration(sentinel.loop_age_ms)}`);
  if (sentinel.observe_only) bad.push("only observes");
  const { problems } = masters;
  show(byId("health"), [
    bad.length ? chip("bad", `This sentinel: ${bad.join("; ")}`) : null,
    masters.total === 0 ? chip("idle", "No masters")
      : problems ? chip(masters.odown ? "bad" : "warn", masters.total === 1 ? "The master has problems" : `${problems} of ${masters.total} masters with problems`)
      : chip("ok", masters.total === 1 ? "The master is fine" : `All ${masters.total} masters are fine`),
  ]);
  document.title = problems ? `(${problems}) sentinel` : "sentinel";
}

function renderList() {
  const { list, sentinel } = state;
  if (!list || !sentinel) return;
  const total = sentinel.masters.total;
  byId("columns").classList.toggle("single", total <= 1);
  byId("only").closest("label").hidden = total <= 1;
  byId("columns").classList.toggle("opened", location.hash.length > 1);
  const counts = { all: total, problems: sentinel.masters.problems, paused: sentinel.masters.paused };
  show(byId("filters"), ["all", "problems", "paused"].map((name) =>
    h("button", { type: "button", "data-key": name, "data-filter": name, "aria-pressed": String(state.filter === name) },
      `${name[0].toUpperCase()}${name.slice(1)} `, h("span", { class: "n" }, String(counts[name])))));
  show(byId("masters"), list.masters.length ? list.masters.map((master) => {
    const [kind, word] = STATUS[master.status];
    const mark = kind === "ok" && master.problems.length ? "warn" : kind;
    return h("li", { "data-key": `m:${master.name}` },
      h("a", { class: "entry", href: `#${encodeURIComponent(master.name)}`, "data-key": "a", "data-name": master.name, tabindex: "-1", "aria-current": master.name === state.selected ? "true" : null },
        h("span", { class: "line" }, h("span", { class: `dot ${mark}`, "aria-hidden": "true" }), h("span", { class: "name" }, master.name),
          master.paused ? chip("idle", "Paused") : null,
          mark === "ok" ? h("span", { class: "hidden" }, "OK") : h("span", { class: `word ${mark}` }, kind === "ok" ? "Attention" : word)),
        h("span", { class: "line muted" }, h("span", { class: "mono address" }, master.address),
          h("span", { class: "n" }, `${master.replicas_ok}/${master.replicas} replicas`))));
  }) : [h("li", { class: "muted none" }, total === 0 ? "This sentinel monitors nothing." : "No master matches.")]);
  settle(byId("masters"), ".entry", "[aria-current]");
  const first = (list.page - 1) * list.per_page + 1;
  const last = Math.min(first + list.masters.length - 1, list.found);
  show(byId("pager"), list.pages > 1 ? [
    h("button", { type: "button", class: "quiet", "data-key": "back", "data-page": list.page - 1, disabled: list.page <= 1 }, "Previous"),
    h("span", { class: "muted n" }, `${first}–${last} of ${list.found}`),
    h("button", { type: "button", class: "quiet", "data-key": "next", "data-page": list.page + 1, disabled: list.page >= list.pages }, "Next"),
  ] : [h("span", { class: "muted n" }, count(list.found, "master"))]);
}

const fact = (name, value, kind) => h("div", { class: "fact" }, h("dt", {}, name), h("dd", { class: kind ?? "" }, value));

function quorum(detail) {
  const isPossible = detail.quorum_reached;
  return h("section", { class: "panel", "data-key": "quorum", "aria-labelledby": "quorum-title" },
    h("div", { class: "row" }, h("h3", { id: "quorum-title" }, "Quorum"),
      chip(isPossible ? "ok" : "bad", isPossible ? "Enough sentinels for a failover" : "Too few sentinels for a failover")),
    h("dl", { class: "facts" },
      fact("Usable sentinels", `${detail.sentinels_usable} of ${detail.sentinels}`, isPossible ? "" : "bad"),
      fact("Must find it down", String(detail.quorum)),
      fact("Must vote", String(Math.max(detail.majority, detail.quorum))),
      fact("Confirm the address", `${detail.confirmed} of ${detail.sentinels}`, detail.confirmed < detail.majority ? "bad" : "")));
}

function header(detail) {
  const [kind, word] = STATUS[detail.status];
  const paused = pausedText(detail);
  const mayAct = state.token !== null;
  return h("header", { class: "head", "data-key": "head" },
    h("a", { class: "back", href: "#", "data-key": "back" }, "All masters"),
    h("div", { class: "title" }, h("h2", { id: "name" }, detail.name), h("span", { id: "status", class: `chip ${kind}` }, word),
      paused ? h("span", { id: "paused", class: "chip warn", title: "By this sentinel; `sentinel status` asks all of them" }, paused) : null),
    h("p", { class: "where" }, h("span", { id: "address", class: "mono" }, detail.address),
      h("span", { class: "muted" }, "configuration epoch ", h("span", { id: "epoch" }, String(detail.config_epoch)))),
    h("div", { class: "buttons", "data-key": "buttons" },
      mayAct ? h("button", { type: "button", "data-key": "failover", "data-act": "failover" }, "Fail over …") : null,
      mayAct && !detail.paused ? h("button", { type: "button", "data-key": "pause", "data-act": "pause" }, "Pause …") : null,
      mayAct && detail.paused ? h("button", { type: "button", "data-key": "resume", "data-act": "resume" }, "Resume …") : null),
    detail.problems.length ? h("ul", { class: "problems", "data-key": "problems" }, detail.problems.map((text) => h("li", {}, text))) : null);
}

function replayBar(failover) {
  const { replay } = state;
  if (!replay || !failover) return null;
  const scene = scenes(failover)[replay.at];
  return h("div", { class: "replaying", "data-key": "replaying" },
    h("span", {}, h("strong", {}, "Replay: "), scene.name === "end" ? `${failover.outcome}, ${duration(scene.begin)} in all` : `${scene.name}, ${duration(scene.ms)}`,
      scene.name === "end" ? "" : h("span", { class: "muted" }, `: ${PHASES[scene.name] ?? ""}`)),
    h("button", { type: "button", class: "quiet", "data-replay": "stop", "data-key": "stop" }, "Back to live"));
}

function legend() {
  const line = (kind) => s("svg", { class: `edge ${kind}`, width: 26, height: 8, "aria-hidden": "true" }, s("path", { d: "M0,4 H26" }));
  return h("ul", { class: "legend", "data-key": "legend", "aria-label": "Links" },
    h("li", {}, line("ok"), "works"), h("li", {}, line("warn"), "attention"), h("li", {}, line("bad"), "broken or found down"), h("li", {}, line("idle"), "nothing known"));
}

function inspector(detail) {
  const { node } = state;
  const instance = detail.instances.find((it) => it.address === node);
  const peer = detail.peers.find((it) => it.id === node);
  const isSelf = state.sentinel.id === node;
  if (!instance && !peer && !isSelf) return null;
  const facts = instance ? [
    fact("Address", instance.address), fact("Role", instance.role), fact("Says", instance.reported_role), fact("Flags", instance.flags),
    fact("Offset", instance.offset?.toLocaleString() ?? "unknown"), fact("Last INFO", instance.info_age_ms === undefined ? "never" : `${duration(instance.info_age_ms)} ago`),
    fact("Run id", instance.run_id?.slice(0, 12) ?? "unknown"),
    instance.replica ? [fact("Follows", instance.replica.follows ?? "nobody"), fact("Behind", instance.replica.lag === undefined ? "unknown" : size(instance.replica.lag)),
      fact("Priority", String(instance.replica.priority))] : null,
  ] : peer ? [
    fact("Address", peer.address), fact("Id", peer.id.slice(0, 12)), fact("Last heard of", `${duration(peer.hello_age_ms)} ago`),
    fact("Confirmed the address", peer.confirmed_age_ms === undefined ? "no" : `${duration(peer.confirmed_age_ms)} ago`),
    fact("Says", peer.says_down ? "the master is down" : "the master is up"),
    fact("Last vote", peer.voted_for ? `${peer.voted_for.slice(0, 12)} in epoch ${peer.voted_epoch}` : "none"),
  ] : [fact("Id", state.sentinel.id), fact("Version", state.sentinel.version), fact("Newest epoch", String(state.sentinel.current_epoch)), fact("Loop ran", `${duration(state.sentinel.loop_age_ms)} ago`)];
  return h("dl", { class: "facts inspector", id: "inspector", "data-key": "inspector" }, facts);
}

function past(failover, all) {
  const { replay } = state;
  const list = scenes(failover);
  const at = replay?.id === failover.id ? replay.at : null;
  const current = at === null ? null : list[at];
  // Steps count from the SDOWN, which the first phase of a record ends with.
  const before = list[0].name === "detect" ? list[0].ms : 0;
  const until = current === null || current.name === "end" ? Infinity : current.begin + current.ms - before;
  const total = list.at(-1).begin;
  const kind = failover.outcome === "done" ? "ok" : failover.outcome === "running" ? "info" : "warn";
  const votes = failover.votes;
  return h("section", { class: "panel", "data-key": "failovers", "aria-labelledby": "failovers-title" },
    h("div", { class: "row" }, h("h3", { id: "failovers-title" }, "Failovers"),
      h("label", { class: "pick" }, h("span", { class: "hidden" }, "Which failover"),
        h("select", { id: "which" }, all.map((one) => option(one, failover))))),
    h("p", { class: "summary" }, chip(kind, failover.outcome), " ",
      h("span", { class: "mono" }, failover.from ?? "?"), failover.to ? [" → ", h("span", { class: "mono" }, failover.to)] : null,
      h("span", { class: "muted" }, `, ${duration(total)}${failover.reason ? `, ${failover.reason}` : ""}`)),
    failover.summary ? h("p", { class: "muted" }, failover.summary) : null,
    h("div", { class: "replay", role: "group", "aria-label": "Replay" },
      h("button", { type: "button", class: "primary", "data-replay": "play", "data-key": "play" }, replay?.playing ? "Stop" : "Replay"),
      h("div", { class: "phases", id: "phases" }, list.map((scene, index) => {
        const button = h("button", { type: "button", class: "phase", "data-key": `p${index}`, "data-phase": index, "data-name": scene.name, tabindex: "-1",
          "aria-pressed": String(index === at), title: PHASES[scene.name] ?? null },
        h("span", { class: "phase-name" }, scene.name === "end" ? "end" : scene.name), h("span", { class: "n" }, scene.name === "end" ? duration(total) : duration(scene.ms)));
        button.setAttribute("data-grow", String(scene.name === "end" ? 0 : scene.ms));
        return button;
      }))),
    h("ol", { class: "steps" }, failover.steps.map((step, index) => h("li", { "data-key": `s${index}`, class: step.after_ms <= until ? step.tone : "later" },
      h("span", { class: "mono muted" }, `+${duration(step.after_ms)}`), h("span", {}, step.text))), more(failover.leftOut?.steps, "steps in between")),
    votes ? h("details", { "data-key": "votes" }, h("summary", {}, `Votes: ${votes.for_us} of ${votes.known} for the leader, ${votes.needed} needed`),
      h("ul", { class: "plain" }, votes.voices.map((voice) => h("li", {}, h("span", { class: "mono" }, voice.addr || voice.sentinel.slice(0, 12)),
        ` ${voice.presence}${voice.says_down ? ", says down" : ""}${voice.vote ? `, voted for ${voice.vote.slice(0, 12)}` : ""}`)), more(failover.leftOut?.voices, "sentinels"))) : null,
    failover.candidates?.length ? h("details", { "data-key": "candidates" }, h("summary", {}, `Candidates: ${failover.candidates.length}`),
      h("ul", { class: "plain" }, failover.candidates.map((one) => h("li", {}, h("span", { class: "mono" }, one.addr), ` ${one.why ?? ""}`)), more(failover.leftOut?.candidates, "replicas"))) : null);
}

/** What a record has no room for. */
const more = (n, what) => (n ? h("li", { class: "muted rest", "data-key": "rest" }, `${n} more ${what} are left out`) : null);

/** Everything that this sentinel decided, and why it did not act. */
function decisions() {
  const { records } = state;
  if (!records.length) return null;
  const kind = { done: "ok", running: "info", aborted: "warn", declined: "idle" };
  return h("section", { class: "panel", "data-key": "decisions", "aria-labelledby": "decisions-title" },
    h("h3", { id: "decisions-title" }, "Decisions"),
    h("ol", { class: "decisions" }, records.slice(0, DECISIONS_SHOWN).map((record) => h("li", { "data-key": `d${record.id}` },
      h("time", { class: "n muted", datetime: new Date(record.last_at).toISOString() }, when(record.last_at)),
      chip(kind[record.outcome] ?? "idle", record.outcome),
      h("span", {}, record.summary, record.count > 1 ? h("span", { class: "muted" }, ` (${record.count} times)`) : null)))));
}

function option(one, chosen) {
  const element = h("option", { value: one.id, "data-key": one.id }, `${when(one.at)}, ${one.outcome}`);
  if (one.id === chosen.id) element.setAttribute("data-chosen", "");
  return element;
}

const table = (key, title, head, rows) => h("section", { class: "panel", "data-key": key, "aria-labelledby": `${key}-title` },
  h("h3", { id: `${key}-title` }, title),
  h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows))));

const cells = (key, columns, heads) => h("tr", { "data-key": key }, columns.map((column, index) => h("td", { "data-head": heads[index] }, column)));

function servers(detail) {
  const heads = ["Address", "Role", "State", "Follows", "Behind", "Offset"];
  return table("servers", "Data servers", heads, detail.instances.map((it) => cells(it.address, [
    h("span", { class: "mono" }, it.address), it.role,
    it.sdown_ms !== undefined ? chip("bad", `down ${duration(it.sdown_ms)}`) : !it.link_up ? chip("warn", "not connected")
      : it.role !== it.reported_role ? chip("warn", `says ${it.reported_role}`) : it.replica?.syncing ? chip("warn", "full sync") : chip("ok", "up"),
    h("span", { class: "mono" }, it.replica?.follows ?? "–"), it.replica?.lag === undefined ? "–" : size(it.replica.lag), it.offset?.toLocaleString() ?? "–",
  ], heads)));
}

function sentinels(detail) {
  const heads = ["Address", "Id", "State", "Says", "Confirmed", "Last vote"];
  const own = detail.instances.find((it) => it.role === "master");
  return table("sentinels", "Sentinels", heads, [
    cells("self", ["this sentinel", h("span", { class: "mono" }, state.sentinel.id.slice(0, 12)), chip("ok", "up"), own?.sdown_ms === undefined ? "up" : "down", "now", "–"], heads),
    ...detail.peers.map((peer) => cells(peer.id, [
      h("span", { class: "mono" }, peer.address), h("span", { class: "mono" }, peer.id.slice(0, 12)),
      peer.ghost ? chip("idle", "long gone") : peer.sdown_ms !== undefined ? chip("bad", `down ${duration(peer.sdown_ms)}`) : !peer.link_up ? chip("warn", "not connected") : chip("ok", "up"),
      peer.says_down ? "down" : "up", peer.confirmed_age_ms === undefined ? "no" : `${duration(peer.confirmed_age_ms)} ago`,
      peer.voted_for ? `${peer.voted_for.slice(0, 12)} (${peer.voted_epoch})` : "–",
    ], heads)),
  ]);
}

function settings(detail) {
  const it = detail.settings;
  return h("details", { class: "panel", "data-key": "settings" }, h("summary", {}, h("h3", {}, "Settings")),
    h("dl", { class: "facts" }, fact("Down after", duration(it.down_after_ms)), fact("Failover timeout", duration(it.failover_timeout_ms)),
      fact("Parallel syncs", String(it.parallel_syncs)), fact("Refused after", it.refused_after_ms ? duration(it.refused_after_ms) : "off"),
      fact("Reboot grace", it.reboot_down_after_ms ? duration(it.reboot_down_after_ms) : "none"), fact("Password", it.has_auth_pass ? "set" : "none")));
}

function renderDetail() {
  const { detail, sentinel } = state;
  const box = byId("detail");
  if (!sentinel) return;
  if (!detail) {
    show(box, [h("p", { class: "muted" }, state.missing ? `This sentinel does not monitor ${state.selected}.` : "This sentinel monitors nothing yet."), h("p", {}, h("a", { href: "#" }, "All masters"))]);
    return;
  }
  const all = failovers();
  const failover = currentFailover(all);
  if (state.replay && state.replay.id !== failover?.id) state.replay = null;
  show(box, [
    header(detail),
    h("section", { class: "panel picture", "data-key": "picture", "aria-labelledby": "picture-title" },
      h("div", { class: "row" }, h("h3", { id: "picture-title" }, "Topology"), legend()),
      replayBar(failover),
      h("div", { class: "canvas", "data-key": "canvas", "data-drawn": "" }),
      inspector(detail)),
    quorum(detail),
    failover ? past(failover, all) : null,
    decisions(),
    servers(detail), sentinels(detail), settings(detail),
  ]);
  drawPicture(failover);
  const which = byId("which");
  if (which) which.value = failover.id;
  const phases = byId("phases");
  if (phases) {
    settle(phases, ".phase");
    for (const phase of phases.children) phase.style.flexGrow = String(Math.sqrt(Number(phase.dataset.grow)) + 1);
  }
}

const picture = s("svg", { id: "topology", role: "group", "aria-label": "Picture of the group" });
const leftOut = h("p", { class: "muted" });

function drawPicture(failover) {
  const canvas = byId("detail").querySelector(".canvas");
  if (!canvas) return;
  if (picture.parentNode !== canvas) canvas.append(picture, leftOut);
  const width = Math.max(Math.floor(canvas.clientWidth), 240);
  const { replay, detail, sentinel } = state;
  const scene = replay ? pastScene(failover, scenes(failover)[replay.at].name, detail, sentinel) : liveScene(detail, sentinel);
  const left = draw(picture, scene, width, state.node);
  leftOut.textContent = left ? `${left} more are in the tables.` : "";
  picture.setAttribute("data-scene", replay ? "past" : "live");
  settle(picture, ".node", ".node.master");
}

function renderEvents() {
  const events = (state.only ? state.events.filter((event) => event.master === state.selected) : state.events).slice(0, EVENTS_SHOWN);
  show(byId("timeline"), events.length ? events.map((event) => h("li", { "data-key": event.id, class: tone(event.event), title: event.payload },
    h("time", { datetime: new Date(event.at_ms).toISOString(), class: "n" }, when(event.at_ms)),
    h("div", {}, h("p", { class: "sentence" }, sentence(event)),
      h("p", { class: "muted" }, event.master && state.sentinel?.masters.total > 1 ? [h("span", { class: "of" }, event.master), " "] : null, h("code", {}, event.event))))) : [h("li", { class: "muted none" }, "Nothing has happened yet.")]);
  if (state.detail && failovers().length && !byId("which")) renderDetail();
}

// ---------------------------------------------------------------- input

function applyTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  byId("theme").textContent = `Theme: ${name}`;
}

function stored() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

let theme = THEMES.includes(stored()) ? stored() : "auto";
applyTheme(theme);

byId("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  try { localStorage.setItem("theme", theme); } catch { /* it holds for this visit */ }
  applyTheme(theme);
});

document.querySelector(".skip").addEventListener("click", (event) => {
  // The fragment of the address is the name of a master.
  event.preventDefault();
  byId("detail").focus();
});
byId("unlock").addEventListener("click", askToken);
byId("dialog").addEventListener("click", (event) => {
  if (event.target.closest("[data-close]")) close();
});
byId("find").addEventListener("submit", (event) => event.preventDefault());
byId("search").addEventListener("input", (event) => {
  state.search = event.target.value.trim();
  state.page = 1;
  soon(AFTER_EVENT_MS);
});
byId("filters").addEventListener("click", (event) => {
  const button = event.target.closest("[data-filter]");
  if (!button) return;
  state.filter = button.dataset.filter;
  state.page = 1;
  refresh();
});
byId("pager").addEventListener("click", (event) => {
  const button = event.target.closest("[data-page]");
  if (!button) return;
  state.page = Number(button.dataset.page);
  refresh();
});
byId("only").addEventListener("change", (event) => {
  state.only = event.target.checked;
  renderEvents();
});
byId("detail").addEventListener("click", (event) => {
  const act = event.target.closest("[data-act]");
  const replay = event.target.closest("[data-replay]");
  const phase = event.target.closest("[data-phase]");
  const node = event.target.closest("[data-node]");
  if (act) confirmAction(act.dataset.act);
  else if (replay) (replay.dataset.replay === "play" ? play : stopReplay)();
  else if (phase) {
    clearTimeout(player);
    if (state.replay) state.replay.playing = false;
    goTo(Number(phase.dataset.phase));
  } else if (node) inspect(node.dataset.node);
});
byId("detail").addEventListener("change", (event) => {
  if (event.target.id !== "which") return;
  state.failover = event.target.value;
  stopReplay();
});
document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || byId("dialog").open;
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId("search").focus();
  }
  if (event.key === "Escape" && state.replay && !byId("dialog").open) stopReplay();
});

function inspect(key) {
  state.node = state.node === key ? null : key;
  renderDetail();
}

roving(byId("masters"), ".entry");
roving(picture, ".node", { onEnter: (node) => inspect(node.dataset.node) });
roving(byId("detail"), ".phase");
new ResizeObserver(() => requestAnimationFrame(() => state.detail && drawPicture(currentFailover()))).observe(byId("detail"));

function readHash() {
  let name = null;
  try { name = decodeURIComponent(location.hash.slice(1)) || null; } catch { /* none of ours */ }
  if (name !== null && name !== state.selected) {
    Object.assign(state, { selected: name, detail: null, records: [], node: null, replay: null, failover: null });
  } else if (name === null && state.missing) {
    // The way back from a master that is not there; with one master it leads to that.
    Object.assign(state, { selected: null, missing: false, detail: null, records: [], node: null, replay: null, failover: null });
  }
  byId("columns").classList.toggle("opened", location.hash.length > 1);
  refresh();
}

window.addEventListener("hashchange", readHash);
// A browser has few connections to one server: a tab that nobody looks at keeps none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    // Nor does it open a new one by itself.
    clearTimeout(coming);
    source?.close();
  } else {
    follow();
    refresh();
  }
});
if (!document.hidden) follow();
readHash();
