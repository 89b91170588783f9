// The gateway keys as a table: search, pages, order, and what can be done with each.
import { html, useLoaded, usePages, useSettled } from './view.js';
import * as api from './api.js';
import { refine, to } from './address.js';
import { Badge, Button, ButtonLink, Empty, Head, Icon, Loaded, Pager, Search, Segments, When } from './parts.js';
import { plural, scopesText } from './words.js';
import { useMayChange } from './session.js';

export function Keys({ query }) {
  const mayChange = useMayChange();
  const of = (name) => query.get(name) ?? '';
  const [words, route, credential, order] = [of('q'), of('route'), of('credential'), of('order') || 'name'];
  const filter = of('show') || 'active';
  const asked = { limit: SIZE, q: useSettled(words).trim(), show: filter === 'all' ? '' : filter, route, credential, order };
  const pages = usePages('keys', api.keys, asked, { every: 10_000 });
  // Whether there is any at all, which the page itself tells unless something is left out of it.
  const any = useLoaded('any key', () => api.keys({ limit: 1 }));
  const none = any.data?.total === 0 && !pages.data?.total;
  return html`<${Head} title="Keys" text="One for each tool. A tool presents it where it would put its secret of Close.">
    ${
      mayChange &&
      any.data?.total > 0 &&
      html`<${ButtonLink} kind="primary" icon="plug"
    href=${to('connect')}>Connect a tool<//>`
    }<//>
    <${Loaded} of=${pages} what="keys">${(page) =>
      none
        ? html`<${Empty} icon="key" title="No key yet"
      text="While there is none, tools on this machine may call without a key, and nobody else may. Connect a tool to make the first.">${mayChange && html`<${ButtonLink} kind="primary" icon="plug" href=${to('connect')}>Connect a tool<//>`}<//>`
        : html`<${Table} page=${page} pages=${pages} words=${words} filter=${filter} route=${route}
            credential=${credential} order=${order} />`}<//>`;
}

const FILTERS = [
  ['active', 'Active'],
  ['unused', 'Not used lately'],
  ['ended', 'Ended'],
  ['all', 'All'],
];

const ORDERS = [
  ['name', 'Name'],
  ['used', 'Last used'],
  ['expires', 'Expires'],
];

/** How a key's state reads. */
export const KEY_STATES = { active: ['good', 'Active'], expired: ['off', 'Expired'], revoked: ['off', 'Revoked'] };

export function KeyBadge({ apiKey }) {
  const [tone, label] = KEY_STATES[apiKey.state] ?? ['', apiKey.state];
  return html`<${Badge} tone=${tone}>${label}<//>`;
}

function Table({ page, pages, words, filter, route, credential, order }) {
  const column = (key, label, kind = '') => html`<th scope="col" class=${kind}
    aria-sort=${order === key ? (key === 'used' ? 'descending' : 'ascending') : null}>
    <button type="button" class="link" onClick=${() => refine({ order: key === 'name' ? '' : key })}>${label}
    <${Icon} name="sort" /></button></th>`;
  return html`<div class="tools"><${Search} id="key-search" label="Search keys" value=${words} onInput=${(q) => refine({ q })} />
    <${Segments} label="Which keys" options=${FILTERS} value=${filter}
      onPick=${(show) => refine({ show: show === 'active' ? '' : show })} />
      ${route && html`<${Button} onClick=${() => refine({ route: '' })}>Route ${route}, show all routes<//>`}
      ${credential && html`<${Button} onClick=${() => refine({ credential: '' })}>Credential ${credential}, show all<//>`}
      <label class="narrow order"><span>Order</span><select value=${order}
        onChange=${(event) => refine({ order: event.target.value === 'name' ? '' : event.target.value })}>
        ${ORDERS.map(([key, label]) => html`<option key=${key} value=${key} selected=${key === order}>${label}</option>`)}</select></label></div>
    ${
      filter === 'unused' &&
      html`<p class="soft small">Active, and without a request in the last 30 days. How long there has
      been a key of the configuration is not known: it is listed if no use of it was seen.</p>`
    }
    <p class="hidden" role="status">${plural(page.total, 'key')} found</p>
    ${
      page.total === 0
        ? html`<${Empty} icon="search" title="No key like that" text="None of the keys fits this search.">
      <${Button} onClick=${() => refine({ q: '', show: 'all', route: '', credential: '' })}>Show all<//>
      <//>`
        : html`<div class="table-frame" tabindex="0" role="region" aria-label="Keys"><table class="rows">
      <thead><tr>${column('name', 'Name')}<th scope="col">May</th><th scope="col">Routes</th><th scope="col">Limits</th>
        ${column('used', 'Last used')}${column('expires', 'Expires')}<th scope="col">State</th></tr></thead>
      <tbody>${page.data.map((key) => html`<${Row} key=${key.name} apiKey=${key} />`)}</tbody></table></div>`
    }
    <${Pager} pages=${pages} size=${SIZE} noun="keys" />`;
}

const Row = ({ apiKey: key }) => html`<tr><th scope="row"><a href=${to('keys', key.name)}>${key.name}</a>
  ${key.source.kind !== 'managed' && html` <${Badge} plain>file<//>`}</th>
  <td data-label="May">${scopesText(key.scopes)}${key.mode === 'observe' && html` <${Badge} plain>observed<//>`}</td>
  <td class="mono" data-label="Routes">${key.routes.slice(0, 2).join(', ')}${key.routes.length > 2 ? ` +${key.routes.length - 2}` : ''}</td>
  <td class="small" data-label="Limits">${limitsText(key)}</td>
  <td data-label="Last used"><${When} at=${key.last_used_at} /></td>
  <td data-label="Expires"><${When} at=${key.expires_at} none="never" /></td>
  <td data-label="State"><${KeyBadge} apiKey=${key} /></td></tr>`;

/** `20/s, 8 at once, 50,000 a day` */
export function limitsText(key) {
  const parts = [
    key.rate,
    key.concurrency && `${key.concurrency} at once`,
    key.daily_quota && `${key.daily_quota.toLocaleString('en')} a day`,
  ].filter(Boolean);
  return parts.length > 0 ? parts.join(', ') : html`<span class="faint">none</span>`;
}

/** The first keys of a page as lines, and the way to `all`; with none, what the children say. */
export function KeyLines({ keys, all, children }) {
  if (!keys) return html`<p class="faint">Loading…</p>`;
  if (keys.total === 0) return html`<p class="soft">${children}</p>`;
  return html`<ul class="bars">${keys.data.map(
    (key) => html`<li class="bar" key=${key.name}><span><a href=${to('keys', key.name)}>${key.name}</a>
      <span class="faint"> ${scopesText(key.scopes)}</span></span><span class="amount"><${When} at=${key.last_used_at} /></span></li>`,
  )}</ul>${keys.next && all && html`<p class="small"><a href=${all}>All ${plural(keys.total, 'key')}</a></p>`}`;
}

const SIZE = 50;
