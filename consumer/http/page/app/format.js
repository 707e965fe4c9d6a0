// Numbers, times and texts as people read them.

const EN = "en-US"; // thousands as in the texts of the server, not as the browser happens to be set
const whole = new Intl.NumberFormat(EN, { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat(EN, { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const exact = new Intl.NumberFormat(EN, { maximumSignificantDigits: 15 });

export const NONE = "–";

/** A count, thousands grouped. */
export const count = (n) => (n === null || n === undefined ? NONE : whole.format(n));

/** A rate: one decimal below 100. */
export function rate(n) {
  if (n === null || n === undefined) return NONE;
  return n !== 0 && Math.abs(n) < 100 ? tenth.format(n) : whole.format(n);
}

/** "1 node", "2 nodes". */
export const several = (n, word, words = `${word}s`) => `${count(n)} ${n === 1 ? word : words}`;

/** Of all that was expected, as a number of percent: never "100" while something is missing. */
export function percent(n) {
  const floor = Math.floor(n * 100) / 100;
  return `${brief.format(floor)} %`;
}

/** A number at an axis: no decimals where there is nothing behind the point. */
export const mark = (n) => (Number.isInteger(n) ? whole.format(n) : brief.format(n));

/** Seconds as a short duration: "12 s", "3 min", "4 h 12 min", "5 d". */
export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) {
    const minutes = Math.floor((s % 3600) / 60);
    return minutes ? `${Math.floor(s / 3600)} h ${minutes} min` : `${Math.floor(s / 3600)} h`;
  }
  const hours = Math.floor((s % 86400) / 3600);
  return hours ? `${Math.floor(s / 86400)} d ${hours} h` : `${Math.floor(s / 86400)} d`;
}

/** Seconds of latency or of an offset: "210 ms", "0.9 s". */
export function short(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const size = Math.abs(seconds);
  if (size < 1) return `${whole.format(seconds * 1000)} ms`;
  return size < 100 ? `${tenth.format(seconds)} s` : `${seconds < 0 ? "−" : ""}${duration(size)}`;
}

/** How long ago: "now", "3 s ago", "2 h ago". Of the largest unit alone: it does not jump. */
export function ago(ms, now) {
  if (ms === null || ms === undefined) return "never";
  const s = Math.floor((now - ms) / 1000);
  if (s < 1) return s < -2 ? "in the future" : "now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return `${count(Math.floor(s / 86400))} d ago`;
}

const iso = (ms) => {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
};

/** The exact time: "2026-11-30 12:04:11.123 UTC". */
export function moment(ms) {
  const text = ms === null || ms === undefined ? null : iso(ms);
  return text === null ? "never" : `${text.slice(0, 10)} ${text.slice(11, 23)} UTC`;
}

/** The time of the day: "12:04:11 UTC". */
export function clock(ms) {
  const text = iso(ms);
  return text === null ? NONE : `${text.slice(11, 19)} UTC`;
}

/** What `<time datetime>` takes. */
export const machine = (ms) => (ms === null || ms === undefined ? undefined : iso(ms) || undefined);

// As the log and the command line do it (consumer/foreign.py): what cannot be seen, what turns
// the direction of writing, and what breaks lines is written as in a string literal of Python.
const UNFIT = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\u{e0100}-\u{e01ef}]/gu;
const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escape(character) {
  const code = character.codePointAt(0);
  const hex = code.toString(16);
  if (code < 0x100) return SHORT[character] || `\\x${hex.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

/** A text of others, made fit to be seen, cut at `most` characters. */
export function fit(text, most = 5000) {
  const all = String(text ?? "");
  const cut = all.length > most ? `${all.slice(0, most).toWellFormed?.() ?? all.slice(0, most)}…` : all;
  return cut.replace(UNFIT, escape);
}

const brief = new Intl.NumberFormat(EN, { maximumSignificantDigits: 7 });

/** A value in a list: a number to seven digits, a text to 200 characters. */
export const inBrief = (v) => (typeof v === "number" ? brief.format(v) : value(typeof v === "string" ? v.slice(0, 200) : v));

/** A value of a tag as text. */
export function value(v) {
  if (v === null || v === undefined) return NONE;
  if (typeof v === "number") return exact.format(v);
  if (typeof v === "boolean") return v ? "true" : "false";
  return fit(typeof v === "string" ? v : JSON.stringify(v));
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Bytes: "1.2 KiB". */
export function bytes(n) {
  if (n === null || n === undefined) return NONE;
  let size = n;
  let unit = 0;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit ? tenth.format(size) : whole.format(size)} ${UNITS[unit]}`;
}
