// What is in force: every key with its value, secrets as "***".

import { html, useEffect, useState } from "./ui.js";
import { ask, tell } from "./api.js";
import { count, fit } from "./format.js";
import { live, signOut, useLive } from "./live.js";
import { Act, Empty, Failed, Search, Shape, State, Text } from "./parts.js";
import { amend } from "./route.js";

/** {key: value} of everything that has no more below it. */
function flat(what, prefix = "", into = []) {
  if (what !== null && typeof what === "object" && Object.keys(what).length) {
    const isList = Array.isArray(what);
    for (const [key, below] of Object.entries(what)) flat(below, isList ? `${prefix}[${key}]` : prefix ? `${prefix}.${key}` : key, into);
  } else {
    into.push([prefix, what]);
  }
  return into;
}

const shown = (v) => (v === null ? "null" : typeof v === "object" ? (Array.isArray(v) ? "[]" : "{}") : v === "" ? '""' : String(v));

function Section({ name, keys, changed }) {
  return html`<section aria-label=${name}><h2>${fit(name, 100)}</h2><div class="scroll" tabindex="0" role="region" aria-label=${`Keys of ${name}`}><table class="plain keys-table">
    <thead class="hidden"><tr><th scope="col">Key</th><th scope="col">Value</th><th scope="col">Whence</th></tr></thead>
    <tbody>${keys.map(([key, v]) => html`<tr key=${key} class=${changed(key) ? "changed" : ""}><th scope="row"><code>${fit(key, 300)}</code></th><td><code><bdi class="long">${fit(shown(v), 2000)}</bdi></code></td><td class="whence">${changed(key) ? "set" : "default"}</td></tr>`)}</tbody></table></div></section>`;
}

/** Delivery can be paused here, for as long as something is done to the tables. */
const Pauses = () => {
  const { now } = useLive();
  const [minutes, set] = useState("10");
  const paused = now?.pauses || [];
  return html`<section aria-labelledby="pause"><h2 id="pause">Pause delivery</h2>
    <p class="note">While delivery is paused rows wait in the spool; nothing is lost, and it ends by itself.</p>
    ${paused.length ? html`<${Act} label="Resume delivery" run=${async () => { await tell("/api/actions/resume", {}); return "Delivery goes on."; }} />`
      : html`<div class="acts"><label class="choice"><span>For</span><select value=${minutes} onChange=${(event) => set(event.target.value)}>${["1", "10", "30", "60"].map((each) => html`<option key=${each} value=${each}>${each} min</option>`)}</select></label>
        <${Act} label="Pause delivery" sure=${`Rows to all tables wait in the spool for ${minutes} min, or until delivery is resumed.`}
          run=${async () => { await tell("/api/actions/pause", { seconds: Number(minutes) * 60, why: "asked for on the page" }); return `Delivery is paused for ${minutes} min.`; }} /></div>`}</section>`;
};

export function Configuration({ at }) {
  const [state, set] = useState({ answer: null, error: null });
  const { beat } = useLive();
  const connected = beat > 0;
  useEffect(() => {
    ask("/api/config").then((answer) => set({ answer, error: null }), (error) => set({ answer: null, error }));
  }, [connected]);
  const { answer, error } = state;
  if (error) return html`<div class="page"><${Failed} error=${error} /></div>`;
  if (!answer) return html`<div class="page"><${Empty}>Asking …<//></div>`;
  const words = (at.search || "").toLowerCase().split(/\s+/).filter(Boolean);
  const changedKeys = answer.changed || [];
  const changed = (key) => changedKeys.some((each) => key === each || key.startsWith(`${each}.`) || key.startsWith(`${each}[`));
  const found = flat(answer.configuration).filter(([key, v]) => (at.all || words.length || changed(key)) && words.every((word) => `${key} ${shown(v)}`.toLowerCase().includes(word)));
  const sections = Map.groupBy ? Map.groupBy(found, ([key]) => (/[.[]/.test(key) ? key.split(/[.[]/)[0] : "general")) : new Map([["all keys", found]]);
  const session = live.session;
  return html`
    <div class="page configuration">
      <h1 class="hidden">Configuration</h1>
      ${answer.warnings.length > 0 && html`<section aria-labelledby="warnings"><h2 id="warnings">Warnings</h2><ul class="items">${answer.warnings.map((each, i) => html`<li key=${i} class="item"><${Shape} level="warning" /><div><p class="what"><${Text} of=${each} most=${900} /></p></div></li>`)}</ul></section>`}
      <div class="tools">
        <${Search} label="Search keys and values" text=${at.search} onText=${(text) => amend({ search: text })} />
        <label class="check"><input type="checkbox" checked=${Boolean(at.all)} onChange=${(event) => amend({ all: event.target.checked ? "1" : undefined })} /> defaults, too</label>
        <span class="found" role="status">${count(found.length)} ${found.length === 1 ? "key" : "keys"}</span>
      </div>
      ${found.length ? [...sections].map(([name, keys]) => html`<${Section} key=${name} name=${name} keys=${keys} changed=${changed} />`)
        : html`<${Empty}><p>${words.length ? "No key is like this." : "Everything is as it is by default."}</p>${!at.all && html`<p><button type="button" onClick=${() => amend({ all: "1", search: undefined })}>Show all keys</button></p>`}<//>`}
      <${Pauses} />
      <section aria-labelledby="session"><h2 id="session">Who you are</h2>
        ${session?.needed ? html`<p><${State} level="ok" text=${`Signed in as ${fit(session.name, 80)}, role ${fit(session.role, 20)}`} /></p><button type="button" onClick=${signOut}>Sign out</button> <a class="more" href="#/signin">Use another key</a>`
          : html`<p class="note">No key is needed on this machine: whoever works on it may do everything.</p>`}</section>
      <section aria-labelledby="programs"><h2 id="programs">For programs</h2>
        <p class="links"><a href="/metrics">/metrics</a> <a href="/status">/status</a> <a href="/diagnostics">/diagnostics</a> <a href="/config">/config</a> <a href="/openapi.json">/openapi.json</a></p></section>
    </div>`;
}
