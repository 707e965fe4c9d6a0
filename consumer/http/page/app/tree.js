// Groups, nodes, devices and folders: opened level by level, drawn as far as one sees.

import { html, useCallback, useEffect, useRef, useState } from "./ui.js";
import { ask } from "./api.js";
import { count, fit } from "./format.js";
import { Shape } from "./parts.js";
import { go, to } from "./route.js";

const HEIGHT = 32;
const LIMIT = 500;
const OVERSCAN = 8;
const DEEPEST = 12; // what lies deeper is moved no further to the right

const keyOf = (item) => JSON.stringify([item.kind, item.server, item.group, item.node, item.device, item.folder, item.name]);
const placeOf = (item) => ({ server: item.server, group: item.group, node: item.node, device: item.device, folder: item.folder });

/** Where an entry leads: a tag to itself, anything else to the list of its tags. */
export const hrefOf = (item) => (item.kind === "tag"
  ? to("tag", { server: item.server, group: item.group, node: item.node, device: item.device, name: item.name })
  // A folder is the node's own or a device's: the list has only what is counted beside it.
  : to("tags", { ...placeOf(item), device: item.kind === "folder" ? item.device ?? "" : item.device }));

/** Levels that were asked for, by the key of what they are below. They stay while the page is open. */
const levels = new Map();
const open = new Set();
const closed = new Set(); // by hand: what leads to the present place is opened by itself, but for these

async function level(key, parameters, more) {
  const before = more ? levels.get(key).items : [];
  const answer = await ask("/api/tree", { ...parameters, limit: LIMIT, offset: before.length });
  const items = [...before, ...answer.items];
  levels.set(key, { items, total: answer.total, servers: items.some((item) => item.server !== items[0].server) });
}

function flat(key, depth, into, above = []) {
  const here = levels.get(key);
  // Names are made by others: nothing is drawn below itself, whatever they say.
  if (!here || above.includes(key)) return into;
  here.items.forEach((item, index) => {
    const own = keyOf(item);
    into.push({ item, key: own, depth, index, of: here.total, server: depth === 1 && here.servers ? item.server : "" });
    if (open.has(own)) flat(own, depth + 1, into, [...above, key]);
  });
  if (here.items.length < here.total) into.push({ more: key, key: `more ${key}`, depth, left: here.total - here.items.length });
  return into;
}

const same = (item, at) => ["server", "group", "node", "device", "folder", "name"].every((key) => (item[key] || "") === (at[key] || ""))
  // A tag has a folder of its own, which its address leaves out.
  || (item.kind === "tag" && ["server", "group", "node", "device", "name"].every((key) => (item[key] || "") === (at[key] || "")));

/** Whether the way to what the address names leads through this entry. */
const leadsTo = (item, at) => item.has_children && ["server", "group", "node", "device"].every((key) => !item[key] || item[key] === at[key])
  && (item.kind !== "folder" || ((item.device || "") === (at.device || "") && (at.name || "").startsWith(`${item.folder}/`)))
  && ((item.kind === "folder" && at.name) || (item.kind === "group" && at.node) || (item.kind === "node" && (at.device || at.name)) || (item.kind === "device" && at.name));

