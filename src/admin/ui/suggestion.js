// What a key would need at least, by what it really used; it can be taken over.
import { html, useLoaded, useTask } from './view.js';
import * as api from './api.js';
import { Badge, Button, Fault, Loaded } from './parts.js';
import { plural } from './words.js';
import { toast } from './toasts.js';

/** `settings` are those of the key as a request has them; `take` puts some to use and gives the key; none may only look. */
export function Suggestion({ apiKey: key, settings, take }) {
  const loaded = useLoaded(`suggestion ${key.name}`, () => api.suggestion(key.name), { every: 30_000 });
  return html`<section class="card stack tight" aria-label="Suggested policy"><h2>Suggested policy</h2>
    <${Loaded} of=${loaded} what="the suggestion">${(suggestion) => html`<${Advice} apiKey=${key} suggestion=${suggestion}
      settings=${settings} take=${take} />`}<//></section>`;
}

function Advice({ apiKey: key, suggestion, settings, take }) {
  const [busy, fault, run] = useTask();
  const { scopes, allow, used, notes } = suggestion;
  const requests = used.reduce((sum, operation) => sum + operation.requests, 0);
  if (used.length === 0) return html`<p class="soft">Known once it has used something that Close documents.</p>`;
  const same = String(key.scopes) === String(scopes) && String(key.allow) === String(allow);
  const takeOver = () =>
    run(async () => {
      const before = { ...settings, scopes: key.scopes, allow: key.allow };
      const now = await take({ ...settings, scopes, allow }, key.version);
      toast(`${key.name} may do what it used, and nothing else.`, () =>
        take(before, now.version).catch((again) => toast(again.message)),
      );
    });
  return html`<p class="soft">The least that covers the ${plural(requests, 'request')} that it made and that were not refused.</p>
    <dl class="facts"><dt>Scopes</dt><dd><span class="badges">${scopes.map(
      (scope) => html`<${Badge} plain tone="accent" key=${scope}>${scope}<//>`,
    )}</span></dd>
    <dt>Only</dt><dd>${allow.map((rule) => html`<div key=${rule}><code>${rule}</code></div>`)}</dd></dl>
    ${notes.map((note) => html`<p class="soft small" key=${note}>Note: ${note}.</p>`)}
    <${Fault} fault=${fault} />
    ${same && html`<p class="soft">It is what the key may do.</p>`}
    ${take && !same && html`<div><${Button} busy=${busy} busyText="Changing…" onClick=${takeOver}>Take it over<//></div>`}`;
}
