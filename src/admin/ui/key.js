// One gateway key: what it may do and how it is used; change, rotate, revoke.
import { html, useState, useLoaded, useTask } from './view.js';
import * as api from './api.js';
import { go, to } from './address.js';
import { Badge, Button, CopyLine, Fault, Field, Head, Loaded, Missing, Note, When } from './parts.js';
import { Confirm, Dialog } from './dialogs.js';
import { toast } from './toasts.js';
import { SCOPES, plural, scopesText, sourceText } from './words.js';
import { baseUrl, origin, useGateway } from './gateway.js';
import { Happenings } from './happenings.js';
import { Handover } from './handover.js';
import { KeyBadge, limitsText } from './keys.js';
import { Limits, limitsOf, limitsRequest } from './limits.js';
import { useMayChange } from './session.js';
import { Suggestion } from './suggestion.js';

export function Key({ name }) {
  const loaded = useLoaded(`key ${name}`, () => api.key(name), { every: 5000 });
  const [made, make] = useState(null);
  const changed = loaded.put;
  if (made) return html`<${Handover} made=${made} rotated=${true} onDone=${() => make(null)} />`;
  return html`<${Loaded} of=${loaded} what="the key"
    missing=${html`<${Missing} kind="key" name=${name} list=${[to('keys'), 'Keys']} />`}>${(key) => html`<${Known} apiKey=${key} changed=${changed}
    onRotated=${(now) => {
      changed(now.key);
      make(now);
    }} />`}<//>`;
}

function Known({ apiKey: key, changed, onRotated }) {
  const mayChange = useMayChange();
  const [asking, ask] = useState(null);
  const path = `/api/v1/keys/${encodeURIComponent(key.name)}`;
  const managed = key.source.kind === 'managed';
  const close = () => ask(null);
  const take = (settings, version) =>
    api.replace(path, settings, version).then((now) => {
      changed(now);
      return now;
    });
  const used = key.last_used_at
    ? html`It was last used <${When}
    at=${key.last_used_at} />, on ${key.routes.join(', ')}.`
    : 'No use of it was seen.';
  return html`<${Head} back=${[to('keys'), 'Keys']} title=${key.name} text=${key.description} badge=${html`<${KeyBadge}
    apiKey=${key} />`}>
      ${
        mayChange &&
        managed &&
        html`${
          key.state !== 'revoked' &&
          html`<${Button}
        onClick=${() => ask('change')}>Change<//>`
        }${
          key.state === 'active' &&
          html`<${Button}
        onClick=${() => ask('rotate')}>Rotate<//><${Button} kind="danger" onClick=${() => ask('revoke')}>Revoke<//>`
        }
        ${key.state !== 'active' && html`<${Button} kind="danger" onClick=${() => ask('remove')}>Remove<//>`}`
      }<//>
    ${
      key.state === 'expired' &&
      html`<${Note} tone="warn"
      title="Its time is over.">Requests with it are refused. Change its expiry to let it in again.<//>`
    }
    <div class="columns"><div class="stack">
        <section class="card"><h2>What it may do</h2><${About} apiKey=${key} /></section><${Reach} apiKey=${key} /></div>
      <div class="stack">
        <${Suggestion} apiKey=${key} take=${mayChange && managed && key.state === 'active' ? take : null}
          settings=${{ description: key.description, routes: key.routes, ...limitsRequest(limitsOf(key)), expires_at: key.expires_at }} />
        <section class="card"><div class="card-head"><h2>Recent changes</h2>
          <a href=${to('activity', null, { view: 'refusals', key: key.name })}>What was refused</a></div>
          <${Happenings} about=${{ subject: key.name }} limit="6" /></section></div>
          </div>
    ${asking === 'change' && html`<${Change} apiKey=${key} path=${path} changed=${changed} onClose=${close} />`}
    ${asking === 'rotate' && html`<${Rotate} apiKey=${key} path=${path} onRotated=${onRotated} onClose=${close} used=${used} />`}
    ${
      asking === 'revoke' &&
      html`<${Confirm} title=${`Revoke ${key.name}?`} action="Revoke for good" busyText="Revoking…"
      onClose=${close} act=${() => api.create(`${path}/revoke`)}
      onDone=${(now) => {
        close();
        changed(now);
        toast(`${key.name} is revoked.`);
      }}>
      <p>From this moment every request with it is answered 401. This cannot be undone: the tool needs a new key.</p>
        <${Note} tone=${key.last_used_at ? 'bad' : 'good'} title=${used} /><//>`
    }
    ${
      asking === 'remove' &&
      html`<${Confirm} title=${`Remove ${key.name}?`} action="Remove" busyText="Removing…" onClose=${close}
      act=${() => api.remove(path, key.version)}
      onDone=${() => {
        close();
        toast(`${key.name} is removed.`);
        go(to('keys'));
      }}>
      <p>It disappears from the list, and its name is free. Its past stays in the events.</p><//>`
    }`;
}

/** How long the text before goes on: `[overlap, label]`. */
const OVERLAPS = [
  ['24h', 'for a day'],
  ['1h', 'for an hour'],
  ['7d', 'for a week'],
  ['0s', 'not at all'],
];

function Rotate({ apiKey: key, path, onRotated, onClose, used }) {
  const [overlap, pick] = useState('24h');
  return html`<${Confirm} title=${`Rotate ${key.name}?`} action="Rotate" busyText="Rotating…" onClose=${onClose}
    act=${() => api.create(`${path}/rotate`, { overlap })} onDone=${onRotated}>
    <p>It gets a new text, shown once. Until the tool has it, the old one can go on.</p>
    <${Field} id="overlap" label="The old text is accepted">
      ${(control) => html`<select ...${control} value=${overlap} onChange=${(event) => pick(event.target.value)}>
      ${OVERLAPS.map(
        ([value, label]) => html`<option key=${value} value=${value} selected=${value === overlap}>
      ${label}</option>`,
      )}</select>`}<//>
    ${overlap === '0s' && html`<${Note} tone=${key.last_used_at ? 'bad' : 'good'} title=${used} />`}<//>`;
}

