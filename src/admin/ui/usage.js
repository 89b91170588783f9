// Usage as it happens: requests, outcome, latency, by tool and endpoint, and what Close's rate limits leave.
import { html, useEffect, useMemo, useState } from './view.js';
import * as api from './api.js';
import { to } from './address.js';
import { Empty, Fault, Head } from './parts.js';
import { Chart } from './chart.js';
import { History } from './history.js';
import { growth, parse, quantile, sums } from './metrics.js';
import { compact, milliseconds, order } from './words.js';

export function Usage() {
  const { readings, fault } = useReadings();
  return html`<${Head} title="Usage"
    text=${html`Live, every ${PERIOD / 1000} seconds while this screen is open. <a href="/metrics">The same figures</a> are there for Prometheus.`} />
    <${Fault} fault=${fault} />
    ${readings.length > 0 && html`<${Live} readings=${readings} />`}
    <${History} />`;
}

/** Readings of this visit; they stay while other screens are open. */
const kept = [];

function useReadings() {
  const [state, set] = useState({ readings: kept, fault: null });
  useEffect(() => {
    let open = true;
    const take = async () => {
      if (document.hidden) return;
      try {
        const reading = digest(await api.metricsText(), Date.now() / 1000);
        if (!open) return;
        kept.push(reading);
        kept.splice(0, kept.length - KEPT);
        set({ readings: [...kept], fault: null });
      } catch (fault) {
        if (open) set({ readings: [...kept], fault });
      }
    };
    take();
    // The first figures need two readings: the second comes soon.
    const second = setTimeout(take, kept.length === 0 ? SOON : PERIOD);
    const timer = setInterval(take, PERIOD);
    return () => {
      open = false;
      clearTimeout(second);
      clearInterval(timer);
    };
  }, []);
  return state;
}

/** What the screen needs of one reading; the rest is let go. */
function digest(text, at) {
  const families = parse(text);
  const of = (name, label) => sums(families, name, label);
  return {
    at,
    byClass: of('requests_total', (labels) => `${labels.status[0]}xx`),
    byStatus: of('requests_total', (labels) => labels.status),
    byKey: of('requests_total', (labels) => labels.key),
    byEndpoint: of('endpoint_requests_total', (labels) => labels.endpoint),
    limited: of('requests_total', (labels) => (labels.status === '429' ? 'all' : null)),
    buckets: of('request_duration_seconds_bucket', (labels) => labels.le),
    inFlight: [...of('in_flight_requests', () => 'all').values()][0] ?? 0,
    remaining: of('rate_limit_remaining', (labels) => `${labels.credential} ${labels.group}`),
    quota: of('rate_limit_quota', (labels) => `${labels.credential} ${labels.group}`),
  };
}

const total = (map) => [...map.values()].reduce((sum, value) => sum + value, 0);

function Live({ readings }) {
  const now = readings.at(-1);
  const steps = useMemo(() => readings.slice(1).map((reading, index) => step(readings[index], reading)), [readings]);
  const last = steps.at(-1);
  // Time begins with the first reading, of which no rate is known.
  const line = (of) => [null, ...steps.map(of)];
  const moments = readings.map((reading) => reading.at);
  const series = useMemo(() => [moments, ...CLASSES.map((kind) => line((one) => one.rates.get(kind) ?? 0))], [steps]);
  const times = useMemo(() => [moments, line((one) => one.p50), line((one) => one.p95)], [steps]);
  if (total(now.byStatus) === 0)
    return html`<${Empty} icon="chart" title="No request yet"
    text="Connect a tool, and its requests appear here as they happen.">
    <a class="button primary" href=${to('connect')}>Connect a tool</a><//>`;
  return html`<dl class="gauges">
      <${Gauge} label="Requests a second" value=${last ? (last.rate < 10 ? last.rate.toFixed(1) : compact(last.rate)) : '…'} />
      <${Gauge} label="In flight" value=${compact(now.inFlight)} />
      <${Gauge} label="Half are done within" value=${last ? lately(last.p50) : '…'} />
      <${Gauge} label="95 % are done within" value=${last ? lately(last.p95) : '…'} />
      <${Gauge} label="Failed since the start" value=${compact((now.byClass.get('4xx') ?? 0) + (now.byClass.get('5xx') ?? 0))}
        of=${compact(total(now.byStatus))} /></dl>
    <div class="halves">
      <section class="card stack tight"><div class="card-head"><h2>Requests a second</h2>
        <${Legend} names=${CLASSES} colours=${[2, 1, 3, 4]} /></div>
        <${Chart} data=${series} names=${CLASSES} colours=${[2, 1, 3, 4]} unit="/s" label="Requests a second by status" /></section>
      <section class="card stack tight"><div class="card-head"><h2>Latency</h2>
        <${Legend} names=${['half', '95 %']} colours=${[1, 3]} /></div>
        <${Chart} data=${times} names=${['half', '95 %']} colours=${[1, 3]} unit=" ms"
        label="Latency of requests in milliseconds" /></section>
      <${Bars} title="By tool" amounts=${now.byKey}
        link=${(name) => (['none', 'anonymous', '_other'].includes(name) ? null : to('keys', name))}
        words=${{ none: 'no key', anonymous: 'open route', _other: 'other keys' }} />
      <${Bars} title="By endpoint" amounts=${now.byEndpoint} words=${{ none: 'none looked up, or not documented' }} mono=${true} />
      <${Bars} title="By status" amounts=${now.byStatus} words=${{ 499: '499, client left' }} />
      <${Headroom} remaining=${now.remaining} quota=${now.quota} /></div>`;
}

