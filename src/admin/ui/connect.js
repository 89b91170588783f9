// Connect a tool: which credential, what it may do, within which limits; then its key, once, and its first request.
import { html, useEffect, useMemo, useState, useLoaded, usePages, useSettled, useTask } from './view.js';
import * as api from './api.js';
import { to } from './address.js';
import { Button, ButtonLink, Empty, Fault, Field, Head, Loaded, Note, Pager, Search, StateBadge } from './parts.js';
import { SCOPES, count, nameFault, plural, usable } from './words.js';
import { LIFETIMES, Limits, emptyLimits, limitsRequest } from './limits.js';
import { Handover } from './handover.js';
import { useMayChange } from './session.js';

export function Connect({ credential }) {
  const mayChange = useMayChange();
  const [turn, again] = useState(0);
  // Looked at anew each time: what was there at the last visit may have changed.
  const visit = useMemo(() => ++visits, []);
  const wanted = useLoaded(`connect ${visit}`, () => beginning(turn === 0 ? credential : null));
  if (!mayChange)
    return html`<${Head} title="Connect a tool" />
      <${Empty} icon="plug" title="You may look, not change" text="Making a gateway key takes an admin token." />`;
  return html`<${Loaded} of=${wanted} what="credentials">${({ total, first, unknown }) =>
    total === 0
      ? html`<${Head} title="Connect a tool" />
      <${Empty} icon="tiles" title="A tool needs a credential first" text="Add one, and connect the tool to it.">
      <${ButtonLink} kind="primary" icon="plus" href=${to('add-credential')}>Add credential<//><//>`
      : html`<${Wizard} key=${turn} first=${turn === 0 ? first : null} unknown=${turn === 0 && unknown}
          onAnother=${() => again(turn + 1)} />`}<//>`;
}

let visits = 0;

/** Whether a tool can be connected through a credential, be it one that does not work just now. */
const connectable = (one) => one.routes.length > 0 && one.state !== 'disabled';

/** The route that a tool gets unless somebody chooses: that of the credential's own name before any other. */
const usual = ({ name, routes }) => (routes.includes(name) ? [name] : routes.slice(0, 1));

/** With what the wizard begins: the credential that is named, or the only one there is. */
async function beginning(name) {
  const { data, total } = await api.credentials({ limit: 2 });
  const named = name && (await api.credential(name).catch((fault) => (fault.status === 404 ? null : Promise.reject(fault))));
  const one = name ? named : total === 1 && data[0];
  return { total, first: one && connectable(one) ? one : null, unknown: name && !named ? name : null };
}

const STEPS = ['Credential', 'Permissions', 'Name and limits', 'Key'];

const PRESETS = [
  ['source', 'Source', 'Reads from Close: reporting, a warehouse, a backup.', ['read']],
  ['destination', 'Destination', 'Reads, creates and changes records: forms, enrichment, a sync.', ['read', 'write']],
  ['custom', 'Scope by scope', 'Choose exactly what it may do.', null],
];

function Wizard({ first, unknown, onAnother }) {
  const [step, move] = useState(first ? 1 : 0);
  const [plan, set] = useState({
    credential: first,
    routes: first ? usual(first) : [],
    preset: 'source',
    scopes: ['read'],
    name: '',
    description: '',
    ...emptyLimits(),
  });
  const [made, make] = useState(null);
  const change = (values) => set((before) => ({ ...before, ...values }));
  useEffect(() => {
    document.querySelector('.step h2')?.focus();
  }, [step]);
  if (made) return html`<${Handover} made=${made} credential=${plan.credential} onAnother=${onAnother} />`;
  const props = { plan, change, next: () => move(step + 1), back: () => move(step - 1) };
  return html`<${Head} title="Connect a tool"
    text="Every tool gets a key of its own: you see what it does, and can end it without touching the others." />
    <ol class="stepper">${STEPS.map(
      (label, index) => html`<li key=${label} class=${index < step ? 'done' : ''}
      aria-current=${index === step ? 'step' : null}><span class="dot" aria-hidden="true">${index + 1}</span>${label}</li>`,
    )}</ol>
    <section class="step stack" aria-label=${STEPS[step]}>
      ${step === 0 && html`<${PickCredential} ...${props} unknown=${unknown} />`}
      ${step === 1 && html`<${PickScopes} ...${props} />`}
      ${step === 2 && html`<${NameIt} ...${props} onMade=${make} />`}</section>`;
}

