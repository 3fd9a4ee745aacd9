// A table that follows its rows: only cells whose content changed are touched.

import { build } from "./build.js";

export class Table {
  #body;
  #columns;
  #keyOf;
  #lines = new Map();
  #none;

  /**
   * Writes the head of the table.
   *
   * @param id of the table element, beside which an element `.none` says that it is empty.
   * @param columns each {name, cell(row), cls, title}: cell gives a content of build.js.
   *     The first is the head of its row.
   * @param keyOf gives what a row is known by from one update to the next.
   */
  constructor(id, columns, keyOf) {
    const table = document.getElementById(id);
    this.#columns = columns;
    this.#keyOf = keyOf;
    this.#none = table.parentElement.querySelector(".none");
    const cells = columns.map((column) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.setAttribute("role", "columnheader");
      cell.textContent = column.name;
      cell.className = column.cls ?? "";
      cell.title = column.title ?? "";
      return cell;
    });
    const line = document.createElement("tr");
    line.setAttribute("role", "row");
    line.append(...cells);
    table.createTHead().append(line);
    table.tHead.setAttribute("role", "rowgroup");
    this.#body = table.createTBody();
    this.#body.setAttribute("role", "rowgroup");
  }

  /** Shows these rows in this order. */
  update(rows) {
    const keys = new Set(rows.map(this.#keyOf));
    for (const [key, line] of this.#lines) {
      if (!keys.has(key)) {
        line.element.remove();
        this.#lines.delete(key);
      }
    }
    let next = this.#body.firstElementChild;
    for (const row of rows) {
      const key = this.#keyOf(row);
      let line = this.#lines.get(key);
      if (line === undefined) {
        line = new Line(this.#columns);
        this.#lines.set(key, line);
      }
      line.update(row);
      if (line.element === next) {
        next = next.nextElementSibling;
      } else {
        this.#body.insertBefore(line.element, next);
      }
    }
    this.#none.hidden = rows.length > 0;
    this.#body.parentElement.hidden = rows.length === 0;
  }
}

class Line {
  #columns;
  #cells;
  #shown;

  constructor(columns) {
    this.#columns = columns;
    this.#shown = columns.map(() => undefined);
    this.#cells = columns.map((column, place) => {
      const cell = document.createElement(place === 0 ? "th" : "td");
      cell.setAttribute("role", place === 0 ? "rowheader" : "cell");
      if (place === 0) {
        cell.scope = "row";
      }
      cell.className = column.cls ?? "";
      cell.dataset.name = column.name;
      return cell;
    });
    this.element = document.createElement("tr");
    this.element.setAttribute("role", "row");
    this.element.append(...this.#cells);
  }

  update(row) {
    this.#columns.forEach((column, place) => {
      const content = column.cell(row);
      const shown = JSON.stringify(content);
      if (shown !== this.#shown[place]) {
        this.#shown[place] = shown;
        this.#cells[place].replaceChildren(...build(content));
      }
    });
  }
}
