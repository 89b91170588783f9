// The routes: which prefix leads where, as whom; added, changed and removed where they are managed here.
import { html, useState, useLoaded, usePages, useSettled, useTask } from './view.js';
import * as api from './api.js';
import { go, refine, to } from './address.js';
import { Badge, Button, ButtonLink, CopyLine, Empty, Fault, Field, Head, Loaded, Missing, Pager, Search, When } from './parts.js';
import { Confirm, Dialog } from './dialogs.js';
import { toast } from './toasts.js';
import { nameFault, plural, sourceText } from './words.js';
import { baseUrl, origin, useGateway } from './gateway.js';
import { Happenings } from './happenings.js';
import { KeyLines } from './keys.js';
import { Names, useNames } from './names.js';
import { useMayChange } from './session.js';

export function Routes({ query }) {
  const words = query.get('q') ?? '';
  const asked = { limit: SIZE, q: useSettled(words).trim() };
  const pages = usePages('routes', api.routes, asked, { every: 10_000 });
  const mayChange = useMayChange();
  const [adding, add] = useState(false);
  const added = (route) => {
    toast(`The route ${route.name} is added.`);
    go(to('routes', route.name));
  };
  return html`<${Head} title="Routes" text="Each prefix leads to Close as one credential. The longest prefix that fits decides.">
      <${ButtonLink} icon="search" href=${to('explain')}>Explain a request<//>
      ${mayChange && html`<${Button} kind="primary" icon="plus" onClick=${() => add(true)}>Add route<//>`}<//>
    <${Loaded} of=${pages} what="routes">${(page) =>
      page.total === 0 && !words
        ? html`<${Empty} icon="route" title="No route yet"
          text="A credential brings a route of its name with it. Add the first credential, and its route stands here.">
          ${mayChange && html`<${ButtonLink} kind="primary" icon="plus" href=${to('add-credential')}>Add a credential<//>`}<//>`
        : html`<${Table} page=${page} pages=${pages} words=${words} />`}<//>
    ${adding && html`<${Form} onDone=${added} onClose=${() => add(false)} />`}`;
}

function Table({ page, pages, words }) {
  return html`<div class="tools"><${Search} id="route-search" label="Search routes" value=${words}
      onInput=${(q) => refine({ q })} /></div>
    <p class="hidden" role="status">${plural(page.total, 'route')} found</p>
    ${
      page.total === 0
        ? html`<${Empty} icon="search" title="No route like that" text="None of the routes fits this search.">
            <${Button} onClick=${() => refine({ q: '' })}>Show all<//><//>`
        : html`<div class="table-frame" tabindex="0" role="region" aria-label="Routes"><table class="rows"><thead><tr>
            <th scope="col">Name</th><th scope="col">Prefix</th><th scope="col">Credential</th>
            <th scope="col">Upstream</th><th scope="col">Rules</th><th scope="col">Declared</th></tr></thead>
            <tbody>${page.data.map((route) => html`<${Row} key=${route.name} route=${route} />`)}</tbody></table></div>`
    }
    <${Pager} pages=${pages} size=${SIZE} noun="routes" />`;
}

const Row = ({ route }) => html`<tr><th scope="row"><a href=${to('routes', route.name)}>${route.name}</a>
    ${route.anonymous && html` <${Badge} plain>open<//>`}</th>
  <td class="mono" data-label="Prefix">${route.prefix}</td>
  <td data-label="Credential"><a href=${to('credentials', route.credential)}>${route.credential}</a></td>
  <td class="mono small" data-label="Upstream">${route.upstream}</td>
  <td data-label="Rules">${rulesText(route)}</td><td class="small" data-label="Declared">${sourceText(route.source)}</td></tr>`;

const rulesText = ({ allow, deny }) => {
  const rules = allow.length + deny.length;
  return rules > 0 ? plural(rules, 'rule') : html`<span class="faint">none</span>`;
};

export function Route({ name }) {
  const loaded = useLoaded(`route ${name}`, () => api.route(name), { every: 10_000 });
  return html`<${Loaded} of=${loaded} what="the route"
    missing=${html`<${Missing} kind="route" name=${name} list=${[to('routes'), 'Routes']} />`}>
    ${(route) => html`<${Known} route=${route} changed=${loaded.put} />`}<//>`;
}

