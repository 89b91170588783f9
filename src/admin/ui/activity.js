// What happened: administrative changes, and why the gateway refuses what it refuses.
import { html, useEffect, useMemo, useState, useLoaded, useTask } from './view.js';
import * as api from './api.js';
import { refine } from './address.js';
import { Button, Empty, Fault, Head, Loaded, Segments, Snippet, When } from './parts.js';
import { Subject, actionText } from './happenings.js';
import { parse } from './metrics.js';
import { count } from './words.js';

export function Activity({ query }) {
  const view = query.get('view') ?? 'changes';
  return html`<${Head} title="Activity" text="Who changed what, when and from where; and what was refused." />
    <${Segments} label="Kind of activity" options=${[
      ['changes', 'Changes'],
      ['refusals', 'Refusals'],
    ]} value=${view}
      onPick=${(one) => refine({ view: one === 'changes' ? '' : one })} />
    ${view === 'refusals' ? html`<${Refusals} />` : html`<${Changes} query=${query} />`}`;
}

const KINDS = [
  ['', 'Everything'],
  ['credential.', 'Credentials'],
  ['key.', 'Keys'],
  ['route.', 'Routes'],
  ['session.', 'Sign-ins'],
];

function Changes({ query }) {
  const action = query.get('action') ?? '';
  const search = new URLSearchParams({ limit: '50', ...(action && { action }) });
  const loaded = useLoaded(`events ${search}`, () => api.read(`/api/v1/events?${search}`), { every: 10_000 });
  const [older, add] = useState({ events: [], next: null });
  const [busy, fault, run] = useTask();
  useEffect(() => add({ events: [], next: null }), [action]);
  const more = () =>
    run(async () => {
      search.set('cursor', older.next ?? loaded.data.next);
      const page = await api.read(`/api/v1/events?${search}`);
      add({ events: [...older.events, ...page.data], next: page.next });
    });
  return html`<${Segments} label="Which changes" options=${KINDS} value=${action} onPick=${(one) => refine({ action: one })} />
    <${Loaded} of=${loaded} what="events">${(page) => {
      const known = new Set(page.data.map((event) => event.id));
      const events = [...page.data, ...older.events.filter((event) => !known.has(event.id))];
      const next = older.events.length > 0 ? older.next : page.next;
      if (events.length === 0)
        return html`<${Empty} icon="clock" title="Nothing happened yet"
        text="Whatever is added, changed, revoked, and every sign-in, is listed here with who did it and from where." />`;
      return html`<div class="table-frame" tabindex="0" role="region" aria-label="Events"><table><thead><tr>
        <th scope="col">When</th><th scope="col">Who</th><th scope="col">What</th><th scope="col" class="minor">From</th></tr>
        </thead>
        <tbody>${events.map(
          (event) => html`<tr key=${event.id}><td><${When} at=${event.at} full=${true} /></td><td>
          ${event.actor}</td><td>${actionText(event.action)} <${Subject} event=${event} /><${Details} detail=${event.detail} /></td>
          <td class="minor mono small">${event.from ?? ''}</td></tr>`,
        )}</tbody></table></div>
        <${Fault} fault=${fault} />${next && html`<div><${Button} busy=${busy} onClick=${more}>Show older<//></div>`}`;
    }}<//>`;
}

const Details = ({ detail }) => {
  const entries = Object.entries(detail ?? {}).filter(
    ([, value]) => value !== null && value !== '' && !(Array.isArray(value) && value.length === 0),
  );
  return (
    entries.length > 0 &&
    html`<div class="detail-list">${entries.map(
      ([name, value]) => html`<span key=${name}>
    ${name.replaceAll('_', ' ')}: ${Array.isArray(value) ? value.join(', ') : typeof value === 'object' ? JSON.stringify(value) : String(value)}</span>`,
    )}</div>`
  );
};

/** What each code means and what to do: in short, of `docs/errors.md`. */
const CODES = {
  key_missing: 'A request without a gateway key.',
  key_invalid: 'The key is unknown, expired or revoked.',
  key_ambiguous: 'Two keys, or a key in the address.',
  scope_missing: 'The key lacks the scope of the operation.',
  path_denied: 'A rule of the key or the route does not allow it.',
  no_route: 'No route for the path, or the key may not use it.',
  origin_refused: 'A browser sent it from another site.',
  host_refused: 'The Host is not one of the listener’s.',
  secrets_endpoint: 'Close’s own key and token endpoints are never reachable.',
  key_rate_limited: 'The key’s rate is used up.',
  key_concurrency_limited: 'Too many requests of the key at once.',
  key_quota_exhausted: 'The key’s day is used up.',
  upstream_rate_limited: 'Close’s rate limit is used up.',
  credential_unavailable: 'The credential cannot be used.',
  path_not_canonical: 'A path that two readers could see in two ways.',
  request_malformed: 'No proper HTTP request.',
  method_refused: 'TRACE or CONNECT.',
  request_timeout: 'The request took too long to arrive.',
  body_too_large: 'The body is too long.',
  uri_too_long: 'The address is too long.',
  headers_too_large: 'The headers are too long.',
  overloaded: 'No place is free.',
  draining: 'The gateway was stopping.',
  internal: 'A fault of closegate.',
  upstream_unreachable: 'Close could not be reached.',
  upstream_timeout: 'Close did not answer in time.',
  upstream_invalid: 'Close’s answer was malformed.',
  upstream_closed: 'Close closed the connection.',
  upstream_tls: 'Close’s certificate does not hold.',
};

function Refusals() {
  const metrics = useLoaded('metrics', api.metricsText, { every: 10_000 });
  const rows = useMemo(
    () =>
      (parse(metrics.data ?? '').get('refused_requests_total') ?? [])
        .filter((one) => one.value > 0)
        .sort((a, b) => b.value - a.value),
    [metrics.data],
  );
  return html`<div class="columns"><div class="stack"><${Loaded} of=${metrics} what="refusals">
    ${() =>
      rows.length === 0
        ? html`<${Empty} icon="check" title="Nothing was refused"
    text="Since the gateway started, every request was passed on." />`
        : html`<div class="table-frame" tabindex="0" role="region"
    aria-label="Refusals since the start"><table><thead><tr><th scope="col">Code</th><th scope="col">Route</th>
    <th scope="col" class="number">Requests</th></tr></thead>
      <tbody>${rows.map(
        ({ labels, value }) => html`<tr key=${labels.code + labels.route}><th scope="row"><code>
        ${labels.code}</code><div class="soft small">${CODES[labels.code] ?? ''}</div></th><td>
        ${labels.route === 'none' ? html`<span class="faint">none</span>` : labels.route}</td><td class="number">
        ${count(value)}</td></tr>`,
      )}</tbody></table></div>
      <p class="soft small">Counted since the gateway started. The access record of each request names its code, its key and its path.</p>`}<//></div>
    <section class="card stack tight"><h2>Why one is refused</h2><p class="soft">The command line says it by the gateway’s own steps, without sending anything:</p>
      <${Snippet} text="closegate route explain GET /sales/api/v1/lead/ --key NAME" what="the command that explains" /></section></div>`;
}
