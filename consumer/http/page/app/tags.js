// Where is my tag? A tree, a search, and one tag with its last values.

import { html, useCallback, useEffect, useRef, useState } from "./ui.js";
import { ask } from "./api.js";
import { Chart, inWords } from "./charts.js";
import { count, fit, inBrief, mark, moment, NONE, rate, value } from "./format.js";
import { Found, List, useRows } from "./list.js";
import { useBeat, useLive } from "./live.js";
import { Ago, Choice, Empty, Facts, Failed, Search, State, Text } from "./parts.js";
import { amend, to } from "./route.js";
import { Tree } from "./tree.js";

const SORTS = [["path", "path"], ["name", "name"], ["datatype", "type"], ["unit", "unit"], ["quality", "quality"], ["-age", "oldest value"], ["-rate", "rate"], ["-rows", "rows"]];
const QUALITIES = [["", "any"], ["GOOD", "good"], ["UNCERTAIN", "uncertain"], ["STALE", "stale"], ["BAD", "bad"]];

export const tagHref = (tag) => to("tag", { server: tag.server, group: tag.group, node: tag.node, device: tag.device, name: tag.name });
const whereOf = (tag) => [tag.group, tag.node, tag.device].filter(Boolean).map((each) => fit(each, 100)).join(" / ");
const Value = ({ tag }) => html`<span class="value" title=${value(tag.value).slice(0, 300)}><bdi>${inBrief(tag.value)}</bdi>${tag.cut ? "…" : ""}</span>`;

const COLUMNS = [
  { key: "name", title: "Tag", sort: "path", cell: (tag, href) => html`<a href=${href} tabindex="-1"><${Text} of=${tag.name} /></a><span class="where"><bdi title=${fit(tag.path, 1000)}>${whereOf(tag)}</bdi></span>` },
  { key: "value", title: "Value", number: true, cell: (tag) => html`<${Value} tag=${tag} />` },
  { key: "unit", title: "Unit", sort: "unit", cell: (tag) => html`<${Text} of=${tag.unit || ""} most=${40} />` },
  { key: "quality", title: "Quality", sort: "quality", cell: (tag) => html`<${State} level=${tag.level} text=${fit(tag.quality || "none yet", 40)} />` },
  { key: "age", title: "Age", sort: "age", number: true, cell: (tag) => html`<${Ago} ms=${tag.time_ms} />` },
  { key: "rate", title: "Rows/s", sort: "rate", number: true, cell: (tag) => rate(tag.rows_per_second) },
];

/** What the list is narrowed to, each part with a way out of it. */
function Scope({ at }) {
  const parts = ["server", "group", "node", "device", "folder"].filter((key) => at[key]);
  if (!parts.length) return null;
  const last = parts[parts.length - 1];
  return html`<p class="scope">in ${parts.filter((key) => key !== "server" || parts.length === 1).map((key, i) => html`${i ? " / " : ""}<${Text} of=${at[key]} most=${80} />`)}
    <button type="button" class="quiet" onClick=${() => amend({ server: undefined, group: undefined, node: undefined, device: undefined, folder: undefined, from: undefined })} aria-label=${`Leave ${fit(at[last], 80)} and list all tags`}>all tags</button></p>`;
}

function TagList({ at }) {
  const { search, server, group, node, device, folder, quality, sort } = at;
  const rows = useRows("/api/tags", { search, server, group, node, device, folder, quality, sort });
  const set = (changes) => amend({ ...changes, from: undefined });
  return html`
    <div class="tools">
      <${Search} label="Search path, name, type, unit" text=${search} onText=${(words) => set({ search: words })} />
      <${Choice} label="Quality" value=${quality} options=${QUALITIES} onChoose=${(key) => set({ quality: key })} />
      <${Choice} class="phone" label="Sort by" value=${sort || "path"} options=${SORTS} onChoose=${(key) => set({ sort: key === "path" ? undefined : key })} />
      <${Found} rows=${rows} word="tag" />
    </div>
    <${Scope} at=${at} />
    <${List} name="tags-list" label="Tags" rows=${rows} columns=${COLUMNS} href=${tagHref} sort=${sort || "path"} from=${at.from} small=${48}
      empty=${html`<${Empty}>${search || quality || group
        ? html`<p>No tag is like this.</p><p>Search for fewer words, <a href="#/tags">or look at all tags</a>.</p>`
        : html`<p>No tag has been heard yet.</p><p>A tag comes with its node's birth. Is the topic filter right? It is among <a href="#/configuration?search=filter">the configuration</a>.</p>`}<//>`} />`;
}

