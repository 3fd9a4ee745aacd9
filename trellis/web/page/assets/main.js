// Puts the page together: the feed fills the store, the store tells the views.

import { Ages } from "./ages.js";
import { showClouds } from "./clouds.js";
import { showConnection } from "./connection.js";
import { showDemand } from "./demand.js";
import { Feed } from "./feed.js";
import { showFigures } from "./figures.js";
import { showImages } from "./images.js";
import { showLabels, showNodes } from "./nodes.js";
import { showRequests } from "./requests.js";
import { Store } from "./store.js";

const store = new Store();
const ages = new Ages(store);

const views = [
  showFigures, showClouds, showImages, showDemand, showRequests, showLabels, showNodes,
];
for (const show of views) {
  store.onStatus(show);
}
store.onStatus(() => ages.tick());
store.onConnection(showConnection);
ages.start();
new Feed(store).start();
