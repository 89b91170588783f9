// Add a credential: name, method and secret, with Close's own steps to obtain them beside the fields.
import { html, useState, useTask } from './view.js';
import * as api from './api.js';
import { go, to } from './address.js';
import { Button, ButtonLink, CopyLine, Fault, Field, Head, Note, SecretField } from './parts.js';
import { toast } from './toasts.js';
import { nameFault } from './words.js';
import { redirectUri, useGateway } from './gateway.js';

export function AddCredential() {
  const [form, set] = useState({
    name: '',
    description: '',
    method: 'api_key',
    apiKey: '',
    clientId: '',
    clientSecret: '',
    redirect: '',
    authorization: '',
    token: '',
    revocation: '',
  });
  const [tried, attempt] = useState(false);
  const [busy, fault, run] = useTask();
  const gateway = useGateway();
  const change = (field) => (value) => set((before) => ({ ...before, [field]: value }));
  const wrong = tried ? check(form) : {};
  const submit = async (event) => {
    event.preventDefault();
    attempt(true);
    if (Object.keys(check(form)).length > 0) {
      requestAnimationFrame(() => document.querySelector('[aria-invalid="true"]')?.focus());
      return;
    }
    const added = await run(() => api.create('/api/v1/credentials', request(form)));
    if (!added) {
      requestAnimationFrame(() => document.querySelector('[aria-invalid="true"]')?.focus());
      return;
    }
    if (added.standing === 'verified' && added.state === 'ready') toast(`${added.name} is added, and Close accepts it.`);
    else if (added.method !== 'oauth2') toast(`${added.name} is saved. Close could not be asked yet.`);
    go(to('credentials', added.name));
  };
  const refused = fault?.code === 'credential_refused';
  const taken = fault?.code === 'conflict' ? { what: fault.message, hint: fault.hint } : null;
  return html`<${Head} back=${[to('credentials'), 'Credentials']} title="Add credential"
    text="It is verified at Close, sealed, and never shown again." />
    <form class="columns" onSubmit=${submit} novalidate>
      <div class="card fields">
        <${Field} id="name" label="Name" fault=${wrong.name ?? taken ?? fault?.of('name')}
          hint=${html`Short and lasting: it becomes the path <code>/${form.name || 'name'}</code> that tools call.`}>
          ${(control) => html`<input ...${control} class="mono" value=${form.name}
          onInput=${(event) => change('name')(event.target.value)} placeholder="sales" autocomplete="off" autocapitalize="off"
          spellcheck=${false} maxlength="63" />`}<//>
        <${Field} id="description" label="Description" optional fault=${fault?.of('description')}>
          ${(control) => html`<input ...${control} value=${form.description}
          onInput=${(event) => change('description')(event.target.value)} placeholder="Sales organization, key of the sync user"
          maxlength="500" />`}<//>
        <fieldset class="stack tight"><legend class="legend">Method</legend><div class="choices">
          ${METHOD_CHOICES.map(
            ([key, label, hint]) => html`<label class="choice" key=${key}>
            <input type="radio" name="method" value=${key} checked=${form.method === key} onChange=${() => change('method')(key)} />
            <strong>${label}</strong><span class="hint">${hint}</span></label>`,
          )}</div></fieldset>
        ${
          form.method === 'api_key'
            ? html`<${SecretField} id="api-key" label="API key" value=${form.apiKey}
          onInput=${change('apiKey')} placeholder="api_…"
          fault=${wrong.apiKey ?? fault?.of('method.api_key') ?? (refused ? { what: fault.message } : null)}
          hint="Paste it as Close shows it, with the part behind the dot." />`
            : html`
          <${Field} id="client-id" label="Client ID" fault=${wrong.clientId ?? fault?.of('method.oauth2.client_id')}>
            ${(control) => html`<input ...${control} class="mono" value=${form.clientId}
            onInput=${(event) => change('clientId')(event.target.value)} placeholder="oa2client_…" autocomplete="off"
            autocapitalize="off" spellcheck=${false} />`}<//>
          <${SecretField} id="client-secret" label="Client secret" value=${form.clientSecret} onInput=${change('clientSecret')}
            fault=${wrong.clientSecret ?? fault?.of('method.oauth2.client_secret') ?? (refused ? { what: fault.message } : null)} />
          <details><summary>Other addresses than Close’s</summary><div class="fields inner">
            ${ADDRESSES.map(
              ([key, field, label, usual]) => html`<${Field} key=${key} id=${key}
            label=${label} optional fault=${fault?.of(`method.oauth2.${field}`)}>
            ${(control) => html`<input ...${control} class="mono" value=${form[key]}
            placeholder=${usual ?? redirectUri(gateway.data)} onInput=${(event) => change(key)(event.target.value)}
            autocomplete="off" spellcheck=${false} />`}<//>`,
            )}</div></details>`
        }
        ${
          !refused &&
          !taken &&
          html`<${Fault} fault=${fault}
          except=${['name', 'description', 'method.api_key', 'method.oauth2']} />`
        }
        <div class="buttons"><${Button} kind="primary" type="submit" busy=${busy}
          busyText="Asking Close…">
          ${form.method === 'api_key' ? 'Verify and save' : 'Save and authorize'}<//>
          <${ButtonLink} kind="quiet" href=${to('credentials')}>Cancel<//></div>
      </div>
      <aside class="card stack" aria-label="Where to find this at Close">
        ${form.method === 'api_key' ? html`<${KeySteps} />` : html`<${AppSteps} redirect=${redirectUri(gateway.data)} />`}</aside>
    </form>`;
}

