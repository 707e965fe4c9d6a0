// What did not arrive: dead letters, and gaps in what was heard.

import { html, useState } from "./ui.js";
import { tell } from "./api.js";
import { bytes, count, fit, NONE, percent, several } from "./format.js";
import { Found, List, useRows } from "./list.js";
import { Act, Ago, Cause, Choice, Empty, Facts, Failed, Mend, Shape, State, Tabs, Text } from "./parts.js";
import { amend, go, to } from "./route.js";
import { useOne } from "./tags.js";

const TABS = [["letters", "Dead letters", "#/letters"], ["gaps", "Gaps", "#/gaps"]];
const letterHref = (letter) => to("letter", { name: letter.name });

const LETTERS = [
  { key: "name", title: "Letter", cell: (letter, href) => html`<a href=${href} tabindex="-1"><${Text} of=${letter.name} /></a>` },
  { key: "reason", title: "Reason", cell: (letter) => html`<${Text} of=${letter.reason} />` },
  { key: "error", title: "What was said of it", cell: (letter) => html`<${Text} of=${letter.error || letter.where} />` },
  { key: "rows", title: "Rows", number: true, cell: (letter) => (letter.kind === "row" ? html`${count(letter.rows)}<span class="unit"> ${letter.rows === 1 ? "row" : "rows"}</span>` : NONE) },
  { key: "bytes", title: "Size", number: true, cell: (letter) => bytes(letter.bytes) },
  { key: "when", title: "Set aside", number: true, cell: (letter) => html`<${Ago} ms=${letter.set_aside_ms} />` },
];

const retried = ({ letters }) => (letters ? `${several(letters, "letter")} will be sent again.` : "There was nothing to send again.");
const dropped = ({ letters }) => `${several(letters, "letter")} dropped.`;

const Reason = ({ reason }) => html`
  <li class="item"><${Shape} level="warning" />
    <div><p class="what"><a href=${to("letters", { reason: reason.reason, kind: reason.kind })}>${several(reason.letters, "letter")}: <${Text} of=${reason.text || reason.reason} /></a>${reason.rows ? html` (${several(reason.rows, "row")})` : ""}</p>
      <${Mend} of=${reason.mend} />
      ${reason.kind === "row" && html`<${Act} label="Retry them all" sure=${`All ${several(reason.letters, "letter")} of the reason “${fit(reason.reason, 60)}” are sent to Zerobus again. What is refused again is set aside again.`}
        run=${async () => retried(await tell("/api/actions/letters/retry", { all: true, reason: reason.reason }))} />`}
    </div>
    <p class="since">first <${Ago} ms=${reason.first_ms} />, last <${Ago} ms=${reason.last_ms} /></p>
  </li>`;

export function LetterList({ at }) {
  const { reason, kind } = at;
  const rows = useRows("/api/letters", { reason, kind }, () => 2);
  const reasons = rows.extra.reasons || rows.before?.extra.reasons || [];
  return html`
    <h1 class="hidden">Letters</h1>
    <${Tabs} label="Letters and gaps" of=${TABS} present="letters" />
    ${reasons.length > 0 && html`<section class="reasons" aria-label="Reasons" tabindex="0"><ul class="items">${reasons.map((each) => html`<${Reason} key=${`${each.kind} ${each.reason}`} reason=${each} />`)}</ul></section>`}
    <div class="tools">
      <${Choice} label="Kind" value=${kind} options=${[["", "any"], ["row", "rows"], ["message", "messages"]]} onChoose=${(key) => amend({ kind: key, from: undefined })} />
      <${Choice} label="Reason" value=${reason} options=${[["", "any"], ...[...new Set([...reasons.map((each) => each.reason), reason].filter(Boolean))].map((each) => [each, fit(each, 60)])]} onChoose=${(key) => amend({ reason: key, from: undefined })} />
      <${Found} rows=${rows} word="letter" />
    </div>
    <${List} name="letters-list" label="Dead letters, newest first" rows=${rows} columns=${LETTERS} href=${letterHref} from=${at.from}
      empty=${html`<${Empty}>${reason || kind ? html`<p>No letter is like this.</p><p><a href="#/letters">Look at all letters</a></p>`
        : html`<p><${State} level="ok" text="No dead letters." /></p><p>Everything that was read could be delivered. What Zerobus refuses, or what cannot be read, would be kept here.</p>`}<//>`} />`;
}

