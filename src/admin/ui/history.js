// Usage as it was kept: by the minute for a day, by the day for 90, of one tool, endpoint, status, route or credential each.
import { html, useLoaded, useState } from './view.js';
import * as api from './api.js';
import { to } from './address.js';
import { Loaded, Segments } from './parts.js';
import { Chart } from './chart.js';
import { bytes, compact, count, dayOf, milliseconds, minuteOf, plural } from './words.js';

export function History() {
  const [since, look] = useState('24h');
  const [by, group] = useState('key');
  const loaded = useLoaded(`usage ${since} ${by}`, () => api.usage({ since, by, points: 60 }), { every: 10_000 });
  return html`<section class="card stack" aria-label="Usage that is kept"><div class="card-head"><h2>What was used</h2>
      <div class="tools"><${Segments} label="How far back" options=${PERIODS} value=${since} onPick=${look} />
      <${Segments} label="By what" options=${GROUPS} value=${by} onPick=${group} /></div></div>
    <${Loaded} of=${loaded} what="usage">${(usage) => html`<${Kept} usage=${usage} />`}<//></section>`;
}

function Kept({ usage }) {
  if (usage.rows.length === 0) return html`<p class="soft">No request in this time.</p>`;
  const { step_seconds: step, lines } = usage.chart;
  const begins = new Date(usage.since).getTime() / 1000;
  const shown = lines.slice(0, COLOURS.length);
  const names = shown.map((line) => called(usage.by, line.name));
  const data = [shown[0].requests.map((_, index) => begins + index * step), ...shown.map((line) => line.requests)];
  const tick = step >= 86_400 ? (at) => dayOf(at * 1000) : (at) => minuteOf(at * 1000);
  return html`<ul class="legend-line">${names.map(
    (name, index) => html`<li key=${name}><span class=${`swatch s${COLOURS[index]}`}></span>${name}</li>`,
  )}</ul>
    <${Chart} key=${`${usage.since} ${usage.by} ${names.join(' ')}`} data=${data} names=${names} colours=${COLOURS} unit="" tick=${tick}
      label=${`Requests in steps of ${step >= 86_400 ? `${step / 86_400} days` : `${Math.round(step / 60)} minutes`}`} />
    <div class="table-frame" tabindex="0" role="region" aria-label="Usage"><table class="rows"><thead><tr><th scope="col">Name</th>
      <th scope="col">Requests</th><th scope="col">Errors</th><th scope="col">429</th><th scope="col">Held</th>
      <th scope="col">In</th><th scope="col">Out</th><th scope="col">Half within</th>
      <th scope="col">95 % within</th></tr></thead>
      <tbody>${usage.rows.slice(0, ROWS).map((row) => html`<${Row} key=${row.name} by=${usage.by} row=${row} />`)}</tbody></table></div>
    <p class="soft small">${usage.rows.length > ROWS ? `and ${count(usage.rows.length - ROWS)} more; ` : ''}${plural(usage.total.requests, 'request')} in all. Times are estimates: the upper bound of a bucket.</p>`;
}

const Row = ({ by, row }) => html`<tr><th scope="row" class=${by === 'endpoint' ? 'mono' : ''}>${
  by === 'key' && !OTHERS[row.name] ? html`<a href=${to('keys', row.name)}>${row.name}</a>` : called(by, row.name)
}</th><td data-label="Requests">${compact(row.requests)}</td><td data-label="Errors">${compact(row.errors)}</td>
  <td data-label="429">${compact(row.rate_limited)}</td><td data-label="Held">${compact(row.waits)}</td>
  <td data-label="In">${bytes(row.request_bytes)}</td><td data-label="Out">${bytes(row.response_bytes)}</td>
  <td data-label="Half within">${milliseconds(row.p50_ms)}</td><td data-label="95 % within">${milliseconds(row.p95_ms)}</td></tr>`;

function called(by, name) {
  if (name === null) return 'the others';
  if (name === 'none') return { key: 'no key', endpoint: 'none looked up, or not documented' }[by] ?? 'none';
  return OTHERS[name] ?? name;
}

const OTHERS = { none: 'none', anonymous: 'open route', _other: 'beyond the bound' };

const PERIODS = [
  ['1h', 'Hour'],
  ['24h', 'Day'],
  ['7d', 'Week'],
  ['30d', 'Month'],
  ['90d', '90 days'],
];

const GROUPS = [
  ['key', 'Tool'],
  ['endpoint', 'Endpoint'],
  ['status', 'Status'],
  ['route', 'Route'],
  ['credential', 'Credential'],
];

/** The colours of lines; as many lines are drawn. */
const COLOURS = [1, 2, 3, 4];
const ROWS = 25;
