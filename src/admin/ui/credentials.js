// The credentials as tiles; with none at all, the way to the first.
import { html, useMemo, useState, useLoaded } from './view.js';
import * as api from './api.js';
import { to } from './address.js';
import { ButtonLink, Empty, Head, Loaded, Search, Segments, StateBadge, When, Button } from './parts.js';
import { METHODS, sourceText, unproven, usable } from './words.js';
import { useMayChange } from './session.js';

export function Credentials() {
  const loaded = useLoaded('credentials', api.credentials, { every: 10_000 });
  const mayChange = useMayChange();
  return html`<${Head} title="Credentials"
    text="What the gateway holds for Close. Tools never see them: each gets a gateway key of its own.">
      ${
        mayChange &&
        loaded.data?.length > 0 &&
        html`<${ButtonLink} kind="primary" icon="plus"
        href=${to('add-credential')}>Add credential<//>`
      }<//>
    <${Loaded} of=${loaded} what="credentials">${(credentials) =>
      credentials.length === 0
        ? html`<${First}
      mayChange=${mayChange} />`
        : html`<${Tiles} credentials=${credentials} mayChange=${mayChange} />`}<//>`;
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
  ['all', 'All'],
  ['attention', 'Need attention'],
  ['ready', 'In use'],
  ['disabled', 'Disabled'],
];

const fits = {
  all: () => true,
  attention: (one) => (!usable(one) && one.state !== 'disabled') || unproven(one),
  ready: usable,
  disabled: (one) => one.state === 'disabled',
};

function Tiles({ credentials, mayChange }) {
  const [words, search] = useState('');
  const [filter, pick] = useState('all');
  const [many, more] = useState(STEP);
  const found = useMemo(() => {
    const wanted = words.trim().toLowerCase();
    return credentials.filter(
      (one) =>
        fits[filter](one) &&
        [one.name, one.description, one.organization?.name, one.user?.name, one.user?.email, one.key_id].some((text) =>
          text?.toLowerCase().includes(wanted),
        ),
    );
  }, [credentials, words, filter]);
  return html`${
    credentials.length > 6 &&
    html`<div class="tools">
    <${Search} id="credential-search" label="Search credentials" value=${words} onInput=${search} />
    <${Segments} label="Which credentials" options=${FILTERS} value=${filter} onPick=${pick} /></div>`
  }
    <p class="hidden" role="status">${found.length} of ${credentials.length} credentials shown</p>
    ${
      found.length === 0
        ? html`<${Empty} icon="search" title="No credential like that"
      text="None of the credentials fits this search."><${Button} onClick=${() => {
        search('');
        pick('all');
      }}>Show all<//>
      <//>`
        : html`<ul class="tiles">${found.slice(0, many).map(
            (one) => html`<li key=${one.name}>
      <${Tile} credential=${one} mayChange=${mayChange} /></li>`,
          )}</ul>`
    }
    ${
      found.length > many &&
      html`<div><${Button}
      onClick=${() => more(many + STEP)}>Show ${Math.min(STEP, found.length - many)} more of ${found.length - many}<//></div>`
    }`;
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

/** So many tiles are drawn at first: what fits no screen can wait. */
const STEP = 60;
