// Keeps the store as the daemon is: reads the status, follows the events, and reads it again
// when one came. What is shown never depends on having seen an event, so none can be missed.

import { EVENT_TYPES } from "./events.js";

/** At most two reads, and so two repaints, in a second. */
const GAP_MS = 500;
/** Health and API calls change without an event. */
const RESYNC_MS = 5000;
const RETRY_MS = 2000;
const PATIENCE_MS = 10000;

export class Feed {
  #store;
  #source = null;
  #streaming = false;
  #lastEvent = null;
  #reading = false;
  #wanted = false;
  #failure = "";
  #timer = null;
  #began = -Infinity;
  #gap = GAP_MS;
  #version = null;

  constructor(store) {
    this.#store = store;
  }

  /** Reads and follows until the page is closed; rests while nobody looks at it. */
  start() {
    document.addEventListener("visibilitychange", () => this.#looked());
    this.#looked();
  }

  #looked() {
    if (document.hidden) {
      // A browser gives a server six connections in all: pages nobody sees shall not hold one.
      this.#close();
      clearTimeout(this.#timer);
      this.#store.setConnection("resting");
    } else {
      this.#want();
    }
  }

  // ----------------------------------------------------------------------------- the status

  /** Reads the status soon; any burst of calls costs one read. */
  #want() {
    this.#wanted = true;
    if (!this.#reading) {
      this.#after(this.#began + this.#gap - performance.now());
    }
  }

  #after(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#read(), Math.max(0, delay));
  }

  async #read() {
    if (this.#reading || document.hidden) {
      return;
    }
    this.#reading = true;
    this.#wanted = false;
    this.#began = performance.now();
    try {
      this.#take(await readStatus());
      this.#failure = "";
    } catch (error) {
      this.#failure = String(error?.message ?? error);
    } finally {
      this.#reading = false;
    }
    // A slow daemon is not asked the faster for it.
    this.#gap = Math.max(GAP_MS, 3 * (performance.now() - this.#began));
    if (document.hidden) {
      return;
    }
    this.#judge();
    if (this.#failure) {
      this.#after(RETRY_MS);
    } else if (this.#wanted) {
      this.#want();
    } else {
      this.#after(RESYNC_MS);
    }
  }

  #take(status) {
    if (this.#version !== null && status.version !== this.#version) {
      location.reload(); // the daemon was upgraded, and its page with it
      return;
    }
    this.#version = status.version;
    this.#lastEvent ??= status.last_event;
    this.#open();
    this.#store.setStatus(status);
  }

  // ----------------------------------------------------------------------------- the stream

  #open() {
    if (this.#source !== null) {
      return;
    }
    const source = new EventSource(`/api/v1/events?after=${encodeURIComponent(this.#lastEvent)}`);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#streaming = true;
      this.#want();
    });
    source.addEventListener("error", () => {
      this.#streaming = false;
      if (source.readyState === EventSource.CLOSED) {
        this.#close(); // the browser has given up; the next good read opens it anew
      }
      this.#judge();
      this.#want();
    });
    const news = (event) => {
      this.#lastEvent = event.lastEventId || this.#lastEvent;
      this.#want();
    };
    for (const type of EVENT_TYPES) {
      source.addEventListener(type, news);
    }
  }

  #close() {
    this.#source?.close();
    this.#source = null;
    this.#streaming = false;
  }

  #judge() {
    if (this.#failure) {
      this.#store.setConnection("lost", this.#failure);
    } else if (this.#streaming) {
      this.#store.setConnection("live");
    } else if (this.#store.connection !== "loading") {
      this.#store.setConnection("lost", "The event stream is broken off.");
    }
  }
}

async function readStatus() {
  let answer;
  try {
    answer = await fetch("/api/v1/status", {
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch (error) {
    const slow = error?.name === "TimeoutError";
    throw new Error(slow ? "The daemon does not answer." : "The daemon cannot be reached.");
  }
  if (answer.ok) {
    return answer.json();
  }
  const problem = await answer.json().catch(() => ({}));
  throw new Error(`${problem.detail ?? `The daemon answers ${answer.status}.`} ${problem.remedy ?? ""}`);
}