/** Bytes as a hex dump: place, hex, letters. */
function dump(hex, most = 4096) {
  const lines = [];
  for (let at = 0; at < Math.min(hex.length, most * 2); at += 32) {
    const pairs = hex.slice(at, at + 32).match(/../g) || [];
    const letters = pairs.map((pair) => { const code = parseInt(pair, 16); return code > 31 && code < 127 ? String.fromCharCode(code) : "."; }).join("");
    lines.push(`${(at / 2).toString(16).padStart(5, "0")}  ${pairs.join(" ").padEnd(48)} ${letters}`);
  }
  if (hex.length > most * 2) lines.push(`… ${bytes(hex.length / 2)} in all`);
  return lines.join("\n");
}

// JSON escapes most controls by itself; what it leaves is escaped as everywhere.
const json = (what) => JSON.stringify(what, null, 2).split("\n").map((line) => fit(line, 4000)).slice(0, 2000).join("\n");

const Block = ({ id, title, text }) => html`<section aria-labelledby=${id}><h2 id=${id}>${title}</h2><pre class="block" tabindex="0" role="region" aria-labelledby=${id}>${text}</pre></section>`;

export function Letter({ at }) {
  const { answer, error } = useOne("/api/letter", { name: at.name });
  const [gone, leave] = useState("");
  const back = html`<p class="back"><a data-up href="#/letters">← Letters</a></p>`;
  if (gone || (error && error.status === 404)) {
    return html`<div class="page">${back}<${Empty}><p role="status">${gone || "This letter is not here any more: it was sent again, or dropped."}</p><p><a href="#/letters">Look at all letters</a></p><//></div>`;
  }
  if (error && !answer) return html`<div class="page">${back}<${Failed} error=${error} /></div>`;
  if (!answer) return html`<div class="page">${back}<${Empty}>Asking …<//></div>`;
  const { letter } = answer;
  return html`
    <div class="page letter">
      ${back}
      <h1><${Text} of=${letter.name} class="long" /></h1>
      <${Cause} of=${letter.error || letter.reason} mend=${answer.mend} />
      <div class="acts">
        ${letter.may_be_retried && html`<${Act} class="main" label="Retry" run=${async () => retried(await tell("/api/actions/letters/retry", { names: [letter.name] }))} />`}
        <${Act} label="Drop" sure=${`The letter ${fit(letter.name, 80)}${letter.rows ? ` with ${several(letter.rows, "row")}` : ""} is deleted for good. The ledger counts it as dropped.`}
          run=${async () => { leave(dropped(await tell("/api/actions/letters/drop", { names: [letter.name] }))); return ""; }} />
      </div>
      ${letter.to_be_retried && html`<p role="status"><${State} level="unknown" text="It is to be sent again." /></p>`}
      <section aria-labelledby="facts"><h2 id="facts">What is known</h2><${Facts} of=${[
        ["Reason", html`<${Text} of=${letter.reason} />`],
        ["Set aside", html`<${Ago} ms=${letter.set_aside_ms} />`],
        [letter.kind === "row" ? "Table" : "Topic", html`<${Text} of=${letter.where} class="long" />`],
        letter.kind === "row" && ["Rows", count(letter.rows)],
        ["Size", bytes(letter.bytes)],
        answer.topic && letter.kind === "row" && ["Topic", html`<${Text} of=${answer.topic} most=${4200} class="long" />`],
        answer.server && ["MQTT server", html`<${Text} of=${answer.server} />`],
        answer.received_ms && ["Arrived", html`<${Ago} ms=${answer.received_ms} />`],
      ]} /></section>
      ${answer.rows?.length > 0 && html`<${Block} id="rows" title=${answer.rows.length < answer.rows_shown || answer.rows_shown < letter.rows ? `Rows, ${count(answer.rows.length)} of ${count(letter.rows)}` : "Rows"} text=${json(answer.rows)} />`}
      ${answer.payload !== null && answer.payload !== undefined && html`<${Block} id="payload" title="Payload, decoded" text=${json(answer.payload)} />`}
      ${answer.payload_hex && html`<${Block} id="hex" title="Payload, as it came" text=${dump(answer.payload_hex)} />`}
    </div>`;
}

