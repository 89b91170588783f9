// One credential: its state and what to do about it, who may use it, and what can be done with it.
import { html, useState, useLoaded, useTask } from './view.js';
import * as api from './api.js';
import { go, to } from './address.js';
import {
  Badge,
  Button,
  ButtonLink,
  CopyLine,
  Fault,
  Field,
  Head,
  Loaded,
  Missing,
  Note,
  Said,
  SecretField,
  StateBadge,
  When,
} from './parts.js';
import { Confirm, Dialog } from './dialogs.js';
import { toast } from './toasts.js';
import { METHODS, count, plural, sourceText, stateOf, unproven, usable } from './words.js';
import { baseUrl, origin, useGateway } from './gateway.js';
import { Authorize } from './authorize.js';
import { Happenings } from './happenings.js';
import { KeyLines } from './keys.js';
import { useMayChange } from './session.js';

export function Credential({ name }) {
  const loaded = useLoaded(`credential ${name}`, () => api.credential(name), { every: 5000 });
  return html`<${Loaded} of=${loaded} what="the credential"
    missing=${html`<${Missing} kind="credential" name=${name} list=${[to('credentials'), 'Credentials']} />`}>
    ${(credential) => html`<${Known} credential=${credential} changed=${loaded.put} />`}<//>`;
}

function Known({ credential, changed }) {
  const mayChange = useMayChange();
  const [asking, ask] = useState(null);
  const [busy, fault, run] = useTask();
  const { name } = credential;
  const path = `/api/v1/credentials/${encodeURIComponent(name)}`;
  const managed = credential.source.kind === 'managed';
  const close = () => ask(null);
  const verify = () =>
    run(async () => {
      const { verdict, detail, credential: now } = await api.create(`${path}/verify`);
      changed(now);
      toast(
        { accepted: `Close accepts ${name}.`, rejected: `Close refuses ${name}.` }[verdict] ??
          `Close could not be asked${detail ? `: ${detail}` : '.'}`,
      );
    });
  const enable = async () => {
    changed(await api.create(`${path}/enable`));
    toast(`${name} is in use again.`);
  };
  return html`<${Head} back=${[to('credentials'), 'Credentials']} title=${name} text=${credential.description}
    badge=${html`<${StateBadge} credential=${credential} />`}>
      ${
        mayChange &&
        html`${usable(credential) && html`<${ButtonLink} icon="plug" href=${to('connect', name)}>Connect a tool<//>`}
        <${Button} busy=${busy} busyText="Asking Close…" onClick=${verify}>Verify<//>
        ${managed && html`<${Button} onClick=${() => ask('rotate')}>Rotate<//>`}
        ${credential.method === 'oauth2' && !lapsed(credential) && html`<${Button} onClick=${() => ask('authorize')}>Authorize again<//>`}
        ${
          credential.state === 'disabled'
            ? html`<${Button} onClick=${() => run(enable)}>Enable<//>`
            : html`<${Button}
          onClick=${() => ask('disable')}>Disable<//>`
        }`
      }<//>
    <${Fault} fault=${fault} />
    <${Trouble} credential=${credential} mayChange=${mayChange} ask=${ask} />
    ${
      (asking === 'authorize' || lapsed(credential)) &&
      mayChange &&
      html`<${Authorize} credential=${credential} changed=${(now) => {
        close();
        changed(now);
      }} />`
    }
    <div class="columns"><div class="stack">
        <section class="card"><div class="card-head"><h2>About</h2>
          ${managed && mayChange && html`<${Button} kind="quiet tiny" onClick=${() => ask('describe')}>Edit description<//>`}</div>
          <${About} credential=${credential} /></section>
        <${Reach} credential=${credential} />
      </div><div class="stack">
        <${Users} credential=${credential} mayChange=${mayChange} />
        <section class="card"><h2>Recent changes</h2><${Happenings} about=${{ subject: name }} limit="6" /></section>
        ${
          managed &&
          mayChange &&
          html`<section class="card stack tight"><h2>Remove</h2>
          <p class="soft">Takes the credential and its route away for good.${credential.method === 'oauth2' ? ' The authorization is revoked at Close.' : ' The key itself stays valid at Close: delete it there as well.'}</p><div><${Button} kind="danger" onClick=${() => ask('remove')}>Remove credential<//></div></section>`
        }
      </div></div>
    ${asking === 'rotate' && html`<${Rotate} credential=${credential} path=${path} changed=${changed} onClose=${close} />`}
    ${asking === 'describe' && html`<${Describe} credential=${credential} path=${path} changed=${changed} onClose=${close} />`}
    ${
      asking === 'disable' &&
      html`<${Confirm} title=${`Disable ${name}?`} action="Disable" busyText="Disabling…" onClose=${close}
      act=${() => api.create(`${path}/disable`)}
      onDone=${(now) => {
        close();
        changed(now);
        toast(`${name} is disabled.`, () => run(enable));
      }}>
      <p>At once, every request through it is answered with 503, and nothing is sent to Close. You can enable it again at any time.</p><${Damage} credential=${credential} /><//>`
    }
    ${
      asking === 'remove' &&
      html`<${Confirm} title=${`Remove ${name}?`} action="Remove for good" busyText="Removing…" typed=${name}
      onClose=${close} act=${() => api.remove(path, credential.version)}
      onDone=${(removal) => {
        close();
        toast(removal?.left ? `${name} is removed, but ${removal.left}` : `${name} is removed.`);
        go(to('credentials'));
      }}>
      <p>The sealed secret is deleted, with the route made for it. This cannot be undone.</p><${Damage} credential=${credential} /><//>`
    }`;
}

/** Whether an OAuth credential has nothing to send before somebody has authorized it. */
const lapsed = (credential) => ['needs_authorization', 'dead'].includes(credential.state);

/** Names who loses something: those who used it in the last day, before the keys that only could. */
function Damage({ credential }) {
  const used = useLoaded(`use of ${credential.name}`, () =>
    api.usage({ by: 'key', credential: credential.name, since: '24h' }),
  );
  const able = useLoaded(`reach of ${credential.name}`, () =>
    api.keys({ credential: credential.name, show: 'active', limit: 500 }),
  );
  if (!used.data || !able.data) {
    const title = used.fault || able.fault ? 'Who used it in the last day is not known.' : 'Looking who used it in the last day…';
    return html`<${Note} tone="warn" title=${title} />`;
  }
  const lately = used.data.rows.filter((row) => row.requests > 0);
  const known = new Set(lately.map((row) => row.name));
  const idle = able.data.data.filter((key) => !known.has(key.name));
  const others = able.data.total - able.data.data.length + idle.length;
  if (lately.length > 0)
    return html`<${Note} tone="bad" title="Who used it in the last day stops working:"><ul>${lately.slice(0, NAMED).map(
      (row) => html`<li key=${row.name}>${
        row.name === 'anonymous' ? 'callers without a key' : html`<code>${row.name}</code>`
      }: ${plural(row.requests, 'request')}</li>`,
    )}${lately.length > NAMED && html`<li>and ${count(lately.length - NAMED)} more</li>`}</ul>${
      others > 0 && `${plural(others, 'other active key')} can reach it.`
    }<//>`;
  if (others === 0) return html`<${Note} tone="good" title="Nobody used it in the last day, and no active key reaches it." />`;
  return html`<${Note} tone="warn"
    title=${`${plural(others, 'active key')} can reach it; none used it in the last day.`}><ul>${idle.slice(0, NAMED).map(
      (key) => html`<li key=${key.name}><code>${key.name}</code>${key.description ? ` ${key.description}` : ''}</li>`,
    )}${others > NAMED && html`<li>and ${count(others - NAMED)} more</li>`}</ul><//>`;
}

