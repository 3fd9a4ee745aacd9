// Nodes: how many of each label are in each state, and those that take longest.

import { Table } from "./table.js";
import { NODE_STATES, number, stateWord } from "./words.js";

const labels = new Table(
  "labels",
  [
    { name: "Label", cell: label },
    ...NODE_STATES.map((state) => ({
      name: stateWord(state),
      cls: `number state-${state}`,
      cell: (row) => count(row, state),
    })),
    { name: "all", cls: "number", cell: (row) => number(total(row.nodes)) },
  ],
  (row) => row.key,
);

const slow = new Table(
  "nodes",
  [
    { name: "Node", cell: (n) => ({ tag: "code", text: n.id.replace(/^0+(?=\d)/, ""), title: n.id }) },
    { name: "State", cell: state, cls: "tight" },
    { name: "For", cell: (n) => ({ age: n.state_at }), cls: "number" },
    { name: "Label", cell: (n) => [n.label, { tag: "small", cls: "muted", text: n.provider }], cls: "label" },
    { name: "Why", cell: (n) => n.words, cls: "wide" },
  ],
  (node) => node.id,
);

export function showLabels(status) {
  const rows = status.labels.map((row) => ({ ...row, key: `label ${row.name}` }));
  const others = unlabelled(status);
  if (total(others)) {
    rows.push({ key: "others", name: "no longer configured", nodes: others, min_ready: 0 });
  }
  if (rows.length > 1) {
    rows.push({ key: "all", name: "all", nodes: status.nodes.by_state, min_ready: 0, sum: true });
  }
  labels.update(rows);
  document.getElementById("nodes-count").textContent = number(status.nodes.total);
}

export function showNodes(status) {
  const { moving, notable } = status.nodes;
  slow.update(notable);
  document.getElementById("slow-count").textContent = number(moving);
  const more = document.getElementById("nodes-more");
  more.hidden = moving <= notable.length;
  more.textContent = `and ${number(moving - notable.length)} more, for less time`;
}

function total(nodes) {
  return Object.values(nodes).reduce((sum, n) => sum + n, 0);
}

/** Nodes of labels that are not in the configuration any more. */
function unlabelled(status) {
  const rest = { ...status.nodes.by_state };
  for (const { nodes } of status.labels) {
    for (const [state, n] of Object.entries(nodes)) {
      rest[state] = (rest[state] ?? 0) - n;
    }
  }
  return rest;
}

function label(row) {
  const none = row.offered_by?.length === 0;
  return [
    row.sum ? { tag: "em", text: row.name } : row.name,
    none && { tag: "small", cls: "alarm", text: "no provider offers it now" },
    row.host_key_checking === false && { tag: "small", cls: "alarm", text: "host keys NOT checked" },
  ];
}

function count(row, state) {
  const n = row.nodes[state] ?? 0;
  const wanted = state === "ready" && row.min_ready > 0;
  if (!n && !wanted) {
    return { cls: "nought", text: "·" };
  }
  return [
    number(n),
    wanted && { cls: "muted", text: ` /${number(row.min_ready)}`, title: `min-ready ${row.min_ready}` },
  ];
}

function state(node) {
  return [
    { cls: `chip state-${node.state}`, text: stateWord(node.state) },
    node.lost && [" ", { cls: "chip state-failed", text: "lost" }],
  ];
}