const METHOD_CHOICES = [
  ['api_key', 'API key', 'One user in one organization. The quickest way.'],
  ['oauth2', 'OAuth 2.0', 'An app of yours; tokens are renewed by the gateway.'],
];

function check(form) {
  const faults = {};
  const name = nameFault(form.name);
  if (name) faults.name = name;
  if (form.method === 'api_key' && form.apiKey.trim() === '') faults.apiKey = 'Paste the API key.';
  if (form.method === 'oauth2' && form.clientId.trim() === '') faults.clientId = 'Enter the client ID of the OAuth app.';
  if (form.method === 'oauth2' && form.clientSecret.trim() === '')
    faults.clientSecret = 'Paste the client secret of the OAuth app.';
  return faults;
}

/** `[field of the form, field of the API, label, default]` */
const ADDRESSES = [
  ['redirect', 'redirect_uri', 'Redirect URL', null],
  ['authorization', 'authorization_url', 'Authorization URL', 'https://app.close.com/oauth2/authorize/'],
  ['token', 'token_url', 'Token URL', 'https://api.close.com/oauth2/token/'],
  ['revocation', 'revocation_url', 'Revocation URL', 'https://api.close.com/oauth2/revoke/'],
];

const app = (form) => ({
  client_id: form.clientId.trim(),
  client_secret: form.clientSecret.trim(),
  ...Object.fromEntries(ADDRESSES.map(([key, field]) => [field, form[key].trim()]).filter(([, value]) => value !== '')),
});

const request = (form) => ({
  name: form.name,
  description: form.description.trim() || null,
  method: form.method === 'api_key' ? { api_key: form.apiKey.trim() } : { oauth2: app(form) },
});

const Outside = ({ href, children }) => html`<a href=${href} target="_blank" rel="noopener noreferrer">
  ${children}<span class="hidden"> (opens in a new tab)</span></a>`;

const KeySteps = () => html`<h2>Get an API key from Close</h2>
  <ol class="steps">
    <li>In <${Outside} href="https://app.close.com/">Close<//>, open <strong>Settings</strong>, then <strong>Developer</strong>, then <strong>API Keys</strong>.</li>
    <li>Choose <strong>New API Key</strong> and name it, say <code>closegate</code>.</li>
    <li>Copy the whole key. Close shows it this once.</li>
    <li>Paste it here.</li></ol>
  <p class="soft small">The key belongs to the user who makes it, in the organization that is open: tools will see what this user sees. The part before the dot is its public id, and tells you later which key this is. Close on <${Outside} href="https://help.close.com/docs/api-keys">API keys<//>.</p>`;

const AppSteps = ({ redirect }) => html`<h2>Make an OAuth app at Close</h2>
  <ol class="steps">
    <li>In <${Outside} href="https://app.close.com/">Close<//>, open <strong>Settings</strong>, then <strong>Developer</strong>, then <strong>OAuth Apps</strong>.</li>
    <li>Choose <strong>Create App</strong> and name it, say <code>closegate</code>.</li>
    <li>Paste this as its <strong>Redirect URL</strong>:</li></ol>
  <${CopyLine} text=${redirect} what="the redirect URL" />
  <ol class="steps" start="4"><li>Save, and copy <strong>Client ID</strong> and <strong>Client Secret</strong> to here.</li>
    <li>Save here; the next step authorizes the app.</li></ol>
  ${
    redirect.startsWith('https://localhost') &&
    html`<${Note}
    title="Close sends the browser to an address that is not this page">Set <code>admin.public_url</code> to the https address of this page to come back by yourself. Without it, you paste the address that the browser ends on.<//>`
  }`;
