// What is going on now: one stream of updates for the whole page, and what to do when it breaks.

import { useEffect, useState } from "./ui.js";
import { ask, onUnauthorized, Refused, tell, whyRefused } from "./api.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15000;
const SILENCE = 6000; // an event comes each second; without one for so long the stream is broken
const RESTING = 30_000; // a page that nobody sees asks so rarely, and keeps no connection
const SAMPLES = 900;
const GONE = "see whether it runs; if it ended, its log says why";

/**
 * `status`: "starting", "live", "lost" or "signin". `lost`: {since, text, mend, next} while it is
 * "lost". `now` is the newest overview, null before the first; `samples` its columns.
 */
export const live = {
  status: "starting", session: null, now: null, samples: null, lost: null, skew: 0, beat: 0,
};

const listeners = new Set();
let source = null;
let timer = 0;
let wait = FIRST_WAIT;
let heard = 0;
let closing = "";
let resting = false;
let turn = 0; // who began before the last `close` has nothing more to say

function tellAll() {
  for (const listener of [...listeners]) listener();
}

/** Milliseconds since 1970 on the server's clock. */
export const serverNow = () => Date.now() + live.skew;

/** Draw again whenever something new is known. */
export function useLive() {
  const [, draw] = useState(0);
  useEffect(() => {
    const listener = () => draw((n) => n + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return live;
}

/** Call back on each update from the server, at most once a second. */
export function useBeat(callback) {
  useEffect(() => {
    let seen = live.beat;
    const listener = () => {
      if (live.beat === seen || document.hidden) return;
      seen = live.beat;
      callback();
    };
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, [callback]);
}

export const mayAct = () => live.session?.role === "operator";

function addSample(sample) {
  const columns = live.samples;
  if (!sample || !columns) return;
  const times = columns.time_ms;
  if (times.length && sample.time_ms <= times[times.length - 1]) return;
  for (const [name, column] of Object.entries(columns)) {
    if (!Array.isArray(column)) continue;
    column.push(sample[name] ?? null);
    if (column.length > SAMPLES) column.shift();
  }
}

function take(overview) {
  const { samples, sample, ...now } = overview;
  if (samples) live.samples = samples;
  addSample(sample);
  live.now = { ...live.now, ...now };
  live.skew = now.now_ms - Date.now();
}

function close() {
  turn += 1;
  resting = false;
  clearTimeout(timer);
  if (source) source.close();
  source = null;
}

function lose(text, mend) {
  close();
  const since = live.lost?.since ?? serverNow();
  live.status = "lost";
  live.lost = { since, text, mend, next: Date.now() + wait };
  timer = setTimeout(start, wait);
  wait = Math.min(wait * 2, LONGEST_WAIT);
  tellAll();
}

function loseBecause(error) {
  if (error.status === 401) return signInFirst();
  if (error.status === 0) return lose("The consumer does not answer", GONE);
  return lose(`The consumer refuses the page: ${error.message}`, "");
}

async function signInFirst() {
  close();
  live.session = live.session ? { ...live.session, name: null, role: null } : null;
  live.status = "signin";
  live.lost = null;
  live.now = null;
  live.samples = null;
  tellAll();
}

/** Begin, or begin again at once. */
export async function start() {
  close();
  heard = Date.now();
  const mine = turn;
  try {
    const session = await ask("/api/session");
    if (mine !== turn) return;
    live.session = session;
    if (session.role === null) return void signInFirst();
    const overview = await ask("/api/overview");
    if (mine !== turn) return;
    take(overview);
  } catch (error) {
    if (mine === turn) loseBecause(error);
    return;
  }
  heard = Date.now();
  if (document.hidden) rest();
  else listen();
}

function isLive() {
  wait = FIRST_WAIT;
  live.status = "live";
  live.lost = null;
}

/**
 * Nobody sees the page: browsers keep six connections to a server for all their tabs, and one is
 * for who looks. What the tab's title says is asked for now and then.
 */
function rest() {
  close();
  resting = true;
  timer = setTimeout(start, RESTING);
  isLive();
  tellAll();
}

function listen() {
  close();
  closing = "";
  source = new EventSource("/api/stream");
  source.addEventListener("now", (event) => {
    heard = Date.now();
    take(JSON.parse(event.data));
    isLive();
    live.beat += 1;
    tellAll();
  });
  source.addEventListener("closing", (event) => {
    closing = JSON.parse(event.data).why;
  });
  source.addEventListener("error", broken);
}

async function broken() {
  close();
  if (closing === "signed_out") return void start();
  if (closing === "stopping") {
    return void lose("The consumer is being stopped", "it comes back by itself if it is started again");
  }
  lose("The stream of updates has ended", "the page asks for it again by itself");
  const why = (await whyRefused("/api/session")) || (await whyRefused("/api/stream"));
  if (why && live.status === "lost" && why instanceof Refused) {
    if (why.status === 401) return void signInFirst();
    const gone = why.status === 0;
    live.lost.text = gone ? "The consumer does not answer" : `The consumer refuses the stream of updates: ${why.message}`;
    live.lost.mend = gone ? GONE : "";
    tellAll();
  }
}

// Once a second while nothing comes: ages go on, and a silent stream is found.
setInterval(() => {
  if (live.status === "live" && !resting && Date.now() - heard > SILENCE) {
    lose("No update has come for some seconds", "the page asks again by itself; see whether the consumer is overloaded");
  } else if (live.status === "lost") {
    tellAll();
  }
}, 1000);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    if (source) rest();
  } else if (resting || live.status === "lost") {
    start();
  }
});

export async function signIn(key) {
  live.session = await tell("/api/session", { key });
  live.status = "starting";
  tellAll();
  await start();
}

export async function signOut() {
  await tell("/api/session", undefined, "DELETE");
  await start();
}

onUnauthorized(() => {
  if (live.status !== "signin") signInFirst();
});
