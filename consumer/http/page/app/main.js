// The frame: what this is, how it is, the five places, and the one of them in sight.

import { html, render, useEffect } from "./ui.js";
import { clock, duration, fit } from "./format.js";
import { live, serverNow, start, useLive } from "./live.js";
import { Shape, State } from "./parts.js";
import { useRoute } from "./route.js";
import { Configuration } from "./configuration.js";
import { Gaps, Letter, LetterList } from "./letters.js";
import { Node, NodeList } from "./nodes.js";
import { Overview } from "./overview.js";
import { SignIn } from "./signin.js";
import { Tags } from "./tags.js";

const PLACES = [["overview", "Overview"], ["tags", "Tags"], ["nodes", "Nodes"], ["letters", "Letters"], ["configuration", "Configuration"]];
// Looked up by what an address says: without a prototype nothing else is found in them.
const WITHIN = { __proto__: null, tag: "tags", node: "nodes", letter: "letters", gaps: "letters" };
const NAMES = { __proto__: null, tag: "Tag", node: "Node", letter: "Letter", gaps: "Gaps", signin: "Sign in" };
const FILLING = new Set(["tags", "tag", "nodes", "letters", "gaps"]);

function Place({ route }) {
  const { at, place } = route;
  if (live.status === "signin" || place === "signin") return html`<${SignIn} />`;
  switch (place) {
    case "tags": case "tag": return html`<${Tags} route=${route} />`;
    case "nodes": return html`<${NodeList} at=${at} />`;
    case "node": return html`<${Node} key=${location.hash} at=${at} />`;
    case "letters": return html`<${LetterList} at=${at} />`;
    case "letter": return html`<${Letter} key=${at.name} at=${at} />`;
    case "gaps": return html`<${Gaps} at=${at} />`;
    case "configuration": return html`<${Configuration} at=${at} />`;
    default: return html`<${Overview} />`;
  }
}

/** The one state in words. */
function stateOf() {
  if (live.status === "signin") return { level: "unknown", text: "A key is needed" };
  if (live.status === "lost") return { level: "unknown", text: "Not known now" };
  return live.now?.state || { level: "unknown", text: "Asking …" };
}

function Lost() {
  const { status, lost } = live;
  if (status !== "lost" || !lost) return null;
  const left = Math.max(0, Math.ceil((lost.next - Date.now()) / 1000));
  return html`
    <div class="lost">
      <${Shape} level="wrong" />
      <p><strong role="alert">${fit(lost.text, 500)}.</strong> ${live.now ? `What is shown is of ${clock(live.now.now_ms)}, ${duration((serverNow() - live.now.now_ms) / 1000)} old. ` : ""}${lost.mend ? `To mend it: ${lost.mend}.` : ""}</p>
      <button type="button" onClick=${start}>Ask again<span class="left" aria-hidden="true"> (${left} s)</span></button>
    </div>`;
}

function Frame() {
  const { now, session, status } = useLive();
  const route = useRoute();
  const state = stateOf();
  const present = WITHIN[route.place] || (PLACES.some(([key]) => key === route.place) ? route.place : route.place === "signin" ? "" : "overview");
  const fills = FILLING.has(route.place) && status !== "signin";
  const title = NAMES[route.place] || PLACES.find(([key]) => key === present)?.[1] || "Overview";
  useEffect(() => {
    const thing = route.at.name || route.at.node;
    document.title = `${thing && NAMES[route.place] ? `${fit(thing, 60)} · ` : ""}${title} · ${state.text.slice(0, 60)} · sparkplug-zerobus`;
  });
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>To the content</a>
    <header>
      <div class="top">
        <p class="product"><strong>${fit(session?.product || "sparkplug-zerobus", 60)}</strong>
          <span class="about">${now && html`${now.host_id !== now.product ? html`<span>host <bdi>${fit(now.host_id, 80)}</bdi></span>` : ""}${now.host_mode && now.host_mode !== "active" ? html`<span>${fit(now.host_mode, 20)}</span>` : ""}<span>version ${fit(now.version, 40)}</span><span title=${clock(now.started_ms)}>running ${duration((serverNow() - now.started_ms) / 1000)}</span>`}</span></p>
        <p class="verdict" aria-live="polite"><${State} level=${state.level} text=${fit(state.text, 300)} /></p>
      </div>
      <nav class="places" aria-label="Places">${PLACES.map(([key, text]) => html`<a key=${key} href=${`#/${key}`} aria-current=${key === present ? "page" : undefined}>${text}</a>`)}</nav>
    </header>
    <${Lost} />
    <main id="main" tabindex=${fills ? "-1" : "0"} class=${`${fills ? "fills" : ""} ${status === "lost" ? "stale" : ""}`}><${Place} route=${route} /></main>`;
}

// "/" leads to the search of the place; Escape out of one thing to the list it is in.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const field = document.querySelector("[data-search]");
    if (field) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  } else if (event.key === "Escape" && !typing && !event.defaultPrevented) {
    document.querySelector("[data-up]")?.click();
  }
});

render(html`<${Frame} />`, document.getElementById("app"));
start();