function PickCredential({ plan, change, next, unknown }) {
  const [words, search] = useState('');
  const [tried, attempt] = useState(false);
  const pages = usePages('connectable', api.credentials, { limit: SIZE, q: useSettled(words).trim() });
  const submit = (event) => {
    event.preventDefault();
    attempt(true);
    if (plan.credential) next();
  };
  return html`<form class="stack" onSubmit=${submit}><h2 tabindex="-1">Which credential does the tool work with?</h2>
    ${unknown && html`<${Note} tone="warn" title=${html`There is no credential <code>${unknown}</code>: choose another.`} />`}
    <${Loaded} of=${pages} what="credentials">${(page) => html`${
      (page.total > 9 || words) &&
      html`<div class="tools"><${Search} id="pick-search" label="Search credentials" value=${words}
      onInput=${search} /></div>`
    }
    <fieldset><legend class="hidden">Credential</legend><div class="choices">
      ${page.data.map(
        (one) => html`<label class="choice" key=${one.name}>
      <input type="radio" name="credential" value=${one.name} checked=${plan.credential?.name === one.name}
        disabled=${!connectable(one)}
        onChange=${() => change({ credential: one, routes: usual(one) })} />
      <strong>${one.name}</strong><span class="hint">${one.description ?? one.organization?.name ?? ''}</span>
        ${!usable(one) && html`<span class="hint"><${StateBadge} credential=${one} /></span>`}
        ${one.routes.length === 0 && html`<span class="hint">No route sends with it.</span>`}</label>`,
      )}</div></fieldset>
    ${page.total === 0 && html`<p class="soft">No credential like that.</p>`}
    <${Pager} pages=${pages} size=${SIZE} noun="credentials" />`}<//>
    ${tried && !plan.credential && html`<p class="fault" role="alert">Choose a credential.</p>`}
    <div class="buttons"><${Button} kind="primary" type="submit">Continue<//></div></form>`;
}

/** The credentials to choose from at once. */
const SIZE = 24;

