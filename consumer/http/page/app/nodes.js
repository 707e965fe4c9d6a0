// Which gateway is wrong? All nodes, worst first, and one node with its life.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./ui.js";
import { tell } from "./api.js";
import { ago, clock, count, fit, moment, NONE, percent, rate, several, short } from "./format.js";
import { Found, List, useRows } from "./list.js";
import { mayAct, serverNow } from "./live.js";
import { Act, Ago, Cause, Choice, Empty, Facts, Failed, For, Search, State, Text } from "./parts.js";
import { amend, to } from "./route.js";
import { useOne } from "./tags.js";

export const STATES = {
  duplicate: "duplicate", dead: "dead", silent: "silent", in_doubt: "in doubt",
  never_born: "never born", alive: "alive",
};
const SORTS = [["state", "worst first"], ["group", "group"], ["node", "node"], ["server", "server"], ["-rate", "rate"], ["-tags", "tags"], ["-gaps", "gaps"], ["-clock", "clock"], ["-birth", "last birth"], ["heard", "longest unheard"]];

const nodeHref = (node) => to("node", { server: node.server, group: node.group, node: node.node });

const COLUMNS = [
  { key: "state", title: "State", sort: "state", cell: (node) => html`<span title=${fit(node.state_text, 400)}><${State} level=${node.level} text=${STATES[node.state] || fit(node.state, 20)} /></span>` },
  { key: "node", title: "Node", sort: "node", cell: (node, href) => html`<a href=${href} tabindex="-1"><${Text} of=${node.node} /></a><span class="where"><${Text} of=${node.group} /></span>` },
  { key: "server", title: "Server", sort: "server", cell: (node) => html`<${Text} of=${node.server} />` },
  { key: "since", title: "Since", cell: (node) => (node.since_ms ? html`<${For} ms=${node.since_ms} />` : NONE) },
  { key: "devices", title: "Devices", number: true, cell: (node) => (node.devices_alive === node.devices ? count(node.devices) : `${count(node.devices_alive)} of ${count(node.devices)}`) },
  { key: "rate", title: "Rows/s", sort: "rate", number: true, cell: (node) => rate(node.rows_per_second) },
  { key: "seq", title: "Seq errors", number: true, cell: (node) => count(node.seq_errors) },
  { key: "gaps", title: "Gaps open", sort: "gaps", number: true, cell: (node) => html`<span class=${node.gaps_open ? "strong" : ""} title=${`${several(node.gaps_open, "gap")} open, ${count(node.gaps_healed)} healed, in 24 hours`}>${count(node.gaps_open)}<span class="of"> of ${count(node.gaps_open + node.gaps_healed)}</span></span>` },
  { key: "clock", title: "Clock", sort: "clock", number: true, cell: (node) => html`<span title="How far its clock is behind ours">${short(node.clock_offset_seconds)}</span>` },
  { key: "birth", title: "Last birth", sort: "birth", number: true, cell: (node) => html`<${Ago} ms=${node.last_birth_ms} />` },
];

// The server looks at all nodes for it: of many it is asked less often.
const pace = (total) => Math.max(1, Math.min(4, Math.ceil(total / 100)));

export function NodeList({ at }) {
  const { search, state, server, sort } = at;
  const rows = useRows("/api/nodes", { search, state, server, sort }, pace);
  const states = rows.extra.states || rows.before?.extra.states || {};
  const set = (changes) => amend({ ...changes, from: undefined });
  return html`
    <h1 class="hidden">Nodes</h1>
    <div class="tools">
      <${Search} label="Search group and node" text=${search} onText=${(words) => set({ search: words })} />
      <${Choice} label="State" value=${state} onChoose=${(key) => set({ state: key })}
        options=${[["", "any"], ...Object.entries(STATES).map(([key, text]) => [key, `${text} (${count(states[key] || 0)})`])]} />
      <${Choice} class="phone" label="Sort by" value=${sort || "state"} options=${SORTS} onChoose=${(key) => set({ sort: key === "state" ? undefined : key })} />
      <${Found} rows=${rows} word="node" />
    </div>
    <${List} name="nodes-list" label="Edge nodes, worst first" rows=${rows} columns=${COLUMNS} href=${nodeHref} sort=${sort || "state"} from=${at.from} small=${48} large=${88}
      empty=${html`<${Empty}>${search || state || server ? html`<p>No node is like this.</p><p><a href="#/nodes">Look at all nodes</a></p>`
        : html`<p>No edge node has been heard yet.</p><p>Is the topic filter right? It is <code>spBv1.0/#</code> unless <a href="#/configuration?search=filter">the configuration</a> says otherwise.</p>`}<//>`} />`;
}

