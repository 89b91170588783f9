// A chart of what happened over time, drawn by uPlot in the colours of the theme.
import { html, useEffect, useRef } from './view.js';

let library = null;

/** Loaded when the first chart is drawn: most screens have none. */
function load() {
  library ??= Promise.all([
    import('./vendor/uplot.js'),
    new Promise((done) => {
      const sheet = document.createElement('link');
      sheet.rel = 'stylesheet';
      sheet.href = 'ui/vendor/uplot.css';
      sheet.onload = sheet.onerror = done;
      document.head.append(sheet);
    }),
  ]).then(([module]) => module.default);
  return library;
}

const clock = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const ticks = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 2 });
const compact = (amount) => ticks.format(amount);

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options(names, colours, unit, width, tick) {
  const axis = {
    stroke: colour('--ink-faint'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false },
    font: `12px ${colour('--sans')}`,
  };
  return {
    width,
    height: 200,
    legend: { show: false },
    cursor: { y: false, points: { size: 7 } },
    scales: {
      x: { range: (_, low, high) => [Math.min(low, high - SPAN), high] },
      y: { range: (_, low, high) => [0, Math.max(high, 1) * 1.1] },
    },
    axes: [
      { ...axis, size: 30, space: 80, values: (_, ticks) => ticks.map(tick) },
      { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => `${compact(tick)}${unit}`) },
    ],
    series: [
      {},
      ...names.map((name, index) => ({
        label: name,
        stroke: colour(`--series-${colours[index]}`),
        width: 2,
        spanGaps: true,
        points: { show: ({ data }) => data[0].length < 4, size: 6 },
      })),
    ],
  };
}

const second = (at) => clock.format(at * 1000);

/** `data` is uPlot's: seconds since 1970, then a list of values a series; `tick` writes a moment below it. */
export function Chart({ data, names, colours, unit, label, tick = second }) {
  const place = useRef(null);
  const chart = useRef(null);
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => {
    let open = true;
    const draw = async () => {
      const UPlot = await load();
      if (!open) return;
      chart.current?.destroy();
      chart.current = new UPlot(
        options(names, colours, unit, place.current.clientWidth, tick),
        latest.current,
        place.current,
      );
    };
    draw();
    const fit = new ResizeObserver(() => chart.current?.setSize({ width: place.current.clientWidth, height: 200 }));
    fit.observe(place.current);
    addEventListener('themechange', draw);
    return () => {
      open = false;
      fit.disconnect();
      removeEventListener('themechange', draw);
      chart.current?.destroy();
      chart.current = null;
    };
  }, []);
  useEffect(() => {
    chart.current?.setData(data);
  }, [data]);
  const newest = names.map((name, index) => `${name}: ${data[index + 1].at(-1)?.toFixed?.(1) ?? 'none'}${unit}`).join(', ');
  return html`<div class="chart" ref=${place} role="img" aria-label=${`${label}. Now ${newest}`}></div>`;
}

/** So many seconds are shown at least. */
const SPAN = 120;