const NAMED = 8;

function Trouble({ credential, mayChange, ask }) {
  const state = stateOf(credential);
  if (unproven(credential)) {
    return html`<${Note} tone="warn"
      title="Close has not accepted it yet.">It was saved while Close could not be asked. It is used all the same; verify it once Close is there again.<//>`;
  }
  if (credential.state === 'ready' || credential.state === 'refreshing') return null;
  if (credential.state === 'needs_authorization' && mayChange) return null;
  return html`<${Note} tone=${usable(credential) || credential.state === 'disabled' ? 'warn' : 'bad'} title=${state.label}>
    ${state.means}${credential.reason && html` <span class="soft">(<${Said} text=${credential.reason} />)</span>`}
    ${
      credential.state === 'rejected' &&
      credential.source.kind === 'managed' &&
      mayChange &&
      html`<div class="buttons">
      <${Button} kind="tiny" onClick=${() => ask('rotate')}>Rotate it<//></div>`
    }<//>`;
}

function About({ credential }) {
  const { organization, user, source } = credential;
  const person = user && [user.name, user.email].filter(Boolean).join(', ');
  return html`<dl class="facts"><dt>Method</dt><dd>${METHODS[credential.method]}</dd>
    ${
      organization &&
      html`<dt>Organization</dt><dd>${organization.name ?? ''} ${
        organization.id &&
        html`<code class="faint">
      ${organization.id}</code>`
      }</dd>`
    }
    ${user && html`<dt>User</dt><dd>${person || user.id}</dd>`}
    ${credential.key_id && html`<dt>Key id at Close</dt><dd><code>${credential.key_id}</code></dd>`}
    ${credential.client_id && html`<dt>Client ID</dt><dd><code>${credential.client_id}</code></dd>`}
    ${credential.redirect_uri && html`<dt>Redirect URL</dt><dd><code>${credential.redirect_uri}</code></dd>`}
    <dt>Last used</dt><dd><${When} at=${credential.last_used_at} full=${true} /></dd>
    ${
      credential.expires_at &&
      html`<dt>Access token expires</dt><dd>
      <${When} at=${credential.expires_at} full=${true} /> <span class="faint">and is renewed before</span></dd>`
    }
    ${credential.created_at && html`<dt>Added</dt><dd><${When} at=${credential.created_at} full=${true} /></dd>`}
    ${credential.updated_at && html`<dt>Changed</dt><dd><${When} at=${credential.updated_at} full=${true} /></dd>`}
    <dt>Declared</dt><dd>
      ${sourceText(source)}${source.kind !== 'managed' ? html` <span class="faint">read-only here: change it there</span>` : ''}</dd></dl>`;
}

