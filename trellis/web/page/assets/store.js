// What the page knows: the last status, and how the connection to the daemon is.

export class Store {
  #onStatus = [];
  #onConnection = [];

  /** The last answer of /api/v1/status; null before the first. */
  status = null;
  /** The page's clock (ms) when it came. */
  statusAt = 0;
  /** "loading", "live", "lost" or "resting" (the page is not looked at). */
  connection = "loading";

  /** Has `show(status)` called with each new status. */
  onStatus(show) {
    this.#onStatus.push(show);
  }

  /** Has `show(connection, why)` called whenever one of them changes. */
  onConnection(show) {
    this.#onConnection.push(show);
  }

  setStatus(status) {
    this.status = status;
    this.statusAt = performance.now();
    for (const show of this.#onStatus) {
      show(status);
    }
  }

  setConnection(connection, why = "") {
    if (connection !== this.connection || why !== this.why) {
      this.connection = connection;
      this.why = why;
      for (const show of this.#onConnection) {
        show(connection, why);
      }
    }
  }

  /**
   * Now by the daemon's clock, in ms: ages are told by the clock that dated things. It stands
   * still while the connection is lost, since nobody knows what has become of things since.
   */
  now() {
    if (this.status === null) {
      return Date.now();
    }
    const since = this.connection === "live" ? performance.now() - this.statusAt : 0;
    return Date.parse(this.status.now) + since;
  }
}
