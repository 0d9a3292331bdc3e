// What events mean: a sentence for each, and failovers put together from several.

/** Splits `<type> <name> <host> <port> [@ <master> <host> <port>] …`, the payload of events about instances. */
function instance(payload) {
  const words = payload.split(" ");
  if (!["master", "slave", "sentinel"].includes(words[0]) || words.length < 4) return null;
  const at = (host, port) => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`);
  const rest = words[4] === "@" ? words.slice(8) : words.slice(4);
  return { kind: words[0] === "slave" ? "replica" : words[0], address: at(words[2], words[3]), rest: rest.join(" ") };
}

/** Old and new address in the payload of `+switch-master`. */
export function switched(payload) {
  const words = payload.split(" ");
  if (words.length < 5) return null;
  const at = (host, port) => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`);
  return { from: at(words[1], words[2]), to: at(words[3], words[4]) };
}

const ABOUT = {
  "+sdown": (it) => `${it} does not answer`,
  "-sdown": (it) => `${it} answers again`,
  "+odown": (it) => `The quorum finds ${it} down`,
  "-odown": (it) => `The quorum no longer finds ${it} down`,
  "+try-failover": (it) => `Tries a failover of ${it}`,
  "+elected-leader": () => "Was elected to lead the failover",
  "+failover-state-select-slave": () => "Chooses a replica",
  "+selected-slave": (it) => `Chose ${it}`,
  "+failover-state-send-slaveof-noone": (it) => `Tells ${it} to become master`,
  "+failover-state-wait-promotion": (it) => `Waits for ${it} to say that it is master`,
  "+promoted-slave": (it) => `${it} is master`,
  "+failover-state-reconf-slaves": () => "Points the other replicas at the new master",
  "+slave-reconf-sent": (it) => `Told ${it} to follow the new master`,
  "+slave-reconf-inprog": (it) => `${it} fetches from the new master`,
  "+slave-reconf-done": (it) => `${it} follows the new master`,
  "+failover-end": () => "The failover is complete",
  "+failover-end-for-timeout": () => "The failover ended; some replicas did not follow in time",
  "-failover-abort-not-elected": () => "Failover called off: not elected",
  "-failover-abort-no-good-slave": () => "Failover called off: no replica can be promoted",
  "-failover-abort-slave-timeout": () => "Failover called off: the replica did not become master in time",
  "-failover-abort-master-is-back": () => "Failover called off: the master is back",
  "-failover-abort-paused": () => "Failover called off: paused",
  "+convert-to-slave": (it) => `Tells ${it} to be a replica`,
  "+fix-slave-config": (it) => `Tells ${it} to follow the master`,
  "+slave": (it) => `Discovered ${it}`,
  "+sentinel": (it) => `Discovered ${it}`,
  "+reboot": (it) => `${it} was restarted`,
  "+role-change": (it) => `${it} changed its role`,
  "-role-change": (it) => `${it} has another role than it should`,
  "+instance-closed": (it) => `${it} closed its connections`,
  "+auth-refused": (it) => `${it} refuses our credentials`,
  "-auth-refused": (it) => `${it} accepts our credentials again`,
  "+monitor": (it) => `Monitors ${it}`,
  "-monitor": (it) => `No longer monitors ${it}`,
  "+config-update-from": (it) => `Takes the new address over from ${it}`,
  "+ghost-sentinels": () => "Sentinels that are long gone still raise the majority",
  "+pause": () => "Automatic failovers are paused",
  "+forget": (it) => `Has forgotten ${it}`,
  "+would-failover": (it) => `Would fail over ${it}`,
  "+would-reconf": (it) => `Would correct ${it}`,
  "-pause": () => "Automatic failovers are possible again",
};

