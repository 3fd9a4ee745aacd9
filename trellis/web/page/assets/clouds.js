// The table of providers: can each be used, what is on it, and how full it is.

import { Table } from "./table.js";
import { NODE_STATES, clock, number, stateWord } from "./words.js";

const GIB = 1024;

const table = new Table(
  "clouds",
  [
    { name: "Provider", cell: name, cls: "name" },
    { name: "Health", cell: health, cls: "wide" },
    { name: "Nodes", cell: nodes, cls: "states" },
    { name: "Servers", cell: (p) => use(p, "instances") },
    { name: "Cores", cell: (p) => use(p, "cores") },
    { name: "RAM, GiB", cell: (p) => use(p, "ram_mib", GIB) },
    {
      name: "API calls",
      cell: (p) => number(p.api_calls),
      cls: "number",
      title: "Since the start; providers that share an account share its calls",
    },
    { name: "Last error", cell: lastError, cls: "error" },
  ],
  (provider) => provider.name,
);

export function showClouds(status) {
  table.update(status.providers);
}

function name(p) {
  const where = [p.cloud, p.region].filter(Boolean).join(" · ");
  return [
    { tag: "strong", text: p.name },
    { tag: "small", cls: "muted", text: where },
  ];
}

function health(p) {
  const paused = p.pause !== null;
  const state = p.state === "available" && paused ? "paused" : p.state;
  const word = paused && p.pause.drain ? "draining" : state;
  return [
    { cls: `health health-${state}`, text: word },
    " ",
    { cls: "muted", kids: ["for ", { age: paused ? p.pause.since : p.since }] },
    ...notes(p).map((note) => ({ tag: "small", ...note })),
  ];
}

function notes(p) {
  const found = [];
  if (p.pause !== null) {
    const until = p.pause.until ? `until ${clock(p.pause.until)}` : "until resumed";
    found.push({ text: `by ${p.pause.by}, ${until}: ${p.pause.reason || "no reason given"}` });
  }
  if (p.reason) {
    found.push({ text: p.reason });
  }
  if (p.sweep.startsWith("stopped")) {
    found.push({ cls: "alarm", text: `sweep ${p.sweep}` });
  }
  if (p.leaks) {
    found.push({ text: `${p.leaks} ${p.leaks === 1 ? "leak" : "leaks"}: trellis leak list` });
  }
  for (const [what, why] of Object.entries(p.backoffs)) {
    found.push({ text: `${what}: ${why}` });
  }
  if (p.state === "available") {
    for (const [label, why] of Object.entries(p.missing)) {
      found.push({ cls: "alarm", text: `${label}: ${why}` });
    }
  }
  return found;
}

function nodes(p) {
  const found = NODE_STATES.filter((state) => p.nodes[state]).map((state) => ({
    cls: `chip state-${state}`,
    kids: [{ tag: "b", text: number(p.nodes[state]) }, ` ${stateWord(state)}`],
  }));
  return found.length ? found : { cls: "muted", text: "none" };
}

function use(p, what, unit = 1) {
  const { ours, others, limit, own_limit: own } = p.quota[what];
  const of = typeof limit === "number" ? limit : own;
  const used = number(round((ours + others) / unit));
  if (of === null) {
    return [used, { tag: "small", cls: "muted", text: limit === "unlimited" ? "no limit" : "limit unknown" }];
  }
  const said = `${number(round(ours / unit))} ours, ${number(round(others / unit))} others', of ${number(round(of / unit))}`;
  return [
    { cls: "use", kids: [used, { cls: "muted", text: ` / ${number(round(of / unit))}` }], title: said },
    { cls: "bar", bar: { ours, others, of }, attributes: { role: "img", "aria-label": said } },
  ];
}

function round(value) {
  return Math.round(value);
}

function lastError(p) {
  if (p.last_error === null) {
    return { cls: "muted", text: "–" };
  }
  const { node_id: node, at, reason } = p.last_error;
  return [
    { cls: "reason", text: reason },
    { tag: "small", cls: "muted", kids: [`node ${short(node)}, `, { age: at }, " ago"] },
  ];
}

function short(node) {
  return node.replace(/^0+(?=\d)/, "");
}
