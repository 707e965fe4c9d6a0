// The address: which place, which thing in it, and how its list is searched and sorted.

import { useEffect, useState } from "./ui.js";
import { query } from "./api.js";

/** The address of a place: `to("node", {server, group, node})`. */
export function to(place, parameters) {
  const text = query(parameters);
  return text ? `#/${place}?${text}` : `#/${place}`;
}

/** Where the page is: {place, at: its parameters}. */
export function here() {
  const [place, text = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { place: place || "overview", at: Object.fromEntries(new URLSearchParams(text)) };
}

const listeners = new Set();
window.addEventListener("hashchange", () => listeners.forEach((listener) => listener()));

export function useRoute() {
  const [route, set] = useState(here);
  useEffect(() => {
    const listener = () => set(here());
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return route;
}

/** Go somewhere; back leads here again. */
export function go(address) {
  location.hash = address;
}

/** Change what the address says of the present place; back does not lead through it. */
export function amend(changes, { silent = false } = {}) {
  const { place, at } = here();
  const address = to(place, { ...at, ...changes });
  if (address === location.hash) return;
  history.replaceState(history.state, "", address);
  if (!silent) listeners.forEach((listener) => listener());
}
