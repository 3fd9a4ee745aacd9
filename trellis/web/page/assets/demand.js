// Demand sources: who asks for nodes beside the REST interface, and what stands in the way.

import { Table } from "./table.js";
import { number } from "./words.js";

const table = new Table(
  "demand",
  [
    { name: "Source", cell: (source) => ({ tag: "strong", text: source.name }), cls: "name" },
    { name: "State", cell: state, cls: "wide" },
    { name: "Requests", cell: requests, cls: "states" },
  ],
  (source) => source.name,
);

export function showDemand(status) {
  const sources = status.demand_sources ?? [];
  document.getElementById("demand-section").hidden = sources.length === 0;
  table.update(sources);
}

function state(source) {
  const well = source.state === "running";
  return [
    { cls: `health health-${well ? "available" : "unavailable"}`, text: source.state },
    source.reason && { tag: "small", cls: "alarm", text: source.reason },
  ];
}

function requests(source) {
  const found = Object.entries(source.requests).map(([name, count]) => ({
    cls: "chip",
    kids: [{ tag: "b", text: number(count) }, ` ${name}`],
  }));
  return found.length ? found : { cls: "muted", text: "none" };
}
