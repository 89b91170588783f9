// The credentials as tiles; with none at all, the way to the first.
import { html, usePages, useSettled } from './view.js';
import * as api from './api.js';
import { refine, to } from './address.js';
import { Button, ButtonLink, Empty, Head, Loaded, Pager, Search, Segments, StateBadge, When } from './parts.js';
import { METHODS, plural, sourceText, usable } from './words.js';
import { useMayChange } from './session.js';

export function Credentials({ query }) {
  const [words, filter] = [query.get('q') ?? '', query.get('show') ?? ''];
  const asked = { limit: SIZE, q: useSettled(words).trim(), show: filter };
  const pages = usePages('credentials', api.credentials, asked, { every: 10_000 });
  const mayChange = useMayChange();
  const some = pages.data?.total > 0 || words || filter;
  return html`<${Head} title="Credentials"
    text="What the gateway holds for Close. Tools never see them: each gets a gateway key of its own.">
      ${
        mayChange &&
        some &&
        html`<${ButtonLink} kind="primary" icon="plus"
        href=${to('add-credential')}>Add credential<//>`
      }<//>
    <${Loaded} of=${pages} what="credentials">${(page) =>
      some
        ? html`<${Tiles} page=${page} pages=${pages} words=${words} filter=${filter} mayChange=${mayChange} />`
        : html`<${First} mayChange=${mayChange} />`}<//>`;
}

const First = ({ mayChange }) => html`<${Empty} icon="tiles" title="No credential yet"
  text="Three steps to the first request: add a credential of Close, connect a tool to it, and watch its first request arrive.">
  ${
    mayChange
      ? html`<${ButtonLink} kind="primary" icon="plus"
    href=${to('add-credential')}>Add your first credential<//>`
      : html`<p>Someone with an admin token has to add it.</p>`
  }<//>`;

const FILTERS = [
  ['', 'All'],
  ['attention', 'Need attention'],
  ['ready', 'In use'],
  ['disabled', 'Disabled'],
];

function Tiles({ page, pages, words, filter, mayChange }) {
  return html`${
    (page.total > 6 || words || filter) &&
    html`<div class="tools">
    <${Search} id="credential-search" label="Search credentials" value=${words} onInput=${(q) => refine({ q })} />
    <${Segments} label="Which credentials" options=${FILTERS} value=${filter} onPick=${(show) => refine({ show })} /></div>`
  }
    <p class="hidden" role="status">${plural(page.total, 'credential')} found</p>
    ${
      page.total === 0
        ? html`<${Empty} icon="search" title="No credential like that" text="None of the credentials fits this search.">
      <${Button} onClick=${() => refine({ q: '', show: '' })}>Show all<//><//>`
        : html`<ul class="tiles">${page.data.map(
            (one) => html`<li key=${one.name}>
      <${Tile} credential=${one} mayChange=${mayChange} /></li>`,
          )}</ul>`
    }
    <${Pager} pages=${pages} size=${SIZE} noun="credentials" />`;
}

function Tile({ credential, mayChange }) {
  const { organization, user } = credential;
  return html`<article class="card tile">
    <div class="stack tight"><div class="tile-head"><h2><a href=${to('credentials', credential.name)}>${credential.name}</a></h2>
      <${StateBadge} credential=${credential} /></div>
      ${credential.description && html`<p class="about">${credential.description}</p>`}</div>
    <dl class="facts small"><dt>Method</dt><dd>${METHODS[credential.method]}</dd>
      ${organization && html`<dt>Organization</dt><dd>${organization.name ?? organization.id}</dd>`}
      ${user && html`<dt>User</dt><dd>${user.name ?? user.email ?? user.id}</dd>`}
      <dt>Last used</dt><dd><${When} at=${credential.last_used_at} /></dd>
      ${credential.expires_at && html`<dt>Token expires</dt><dd><${When} at=${credential.expires_at} /></dd>`}</dl>
    <div class="tile-foot"><span>${sourceText(credential.source)}</span>
      ${
        mayChange && usable(credential)
          ? html`<${ButtonLink} kind="quiet tiny" icon="plug" href=${to('connect', credential.name)}
      aria-label=${`Connect a tool to ${credential.name}`}>Connect a tool<//>`
          : html`<span></span>`
      }</div>
  </article>`;
}

/** The tiles of a page. */
const SIZE = 48;
