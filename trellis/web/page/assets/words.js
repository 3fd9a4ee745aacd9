// Numbers, times and states in words.

/** Node states in the order of a node's life. */
export const NODE_STATES = [
  "building", "ready", "in-use", "used", "hold", "failed", "aborted", "deleting",
];

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export function number(value) {
  return (Math.abs(value) < 10 ? fine : whole).format(value);
}

/** Seconds as people say them: "4 s", "3 min", "2 h 5 min", "3 d 4 h". */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) {
    return `${s} s`;
  }
  if (s < 600) {
    return `${Math.floor(s / 60)} min ${s % 60} s`;
  }
  if (s < 3600) {
    return `${Math.floor(s / 60)} min`;
  }
  const [large, small, big, little] =
    s < 86400
      ? [Math.floor(s / 3600), Math.floor((s % 3600) / 60), "h", "min"]
      : [Math.floor(s / 86400), Math.floor((s % 86400) / 3600), "d", "h"];
  return small ? `${large} ${big} ${small} ${little}` : `${large} ${big}`;
}

/** A measured time: "0.4 s", "31 s", "4 min 10 s". */
export function took(seconds) {
  return seconds < 10 ? `${fine.format(seconds)} s` : duration(Math.round(seconds));
}

export function clock(iso) {
  return new Date(iso).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** ["a", "b", "a"] as "a ×2, b", in the order they first come. */
export function counted(names) {
  const counts = new Map();
  for (const name of names) {
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].map(([name, n]) => (n > 1 ? `${name} ×${n}` : name)).join(", ");
}

/** The word for a state beside its colour. */
export function stateWord(state) {
  return state === "in-use" ? "in use" : state;
}
