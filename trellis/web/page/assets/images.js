// Images: what is built here, what serves at each provider, and what is on its way or on trial.

import { Table } from "./table.js";

const table = new Table(
  "images",
  [
    { name: "Image", cell: name, cls: "name" },
    { name: "Built here", cell: here, cls: "here" },
    { name: "At the providers", cell: providers, cls: "at" },
  ],
  (image) => image.name,
);

export function showImages(status) {
  const images = status.images ?? [];
  document.getElementById("images-section").hidden = images.length === 0;
  table.update(images);
}

function name(image) {
  return [
    { tag: "strong", text: image.name },
    image.paused_by !== null && { cls: "chip image-pinned", text: `paused by ${image.paused_by}` },
    image.building === null && { tag: "small", cls: "muted", text: image.words },
    image.fault && { tag: "small", cls: "alarm", text: image.fault },
  ];
}

function here(image) {
  const built = image.build === null ? { cls: "muted", text: "no build" } : [
    `build ${image.build}`,
    { cls: "muted", kids: [", ", { age: image.built_at }, " old"] },
  ];
  return [
    { cls: "line", kids: built },
    image.building !== null && {
      cls: "coming",
      kids: [
        { cls: "chip image-building", text: `${image.building} building` },
        " ",
        { tag: "small", cls: "muted", text: image.building_words },
        progress(image.building_share, `build ${image.building}: ${image.building_words}`),
      ],
    },
  ];
}

function providers(image) {
  return { tag: "div", cls: "places", kids: image.places.map(place) };
}

function place(one) {
  const state = one.missing ? "missing" : one.pinned_by !== null ? "pinned" : "serving";
  const serves = one.build === null ? { cls: "chip image-missing", text: "missing" } : [
    { cls: `chip image-${state}`, text: one.pinned_by === null ? String(one.build) : `${one.build} pinned by ${one.pinned_by}` },
    { cls: "muted", kids: [" ", { age: one.built_at }, " old"] },
  ];
  const sending = one.coming.some((upload) => upload.state === "uploading");
  return {
    cls: "place",
    kids: [
      { cls: "line", kids: [{ tag: "b", text: one.provider }, " ", serves] },
      ...one.coming.map(coming),
      // That it is missing as it is being uploaded, the bar says.
      !sending && { tag: "small", cls: one.missing ? "alarm" : "muted", text: one.words },
    ],
  };
}

function coming(upload) {
  const said = upload.state === "uploading" ? upload.words.replace(/^uploading /, "") : upload.words;
  return {
    cls: "coming",
    kids: [
      { cls: `chip image-${upload.state}`, text: `${upload.build} ${upload.state}` },
      " ",
      {
        tag: "small",
        cls: upload.state === "withdrawn" ? "alarm" : "muted",
        text: said.replace(/^canary, /, ""),
      },
      upload.state === "uploading" && progress(upload.share, `upload of ${upload.build}: ${upload.words}`),
      upload.state === "canary" && upload.trial !== null && {
        cls: "bar",
        bar: { ours: upload.trial.ready, others: 0, of: upload.trial.needed },
        attributes: { role: "img", "aria-label": `${upload.trial.ready} of ${upload.trial.needed} ready` },
      },
    ],
  };
}

function progress(share, said) {
  return share !== null && {
    cls: "bar progress",
    bar: { ours: share, others: 0, of: 1 },
    attributes: { role: "img", "aria-label": said },
  };
}