/** One thing of the API, asked for again with each update. */
export function useOne(path, parameters) {
  const [state, set] = useState({ key: "", answer: null, error: null });
  const key = JSON.stringify([path, parameters]);
  const busy = useRef("");
  const present = useRef(key);
  present.current = key;
  const load = useCallback(async () => {
    if (busy.current === key) return;
    busy.current = key;
    try {
      const answer = await ask(path, parameters);
      if (present.current === key) set({ key, answer, error: null });
    } catch (error) {
      if (present.current === key) set((old) => ({ key, answer: old.key === key && error.status === 0 ? old.answer : null, error }));
    } finally {
      busy.current = "";
    }
  }, [key]);
  useEffect(() => void load(), [load]);
  useBeat(load);
  return state.key === key ? { ...state, load } : { key, answer: null, error: null, load };
}

function Values({ values, unit }) {
  const { status } = useLive();
  // History comes late: a line is drawn in the order of times, the table has the order of arrival.
  const timed = values.value.map((_, i) => i).filter((i) => values.time_ms[i] !== null).sort((a, b) => values.time_ms[a] - values.time_ms[b]);
  const numbers = timed.map((i) => values.value[i]).map((v) => (typeof v === "number" ? v : typeof v === "boolean" ? Number(v) : null));
  const numeric = values.value.some((v) => typeof v === "number" || typeof v === "boolean") && values.value.every((v) => v === null || typeof v !== "string");
  const newest = values.value.map((_, i) => i).reverse().slice(0, 50);
  const unitText = unit ? ` (${fit(unit, 40)})` : "";
  return html`
    ${numeric && timed.length > 1 && html`<${Chart} title=${`Last ${count(numbers.length)} values${unitText}`} times=${timed.map((i) => values.time_ms[i])} arrived=${values.received_ms[values.received_ms.length - 1]} height=${208} stale=${status === "lost"}
      format=${mark} label=${`Last ${numbers.length} values${unitText}: ${inWords(numbers, value)}`} lines=${[{ label: "value", values: numbers }]} />`}
    <div class="scroll" tabindex="0" role="region" aria-label="Last values"><table class="plain"><thead><tr><th scope="col">Time, UTC</th><th scope="col" class="number">Value</th><th scope="col">Quality</th><th scope="col" class="from">From</th></tr></thead>
      <tbody>${newest.map((i) => html`<tr key=${`${values.time_ms[i]} ${values.received_ms[i]} ${i}`}>
        <td><time title=${moment(values.time_ms[i])}>${moment(values.time_ms[i]).slice(11, 23)}</time></td><td class="number"><bdi class=${typeof values.value[i] === "string" ? "long" : ""}>${value(values.value[i])}</bdi></td>
        <td>${fit(values.quality[i], 40)}</td><td class="from">${fit(values.message_type[i], 20)}${values.historical[i] ? ", history" : ""}</td></tr>`)}</tbody></table></div>`;
}