function PickScopes({ plan, change, next, back }) {
  const catalogue = useLoaded('endpoints', api.endpoints);
  const [tried, attempt] = useState(false);
  const byScope = useMemo(() => Map.groupBy(catalogue.data ?? [], (one) => one.scope), [catalogue.data]);
  const pick = (preset, scopes) => change({ preset, scopes: scopes ?? plan.scopes });
  const toggle = (scope) =>
    change({ scopes: plan.scopes.includes(scope) ? plan.scopes.filter((one) => one !== scope) : [...plan.scopes, scope] });
  const routes = plan.credential.routes;
  const submit = (event) => {
    event.preventDefault();
    attempt(true);
    if (plan.scopes.length > 0 && plan.routes.length > 0) next();
  };
  return html`<form class="stack" onSubmit=${submit}><h2 tabindex="-1">What may it do in ${plan.credential.name}?</h2>
    <fieldset><legend class="hidden">Kind of tool</legend><div class="choices">
      ${PRESETS.map(
        ([key, label, hint, scopes]) => html`<label class="choice" key=${key}>
      <input type="radio" name="preset" value=${key} checked=${plan.preset === key} onChange=${() => pick(key, scopes)} /><strong>
      ${label}</strong><span class="hint">${hint}</span></label>`,
      )}</div></fieldset>
    ${
      plan.preset === 'custom' &&
      html`<fieldset class="scopes"><legend class="legend">Scopes</legend>
      ${Object.entries(SCOPES).map(
        ([scope, { label, allows }]) => html`<label class="choice" key=${scope}>
      <input type="checkbox" value=${scope} checked=${plan.scopes.includes(scope)} onChange=${() => toggle(scope)} /><strong>
      ${label} <code class="faint">${scope}</code></strong><span class="hint">
      ${allows}.<${Examples} scope=${scope} operations=${byScope.get(scope)} /></span></label>`,
      )}</fieldset>`
    }
    ${
      plan.preset !== 'custom' &&
      html`<${Note}
      title=${`It may ${plan.scopes.map((scope) => SCOPES[scope].label.toLowerCase()).join(' and ')}; everything else is refused.`}>
      ${plan.scopes.map((scope) => html`<${Examples} key=${scope} scope=${scope} operations=${byScope.get(scope)} />`)}<//>`
    }
    ${
      routes.length > 1 &&
      html`<fieldset class="stack tight"><legend class="legend">Routes</legend>
      ${routes.map(
        (route) => html`<label class="choice" key=${route}>
      <input type="checkbox" checked=${plan.routes.includes(route)}
      onChange=${() => change({ routes: plan.routes.includes(route) ? plan.routes.filter((one) => one !== route) : [...plan.routes, route] })} /><strong class="mono">${route}</strong></label>`,
      )}</fieldset>`
    }
    ${tried && plan.scopes.length === 0 && html`<p class="fault" role="alert">Choose at least one scope.</p>`}
    ${tried && plan.routes.length === 0 && html`<p class="fault" role="alert">Choose at least one route.</p>`}
    <div class="buttons"><${Button} kind="primary" type="submit">Continue<//><${Button} kind="quiet" onClick=${back}>Back<//></div>
      </form>`;
}

/** Some of the operations that a scope allows: those on the records that people know first. */
function Examples({ scope, operations }) {
  if (!operations?.length) return null;
  const known = operations.filter((one) => KNOWN[scope].test(one.endpoint));
  return html`<span class="examples">
    ${(known.length > 0 ? known : operations).slice(0, 3).map(
      (one) => html`<code key=${one.method + one.endpoint}>
    ${one.method} ${one.endpoint.replace('/api/v1', '')}</code>`,
    )}${operations.length > 3 && html`<span>of ${count(operations.length)} operations</span>`}</span>`;
}

/** What a scope is best known by. */
const KNOWN = {
  read: /^\/api\/v1\/(lead|contact|opportunity)\/$/,
  write: /^\/api\/v1\/(lead|contact|opportunity)\/$/,
  send: /^\/api\/v1\/(activity\/email|activity\/sms|bulk_action\/email|sequence_subscription)\/$/,
  delete: /^\/api\/v1\/(lead\/\{[^}]*\}|contact\/\{[^}]*\}|bulk_action\/delete)\/$/,
  export: /^\/api\/v1\/export\/(lead|opportunity)\/$/,
  admin: /^\/api\/v1\/(membership|webhook|role)\/$/,
};

function NameIt({ plan, change, back, onMade }) {
  const stem = `${plan.credential.name}-${plan.preset === 'custom' ? 'tool' : plan.preset}`.slice(0, 58);
  const alike = useLoaded(`keys like ${stem}`, () => api.keys({ q: stem, limit: 500 }));
  const any = useLoaded('any key', () => api.keys({ limit: 1 }));
  const [tried, attempt] = useState(false);
  const [busy, fault, run] = useTask();
  const suggested = useMemo(() => suggest(stem, alike.data?.data ?? []), [alike.data]);
  const name = plan.name || suggested;
  const taken = fault?.code === 'conflict' ? { what: fault.message, hint: fault.hint } : null;
  const wrong = (tried ? nameFault(name) : null) ?? taken ?? fault?.of('name');
  const submit = async (event) => {
    event.preventDefault();
    attempt(true);
    if (nameFault(name)) {
      document.getElementById('key-name').focus();
      return;
    }
    const made = await run(() =>
      api.create('/api/v1/keys', {
        name,
        description: plan.description.trim() || null,
        routes: plan.routes,
        scopes: plan.scopes,
        ...limitsRequest(plan),
      }),
    );
    if (made) onMade(made);
    else requestAnimationFrame(() => document.querySelector('[aria-invalid="true"]')?.focus());
  };
  const life = LIFETIMES.find(([key]) => key === plan.lifetime);
  return html`<form class="stack" onSubmit=${submit} novalidate><h2 tabindex="-1">Name and limits</h2>
    ${
      any.data?.total === 0 &&
      html`<${Note} tone="warn"
      title="This is the first gateway key.">Until now, tools on this machine needed none. From the moment it exists every route needs a key, unless the route says <code>anonymous = true</code>.<//>`
    }
    <div class="card fields"><div class="fields two">
      <${Field} id="key-name" label="Name of the tool" fault=${wrong} hint="Usage and events show it.">
        ${(control) => html`<input ...${control} class="mono" value=${plan.name} placeholder=${suggested} maxlength="63"
        onInput=${(event) => change({ name: event.target.value })} autocomplete="off" autocapitalize="off"
        spellcheck=${false} />`}<//>
      <${Field} id="key-description" label="Description" optional fault=${fault?.of('description')}>
        ${(control) => html`<input ...${control} value=${plan.description} maxlength="500" placeholder="Nightly warehouse sync"
        onInput=${(event) => change({ description: event.target.value })} />`}<//></div>
      <${Limits} limits=${plan} change=${change} fault=${fault} /></div>
    <${Fault} fault=${taken ? null : fault}
      except=${['name', 'description', 'rate', 'burst', 'concurrency', 'daily_quota', 'expires_at', 'allow', 'deny']} />
    <p class="soft">${plan.credential.name}: ${plan.scopes.join(', ')} on ${plural(plan.routes.length, 'route')}${life ? `, ${life[2]}` : ''}.</p>
    <div class="buttons"><${Button} kind="primary" type="submit" busy=${busy} busyText="Making the key…">Make the key<//>
      <${Button} kind="quiet" onClick=${back}>Back<//></div></form>`;
}

/** A name that nobody has yet. */
function suggest(stem, keys) {
  const taken = new Set(keys.map((key) => key.name));
  if (!taken.has(stem)) return stem;
  let number = 2;
  while (taken.has(`${stem}-${number}`)) number++;
  return `${stem}-${number}`;
}
