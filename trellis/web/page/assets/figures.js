// The row of figures at the top, the head and the foot of the page.

import { build } from "./build.js";
import { number, took } from "./words.js";

const shown = new Map();

export function showFigures(status) {
  const { nodes, requests, figures } = status;
  const by = nodes.by_state;
  document.title = `${requests.waiting} waiting · ${status.deployment} · Trellis`;
  set("deployment", status.deployment);
  set("version", `Trellis ${status.version}`);
  const notice = document.getElementById("notice");
  const wrong = status.ready ? [] : [`Requests cannot be served: ${status.ready_detail}`];
  const words = [...wrong, ...status.notices].join(" · ");
  if (notice.textContent !== words) {
    notice.textContent = words;
    notice.hidden = !words;
  }
  const oldest = requests.oldest[0];
  figure("in use", number(by["in-use"] ?? 0), `of ${number(nodes.total)} nodes`, "in-use");
  figure("ready", number(by.ready ?? 0), "to be handed out", "ready");
  figure("building", number(by.building ?? 0), spread(figures.boot_s), "building");
  figure(
    "waiting",
    number(requests.waiting),
    oldest ? ["the longest for ", { age: oldest.created_at }] : "no request waits",
    "",
  );
  figure("wait, median", ...measured(figures.wait_s));
  figure(
    "API calls per node",
    figures.api_calls_per_node === null ? "–" : number(figures.api_calls_per_node),
    `${number(figures.api_calls)} calls, up for `,
    "",
    status.started_at,
  );
}

function measured(wait) {
  return wait.count
    ? [took(wait.p50), `p95 ${took(wait.p95)}, last ${number(wait.count)}`]
    : ["–", "nothing was fulfilled yet"];
}

function spread(boot) {
  return boot.count ? `median boot ${took(boot.p50)}` : "on their way";
}

function figure(name, value, note, state = "", since = null) {
  const list = document.getElementById("figures");
  let place = shown.get(name);
  if (place === undefined) {
    const box = document.createElement("div");
    const [term, big, small] = ["dt", "dd", "dd"].map((tag) => document.createElement(tag));
    term.textContent = name;
    big.className = `value ${state ? `state-${state}` : ""}`;
    small.className = "note muted";
    box.append(term, big, small);
    list.append(box);
    place = { big, small, note: "" };
    shown.set(name, place);
  }
  if (place.big.textContent !== value) {
    place.big.textContent = value;
  }
  const content = [note, since && { age: since }];
  const words = JSON.stringify(content);
  if (place.note !== words) {
    place.note = words;
    place.small.replaceChildren(...build(content));
  }
}

function set(id, text) {
  const place = document.getElementById(id);
  if (place.textContent !== text) {
    place.textContent = text;
  }
}
