// Small things that all places are made of.

import { html, useEffect, useRef, useState } from "./ui.js";
import { ago, duration, fit, machine, moment } from "./format.js";
import { mayAct, serverNow } from "./live.js";

const WORDS = { ok: "OK", warning: "Warning", wrong: "Wrong", unknown: "Unknown" };
const SHAPES = {
  ok: "M6 1a5 5 0 1 0 0 10A5 5 0 0 0 6 1Z",
  warning: "M6 .8 11.6 11H.4Z",
  wrong: "M3.7.5h4.6l3.2 3.2v4.6l-3.2 3.2H3.7L.5 8.3V3.7Z",
  unknown: "M6 1.7a4.3 4.3 0 1 0 0 8.6 4.3 4.3 0 0 0 0-8.6Z",
};

const known = (level) => (SHAPES[level] ? level : "unknown");

export const Shape = ({ level }) => html`
  <svg class=${`shape ${known(level)}`} viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
    <path d=${SHAPES[known(level)]} />
  </svg>`;

/** A state: shape, colour and word. */
export const State = ({ level, text }) => html`
  <span class=${`state ${known(level)}`}><${Shape} level=${level} /><span>${text || WORDS[known(level)]}</span></span>`;

/** A text of others: its letters turn nothing around it. */
export const Text = ({ of, most = 300, class: name }) => {
  const text = fit(of, most);
  return html`<bdi class=${name} title=${text.length > 24 ? text.slice(0, 1000) : undefined}>${text}</bdi>`;
};

/** A sentence: what it quotes between backticks is code. */
const Words = ({ of, most }) => fit(of, most).split("`").map((part, i, all) => (
  i % 2 && i < all.length - 1 ? html`<code>${part}</code>` : `${i % 2 ? "`" : ""}${part}`));

/** What is wrong, and what to do: the words of `check` and `status`. */
export const Mend = ({ of }) => (of ? html`<p class="mend"><span>To mend it: </span><bdi><${Words} of=${of} most=${900} /></bdi></p>` : null);
export const Cause = ({ of, mend, class: name }) => html`<div class=${`cause ${name || ""}`}><p><${Text} of=${of} most=${4000} class="long" /></p><${Mend} of=${mend} /></div>`;

/** For how long, with the exact time on hover. */
export const For = ({ ms }) => html`<time datetime=${machine(ms)} title=${`since ${moment(ms)}`}>for ${duration((serverNow() - ms) / 1000)}</time>`;

/** How long ago, with the exact time on hover. */
export const Ago = ({ ms }) => html`
  <time datetime=${machine(ms)} title=${moment(ms)}>${ago(ms, serverNow())}</time>`;

/** Why there is nothing here, and what to do next. */
export const Empty = ({ children }) => html`<div class="empty">${children}</div>`;

/** What went wrong with a request. */
export const Failed = ({ error }) => html`
  <div class="failed" role="alert"><${State} level="wrong" text="This cannot be shown" /><p><${Text} of=${error.message} most=${600} /></p></div>`;

/** Names and values beside each other. */
export const Facts = ({ of }) => html`
  <dl class="facts">${of.filter(Boolean).map(([name, what]) => html`<div key=${name}><dt>${name}</dt><dd>${what}</dd></div>`)}</dl>`;

/** A search field: "/" leads to it, Escape empties it and leaves it. */
export function Search({ label, text, onText }) {
  const [typed, setTyped] = useState(text || "");
  const timer = useRef(0);
  const field = useRef(null);
  useEffect(() => {
    if (document.activeElement !== field.current) setTyped(text || "");
  }, [text]);
  const type = (words) => {
    setTyped(words);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onText(words), 120);
  };
  return html`
    <label class="search"><span class="hidden">${label}</span>
      <input ref=${field} type="search" data-search placeholder=${label} value=${typed} spellcheck="false" autocomplete="off"
        onInput=${(event) => type(event.target.value)}
        onKeyDown=${(event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          if (typed) type("");
          else field.current.blur();
        }} />
      <kbd aria-hidden="true">/</kbd>
    </label>`;
}

export const Choice = ({ label, value, options, onChoose, class: name }) => html`
  <label class=${`choice ${name || ""}`}><span>${label}</span>
    <select value=${value || ""} onChange=${(event) => onChoose(event.target.value)}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === (value || "")}>${text}</option>`)}
    </select>
  </label>`;

/**
 * A button that changes something. It needs the role of an operator, says so where it is missing,
 * asks once where `sure` is given, and says how it ended.
 */
export function Act({ label, sure, run, class: name }) {
  const [state, set] = useState({ at: "ready", text: "" });
  const question = useRef(null);
  const may = mayAct();
  const begin = async () => {
    question.current?.close();
    set({ at: "busy", text: "" });
    try {
      set({ at: "ready", text: (await run()) || "" });
    } catch (error) {
      set({ at: "failed", text: error.message });
    }
  };
  return html`
    <div class=${`act ${name || ""}`}>
      <button type="button" disabled=${!may || state.at === "busy"}
        onClick=${() => (sure ? question.current.showModal() : begin())}>${label}</button>
      <span class=${state.at === "failed" ? "said wrong" : "said"} role="status">
        ${may ? fit(state.text, 400) : html`This needs an operator's key. <a href="#/signin">Sign in</a>`}</span>
      ${sure && html`<dialog ref=${question} aria-label=${label}>
        <p>${sure}</p>
        <div class="buttons">
          <button type="button" class="main" onClick=${begin}>${label}</button>
          <button type="button" autofocus onClick=${() => question.current.close()}>Leave it</button>
        </div>
      </dialog>`}
    </div>`;
}

/** Only one row of keys leads through these. */
export const Tabs = ({ label, of, present }) => html`
  <nav class="tabs" aria-label=${label}>${of.map(([key, text, href]) => html`
    <a key=${key} href=${href} aria-current=${key === present ? "page" : undefined}>${text}</a>`)}</nav>`;