export function Tree({ version, at: route }) {
  const [, draw] = useState(0);
  const [error, setError] = useState(null);
  const [active, setActive] = useState(0);
  const [view, setView] = useState({ top: 0, height: 600 });
  const box = useRef(null);
  const parameters = useRef(new Map([["", {}]]));
  const again = useCallback(() => draw((n) => n + 1), []);

  const load = async (key, more = false) => {
    try {
      await level(key, parameters.current.get(key), more);
      setError(null);
    } catch (failure) {
      setError(failure);
    }
    again();
  };

  // When tags come or go, what is open is asked for again.
  useEffect(() => {
    load("");
    for (const key of open) if (parameters.current.has(key)) load(key);
  }, [version]);
  useEffect(() => {
    const watch = new ResizeObserver(() => setView({ top: box.current.scrollTop, height: box.current.clientHeight }));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);

  const lines = flat("", 1, []);
  for (const line of lines) if (line.item) parameters.current.set(line.key, placeOf(line.item));

  const toggle = (line, wanted = !open.has(line.key)) => {
    if (line.more !== undefined) return void load(line.more, true);
    if (!line.item.has_children) return undefined;
    if (wanted) {
      open.add(line.key);
      parameters.current.set(line.key, placeOf(line.item));
      if (!levels.has(line.key)) load(line.key);
    } else {
      open.delete(line.key);
      closed.add(line.key);
    }
    again();
    return undefined;
  };
  const select = (index) => {
    const at = Math.max(0, Math.min(lines.length - 1, index));
    setActive(at);
    const element = box.current;
    if (at * HEIGHT < element.scrollTop) element.scrollTop = at * HEIGHT;
    else if ((at + 1) * HEIGHT > element.scrollTop + element.clientHeight) element.scrollTop = (at + 1) * HEIGHT - element.clientHeight;
  };
  const keys = (event) => {
    const line = lines[active];
    if (!line) return;
    const isOpen = open.has(line.key);
    const steps = {
      ArrowDown: () => select(active + 1),
      ArrowUp: () => select(active - 1),
      Home: () => select(0),
      End: () => select(lines.length - 1),
      ArrowRight: () => (isOpen ? select(active + 1) : toggle(line, true)),
      ArrowLeft: () => {
        if (isOpen) toggle(line, false);
        else for (let i = active - 1; i >= 0; i -= 1) if (lines[i].depth < line.depth) return select(i);
        return undefined;
      },
      Enter: () => (line.item ? go(hrefOf(line.item)) : toggle(line)),
      " ": () => toggle(line),
    };
    if (steps[event.key]) {
      event.preventDefault();
      steps[event.key]();
    }
  };

  useEffect(() => {
    for (const line of lines) {
      if (line.item && !open.has(line.key) && !closed.has(line.key) && leadsTo(line.item, route)) toggle(line, true);
    }
  }, [lines.length, location.hash]);

  const first = Math.max(0, Math.floor(view.top / HEIGHT) - OVERSCAN);
  const last = Math.min(lines.length - 1, Math.ceil((view.top + view.height) / HEIGHT) + OVERSCAN);
  return html`
    <div class="tree" role="tree" aria-label="Groups, nodes, devices and tags" tabindex="0" ref=${box}
      aria-activedescendant=${active >= first && active <= last && lines.length ? `tree-${active}` : undefined}
      onScroll=${() => setView({ top: box.current.scrollTop, height: box.current.clientHeight })} onKeyDown=${keys}>
      <div class="rows" role="presentation" style=${{ height: `${lines.length * HEIGHT}px` }}>
        ${lines.slice(first, last + 1).map((line, i) => {
          const index = first + i;
          const style = { top: `${index * HEIGHT}px`, height: `${HEIGHT}px`, paddingLeft: `${Math.min(line.depth - 1, DEEPEST) * 16}px` };
          const name = `leaf ${index === active ? "active" : ""} ${line.item && same(line.item, route) ? "picked" : ""}`;
          if (line.more !== undefined) {
            return html`<div key=${line.key} id=${`tree-${index}`} class=${name} style=${style} role="treeitem" aria-level=${line.depth}
              onClick=${() => toggle(line)}><span class="twist"></span><span class="label">${count(line.left)} more …</span></div>`;
          }
          const { item } = line;
          const label = fit(item.label, 200) || "(no name)";
          return html`
            <div key=${line.key} id=${`tree-${index}`} class=${name} style=${style} role="treeitem" aria-level=${line.depth}
              aria-setsize=${line.of} aria-posinset=${line.index + 1} aria-selected=${String(same(item, route))} aria-expanded=${item.has_children ? String(open.has(line.key)) : undefined}
              aria-label=${`${item.kind} ${label}, ${line.server ? `${fit(line.server, 60)}, ` : ""}${item.level}`}
              onClick=${() => { setActive(index); toggle(line); go(hrefOf(item)); }}>
              <span class=${`twist ${item.has_children ? (open.has(line.key) ? "open" : "closed") : ""}`} onClick=${(event) => { event.stopPropagation(); setActive(index); toggle(line); }}></span>
              <${Shape} level=${item.level} /><span class="label" title=${label}><bdi>${label}</bdi>${line.server && html` <bdi class="where">${fit(line.server, 60)}</bdi>`}</span>
              ${item.kind !== "tag" && html`<span class="many">${count(item.tags)}</span>`}
            </div>`;
        })}
      </div>
      ${error && !lines.length && html`<p class="note" role="treeitem">${fit(error.message)}</p>`}
      ${!error && levels.get("")?.total === 0 && html`<p class="note" role="treeitem">No tag is known yet.</p>`}
    </div>`;
}
