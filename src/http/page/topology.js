// The group as a picture: what there is (a scene), where it goes (a layout), and the drawing of both.

import { s, show, duration, size } from "./dom.js";

/** How many of a kind are drawn; the tables have all. */
const SHOWN_MAX = 12;
/** Below this width everything stands in one column. */
const WIDE = 740;
/** A confirmation that is older is none: what the sentinel itself takes. */
const CONFIRMED_MS = 5000;

const SEVERITY = ["ok", "info", "idle", "warn", "bad"];

function sentinelScene(detail, sentinel) {
  const master = detail.instances.find((it) => it.role === "master");
  const own = master?.sdown_ms !== undefined ? { state: "bad", label: "finds it down" }
    : sentinel.tilt_ms !== undefined ? { state: "warn", label: "in TILT" }
    : master?.link_up ? { state: "ok", label: "" } : { state: "warn", label: "no connection" };
  const nodes = [{ key: sentinel.id, kind: "sentinel", title: "this sentinel", address: sentinel.id.slice(0, 12), word: sentinel.tilt_ms !== undefined ? "TILT" : "", state: "ok", edge: own }];
  for (const peer of detail.peers) {
    const isGone = peer.ghost || peer.sdown_ms !== undefined || !peer.link_up;
    const edge = isGone ? { state: "idle", label: "" }
      : peer.says_down ? { state: "bad", label: "says down" }
      : peer.confirmed_age_ms !== undefined && peer.confirmed_age_ms <= CONFIRMED_MS ? { state: "ok", label: "" }
      : { state: "warn", label: "not confirmed" };
    nodes.push({
      key: peer.id, kind: "sentinel", title: "sentinel", address: peer.address,
      word: peer.ghost ? "long gone" : peer.sdown_ms !== undefined ? "down" : !peer.link_up ? "not connected" : "",
      state: peer.ghost ? "idle" : isGone ? "bad" : "ok", edge,
    });
  }
  return nodes;
}

function instanceNode(instance, chosen) {
  const isDown = instance.sdown_ms !== undefined;
  const node = { key: instance.address, kind: instance.role, title: instance.role, address: instance.address, state: "ok", word: "", edge: null };
  if (isDown) Object.assign(node, { state: "bad", word: `down ${duration(instance.sdown_ms)}` });
  else if (!instance.link_up) Object.assign(node, { state: "warn", word: "not connected" });
  else if (instance.role !== instance.reported_role) Object.assign(node, { state: "warn", word: `says ${instance.reported_role}` });
  if (instance.address === chosen) Object.assign(node, { state: "info", word: "chosen" });
  const replica = instance.replica;
  if (instance.role === "replica") {
    node.edge = isDown || !replica ? { state: "idle", label: isDown ? "no replication" : "unknown" }
      : !replica.follows_master ? { state: "bad", label: replica.follows ? `follows ${replica.follows}` : "follows nobody" }
      : replica.syncing ? { state: "warn", label: "full sync" }
      : !replica.link_up ? { state: "bad", label: "link down" }
      : { state: "ok", label: replica.lag === undefined ? "lag unknown" : `${size(replica.lag)} behind` };
    if (replica?.priority === 0 && !node.word) node.word = "never promoted";
  }
  return node;
}

/** What there is now. */
export function liveScene(detail, sentinel) {
  const chosen = detail.failover?.chosen;
  const nodes = detail.instances.map((instance) => instanceNode(instance, chosen));
  return {
    sentinels: sentinelScene(detail, sentinel),
    master: nodes.find((node) => node.kind === "master"),
    replicas: nodes.filter((node) => node.kind === "replica"),
  };
}