const About = ({ apiKey: key }) => html`<dl class="facts"><dt>Scopes</dt><dd>
  ${
    key.scopes === null
      ? scopesText(key.scopes)
      : html`<span class="badges">
  ${key.scopes.map(
    (scope) => html`<${Badge} plain tone="accent" key=${scope}>
  ${scope === '*' ? 'everything' : scope}<//>`,
  )}</span>`
  }</dd>
  ${key.mode === 'observe' && html`<dt>Mode</dt><dd>observed: what its scopes and rules do not allow is recorded, and passes</dd>`}
  ${key.allow.length > 0 && html`<dt>Only</dt><dd>${key.allow.map((rule) => html`<div><code>${rule}</code></div>`)}</dd>`}
  ${key.deny.length > 0 && html`<dt>Never</dt><dd>${key.deny.map((rule) => html`<div><code>${rule}</code></div>`)}</dd>`}
  <dt>Limits</dt><dd>${limitsText(key)}</dd>
  <dt>Last used</dt><dd><${When} at=${key.last_used_at} full=${true} /></dd>
  <dt>Expires</dt><dd><${When} at=${key.expires_at} none="never" full=${true} /></dd>
  ${key.created_at && html`<dt>Made</dt><dd><${When} at=${key.created_at} full=${true} /></dd>`}
  ${key.id && html`<dt>Id</dt><dd><code>cgk_${key.id}_…</code></dd>`}
  ${key.peer_uid !== null && html`<dt>Without a secret</dt><dd>processes of uid ${key.peer_uid} on a Unix socket</dd>`}
  <dt>Declared</dt><dd>
    ${sourceText(key.source)}${key.source.kind !== 'managed' ? html` <span class="faint">read-only here: change it there</span>` : ''}</dd></dl>`;

function Reach({ apiKey: key }) {
  const gateway = useGateway();
  const routes = useLoaded(`routes ${key.routes}`, () => api.routesNamed(key.routes));
  const from = origin(gateway.data);
  const mine = routes.data ?? [];
  return html`<section class="card stack tight"><h2>${mine.length === 1 ? 'Base URL' : 'Base URLs'}</h2>
    ${
      from &&
      mine.map(
        (route) => html`<div class="stack tight" key=${route.name}>${
          mine.length > 1 &&
          html`<strong class="mono">
    ${route.name}</strong>`
        }<${CopyLine} text=${baseUrl(from, route.prefix)} what=${`the base URL of ${route.name}`} />
    </div>`,
      )
    }${key.routes.length > api.NAMED && html`<p class="soft small">and those of ${plural(key.routes.length - api.NAMED, 'other route')}</p>`}</section>`;
}

function Change({ apiKey, path, changed, onClose }) {
  // As it was when the dialog opened: what somebody else changes meanwhile is not written over.
  const [key] = useState(apiKey);
  const [form, set] = useState({ description: key.description ?? '', scopes: key.scopes ?? [], ...limitsOf(key) });
  const [tried, attempt] = useState(false);
  const [busy, fault, run] = useTask();
  const change = (values) => set((before) => ({ ...before, ...values }));
  const toggle = (scope) =>
    change({
      scopes: form.scopes.includes(scope)
        ? form.scopes.filter((one) => one !== scope)
        : [...form.scopes.filter((one) => one !== '*'), scope],
    });
  const put = (values, version) => api.replace(path, { routes: key.routes, ...values }, version);
  const submit = async (event) => {
    event.preventDefault();
    attempt(true);
    if (form.scopes.length === 0) return;
    await run(async () => {
      const now = await put(
        { description: form.description.trim() || null, scopes: form.scopes, ...limitsRequest(form) },
        key.version,
      );
      changed(now);
      onClose();
      const before = {
        description: key.description,
        scopes: key.scopes,
        ...limitsRequest(limitsOf(key)),
        expires_at: key.expires_at,
      };
      toast(`${key.name} is changed.`, () => put(before, now.version).then(changed, (again) => toast(again.message)));
    });
  };
  return html`<${Dialog} title=${`Change ${key.name}`} onClose=${onClose}><form class="fields" onSubmit=${submit} novalidate>
    <${Field} id="description" label="Description" optional fault=${fault?.of('description')}>
      ${(control) => html`<input ...${control} value=${form.description} maxlength="500"
      onInput=${(event) => change({ description: event.target.value })} />`}<//>
    <fieldset class="stack tight"><legend class="legend">Scopes</legend><div class="choices">
      ${[...Object.keys(SCOPES), '*'].map(
        (scope) => html`<label class="choice" key=${scope}>
      <input type="checkbox" checked=${form.scopes.includes(scope)} onChange=${() => toggle(scope)} /><strong>
      ${SCOPES[scope]?.label ?? 'Everything'}</strong></label>`,
      )}</div>
      ${tried && form.scopes.length === 0 && html`<p class="fault" role="alert">Choose at least one scope.</p>`}</fieldset>
    <${Limits} limits=${form} change=${change} fault=${fault} />
    <${Fault} fault=${fault}
      except=${['description', 'rate', 'burst', 'concurrency', 'daily_quota', 'expires_at', 'allow', 'deny']} />
    <div class="dialog-foot"><${Button} onClick=${onClose}>Cancel<//>
      <${Button} kind="primary" type="submit" busy=${busy} busyText="Saving…">Save<//></div></form><//>`;
}
