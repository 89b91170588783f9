// What would become of a request, by the gateway's own steps; nothing is sent.
import { html, useEffect, useState, useTask } from './view.js';
import * as api from './api.js';
import { refine, to } from './address.js';
import { Names, useNames } from './names.js';
import { Button, Fault, Field, Head, Note, Said } from './parts.js';

export function Explain({ query }) {
  const asked = { method: query.get('method') ?? 'GET', path: query.get('path') ?? '', key: query.get('key') ?? '' };
  return html`<${Head} back=${[to('routes'), 'Routes']} title="Explain a request"
    text="What would become of a request, by the gateway’s own steps. Nothing is sent." />
    <${Form} key=${`${asked.method} ${asked.path} ${asked.key}`} asked=${asked} />`;
}

function Form({ asked }) {
  const [form, set] = useState(asked);
  const near = useNames('key', api.keys, form.key);
  const [told, tell] = useState(null);
  const [tried, attempt] = useState(false);
  const [busy, fault, run] = useTask();
  const ask = () => run(async () => tell(await api.explain(asked)));
  // Whoever comes with a question in the address gets its answer at once.
  useEffect(() => {
    if (asked.path !== '') ask();
  }, []);
  const text = (field) => (event) => set((before) => ({ ...before, [field]: event.target.value }));
  const submit = (event) => {
    event.preventDefault();
    attempt(true);
    if (form.path.trim() === '') return;
    const now = { method: form.method, path: form.path.trim(), key: form.key.trim() };
    if (now.method === asked.method && now.path === asked.path && now.key === asked.key) ask();
    else refine(now);
  };
  return html`<form class="card fields" onSubmit=${submit} novalidate><div class="fields three">
      <${Field} id="explain-method" label="Method">${(control) => html`<select ...${control} value=${form.method}
        onChange=${text('method')}>${METHODS.map(
          (method) => html`<option key=${method} value=${method} selected=${form.method === method}>${method}</option>`,
        )}</select>`}<//>
      <${Field} id="explain-path" label="Path" hint="As the tool asks the gateway"
        fault=${tried && form.path.trim() === '' ? 'Enter a path.' : fault?.of('path')}>${(control) => html`<input ...${control}
        class="mono" value=${form.path} placeholder="/sales/api/v1/lead/" onInput=${text('path')} autocomplete="off"
        autocapitalize="off" spellcheck=${false} />`}<//>
      <${Field} id="explain-key" label="Key" optional hint="The name of a gateway key" fault=${fault?.of('key')}>
        ${(control) => html`<input ...${control} value=${form.key} list="explain-keys" placeholder="no key"
        onInput=${text('key')} autocomplete="off" autocapitalize="off" spellcheck=${false} />`}<//></div>
      <${Names} id="explain-keys" names=${near} />
      <${Fault} fault=${fault} except=${['path', 'key']} />
      <div><${Button} kind="primary" type="submit" busy=${busy} busyText="Asking…">Explain<//></div></form>
    <div role="status">${told && html`<${Told} told=${told} />`}</div>`;
}

function Told({ told }) {
  const { refusal, observed, way } = told;
  return html`<section class="card stack" aria-label="What would become of it">
    ${
      refusal
        ? html`<${Note} tone="bad" title=${`Refused: ${refusal.status} ${refusal.code}`}><p><${Said} text=${refusal.error} /></p>
          <p class="soft"><${Said} text=${refusal.hint} /></p><//>`
        : told.answered_here
          ? html`<${Note} tone="good" title="Answered by the gateway itself" />`
          : html`<${Note} tone="good" title="Sent to Close" />`
    }
    ${
      observed &&
      html`<${Note} tone="warn" title=${`Only observed: it would be ${observed.status} ${observed.code}`}>
      <${Said} text=${observed.error} /><//>`
    }
    ${way && html`<${Way} way=${way} />`}
    ${
      told.keys.length > 0 &&
      html`<div class="stack tight"><h3>Keys that would pass</h3><ul class="legend-line">${told.keys.map(
        (name) => html`<li key=${name}><a href=${to('keys', name)}>${name}</a></li>`,
      )}</ul></div>`
    }</section>`;
}

const Way = ({ way }) => html`<dl class="facts"><dt>Route</dt><dd><a href=${to('routes', way.route)}>${way.route}</a>
    ${!way.prefix_in_path && html` <span class="faint">the first of the key’s: its prefix is not in the path</span>`}</dd>
  <dt>Credential</dt><dd><a href=${to('credentials', way.credential)}>${way.credential}</a></dd>
  <dt>Operation</dt><dd>${way.endpoint ? html`<code>${way.endpoint}</code>` : html`<span class="faint">not documented by Close</span>`}</dd>
  <dt>Scope</dt><dd>${way.scope}</dd>
  <dt>Sent to</dt><dd><code>${way.upstream}</code></dd>
  <dt>Rules of the route</dt><dd><${Ruling} of=${way.by_route} /></dd>
  ${way.by_key && html`<dt>Rules of the key</dt><dd><${Ruling} of=${way.by_key} /></dd>`}</dl>`;

const RULINGS = { denied: 'denied by', unlisted: 'covered by no rule that allows', allowed: 'allowed by', unruled: 'no rule against it' };

const Ruling = ({ of }) => html`${RULINGS[of.ruling]}${of.rule && html` <code>${of.rule}</code>`}`;

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD'];
