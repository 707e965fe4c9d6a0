// A list of any length: only the rows in sight are asked for and drawn.

import { html, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./ui.js";
import { count } from "./format.js";
import { Failed } from "./parts.js";
import { useBeat } from "./live.js";
import { amend, go } from "./route.js";
import { Rows } from "./rows.js";

const OVERSCAN = 6;
const MOST = 300_000; // browsers lay out no more than some million pixels

const narrow = matchMedia("(max-width: 960px)");

function useNarrow() {
  const [is, set] = useState(narrow.matches);
  useEffect(() => {
    const listener = () => set(narrow.matches);
    narrow.addEventListener("change", listener);
    return () => narrow.removeEventListener("change", listener);
  }, []);
  return is;
}

/** Rows of a list of the API, asked for again with each update, or after `every(total)` of them. */
export function useRows(path, parameters, every = () => 1) {
  const [, draw] = useState(0);
  const key = JSON.stringify([path, parameters]);
  const last = useRef(null);
  const rows = useMemo(() => {
    const next = new Rows(path, parameters, () => draw((n) => n + 1));
    // While one types, what was found before stays until what is found now is here.
    next.before = last.current?.total === null ? last.current.before : last.current;
    if (next.before) next.before.before = null;
    last.current = next;
    return next;
  }, [key]);
  useEffect(() => {
    rows.look(0, 0);
    return () => rows.stop();
  }, [rows]);
  const beats = useRef(0);
  useBeat(useCallback(() => {
    beats.current += 1;
    if (beats.current % every(rows.total ?? 0) === 0) rows.refresh();
  }, [rows]));
  return rows;
}

/**
 * `columns`: [{key, title, sort, cell(row), number}]; `sort` is the API's key. `href(row)`: where a
 * row leads. `from`: the first row in sight, of the address. `small`, `large`: height of a row.
 */
export function List({ rows, label, name, columns, href, sort, from = 0, small = 40, large = 72, empty }) {
  const box = useRef(null);
  const isNarrow = useNarrow();
  const height = isNarrow ? large : small;
  const [view, setView] = useState({ top: 0, height: 600 });
  const [active, setActive] = useState(-1);
  const frame = useRef(0);
  const timer = useRef(0);
  const shown = rows.total === null && rows.before ? rows.before : rows;
  const total = Math.min(shown.total ?? 0, MOST);

  const measure = useCallback(() => {
    frame.current = 0;
    const element = box.current;
    if (!element) return;
    setView({ top: element.scrollTop, height: element.clientHeight });
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      const first = Math.round(element.scrollTop / height);
      amend({ from: first > 0 ? first : undefined }, { silent: true });
    }, 250);
  }, [height]);

  const scroll = () => {
    if (!frame.current) frame.current = requestAnimationFrame(measure);
  };

  // Where the address says, as soon as the list is long enough for it.
  const placed = useRef(null);
  useLayoutEffect(() => {
    if (rows.total === null || placed.current === rows) return;
    const first = placed.current === null ? Number(from) || 0 : 0;
    placed.current = rows;
    setActive(-1);
    box.current.scrollTop = first * height;
    setView({ top: box.current.scrollTop, height: box.current.clientHeight });
  });
  useEffect(() => {
    const watch = new ResizeObserver(scroll);
    watch.observe(box.current);
    return () => {
      watch.disconnect();
      clearTimeout(timer.current);
      cancelAnimationFrame(frame.current);
    };
  }, [measure]);

  const first = Math.max(0, Math.floor(view.top / height) - OVERSCAN);
  // Always as many, so that rows that leave at one end are used again at the other.
  const many = Math.ceil(view.height / height) + 1 + 2 * OVERSCAN;
  const last = Math.min(total - 1, first + many - 1);
  useEffect(() => {
    if (rows.total !== null && total) rows.look(first, last);
  }, [rows, first, last, total]);

  const select = (index) => {
    const to = Math.max(0, Math.min(total - 1, index));
    setActive(to);
    const element = box.current;
    const room = element.clientHeight;
    if (to * height < element.scrollTop) element.scrollTop = to * height;
    else if ((to + 1) * height > element.scrollTop + room) element.scrollTop = (to + 1) * height - room;
  };
  const keys = (event) => {
    const page = Math.max(1, Math.floor(view.height / height) - 1);
    const start = active < 0 ? Math.round(view.top / height) - 1 : active;
    const step = { ArrowDown: start + 1, ArrowUp: start - 1, PageDown: start + page, PageUp: start - page, Home: 0, End: total - 1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      select(step);
    } else if (event.key === "Enter" && active >= 0 && shown.at(active)) {
      go(href(shown.at(active)));
    }
  };

  const drawn = [];
  for (let index = first; index <= last; index += 1) {
    const row = shown.at(index);
    drawn.push(html`
      <div key=${index % many} id=${`${name}-${index}`} role="row" aria-rowindex=${index + 2}
        aria-selected=${index === active ? "true" : undefined}
        class=${`row ${index === active ? "active" : ""}`} style=${{ top: `${index * height}px`, height: `${height}px` }}
        onClick=${(event) => row && !event.target.closest("a") && !String(getSelection()) && go(href(row))}>
        ${row
          ? columns.map((column) => html`<div key=${column.key} role="gridcell" class=${`cell c-${column.key} ${column.number ? "number" : ""}`}>${column.cell(row, href(row))}</div>`)
          : html`<div role="gridcell" class="cell waiting">…</div>`}
      </div>`);
  }
  const [key, down] = sort?.startsWith("-") ? [sort.slice(1), true] : [sort, false];
  if (shown.error && shown.total === null) return html`<div class="list" ref=${box}><${Failed} error=${shown.error} /></div>`;
  return html`
    <div class=${`list ${name}`} role="grid" aria-label=${label} aria-rowcount=${total + 1} tabindex="0" data-list
      aria-activedescendant=${active >= first && active <= last ? `${name}-${active}` : undefined}
      ref=${box} onScroll=${scroll} onKeyDown=${keys}>
      <div class="row head" role="row" aria-rowindex="1">
        ${columns.map((column) => html`
          <div key=${column.key} role="columnheader" class=${`cell c-${column.key} ${column.number ? "number" : ""}`}
            aria-sort=${column.sort && column.sort === key ? (down ? "descending" : "ascending") : undefined}>
            ${column.sort
              ? html`<button type="button" onClick=${() => amend({ sort: column.sort === key && !down ? `-${key}` : column.sort, from: undefined })}><span>${column.title}</span><span aria-hidden="true" class="arrow">${column.sort === key ? (down ? "↓" : "↑") : ""}</span></button>`
              : column.title}
          </div>`)}
      </div>
      <div class="rows" role="rowgroup" style=${{ height: `${total * height}px` }}>${drawn}</div>
      ${shown.total === 0 && html`<div role="row"><div role="gridcell">${empty}</div></div>`}
      ${shown.total === null && !shown.error && html`<div role="row"><div role="gridcell" class="empty">Asking …</div></div>`}
    </div>`;
}

/** How many were found. */
export function Found({ rows, word, words }) {
  const total = rows.total ?? rows.before?.total;
  const text = total === null || total === undefined ? "…" : `${count(total)} ${total === 1 ? word : words || `${word}s`}`;
  return html`<span class="found" role="status">${text}${total > MOST ? `, the first ${count(MOST)} are listed: search for others` : ""}</span>`;
}