/** An event as a sentence. */
export function sentence(event) {
  const { event: channel, payload } = event;
  if (channel === "+switch-master") {
    const { from, to } = switched(payload) ?? {};
    return from ? `The master is now ${to}; it was ${from}` : payload;
  }
  if (channel === "+new-epoch") return `Epoch ${payload}`;
  if (channel === "+vote-for-leader" || channel === "+would-vote") {
    const [leader, epoch] = payload.split(" ");
    return `${channel === "+would-vote" ? "Would vote" : "Voted"} for ${(leader ?? "").slice(0, 12)} in epoch ${epoch ?? "?"}`;
  }
  if (channel === "+tilt") return "TILT: this sentinel was stalled and does not trust itself";
  if (channel === "-tilt") return "TILT is over";
  if (channel === "+save-failed") return `The state cannot be saved: ${payload}`;
  if (channel === "-save-failed") return "The state can be saved again";
  const it = instance(payload);
  const tell = ABOUT[channel];
  if (!tell) return payload || channel;
  if (!it) return channel.includes("pause") || channel.includes("ghost") ? tell("") : payload;
  const text = tell(`${it.kind} ${it.address}`);
  const rest = it.rest && ["+odown", "+ghost-sentinels", "+would-failover", "+would-reconf"].includes(channel) ? ` (${it.rest.replace("#", "")})` : "";
  return text[0].toUpperCase() + text.slice(1) + rest;
}

/** How an event is coloured. */
export function tone(channel) {
  if (["+sdown", "+odown", "+tilt", "+save-failed", "+auth-refused", "+instance-closed"].includes(channel)) return "bad";
  if (channel.startsWith("-failover-abort") || ["+ghost-sentinels", "+pause", "-role-change", "+failover-end-for-timeout"].includes(channel)) return "warn";
  if (["-sdown", "-odown", "-tilt", "-save-failed", "-auth-refused", "-pause", "+failover-end"].includes(channel)) return "ok";
  if (channel === "+switch-master" || channel.startsWith("+failover") || /promoted|selected|elected|try-|vote/.test(channel)) return "info";
  return "plain";
}

/** What is worth saying aloud. */
export const isLoud = (event) => ["+sdown", "-sdown", "+odown", "-odown", "+switch-master", "+failover-end", "+tilt", "-tilt", "+pause",
  "-pause", "+save-failed"].includes(event.event) || event.event.startsWith("-failover-abort");

/** The parts of a failover in their order, and what each is. */
export const PHASES = {
  detect: "no sign of life until this sentinel finds the master down",
  agree: "until the quorum agrees",
  elect: "until a sentinel is elected to lead",
  select: "until a replica is chosen",
  promote: "until the replica says that it is master",
  reconfigure: "until the other replicas follow",
};

// The phase that ends with an event.
const ENDS = {
  "+odown": "agree",
  "+elected-leader": "elect",
  "+vote-for-leader": "elect",
  "+selected-slave": "select",
  "+promoted-slave": "promote",
  "+switch-master": "promote",
  "+failover-end": "reconfigure",
  "+failover-end-for-timeout": "reconfigure",
};

// More events than any failover has that says something.
const STEPS_MAX = 200;
const KEPT_PER_MASTER = 8;
const MASTERS_MAX = 200;
// A switch that comes later than this is the end of another failover.
const GOES_ON_MS = 30_000;

/** Puts failovers together from events as they come. */
export class Failovers {
  #open = new Map();
  #ended = new Map();

  clear() {
    this.#open.clear();
    this.#ended.clear();
  }

