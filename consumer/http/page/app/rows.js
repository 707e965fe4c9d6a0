// Rows of a list on the server: only the pages that are looked at, kept fresh.

import { ask } from "./api.js";

export const PAGE = 100;
const KEPT = 12;

/**
 * Args: path and parameters of a list of the API; `changed` is called when something new is known.
 *
 * `total` is null before the first answer; `extra` is what the newest answer has beside its rows;
 * `error` why the newest answer did not come.
 */
export class Rows {
  constructor(path, parameters, changed) {
    this.path = path;
    this.parameters = parameters;
    this.changed = changed;
    this.total = null;
    this.extra = {};
    this.error = null;
    this.pages = new Map();
    this.busy = new Map();
    this.visible = [0, 0];
    this.window = [0, 0];
    this.asking = false;
    this.stopped = false;
  }

  /** The row at a place; undefined while it is not here. */
  at(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  /** Let the rows from `first` to `last` be here. */
  look(first, last) {
    this.window = [first, Math.max(first, last)];
    this.visible = [Math.floor(first / PAGE), Math.floor(Math.max(first, last) / PAGE)];
    for (let page = this.visible[0]; page <= this.visible[1]; page += 1) {
      if (!this.pages.has(page)) this.fetch(page);
    }
    // Who scrolls fast has no use for what he has passed.
    for (const [page, stop] of this.busy) {
      if (page < this.visible[0] - 1 || page > this.visible[1] + 1) stop.abort();
    }
  }

  /** Ask again for the rows that are looked at, and no others. */
  async refresh() {
    if (this.stopped || this.asking || this.busy.size) return;
    if (!this.pages.has(this.visible[0]) || this.error) return void this.fetch(this.visible[0]);
    this.asking = true;
    const [first, last] = this.window;
    const limit = Math.min(500, last - first + 1);
    try {
      const answer = await ask(this.path, { ...this.parameters, limit, offset: first });
      this.take(answer);
      answer.items.forEach((item, i) => {
        const page = this.pages.get(Math.floor((first + i) / PAGE));
        if (page) page[(first + i) % PAGE] = item;
      });
    } catch (error) {
      this.error = error;
    } finally {
      this.asking = false;
    }
    if (!this.stopped) this.changed();
  }

  take({ items, total, ...extra }) {
    // What is beyond the end is gone.
    if (this.total !== null && total < this.total) {
      for (const page of this.pages.keys()) if (page * PAGE >= total) this.pages.delete(page);
    }
    this.total = total;
    this.extra = extra;
    this.error = null;
  }

  stop() {
    this.stopped = true;
    for (const stop of this.busy.values()) stop.abort();
  }

  async fetch(page) {
    if (this.stopped || this.busy.has(page)) return;
    const stop = new AbortController();
    this.busy.set(page, stop);
    try {
      const answer = await ask(this.path, { ...this.parameters, limit: PAGE, offset: page * PAGE }, stop.signal);
      this.take(answer);
      this.pages.delete(page);
      this.pages.set(page, answer.items);
      for (const old of this.pages.keys()) {
        if (this.pages.size <= KEPT) break;
        if (old < this.visible[0] || old > this.visible[1]) this.pages.delete(old);
      }
    } catch (error) {
      if (error.name !== "AbortError") this.error = error;
    } finally {
      this.busy.delete(page);
    }
    if (!this.stopped) this.changed();
  }
}
