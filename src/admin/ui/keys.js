// The gateway keys as a table: search, pages, order, and what can be done with each.
import { html, useMemo, useState, useLoaded } from './view.js';
import * as api from './api.js';
import { refine, to } from './address.js';
import { Badge, Button, ButtonLink, Empty, Head, Icon, Loaded, Pager, Search, Segments, When } from './parts.js';
import { plural, scopesText } from './words.js';
import { useMayChange } from './session.js';

export function Keys({ query }) {
  const loaded = useLoaded('keys', api.keys, { every: 10_000 });
  const mayChange = useMayChange();
  return html`<${Head} title="Keys" text="One for each tool. A tool presents it where it would put its secret of Close.">
    ${
      mayChange &&
      loaded.data?.length > 0 &&
      html`<${ButtonLink} kind="primary" icon="plug"
    href=${to('connect')}>Connect a tool<//>`
    }<//>
    <${Loaded} of=${loaded} what="keys">${(keys) =>
      keys.length === 0
        ? html`<${Empty} icon="key" title="No key yet"
      text="While there is none, tools on this machine may call without a key, and nobody else may. Connect a tool to make the first.">${mayChange && html`<${ButtonLink} kind="primary" icon="plug" href=${to('connect')}>Connect a tool<//>`}<//>`
        : html`<${Table} keys=${keys} query=${query} />`}<//>`;
}

const FILTERS = [
  ['active', 'Active'],
  ['unused', 'Unused for 30 days'],
  ['ended', 'Ended'],
  ['all', 'All'],
];

const stale = (key) => key.state === 'active' && Date.now() - new Date(key.last_used_at ?? key.created_at ?? 0) > 30 * 86_400_000;

const fits = { active: (key) => key.state === 'active', unused: stale, ended: (key) => key.state !== 'active', all: () => true };

const time = (at) => (at ? new Date(at).getTime() : 0);

const ORDERS = {
  name: (a, b) => a.name.localeCompare(b.name),
  used: (a, b) => time(b.last_used_at) - time(a.last_used_at) || a.name.localeCompare(b.name),
  expires: (a, b) => (time(a.expires_at) || Infinity) - (time(b.expires_at) || Infinity) || a.name.localeCompare(b.name),
};

/** How a key's state reads. */
export const KEY_STATES = { active: ['good', 'Active'], expired: ['off', 'Expired'], revoked: ['off', 'Revoked'] };

export function KeyBadge({ apiKey }) {
  const [tone, label] = KEY_STATES[apiKey.state] ?? ['', apiKey.state];
  return html`<${Badge} tone=${tone}>${label}<//>`;
}

function Table({ keys, query }) {
  const [page, turn] = useState(0);
  const words = query.get('q') ?? '';
  const filter = query.get('show') ?? 'active';
  const order = query.get('order') ?? 'name';
  const route = query.get('route');
  const set = (values) => {
    turn(0);
    refine(values);
  };
  const found = useMemo(() => {
    const wanted = words.trim().toLowerCase();
    const fitting = keys.filter(
      (key) =>
        (fits[filter] ?? fits.all)(key) &&
        (!route || key.routes.includes(route)) &&
        [key.name, key.id, key.description, ...key.routes].some((text) => text?.toLowerCase().includes(wanted)),
    );
    return fitting.sort(ORDERS[order] ?? ORDERS.name);
  }, [keys, words, filter, order, route]);
  const shown = found.slice(page * SIZE, (page + 1) * SIZE);
  const column = (key, label, kind = '') => html`<th scope="col" class=${kind}
    aria-sort=${order === key ? (key === 'used' ? 'descending' : 'ascending') : null}>
    <button type="button" class="link" onClick=${() => set({ order: key })}>${label}<${Icon} name="sort" /></button></th>`;
  return html`<div class="tools"><${Search} id="key-search" label="Search keys" value=${words} onInput=${(q) => set({ q })} />
    <${Segments} label="Which keys" options=${FILTERS} value=${filter} onPick=${(show) => set({ show })} />
      ${route && html`<${Button} onClick=${() => set({ route: '' })}>Route ${route}, show all routes<//>`}</div>
    <p class="hidden" role="status">${plural(found.length, 'key')} found</p>
    ${
      found.length === 0
        ? html`<${Empty} icon="search" title="No key like that" text="None of the keys fits this search.">
      <${Button} onClick=${() => set({ q: '', show: 'all', route: '' })}>Show all<//>
      <//>`
        : html`<div class="table-frame" tabindex="0" role="region" aria-label="Keys"><table>
      <thead><tr>${column('name', 'Name')}<th scope="col">May</th><th scope="col" class="minor">Routes</th>
        <th scope="col" class="minor">Limits</th>
        ${column('used', 'Last used')}${column('expires', 'Expires', 'minor')}<th scope="col">State</th></tr></thead>
      <tbody>${shown.map((key) => html`<${Row} key=${key.name} apiKey=${key} />`)}</tbody></table></div>`
    }
    <${Pager} total=${found.length} size=${SIZE} page=${page} onPage=${turn} noun="keys" />`;
}

const Row = ({ apiKey: key }) => html`<tr><th scope="row"><a href=${to('keys', key.name)}>${key.name}</a>
  ${key.source.kind !== 'managed' && html` <${Badge} plain>file<//>`}</th>
  <td>${scopesText(key.scopes)}${key.mode === 'observe' && html` <${Badge} plain>observed<//>`}</td>
  <td class="minor mono">${key.routes.slice(0, 2).join(', ')}${key.routes.length > 2 ? ` +${key.routes.length - 2}` : ''}</td>
  <td class="minor small">${limitsText(key)}</td><td><${When} at=${key.last_used_at} /></td><td class="minor">
    <${When} at=${key.expires_at} none="never" /></td><td><${KeyBadge} apiKey=${key} /></td></tr>`;

/** `20/s, 8 at once, 50,000 a day` */
export function limitsText(key) {
  const parts = [
    key.rate,
    key.concurrency && `${key.concurrency} at once`,
    key.daily_quota && `${key.daily_quota.toLocaleString('en')} a day`,
  ].filter(Boolean);
  return parts.length > 0 ? parts.join(', ') : html`<span class="faint">none</span>`;
}

const SIZE = 50;