/** What there was in a phase of a failover, as far as its story tells. */
export function pastScene(failover, phase, detail, sentinel) {
  const { from, to, chosen } = failover;
  const order = ["detect", "agree", "elect", "select", "promote", "reconfigure"];
  const at = order.indexOf(phase);
  const isOver = phase === "end";
  const isSwitched = Boolean(to) && (isOver || at >= 5);
  const isAborted = isOver && failover.outcome === "aborted";
  const master = isSwitched ? to : from ?? detail.address;
  const pick = to ?? chosen;
  const addresses = new Set(detail.instances.map((it) => it.address));
  for (const address of [from, to]) if (address) addresses.add(address);
  addresses.delete(master);
  const node = (address, kind) => ({ key: address, kind, title: kind, address, state: "ok", word: "", edge: null });
  const top = node(master, "master");
  if (!isSwitched && !isAborted) {
    // A failover on order is no failure of the master.
    const isOrdered = failover.decision === "manual-failover";
    Object.assign(top, isOrdered ? {} : { state: "bad", word: "no answer" });
  }
  const replicas = [...addresses].map((address) => {
    const it = node(address, "replica");
    it.edge = { state: isSwitched || isAborted ? "ok" : "idle", label: "" };
    if (address === from && isSwitched) Object.assign(it, { state: "idle", word: "was master", edge: { state: "idle", label: "to follow when back" } });
    else if (isSwitched && !isOver) it.edge = { state: "warn", label: "is pointed here" };
    else if (address === pick && at >= 3) Object.assign(it, { state: "info", word: at === 3 ? "chosen" : "becomes master" });
    return it;
  });
  const label = { detect: "hears nothing", agree: "says down", elect: "votes", select: "", promote: "", reconfigure: "", end: "" }[phase] ?? "";
  const state = isOver || at >= 5 ? "ok" : at <= 1 ? "bad" : at === 2 ? "info" : "idle";
  const names = [{ key: sentinel.id, title: "this sentinel", address: sentinel.id.slice(0, 12) },
    ...detail.peers.map((peer) => ({ key: peer.id, title: "sentinel", address: peer.address }))];
  const voices = new Map((failover.votes?.voices ?? []).map((voice) => [voice.sentinel, voice]));
  const sentinels = names.map((name) => {
    const voice = voices.get(name.key);
    const isSilent = voice && voice.presence !== "ourselves" && voice.presence !== "reachable";
    const edge = isSilent ? { state: "idle", label: "" } : { state, label };
    const word = isSilent ? voice.presence : at >= 2 && voice?.vote ? `voted ${voice.vote.slice(0, 6)}` : "";
    return { ...name, kind: "sentinel", state: isSilent ? "idle" : "ok", word, edge };
  });
  return { sentinels, master: top, replicas };
}

const fit = (text, chars) => {
  if (text.length <= chars) return text;
  const tail = Math.floor((chars - 1) / 2);
  return `${text.slice(0, chars - 1 - tail)}…${text.slice(-tail)}`;
};

function column(nodes, x, width, height, gap, total) {
  const all = nodes.length * (height + gap) - gap;
  let y = (total - all) / 2;
  return nodes.map((node) => {
    const place = { node, x, y: Math.round(y), width, height };
    y += height + gap;
    return place;
  });
}

function wide(scene, width) {
  const [small, large] = [{ width: Math.min(190, Math.round(width * 0.23)), height: 44, gap: 16 }, { width: Math.min(210, Math.round(width * 0.27)), height: 52, gap: 22 }];
  const tall = (n, { height, gap }) => n * (height + gap) - gap;
  const total = Math.max(tall(scene.sentinels.length, small), tall(scene.replicas.length, large), large.height + 24) + 12;
  const sentinels = column(scene.sentinels, 1, small.width, small.height, small.gap, total);
  const middle = Math.round(small.width + (width - small.width - large.width) / 2 - large.width / 2);
  const master = scene.master && column([scene.master], middle, large.width, large.height, 0, total)[0];
  const replicas = column(scene.replicas, width - large.width - 1, large.width, large.height, large.gap, total);
  const edges = [];
  if (master) {
    const spread = (i, n) => master.y + master.height / 2 + (i - (n - 1) / 2) * Math.min(8, (master.height - 16) / Math.max(n, 1));
    const curve = (x1, y1, x2, y2) => `M${x1},${y1} C${(x1 + x2) / 2},${y1} ${(x1 + x2) / 2},${y2} ${x2},${y2}`;
    // The word stands at the end where the line is level, on the side from which the line does not come.
    const edge = (place, kind, x1, y1, x2, y2) => {
      const isData = kind === "data";
      const [end, other] = isData ? [y2, y1] : [y1, y2];
      return {
        key: `${kind}:${place.node.key}`, kind, ...place.node.edge, path: curve(x1, y1, x2, y2), chars: Math.floor((x2 - x1 - 16) / 6.4),
        x: isData ? x2 - 9 : x1 + 9, y: end + (end > other ? 16 : -7), anchor: isData ? "end" : "start",
      };
    };
    sentinels.forEach((place, i) => edges.push(edge(place, "watch", place.x + place.width, place.y + place.height / 2, master.x, spread(i, sentinels.length))));
    replicas.forEach((place, i) => edges.push(edge(place, "data", master.x + master.width, spread(i, replicas.length), place.x, place.y + place.height / 2)));
  }
  return { places: [...sentinels, ...(master ? [master] : []), ...replicas], edges, height: total };
}

