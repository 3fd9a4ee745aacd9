// Keeps "how long ago" up to date, once a second, for every <time> in the page.

import { duration } from "./words.js";

export class Ages {
  #store;

  constructor(store) {
    this.#store = store;
  }

  start() {
    setInterval(() => this.tick(), 1000);
  }

  tick() {
    const now = this.#store.now();
    for (const time of document.querySelectorAll("main time")) {
      write(time, duration((now - Date.parse(time.dateTime)) / 1000));
    }
    const { connection, status, statusAt } = this.#store;
    const stale = status !== null && connection === "lost";
    write(
      document.getElementById("connection-age"),
      stale ? `what you see is ${duration((performance.now() - statusAt) / 1000)} old` : "",
    );
  }
}

function write(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}