function Known({ route, changed }) {
  const mayChange = useMayChange() && route.source.kind === 'managed';
  const [asking, ask] = useState(null);
  const close = () => ask(null);
  const path = `/api/v1/routes/${encodeURIComponent(route.name)}`;
  const saved = (now) => {
    close();
    changed(now);
    toast(`${route.name} is changed.`);
  };
  return html`<${Head} back=${[to('routes'), 'Routes']} title=${route.name} text=${route.upstream}>
      <${ButtonLink} icon="search" href=${to('explain', null, { path: `${route.prefix === '/' ? '' : route.prefix}/api/v1/me/` })}>
        Explain a request<//>
      ${mayChange && html`<${Button} onClick=${() => ask('change')}>Change<//>
        <${Button} kind="danger" onClick=${() => ask('remove')}>Remove<//>`}<//>
    <div class="columns"><div class="stack">
        <section class="card"><h2>Where it leads</h2><${About} route=${route} /></section><${Base} route=${route} /></div>
      <div class="stack"><${Users} name=${route.name} />
        <section class="card"><h2>Recent changes</h2><${Happenings} about=${{ subject: route.name }} limit="6" /></section></div></div>
    ${asking === 'change' && html`<${Form} route=${route} path=${path} onDone=${saved} onClose=${close} />`}
    ${
      asking === 'remove' &&
      html`<${Confirm} title=${`Remove ${route.name}?`} action="Remove for good" busyText="Removing…" onClose=${close}
        act=${() => api.remove(path, route.version)} onDone=${() => {
          close();
          toast(`${route.name} is removed.`);
          go(to('routes'));
        }}><p>At once, requests below <code>${route.prefix}</code> are answered with 404, unless a shorter prefix fits. The
        credential stays.</p><//>`
    }`;
}

const Rules = ({ rules }) =>
  rules.length > 0 ? rules.map((rule) => html`<div key=${rule}><code>${rule}</code></div>`) : html`<span class="faint">none</span>`;

const About = ({ route }) => html`<dl class="facts"><dt>Prefix</dt><dd><code>${route.prefix}</code></dd>
  <dt>Credential</dt><dd><a href=${to('credentials', route.credential)}>${route.credential}</a></dd>
  <dt>Upstream</dt><dd><code>${route.upstream}</code></dd>
  <dt>Allow only</dt><dd><${Rules} rules=${route.allow} /></dd><dt>Deny</dt><dd><${Rules} rules=${route.deny} /></dd>
  <dt>Without a key</dt><dd>${route.anonymous ? 'callers on loopback and Unix sockets' : 'nobody, once there is a key'}</dd>
  ${route.updated_at && html`<dt>Changed</dt><dd><${When} at=${route.updated_at} full=${true} /></dd>`}
  <dt>Declared</dt><dd>${sourceText(route.source)}
    ${route.source.kind !== 'managed' && html` <span class="faint">read-only here: change it there</span>`}</dd></dl>`;

function Base({ route }) {
  const from = origin(useGateway().data);
  return (
    from &&
    html`<section class="card stack tight"><h2>Base URL</h2>
      <${CopyLine} text=${baseUrl(from, route.prefix)} what=${`the base URL of ${route.name}`} /></section>`
  );
}

function Users({ name }) {
  const loaded = useLoaded(`keys on ${name}`, () => api.keys({ route: name, show: 'active', limit: SHOWN }), { every: 10_000 });
  return html`<section class="card stack tight"><h2>Keys on it</h2>
    <${KeyLines} keys=${loaded.data} all=${to('keys', null, { route: name })}>No active gateway key.<//></section>`;
}

const lines = (text) => text.split('\n').map((line) => line.trim()).filter(Boolean);

