// Says whether what is shown is how it is now.

const WORDS = {
  loading: "Loading…",
  live: "Live",
  lost: "Connection lost",
  resting: "Resting",
};

export function showConnection(connection, why) {
  const place = document.getElementById("connection");
  place.dataset.state = connection;
  document.getElementById("connection-words").textContent =
    WORDS[connection] + (connection === "lost" && why ? `: ${why} Trying again.` : "");
  document.body.dataset.stale = String(connection === "lost");
  if (connection !== "lost") {
    document.getElementById("connection-age").textContent = "";
  }
}
