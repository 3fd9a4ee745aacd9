// The requests that wait longest, and why.

import { Table } from "./table.js";
import { counted, number, took } from "./words.js";

const table = new Table(
  "requests",
  [
    { name: "Request", cell: id },
    { name: "Waits", cell: (r) => ({ age: r.created_at }), cls: "number" },
    {
      name: "Prio",
      cell: (r) => String(r.priority),
      cls: "number",
      title: "Lower is served first",
    },
    { name: "Labels", cell: (r) => counted(r.labels), cls: "label" },
    { name: "For", cell: requestor, cls: "label" },
    { name: "Why", cell: why, cls: "wide" },
  ],
  (request) => request.id,
);

export function showRequests(status) {
  const { waiting, oldest } = status.requests;
  table.update(oldest.map((r, place) => ({ ...r, asAbove: sameReasons(r, oldest[place - 1]) })));
  document.getElementById("requests-count").textContent = number(waiting);
  const more = document.getElementById("requests-more");
  more.hidden = waiting <= oldest.length;
  more.textContent = `and ${number(waiting - oldest.length)} more, which came later`;
}

/** Whether the same providers decline it for the same reasons as the one before: often all do. */
function sameReasons(r, before) {
  const said = (one) => JSON.stringify(one.declined.map((d) => [d.provider, d.reason]));
  return Boolean(before && r.state === before.state && r.declined.length && said(r) === said(before));
}

function id(r) {
  return { tag: "code", text: r.id.slice(0, 8), title: r.id };
}

function requestor(r) {
  return [r.requestor, r.tenant && { tag: "small", cls: "muted", text: r.tenant }];
}

function why(r) {
  const estimate = r.estimate_s !== null && {
    tag: "small",
    cls: "muted",
    text: `likely ready in ${took(r.estimate_s)}`,
  };
  if (r.state === "pending") {
    return [{ cls: "chip state-building", text: `at ${r.placed_at}` }, " ", r.words, estimate];
  }
  const ahead = r.ahead > 0 && {
    cls: "chip",
    text: `${number(r.ahead)} like it ahead`,
  };
  if (r.declined.length === 0) {
    return [ahead, " ", r.words, estimate];
  }
  const reasons = r.declined.map((d) => ({
    cls: "declined",
    kids: [{ tag: "b", text: d.provider }, " ", d.reason],
  }));
  const said = r.asAbove ? [{ cls: "muted", text: "reasons as above" }] : reasons;
  return [ahead, " ", ...said, estimate];
}