function Reach({ credential }) {
  const gateway = useGateway();
  const routes = useLoaded(`routes ${credential.routes}`, () => api.routesNamed(credential.routes));
  const mine = routes.data ?? [];
  const from = origin(gateway.data);
  return html`<section class="card stack tight"><h2>Routes</h2>
    ${credential.routes.length === 0 && html`<p class="soft">No route sends with it, so no tool can use it.</p>`}
    ${mine.map(
      (route) => html`<div class="stack tight" key=${route.name}><div class="summary-line"><strong class="mono">
      ${route.name}</strong><span class="badges">${
        route.allow.length + route.deny.length > 0 &&
        html`<${Badge} plain>
      ${plural(route.allow.length + route.deny.length, 'rule')}<//>`
      }${route.anonymous && html`<${Badge} plain>open on loopback<//>`}</span></div>
      ${
        from &&
        html`<${CopyLine} text=${baseUrl(from, route.prefix)}
        what=${`the base URL of ${route.name}`} />`
      }</div>`,
    )}${
      credential.routes.length > api.NAMED &&
      html`<a href=${to('routes', null, { q: credential.name })}>and ${plural(credential.routes.length - api.NAMED, 'other route')}</a>`
    }</section>`;
}

function Users({ credential, mayChange }) {
  const asked = { credential: credential.name, show: 'active' };
  const loaded = useLoaded(`keys of ${credential.name}`, () => api.keys({ ...asked, limit: SHOWN }), { every: 10_000 });
  return html`<section class="card stack tight"><h2>Keys that reach it</h2>
    <${KeyLines} keys=${loaded.data} all=${to('keys', null, { credential: credential.name })}>
      No active gateway key.${mayChange && usable(credential) ? html` <a href=${to('connect', credential.name)}>Connect a tool</a> to make one.` : ''}<//></section>`;
}

const SHOWN = 8;

const SECRETS = { api_key: 'New API key', oauth2: 'New client secret', bearer: 'New token', basic: 'New password' };

function Rotate({ credential, path, changed, onClose }) {
  const [secret, type] = useState('');
  const [tried, attempt] = useState(false);
  const [busy, fault, run] = useTask();
  const submit = async (event) => {
    event.preventDefault();
    attempt(true);
    if (secret.trim() === '') return;
    await run(async () => {
      changed(await api.create(`${path}/rotate`, { secret: secret.trim() }));
      onClose();
      toast(`${credential.name} is rotated. The old secret is not sent any more: delete it at Close.`);
    });
  };
  const refused = fault?.code === 'credential_refused' ? { what: fault.message } : fault?.of('secret');
  return html`<${Dialog} title=${`Rotate ${credential.name}`} onClose=${onClose}><form class="stack" onSubmit=${submit} novalidate>
    <p class="soft">The new secret is verified at Close before it takes over. Requests on their way finish with the old one, and no tool notices.</p>
    <${SecretField} id="new-secret" label=${SECRETS[credential.method]} value=${secret} onInput=${type}
      fault=${tried && secret.trim() === '' ? 'Paste the new secret.' : refused} />
    ${!refused && html`<${Fault} fault=${fault} />`}
    <div class="dialog-foot"><${Button} onClick=${onClose}>Cancel<//>
      <${Button} kind="primary" type="submit" busy=${busy} busyText="Asking Close…">Verify and rotate<//></div></form><//>`;
}

function Describe({ credential: shown, path, changed, onClose }) {
  // As it was when the dialog opened: what somebody else changes meanwhile is not written over.
  const [credential] = useState(shown);
  const [text, type] = useState(credential.description ?? '');
  const [busy, fault, run] = useTask();
  const put = (description, version) => api.replace(path, { description: description || null }, version);
  const submit = async (event) => {
    event.preventDefault();
    await run(async () => {
      const now = await put(text.trim(), credential.version);
      changed(now);
      onClose();
      toast('The description is changed.', () =>
        put(credential.description ?? '', now.version).then(changed, (again) => toast(again.message)),
      );
    });
  };
  return html`<${Dialog} title="Edit description" onClose=${onClose}><form class="stack" onSubmit=${submit} novalidate>
    <${Field} id="new-description" label="Description" fault=${fault?.of('description')}>
      ${(control) => html`<input ...${control} value=${text} maxlength="500" onInput=${(event) => type(event.target.value)} />`}<//>
    <${Fault} fault=${fault} except=${['description']} />
    <div class="dialog-foot"><${Button} onClick=${onClose}>Cancel<//><${Button} kind="primary" type="submit" busy=${busy}>Save<//>
      </div></form><//>`;
}