const HEALING = { open: NONE, not_at_all: NONE, rebirth_snapshot: "values of now, by a rebirth" };
const GAPS = [
  { key: "state", title: "State", cell: (gap) => html`<${State} level=${gap.level} text=${{ open: "open", not_at_all: "lost" }[gap.healing] || "healed"} />` },
  { key: "node", title: "Node", cell: (gap) => html`<a href=${to("node", { server: gap.server, group: gap.group, node: gap.node })} tabindex="-1"><${Text} of=${gap.node} /></a><span class="where"><${Text} of=${gap.group} /></span>` },
  { key: "reason", title: "Reason", cell: (gap) => html`<${Text} of=${gap.reason} />` },
  { key: "missing", title: "Messages", number: true, cell: (gap) => (gap.missing === null ? NONE : count(gap.missing)) },
  { key: "late", title: "Came late", number: true, cell: (gap) => count(gap.late) },
  { key: "healing", title: "Healed by", cell: (gap) => html`<${Text} of=${HEALING[gap.healing] ?? String(gap.healing).replaceAll("_", " ")} />` },
  { key: "when", title: "Found", number: true, cell: (gap) => html`<${Ago} ms=${gap.found_ms} />` },
];
const SPANS = [["3600", "1 hour"], ["86400", "24 hours"], ["604800", "7 days"], ["2592000", "30 days"]];

export function Gaps({ at }) {
  const { server, group, node } = at;
  const since = at.since || "86400";
  const rows = useRows("/api/gaps", { since_seconds: since, server, group, node }, () => 5);
  const account = rows.extra.account || rows.before?.extra.account;
  return html`
    <h1 class="hidden">Gaps</h1>
    <${Tabs} label="Letters and gaps" of=${TABS} present="gaps" />
    ${account && html`<p class="account">${account.missing ? html`<${State} level="warning" text=${`${several(account.missing, "message")} missing`} />` : html`<${State} level="ok" text="No message is missing" />`}
      <span>${count(account.received)} of ${count(account.expected)} messages arrived${account.percent === null ? "" : ` (${percent(account.percent)})`}; ${several(account.gaps?.found ?? 0, "gap")}, ${count(account.gaps?.open ?? 0)} open</span></p>`}
    <div class="tools">
      <${Choice} label="Within" value=${since} options=${SPANS} onChoose=${(key) => amend({ since: key === "86400" ? undefined : key, from: undefined })} />
      ${node && html`<p class="scope">of <${Text} of=${node} most=${80} /> <button type="button" class="quiet" onClick=${() => go("#/gaps")}>all nodes</button></p>`}
      <${Found} rows=${rows} word="gap" />
    </div>
    <${List} name="gaps-list" label="Gaps, newest first" rows=${rows} columns=${GAPS} href=${(gap) => to("node", { server: gap.server, group: gap.group, node: gap.node })} from=${at.from} small=${48} large=${88}
      empty=${html`<${Empty}><p><${State} level="ok" text="No gaps in this time." /></p><p>Every message that the nodes numbered has arrived, as far as numbers tell.</p><//>`} />`;
}