const KINDS = {
  node_birth: ["born", "ok"], device_birth: ["device born", "ok"], node_death: ["died", "wrong"], device_death: ["device died", "wrong"],
  gap: ["gap", "warning"], rebirth_request: ["asked for births", "unknown"], quarantine: ["quarantine", "warning"], duplicate_node: ["duplicate", "wrong"],
  clock: ["clock", "warning"], connection_lost: ["connection lost", "warning"], gate: ["gate", "warning"], duplicate_host: ["duplicate host", "wrong"],
  not_born_again: ["not born again", "warning"], retired: ["retired", "unknown"], silent: ["silent", "warning"],
};
const LANES = [["births", ["node_birth", "device_birth"]], ["deaths", ["node_death", "device_death"]], ["rebirths", ["rebirth_request", "not_born_again"]], ["others", null]];
const laneOf = (kind) => { const at = LANES.findIndex(([, kinds]) => kinds?.includes(kind)); return at < 0 ? LANES.length - 1 : at; };
const kindOf = (event) => KINDS[event.kind] || [fit(event.kind, 30), event.level || "unknown"];

/** A strip of time, one lane for each kind of event. */
function Strip({ life }) {
  const [width, setWidth] = useState(1000);
  const box = useRef(null);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => setWidth(Math.max(240, box.current?.clientWidth ?? 0)));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const right = width - 16;
  const now = serverNow();
  const from = Math.min(now - 60_000, ...life.map((event) => event.time_ms));
  const x = (ms) => 84 + Math.max(0, Math.min(1, (ms - from) / (now - from))) * (right - 84);
  const LANE = 24;
  return html`
    <div class="strip" ref=${box}><svg viewBox=${`0 0 ${width} ${LANES.length * LANE + 24}`} role="img" aria-label=${`${several(life.length, "event")} since ${moment(from)}; they are listed below`}>
      ${LANES.map(([name], i) => html`<g key=${name}><text x="12" y=${i * LANE + 16}>${name}</text><path class="ground" d=${`M84 ${i * LANE + 12}H${right}`} /></g>`)}
      ${life.slice().reverse().map((event, i) => {
        const [word, level] = kindOf(event);
        return html`<path key=${i} class=${`mark ${level}`} d=${`M${x(event.time_ms).toFixed(1)} ${laneOf(event.kind) * LANE + 4}v16`}><title>${`${moment(event.time_ms)}: ${word}${event.device ? ` ${fit(event.device, 80)}` : ""}`}</title></path>`;
      })}
      <text x="84" y=${LANES.length * LANE + 18}>${ago(from, now)}</text><text class="end" x=${right} y=${LANES.length * LANE + 18}>now</text>
    </svg></div>`;
}

/** Asks for births once, and shows the birth arrive. */
function Births({ node, mayAsk }) {
  const [asked, setAsked] = useState(null);
  useEffect(() => setAsked(null), [node.server, node.group, node.node]);
  const name = `${fit(node.group, 80)} / ${fit(node.node, 80)}`;
  const came = asked && node.last_birth_ms !== null && node.last_birth_ms !== asked.before;
  return html`
    <section class="births" aria-labelledby="births"><h2 id="births">Ask for its births</h2>
      <p class="note">Sends a rebirth request to <bdi>${name}</bdi> over the server <${Text} of=${node.server} />. The node then publishes all of its tags once: ${count(node.tags)} of them. Nothing in it is changed.</p>
      ${mayAsk || !mayAct()
        ? html`<${Act} label="Ask for its births" class="main" run=${async () => {
            const { text } = await tell("/api/actions/rebirth", { server: node.server, group: node.group, node: node.node });
            setAsked({ before: node.last_birth_ms, at: serverNow() });
            return text;
          }} />`
        : html`<p><${State} level="unknown" text="A request cannot reach it now: its server is not connected, or this host is passive." /></p>`}
      <p class="came" role="status">${asked && (came
        ? html`<${State} level="ok" text=${`Its birth came at ${clock(node.last_birth_ms)}.`} />`
        : html`<${State} level="unknown" text=${`Asked ${ago(asked.at, serverNow())}; waiting for its birth.${serverNow() - asked.at > 30_000 ? " A node that does not answer may be down, or may not take commands." : ""}`} />`)}</p>
    </section>`;
}