  /** The failovers of a master that have been seen, the newest first. */
  of(master) {
    const open = this.#open.get(master);
    const told = open?.isFailover ? [open] : [];
    return [...told, ...(this.#ended.get(master) ?? [])];
  }

  add(event) {
    const master = event.master ?? (event.event === "+switch-master" ? event.payload.split(" ")[0] : null);
    if (!master) return;
    const channel = event.event;
    const it = instance(event.payload);
    const isMasterDown = (channel === "+sdown" && it?.kind === "master") || channel === "+try-failover";
    if (channel === "+switch-master") this.#goOn(master, event.at_ms);
    let open = this.#open.get(master);
    if (!open && (isMasterDown || channel === "+switch-master")) {
      if (this.#open.size >= MASTERS_MAX) this.#open.delete(this.#open.keys().next().value);
      open = { id: `e${event.number}`, master, at: event.at_ms, steps: [], phases: [], outcome: "running", from: null, to: null, chosen: null, isFailover: false };
      this.#open.set(master, open);
    }
    if (!open) return;
    // A replica that is down is another story.
    if (/^[+-](sdown|slave|sentinel|reboot|role-change)$/.test(channel) && it?.kind !== "master" && channel !== "+slave") return;
    if (channel === "+slave" || channel === "+sentinel") return;
    const after = Math.max(event.at_ms - open.at, 0);
    if (open.steps.length < STEPS_MAX) open.steps.push({ after_ms: after, text: sentence(event), channel, tone: tone(channel) });
    if (isMasterDown && !open.from && it) open.from = it.address;
    if (["+try-failover", "+vote-for-leader", "+switch-master", "+elected-leader"].includes(channel)) open.isFailover = true;
    if (channel === "+selected-slave" && it) open.chosen = it.address;
    const ends = ENDS[channel];
    // A leader votes for itself before it is elected; who only follows hears of no more than its own vote.
    if (channel === "+elected-leader" && open.phases.at(-1)?.channel === "+vote-for-leader") open.phases.pop();
    const isOver = open.phases.some((phase) => phase.phase === ends);
    if (ends && !isOver) {
      const begun = open.phases.reduce((sum, phase) => sum + phase.ms, 0);
      open.phases.push({ phase: ends, ms: Math.max(after - begun, 0), channel });
    }
    if (channel === "+switch-master") {
      Object.assign(open, switched(event.payload));
      // Who only follows hears nothing of the rest.
      if (!open.steps.some((step) => step.channel === "+elected-leader")) this.#end(open, "done");
    }
    if (channel.startsWith("+failover-end")) this.#end(open, "done");
    if (channel.startsWith("-failover-abort")) this.#end(open, "aborted");
    if (channel === "-sdown" && !open.isFailover) this.#open.delete(master);
    // Who voted for another is not told that it gave up.
    else if (channel === "-sdown" && !open.to) this.#end(open, "aborted");
  }

  /** Who was not elected, and then hears of the new master, has seen one failover and not two. */
  #goOn(master, at) {
    const [last, ...ended] = this.#ended.get(master) ?? [];
    if (this.#open.has(master) || last?.outcome !== "aborted" || at - last.at > GOES_ON_MS) return;
    last.outcome = "running";
    this.#open.set(master, last);
    this.#ended.set(master, ended);
  }

  #end(failover, outcome) {
    failover.outcome = outcome;
    this.#open.delete(failover.master);
    const ended = this.#ended.get(failover.master) ?? [];
    this.#ended.delete(failover.master);
    if (this.#ended.size >= MASTERS_MAX) this.#ended.delete(this.#ended.keys().next().value);
    this.#ended.set(failover.master, [failover, ...ended].slice(0, KEPT_PER_MASTER));
  }
}

/** A failover out of the sentinel's own record, which knows more: votes, candidates, the first phase. */
export function fromRecord(record) {
  const chosen = record.candidates.find((candidate) => candidate.verdict === "chosen");
  return {
    id: `r${record.id}`,
    master: record.master,
    at: record.at,
    steps: record.steps.list.map((step) => ({ after_ms: step.after_ms, text: step.text, tone: "plain" })),
    leftOut: { steps: record.steps.left_out, candidates: record.candidates_left_out, voices: record.votes?.left_out ?? 0 },
    phases: record.phases,
    outcome: record.outcome,
    reason: record.reason,
    summary: record.summary,
    from: record.from,
    to: record.to,
    chosen: chosen?.addr ?? record.to,
    votes: record.votes,
    candidates: record.candidates,
  };
}