function Tag({ at }) {
  const { server, group, node, device, name } = at;
  const { answer, error } = useOne("/api/tag", { server, group, node, device, name });
  if (error && !answer) return html`<div class="page"><${Back} at=${at} /><${Failed} error=${error} /></div>`;
  if (!answer) return html`<div class="page"><${Back} at=${at} /><${Empty}>Asking …<//></div>`;
  const { tag, birth, values } = answer;
  return html`
    <div class="page tag">
      <${Back} at=${at} />
      <h1><${Text} of=${tag.name} most=${4096} class="long" /></h1>
      <p class="now"><strong class=${typeof tag.value === "string" && tag.value.length > 24 ? "prose" : ""}><bdi>${value(tag.value)}</bdi></strong> <${Text} of=${tag.unit || ""} most=${40} />
        <${State} level=${tag.level} text=${fit(tag.quality || "no value yet", 40)} /> <span class="age"><${Ago} ms=${tag.time_ms} /></span></p>
      ${values.time_ms.length > 0 ? html`<section aria-labelledby="values"><h2 id="values">Last values</h2><${Values} values=${values} unit=${tag.unit} /></section>`
        : html`<p class="note">No value is kept yet: from now on the last 500 are, for five minutes after somebody looked.</p>`}
      <section aria-labelledby="facts"><h2 id="facts">What is known</h2>
        <${Facts} of=${[
          ["Node", html`<a href=${to("node", { server, group, node })}><${Text} of=${`${group} / ${node}`} /></a>`],
          device && ["Device", html`<${Text} of=${device} />`],
          ["MQTT server", html`<${Text} of=${server} />`],
          ["Path", html`<${Text} of=${tag.path} most=${4200} class="long" />`],
          ["Datatype", fit(tag.datatype || NONE, 60)],
          ["Alias", answer.alias === null ? "none" : count(answer.alias)],
          ["Quality code", tag.quality_code === null || tag.quality_code === undefined ? NONE : String(tag.quality_code)],
          ["Rows", `${count(tag.rows)}${tag.rows_per_second === null ? "" : `, ${rate(tag.rows_per_second)} per second`}`],
          ["Arrived", html`<${Ago} ms=${tag.received_ms} />`],
          ["Source system", html`<${Text} of=${answer.source_system_id} />`],
          ["Last event_id", html`<code class="long">${fit(answer.event_id || NONE, 80)}</code>`],
        ]} /></section>
      <section aria-labelledby="birth"><h2 id="birth">Its birth</h2>
        ${birth ? html`<p class="note">${fit(birth.message_type, 20)}, <${Ago} ms=${birth.received_ms} />${birth.seq === null || birth.seq === undefined ? "" : `, seq ${birth.seq}`}${birth.is_transient ? ", transient" : ""}</p>
          ${birth.properties.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Properties of the birth"><table class="plain"><thead><tr><th scope="col">Property</th><th scope="col">Type</th><th scope="col">Value</th></tr></thead>
            <tbody>${birth.properties.map((each, i) => html`<tr key=${i}><td><${Text} of=${each.name} class="long" /></td><td>${fit(each.type, 40)}</td><td><bdi class="long">${value(each.value)}</bdi></td></tr>`)}</tbody></table></div>` : html`<p class="note">It has no properties.</p>`}`
          : html`<p class="note">The birth is not kept. Ask the node for its births to see its properties.</p>`}</section>
    </div>`;
}

/** Back to the list: the way one came, if one came from there. */
const Back = ({ at }) => html`<p class="back"><a data-up href=${to("tags", { server: at.server, group: at.group, node: at.node, device: at.device })}>← Tags of <${Text} of=${at.device || at.node} most=${60} /></a></p>`;

export function Tags({ route }) {
  const { now } = useLive();
  const [browsing, browse] = useState(false);
  const isTag = route.place === "tag";
  return html`
    <div class="split">
      <aside class=${browsing ? "open" : ""} aria-label="Browse">
        <button type="button" class="phone browse" aria-expanded=${String(browsing)} onClick=${() => browse(!browsing)}>${browsing ? "Close the tree" : "Browse by node"}</button>
        <${Tree} version=${now?.versions?.tags} at=${route.at} />
      </aside>
      <div class=${isTag ? "pane scrolls" : "pane"} tabindex=${isTag ? "0" : undefined} role=${isTag ? "region" : undefined} aria-label=${isTag ? "Tag" : undefined}>
        ${isTag ? html`<${Tag} key=${location.hash} at=${route.at} />` : html`<h1 class="hidden">Tags</h1><${TagList} at=${route.at} />`}
      </div>
    </div>`;
}