export function Node({ at }) {
  const { server, group, node: id } = at;
  const { answer, error } = useOne("/api/node", { server, group, node: id });
  const back = html`<p class="back"><a data-up href="#/nodes">← Nodes</a></p>`;
  if (error && !answer) return html`<div class="page">${back}<${Failed} error=${error} /></div>`;
  if (!answer) return html`<div class="page">${back}<${Empty}>Asking …<//></div>`;
  const { node, devices, account, life, unmended } = answer;
  return html`
    <div class="page node">
      ${back}
      <h1><span class="over"><${Text} of=${node.group} most=${4096} class="long" /></span><${Text} of=${node.node} most=${4096} class="long" /></h1>
      <p class="now"><${State} level=${node.level} text=${fit(node.state_text || STATES[node.state], 400)} /></p>
      ${unmended && html`<${Cause} of=${unmended.problem} mend=${unmended.mend} />`}
      <section aria-labelledby="facts"><h2 id="facts">What is known</h2>
      <${Facts} of=${[
        ["MQTT server", html`<${Text} of=${node.server} />`],
        ["Last heard", html`<${Ago} ms=${node.last_heard_ms} />`],
        ["Last birth", html`<${Ago} ms=${node.last_birth_ms} />`],
        ["Last death", html`<${Ago} ms=${node.last_death_ms} />`],
        ["Births, deaths", `${count(node.births)}, ${count(node.deaths)}`],
        ["Asked", `${several(node.rebirths_asked, "time")} for its births`],
        ["Tags", html`<a href=${to("tags", { server, group, node: id })}>${several(node.tags, "tag")}</a>`],
        ["Rows/s", rate(node.rows_per_second)],
        ["Seq errors", `${count(node.seq_errors)} in 24 h`],
        ["Gaps", html`<a href=${to("gaps", { server, group, node: id })}>${count(node.gaps_open)} open, ${count(node.gaps_healed)} healed</a>`],
        ["Messages", account ? `${count(account.received)} of ${count(account.expected)} in 24 h (${percent(account.percent)})` : "no account yet"],
        ["Clock", node.clock_offset_seconds === null ? "not known" : `${short(Math.abs(node.clock_offset_seconds))} ${node.clock_offset_seconds >= 0 ? "behind" : "ahead"}`],
        ["bdSeq, seq", `${answer.bd_seq ?? NONE}, ${answer.next_seq ?? NONE}`],
        ["Ignition", answer.ignition ? "yes" : "not recognised"],
        answer.seen_in_part && ["Seen", "in part: another filter or consumer takes the rest"],
      ]} /></section>
      <${Births} node=${node} mayAsk=${answer.may_ask} />
      <section aria-labelledby="life"><h2 id="life">Its life</h2>
        ${life.length ? html`<${Strip} life=${life} />
        <div class="scroll" tabindex="0" role="region" aria-label="Events"><table class="plain"><thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col">Why, or more</th></tr></thead>
          <tbody>${life.slice(0, 100).map((event, i) => {
            const [word, level] = kindOf(event);
            return html`<tr key=${i}><td class="when"><${Ago} ms=${event.time_ms} /></td><td><${State} level=${level} text=${word} /></td>
              <td><${Text} of=${[event.device, event.reason, event.text].filter(Boolean).join(": ")} most=${600} class="long" /></td></tr>`;
          })}</tbody></table></div>` : html`<p class="note">Nothing has happened to it since the consumer started.</p>`}</section>
      <section aria-labelledby="devices"><h2 id="devices">Devices</h2>
        ${devices.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="Devices"><table class="plain"><thead><tr><th scope="col">Device</th><th scope="col">State</th><th scope="col" class="number">Tags</th><th scope="col" class="number">Rows/s</th><th scope="col" class="number">Born</th></tr></thead>
          <tbody>${devices.map((each) => html`<tr key=${each.device}><td><a href=${to("tags", { server, group, node: id, device: each.device })}><${Text} of=${each.device} /></a></td>
            <td><${State} level=${each.alive ? "ok" : "wrong"} text=${each.alive ? "alive" : "dead"} /></td><td class="number">${count(each.tags)}</td><td class="number">${rate(each.rows_per_second)}</td><td class="number"><${Ago} ms=${each.born_ms} /></td></tr>`)}</tbody></table></div>`
          : html`<p class="note">It has none; its tags are its own.</p>`}</section>
    </div>`;
}
