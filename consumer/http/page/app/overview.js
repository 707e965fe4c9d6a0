// Is it working? The flow, what needs attention, four charts, and the ledger in one line.

import { html } from "./ui.js";
import { tell } from "./api.js";
import { Chart, inWords, Spark } from "./charts.js";
import { clock, count, fit, mark, rate, several, short } from "./format.js";
import { useLive } from "./live.js";
import { Act, Cause, Empty, For, Mend, Shape, State, Text } from "./parts.js";

const SPARKS = {
  servers: "messages_per_second", decode: "rows_per_second",
  spool: "rows_waiting", zerobus: "acknowledged_per_second",
};

/** An address on this page; anything else that a text might hold leads nowhere. */
const inside = (link) => (typeof link === "string" && link.startsWith("#/") ? link : "#/overview");

const Card = ({ card, samples }) => html`
  <li class=${`card ${card.level}`}>
    <h2>${card.title}<${State} level=${card.level} /></h2>
    <p class="figure"><strong>${card.unit.includes("/s") ? rate(card.number) : count(card.number)}</strong> <span>${card.unit}</span></p>
    <p class="note"><${Text} of=${card.text} /></p>
    <${Spark} values=${samples?.[SPARKS[card.card]]} />
    ${sick(card) && html`<${Cause} class="phone" of=${card.cause} mend=${card.mend} />`}
  </li>`;

const sick = (card) => card.cause || card.mend;

/** Tables that were paused together are resumed together. */
function together(pauses) {
  const found = new Map();
  for (const each of pauses) {
    const key = JSON.stringify([Math.floor(each.until_ms / 60_000), each.by, each.why]);
    found.set(key, { ...each, key, tables: [...(found.get(key)?.tables || []), each.table] });
  }
  return [...found.values()];
}

const Pause = ({ pause }) => html`
  <li class="item">
    <${Shape} level="warning" />
    <div><p class="what">Delivery to ${pause.tables.length === 1 ? html`<${Text} of=${pause.table} />` : html`<span title=${fit(pause.tables.join(", "), 1000)}>${several(pause.tables.length, "table")}</span>`} is paused until ${clock(pause.until_ms)} by <${Text} of=${pause.by} />${pause.why && html`: <${Text} of=${pause.why} />`}</p>
    <${Act} label="Resume delivery" run=${async () => {
      for (const table of pause.tables) await tell("/api/actions/resume", { table });
      return "Delivery goes on.";
    }} /></div>
  </li>`;

const Item = ({ item }) => html`
  <li class="item">
    <${Shape} level=${item.level} />
    <div>
      <p class="what"><span class="hidden">${item.level}: </span>
        ${inside(item.link) === "#/overview" ? html`<${Text} of=${item.text} most=${400} />` : html`<a href=${inside(item.link)}><${Text} of=${item.text} most=${400} /></a>`}</p>
      <${Mend} of=${item.mend} />
    </div>
    <p class="since">${item.since_ms ? html`<${For} ms=${item.since_ms} />` : ""}</p>
  </li>`;

export function Overview() {
  const { now, samples, status } = useLive();
  if (!now) return html`<${Empty}><p>${status === "lost" ? "Nothing is known yet: the consumer has not answered." : "Asking the consumer …"}</p><//>`;
  const s = samples || { time_ms: [] };
  const column = (name) => s[name] || [];
  const charts = [
    ["Messages per second", mark, [["messages", "messages_per_second"]]],
    ["Rows per second", mark, [["made", "rows_per_second"], ["acknowledged", "acknowledged_per_second"]]],
    ["Rows waiting in the spool", mark, [["rows", "rows_waiting"]]],
    ["Latency to the acknowledgement", short, [["p50", "latency_p50_seconds"], ["p99", "latency_p99_seconds"]]],
  ];
  const pauses = together(now.pauses || []);
  const others = now.attention.filter((item) => item.kind !== "paused"); // those have a button
  return html`
    <div class="page overview">
      <h1 class="hidden">Overview</h1>
      <ol class="cards" aria-label="The flow, from the servers to Zerobus">${now.cards.map((card) => html`<${Card} key=${card.card} card=${card} samples=${samples} />`)}</ol>
      ${now.cards.some(sick) && html`<ul class="causes">${now.cards.filter(sick).map((card) => html`<li key=${card.card}><${Cause} class=${card.level} of=${`${card.title}: ${card.cause}`} mend=${card.mend} /></li>`)}</ul>`}
      <section aria-labelledby="attention">
        <h2 id="attention">What needs attention</h2>
        ${others.length || pauses.length
          ? html`<ul class="items">${pauses.map((pause) => html`<${Pause} key=${pause.key} pause=${pause} />`)}${others.map((item) => html`<${Item} key=${`${item.kind} ${item.link} ${item.text}`} item=${item} />`)}</ul>`
          : html`<p class="calm"><${State} level="ok" text="Nothing. Every server is connected, every node is heard, and rows flow." /></p>`}
      </section>
      <section aria-labelledby="charts">
        <h2 id="charts">The last 15 minutes</h2>
        <div class="charts">${charts.map(([title, format, lines]) => html`
          <${Chart} key=${title} title=${title} seconds=${900} format=${format} times=${s.time_ms} stale=${status === "lost"}
            label=${`${title}, the last 15 minutes: ${lines.map(([name, key]) => `${name} ${inWords(column(key), format === mark ? rate : format)}`).join("; ")}`}
            lines=${lines.map(([name, key]) => ({ label: name, values: column(key) }))} />`)}</div>
      </section>
      <section aria-labelledby="ledger">
        <h2 id="ledger">Ledger</h2>
        <p class="ledger"><${Shape} level=${now.ledger.balanced ? "ok" : "wrong"} /> <span>${fit(now.ledger.text, 600)}</span></p>
      </section>
    </div>`;
}