function step(before, now) {
  const seconds = Math.max(0.001, now.at - before.at);
  const grown = growth(now.byClass, before.byClass);
  const buckets = growth(now.buckets, before.buckets);
  const inMilliseconds = (share) => {
    const seconds = quantile(buckets, share);
    return seconds === null ? null : seconds * 1000;
  };
  return {
    rate: total(grown) / seconds,
    rates: new Map([...grown].map(([kind, amount]) => [kind, amount / seconds])),
    p50: inMilliseconds(0.5),
    p95: inMilliseconds(0.95),
  };
}

/** A time of the last seconds, in which there may have been no request. */
const lately = (time) => (time === null ? html`<small>no request just now</small>` : milliseconds(time));

const Gauge = ({ label, value, of }) => html`<div class="card gauge"><dt>${label}</dt><dd>
  ${value}${of && html` <small>of ${of}</small>`}</dd></div>`;

const Legend = ({ names, colours }) =>
  html`<ul class="legend-line">${names.map(
    (name, index) => html`<li key=${name}>
  <span class=${`swatch s${colours[index]}`}></span>${name}</li>`,
  )}</ul>`;

function Bars({ title, amounts, link = () => null, words = {}, mono }) {
  const sorted = [...amounts].filter(([, amount]) => amount > 0).sort((a, b) => b[1] - a[1] || order(a[0], b[0]));
  const most = sorted[0]?.[1] ?? 1;
  return html`<section class="card stack tight"><div class="card-head"><h2>${title}</h2>
    <span class="soft small">requests since the start</span></div>
    <ul class="bars">${sorted.slice(0, 8).map(
      ([name, amount]) => html`<li class="bar" key=${name}>
      <span class=${mono && !words[name] ? 'mono' : ''} title=${name}>${
        link(name)
          ? html`<a href=${link(name)}>
      ${name}</a>`
          : (words[name] ?? name)
      }</span><span class="amount">${compact(amount)}</span><span class="track">
      <span style=${{ width: `${(100 * amount) / most}%` }}></span></span></li>`,
    )}</ul>
    ${sorted.length > 8 && html`<p class="soft small">and ${sorted.length - 8} more</p>`}</section>`;
}

/** How full the emptiest of Close's limits still are. */
function Headroom({ remaining, quota }) {
  const rows = [...remaining]
    .map(([name, left]) => [name, left, quota.get(name) ?? 0])
    .filter(([, , limit]) => limit > 0)
    .sort((a, b) => a[1] / a[2] - b[1] / b[2] || order(a[0], b[0]));
  return html`<section class="card stack tight"><div class="card-head"><h2>Left of Close’s rate limits</h2></div>
    ${
      rows.length === 0
        ? html`<p class="soft">Known after the first answers of Close.</p>`
        : html`<ul class="bars">
      ${rows.slice(0, 8).map(([name, left, limit]) => {
        const share = left / limit;
        return html`<li class="bar" key=${name}><span title=${name}>${name.split(' ')[0]} <span class="faint mono">
        ${name.split(' ').slice(1).join(' ')}</span></span><span class="amount">${compact(left)} of ${compact(limit)}</span>
        <span class=${`track ${share < 0.1 ? 'bad' : share < 0.3 ? 'warn' : ''}`}><span style=${{ width: `${100 * share}%` }}>
        </span></span></li>`;
      })}</ul>`
    }</section>`;
}

const CLASSES = ['2xx', '3xx', '4xx', '5xx'];

/** Between two readings, in milliseconds. */
const PERIOD = 5000;
/** Between the first two. */
const SOON = 1000;
/** Half an hour of readings. */
const KEPT = 360;