function narrow(scene, width) {
  const left = 26;
  const places = [];
  const edges = [];
  let y = 1;
  const put = (node, height, gap) => {
    places.push({ node, x: left, y, width: Math.min(width - left - 1, 460), height });
    y += height + gap;
    return places.at(-1);
  };
  const sentinels = scene.sentinels.map((node) => put(node, 44, 10));
  y += 12;
  const master = scene.master && put(scene.master, 52, 22);
  const replicas = scene.replicas.map((node) => put(node, 66, 12));
  if (master) {
    const rail = (place, kind, x, to) => {
      const [a, b] = [place.y + place.height / 2, to];
      edges.push({ key: `${kind}:${place.node.key}`, kind, ...place.node.edge, path: `M${left},${a} H${x} V${b} H${left}`, inside: place });
    };
    for (const place of sentinels) rail(place, "watch", 14, master.y + master.height / 2 - 7);
    for (const place of replicas) rail(place, "data", 6, master.y + master.height / 2 + 7);
  }
  return { places, edges, height: y };
}

function cut(nodes) {
  const worst = (node) => Math.max(SEVERITY.indexOf(node.state), SEVERITY.indexOf(node.edge?.state ?? "ok"));
  if (nodes.length <= SHOWN_MAX) return nodes;
  // What is amiss is always in the picture.
  const kept = new Set([...nodes].sort((a, b) => worst(b) - worst(a)).slice(0, SHOWN_MAX));
  return nodes.filter((node) => kept.has(node));
}

/** Draws a scene into `svg`, which is `width` wide. Returns how many were left out. */
export function draw(svg, scene, width, selected) {
  const shown = { ...scene, sentinels: cut(scene.sentinels), replicas: cut(scene.replicas) };
  const isWide = width >= WIDE;
  const { places, edges, height } = isWide ? wide(shown, width) : narrow(shown, width);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  edges.sort((a, b) => SEVERITY.indexOf(a.state) - SEVERITY.indexOf(b.state));
  const lines = edges.map((edge) => s("g", { class: `edge ${edge.kind} ${edge.state}`, "data-key": edge.key },
    s("path", { d: edge.path }),
    edge.label && !edge.inside ? s("text", { x: edge.x, y: edge.y, "text-anchor": edge.anchor }, fit(edge.label, edge.chars)) : null));
  const boxes = places.map(({ node, x, y, width: w, height: h }) => {
    const edge = edges.find((one) => one.inside?.node === node);
    const label = edge?.label ?? "";
    const chars = Math.floor((w - 28) / 7.3);
    // What the title leaves.
    const wordChars = Math.max(Math.floor((w - 32 - node.title.length * 6.2) / 6.2), 3);
    const spoken = [node.title, node.address, node.word, node.edge?.label].filter(Boolean).join(", ");
    const isData = node.kind !== "sentinel";
    const top = isData ? 21 : 18;
    return s("g", {
      class: `node ${node.kind} ${node.state}`, "data-key": node.key, "data-x": x, "data-y": y, "data-node": node.key,
      tabindex: "-1", role: "button", "aria-label": spoken, "aria-pressed": String(node.key === selected),
    },
    s("title", {}, spoken),
    s("rect", { class: "box", width: w, height: h, rx: 6 }),
    s("rect", { class: "mark", x: 0, y: 0, width: 4, height: h, rx: 2 }),
    s("text", { class: "role", x: 14, y: top }, node.title),
    s("text", { class: "word", x: w - 12, y: top, "text-anchor": "end" }, fit(node.word, wordChars)),
    s("text", { class: "address", x: 14, y: top + 18 }, fit(node.address, chars)),
    label ? s("text", { class: `inside ${node.edge.state}`, x: 14, y: h - 11 }, fit(label, chars)) : null);
  });
  show(svg, [s("g", { "data-key": "edges" }, lines), s("g", { "data-key": "nodes" }, boxes)]);
  for (const node of svg.querySelectorAll("[data-x]")) {
    node.style.transform = `translate(${node.getAttribute("data-x")}px, ${node.getAttribute("data-y")}px)`;
  }
  return scene.sentinels.length + scene.replicas.length - shown.sentinels.length - shown.replicas.length;
}
