// Charts: uPlot for large ones, a path for small ones. Colours come from the style sheet.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./ui.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const BARS = 90;
const LEAST = 120; // seconds that a chart of the last minutes shows, however little there is yet

function useScheme(alsoStale) {
  const [scheme, set] = useState(dark.matches);
  useEffect(() => {
    const listener = () => set(dark.matches);
    dark.addEventListener("change", listener);
    return () => dark.removeEventListener("change", listener);
  }, []);
  return `${scheme}${alsoStale}`;
}

/** A range with some room above and below. */
function around(low, high) {
  const room = high > low ? (high - low) / 8 : Math.abs(high) / 8 || 1;
  return [low - room, high + room];
}

const known = (v) => v !== null && v !== undefined && Number.isFinite(v);

/** The last 15 minutes as a line without axes. */
export function Spark({ values }) {
  const step = Math.max(1, Math.ceil((values?.length || 0) / BARS));
  const points = [];
  for (let end = values?.length || 0; end > 0; end -= step) {
    const some = values.slice(Math.max(0, end - step), end).filter(known);
    points.unshift(some.length ? Math.max(...some) : null);
  }
  const top = Math.max(1e-9, ...points.filter(known));
  const width = 240;
  let line = "";
  points.forEach((v, i) => {
    if (!known(v)) return;
    const x = width - (points.length - 1 - i) * (width / (BARS - 1));
    const y = 38 - (v / top) * 34;
    line += `${line && known(points[i - 1]) ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return html`<svg class="spark" viewBox="0 0 240 40" preserveAspectRatio="none" aria-hidden="true"><path class="ground" d="M0 39.5H240" /><path class="line" d=${line} /></svg>`;
}

/**
 * `times`: milliseconds; `lines`: [{label, values}]; `format(number)`: as text; `label`: for who
 * does not see it. `arrived`: changes when there are others though the newest is what it was.
 * `seconds`: how much time it shows at most, from 0 up; left out: all there is.
 */
export function Chart({ title, label, times, lines, format, seconds, height = 176, stale, arrived }) {
  const box = useRef(null);
  const plot = useRef(null);
  const scheme = useScheme(stale);
  const data = [times.map((ms) => ms / 1000), ...lines.map((line) => line.values)];
  const newest = data[0][data[0].length - 1];

  useLayoutEffect(() => {
    const css = getComputedStyle(box.current);
    const colour = (name) => css.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--muted"), font: `12px ${css.fontFamily}`,
      grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false },
    };
    plot.current = new window.uPlot({
      width: Math.max(160, box.current.clientWidth), height,
      cursor: { y: false, points: { size: 6 } },
      legend: { show: false },
      padding: [8, 8, 0, 0],
      tzDate: (s) => window.uPlot.tzDate(new Date(s * 1000), "UTC"),
      scales: {
        x: { range: (_, from, to) => (seconds && newest ? [Math.max(to - seconds, Math.min(from, to - LEAST)), to] : [from, to > from ? to : from + 1]) },
        y: { range: (_, low, high) => (!known(low) ? [0, 1] : seconds ? [0, high > 0 ? high * 1.1 : 1] : around(low, high)) },
      },
      axes: [
        { ...axis, size: 28, gap: 6, space: 72, values: (_, ticks, __, ___, step) => ticks.map((s) => new Date(s * 1000).toISOString().slice(11, step < 60 ? 19 : 16)) },
        { ...axis, size: 60, space: 36, values: (_, ticks) => ticks.map(format) },
      ],
      series: [
        {},
        ...lines.map((line, i) => ({
          label: line.label, stroke: colour(`--chart-${i + 1}`), width: 1.75, dash: i ? [6, 4] : undefined,
          points: { show: data[0].length < 3 ? true : (_, __, a, b) => b - a < 60 && lines.length === 1 && !seconds, size: 5 },
        })),
      ],
    }, data, box.current);
    const watch = new ResizeObserver(() => {
      const width = box.current?.clientWidth;
      if (width && width !== plot.current?.width) plot.current.setSize({ width, height });
    });
    watch.observe(box.current);
    return () => {
      watch.disconnect();
      plot.current.destroy();
      plot.current = null;
    };
  }, [scheme, lines.length, height, seconds, Boolean(newest)]);

  useEffect(() => plot.current?.setData(data), [newest, times.length, arrived]);

  return html`
    <figure class="chart">
      <figcaption>${title}
        ${lines.length > 1 && html`<span class="keys" aria-hidden="true">${lines.map((line, i) => html`<span key=${line.label}><svg viewBox="0 0 20 8" width="20" height="8"><path class=${`key-${i + 1}`} d="M0 4H20" /></svg>${line.label}</span>`)}</span>`}
      </figcaption>
      <div class="plot" role="img" aria-label=${label} ref=${box}></div>
    </figure>`;
}

/** A line in words, for who does not see it: "now 1,042, least 900, most 1,200". */
export function inWords(values, format) {
  const some = (values || []).filter(known);
  if (!some.length) return "nothing yet";
  const last = values[values.length - 1];
  return `now ${known(last) ? format(last) : "unknown"}, least ${format(Math.min(...some))}, most ${format(Math.max(...some))}`;
}
