// Elements from plain data. Texts come from people and clouds, and only ever become text.

/**
 * Makes the nodes of a content: a string, an array of contents, or
 * {tag, cls, text, title, kids, age, attributes, bar}. Falsy ones are left out.
 *
 * - `age`: a moment in ISO 8601; the text is how long ago that is, kept up to date.
 * - `bar`: {ours, others, of}; a bar of how much of something is used.
 */
export function build(content) {
  if (Array.isArray(content)) {
    return content.filter(isThere).flatMap(build);
  }
  if (typeof content === "object" && content !== null) {
    return [element(content)];
  }
  return isThere(content) ? [document.createTextNode(String(content))] : [];
}

function isThere(content) {
  return content !== null && content !== undefined && content !== false && content !== "";
}

function element(content) {
  const made = document.createElement(content.age ? "time" : (content.tag ?? "span"));
  if (content.cls) {
    made.className = content.cls;
  }
  if (content.title) {
    made.title = content.title;
  }
  for (const [name, value] of Object.entries(content.attributes ?? {})) {
    made.setAttribute(name, value);
  }
  if (content.age) {
    made.dateTime = content.age;
    made.title = new Date(content.age).toLocaleString();
  } else if (content.bar) {
    made.append(...bar(content.bar));
  } else {
    made.append(...build(content.kids ?? content.text));
  }
  return made;
}

function bar({ ours, others, of }) {
  const part = (cls, share) => {
    const made = document.createElement("i");
    made.className = cls;
    made.style.inlineSize = `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
    return made;
  };
  const whole = Math.max(of, ours + others, 1);
  return [part("ours", ours / whole), part("others", others / whole)];
}