/** Adds a route, or changes the one that is given. */
function Form({ route: shown, path = '/api/v1/routes', onDone, onClose }) {
  // As it was when the dialog opened: what somebody else changes meanwhile is not written over.
  const [route] = useState(shown);
  const [form, set] = useState({
    name: route?.name ?? '',
    prefix: route?.prefix ?? '',
    credential: route?.credential ?? '',
    allow: route?.allow.join('\n') ?? '',
    deny: route?.deny.join('\n') ?? '',
    anonymous: route?.anonymous ?? false,
  });
  const [tried, attempt] = useState(false);
  const [busy, fault, run] = useTask();
  const change = (values) => set((before) => ({ ...before, ...values }));
  const text = (field) => (event) => change({ [field]: event.target.value });
  const near = useNames('credential', api.credentials, form.credential);
  // The only one there is need not be named.
  const credential = form.credential.trim() || (form.credential === '' && near.length === 1 ? near[0] : '');
  const faultOfName = route ? null : nameFault(form.name);
  const submit = async (event) => {
    event.preventDefault();
    attempt(true);
    if (faultOfName || nameFault(credential)) return;
    const settings = {
      prefix: form.prefix.trim() || null,
      credential,
      allow: lines(form.allow),
      deny: lines(form.deny),
      anonymous: form.anonymous,
    };
    const send = () =>
      route
        ? api.replace(path, { ...settings, upstream: route.upstream }, route.version)
        : api.create(path, { name: form.name, ...settings });
    await run(async () => onDone(await send()));
  };
  return html`<${Dialog} title=${route ? `Change ${route.name}` : 'Add route'} onClose=${onClose}>
    <form class="fields" onSubmit=${submit} novalidate><div class="fields two">
    ${
      !route &&
      html`<${Field} id="route-name" label="Name" hint="Such as sales-read" fault=${(tried && faultOfName) || fault?.of('name')}>
      ${(control) => html`<input ...${control} value=${form.name} onInput=${text('name')} autocomplete="off"
        autocapitalize="off" spellcheck=${false} />`}<//>`
    }
    <${Field} id="route-prefix" label="Prefix" optional fault=${fault?.of('prefix')} hint="Stripped from the path">
      ${(control) => html`<input ...${control} class="mono" value=${form.prefix} placeholder=${`/${form.name || 'name'}`}
        onInput=${text('prefix')} autocomplete="off" autocapitalize="off" spellcheck=${false} />`}<//>
    <${Field} id="route-credential" label="Credential" hint="As whom requests are sent"
      fault=${tried && nameFault(credential) ? 'Choose a credential.' : fault?.of('credential')}>
      ${(control) => html`<input ...${control} value=${form.credential} list="route-credentials" onInput=${text('credential')}
        placeholder=${near.length === 1 ? near[0] : 'type to search'} autocomplete="off" autocapitalize="off" spellcheck=${false} />`}<//></div>
    <${Names} id="route-credentials" names=${near} />
    <${Field} id="route-allow" label="Allow only" optional fault=${fault?.of('allow')}
      hint="One rule a line, such as GET,HEAD /api/v1/**; with any, the rest is refused">${(control) => html`<textarea
      ...${control} class="mono" rows="2" value=${form.allow} onInput=${text('allow')} spellcheck=${false}></textarea>`}<//>
    <${Field} id="route-deny" label="Deny" optional fault=${fault?.of('deny')} hint="Wins over what is allowed">
      ${(control) => html`<textarea ...${control} class="mono" rows="2" value=${form.deny} onInput=${text('deny')}
      spellcheck=${false}></textarea>`}<//>
    <label class="choice"><input type="checkbox" checked=${form.anonymous}
      onChange=${(event) => change({ anonymous: event.target.checked })} /><strong>Open on this machine</strong>
      <span class="hint">Callers on loopback and Unix sockets need no key on this route.</span></label>
    <${Fault} fault=${fault} except=${['name', 'prefix', 'credential', 'allow', 'deny']} />
    <div class="dialog-foot"><${Button} onClick=${onClose}>Cancel<//>
      <${Button} kind="primary" type="submit" busy=${busy} busyText="Saving…">${route ? 'Save' : 'Add the route'}<//></div>
    </form><//>`;
}

const SIZE = 50;
const SHOWN = 8;
