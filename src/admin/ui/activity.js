// What happened: administrative changes, and why the gateway refuses what it refuses.
import { html, useEffect, useMemo, useState, useLoaded, useTask } from './view.js';
import * as api from './api.js';
import { refine, to } from './address.js';
import { Button, Empty, Fault, Head, Loaded, Segments, When } from './parts.js';
import { Subject, actionText } from './happenings.js';
import { parse } from './metrics.js';
import { count, order } from './words.js';

export function Activity({ query }) {
  const view = query.get('view') ?? 'changes';
  return html`<${Head} title="Activity" text="Who changed what, when and from where; and what was refused." />
    <${Segments} label="Kind of activity" options=${[
      ['changes', 'Changes'],
      ['refusals', 'Refusals'],
    ]} value=${view}
      onPick=${(one) => refine({ view: one === 'changes' ? '' : one })} />
    ${view === 'refusals' ? html`<${Refusals} query=${query} />` : html`<${Changes} query=${query} />`}`;
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
        return html`<${Empty} icon="clock" title=${action ? 'Nothing of this kind happened yet' : 'Nothing happened yet'}
        text="Whatever is added, changed, revoked, and every sign-in, is listed here with who did it and from where." />`;
      return html`<div class="table-frame" tabindex="0" role="region" aria-label="Events"><table class="rows"><thead><tr>
        <th scope="col">When</th><th scope="col">Who</th><th scope="col">What</th><th scope="col">From</th></tr>
        </thead>
        <tbody>${events.map(
          (event) => html`<tr key=${event.id}><td data-label="When"><${When} at=${event.at} full=${true} /></td>
          <td data-label="Who">${event.actor}</td><td data-label="What"><div>${actionText(event.action)} <${Subject} event=${event} /><${Details} detail=${event.detail} /></div></td>
          <td class="mono small" data-label="From">${event.from ?? ''}</td></tr>`,
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

function Refusals({ query }) {
  const [key, code] = [query.get('key') ?? '', query.get('code') ?? ''];
  const asked = { limit: '200', ...(key && { key }), ...(code && { code }) };
  const loaded = useLoaded(`refusals ${key} ${code}`, () => api.refusals(asked), { every: 5000 });
  const filtered = key || code;
  return html`<div class="whole">${
    filtered &&
    html`<div class="tools">${key && html`<${Button} onClick=${() => refine({ key: '' })}>Key ${key}, show all keys<//>`}
      ${code && html`<${Button} onClick=${() => refine({ code: '' })}>${code}, show all codes<//>`}</div>`
  }
    <${Loaded} of=${loaded} what="refusals">${(refusals) =>
      refusals.length === 0
        ? html`<${Empty} icon="check" title=${filtered ? 'Nothing like that was refused' : 'Nothing was refused'}
            text=${filtered ? 'None of the refusals that are remembered fits.' : 'Since the gateway started, every request was passed on.'} />`
        : html`<${RefusalTable} refusals=${refusals} />`}<//>
    <${Totals} /></div>`;
}

const RefusalTable = ({ refusals }) => html`<div class="table-frame" tabindex="0" role="region" aria-label="Refusals"><table class="rows">
  <thead><tr><th scope="col">When</th><th scope="col">Why</th><th scope="col">Key</th><th scope="col">Request</th>
    <th scope="col">From</th><th scope="col"><span class="hidden">Explain</span></th></tr></thead>
  <tbody>${refusals.map((one) => html`<${RefusalRow} key=${`${one.at} ${one.request_id}`} refusal=${one} />`)}</tbody></table></div>
  <p class="soft small">The last ones, as this gateway remembers them. The access record of each has the same request id.</p>`;

function RefusalRow({ refusal: one }) {
  const known = one.key && !['anonymous', '_other'].includes(one.key);
  // A path that was cut or masked is no question that can be asked again.
  const whole = one.path && !/…$|(api|cgk)_\*\*\*/.test(one.path);
  const question = { method: one.method, path: one.path ?? '', ...(known && { key: one.key }) };
  return html`<tr><td data-label="When"><${When} at=${one.at} /></td>
    <td class="why" data-label="Why"><div><button type="button" class="link" title="Only these" onClick=${() => refine({ code: one.code })}>
      <code>${one.status} ${one.code}</code></button><div class="soft small">${CODES[one.code] ?? ''}</div></div></td>
    <td data-label="Key">${known ? html`<a href=${to('keys', one.key)}>${one.key}</a>` : html`<span class="faint">${one.key === 'anonymous' ? 'open route' : 'none'}</span>`}</td>
    <td class="wraps" data-label="Request"><div><code>${one.method} ${one.path ?? ''}</code><div class="faint small">${one.route ? `route ${one.route} · ` : ''}${one.request_id}</div></div></td>
    <td class="small" data-label="From"><div><span class="mono">${one.from}</span><div class="faint wraps">${one.user_agent ?? ''}</div></div></td>
    <td>${whole && DECIDED.has(one.code) && one.method !== '_OTHER' && html`<a href=${to('explain', null, question)}
      aria-label=${`Explain ${one.method} ${one.path}`}>Explain</a>`}</td></tr>`;
}

/** Codes of the steps that can be gone through again; a limit or Close itself decides otherwise the next time. */
const DECIDED = new Set([
  'key_missing',
  'scope_missing',
  'path_denied',
  'no_route',
  'secrets_endpoint',
  'path_not_canonical',
  'request_malformed',
  'method_refused',
]);

/** How many there were in all since the start, by code and route. */
function Totals() {
  const metrics = useLoaded('metrics', api.metricsText, { every: 10_000 });
  const rows = useMemo(
    () =>
      (parse(metrics.data ?? '').get('refused_requests_total') ?? [])
        .filter((one) => one.value > 0)
        .sort((a, b) => b.value - a.value || order(a.labels.code, b.labels.code) || order(a.labels.route, b.labels.route)),
    [metrics.data],
  );
  if (rows.length === 0) return null;
  return html`<section class="card stack tight"><div class="card-head"><h2>In all</h2>
    <span class="soft small">since the gateway started</span></div>
    <ul class="bars">${rows.slice(0, 12).map(
      ({ labels, value }) => html`<li class="bar" key=${labels.code + labels.route}><span><code>${labels.code}</code>
        <span class="faint"> ${labels.route === 'none' ? 'no route' : labels.route}</span></span>
        <span class="amount">${count(value)}</span><span class="track"><span style=${{ width: `${(100 * value) / rows[0].value}%` }}>
        </span></span></li>`,
    )}</ul>${rows.length > 12 && html`<p class="soft small">and ${rows.length - 12} more</p>`}</section>`;
}
