// The key that was just made, shown this once, with lines to paste; then it waits for the first request.
import { html, useEffect, useLoaded, useMemo, useState } from './view.js';
import * as api from './api.js';
import { go, to } from './address.js';
import { mayLeave, useHold } from './hold.js';
import { Button, CopyLine, Field, Head, Note, Segments, Snippet } from './parts.js';
import { baseUrl, origin, useGateway } from './gateway.js';
import { parse } from './metrics.js';
import { snippets } from './snippets.js';
import { scopesText } from './words.js';

/**
 * `made` is the API's answer: the key, its text, and what it closed. `onDone` is for who is where "Done" leads already, and
 * `onAnother` begins anew. Until the key was copied, leaving is asked for.
 */
export function Handover({ made, credential, rotated, onDone, onAnother }) {
  const { key, text } = made;
  const [taken, take] = useState(false);
  const gateway = useGateway();
  const route = useLoaded(`route ${key.routes[0]}`, () => api.route(key.routes[0]));
  const [typed, type] = useState(null);
  const [tool, pick] = useState('curl');
  const from = (typed ?? origin(gateway.data) ?? '').replace(/\/+$/, '');
  const prefix = route.data?.prefix ?? `/${key.routes[0]}`;
  const base = baseUrl(from, prefix);
  const lines = useMemo(() => snippets(base, text), [base, text]);
  const [, label, note, shown] = lines.find(([id]) => id === tool);
  useHold(taken ? null : `the key of ${key.name}`);
  const copied = () => take(true);
  useEffect(() => {
    // Whoever marks it and copies it by hand has it as well.
    const byHand = () => String(getSelection()).includes(text) && copied();
    document.addEventListener('copy', byHand);
    return () => document.removeEventListener('copy', byHand);
  }, [text]);
  const done = () => (onDone ? onDone() : go(to('keys', key.name)));
  const ask = (go) => () => mayLeave(go) && go();
  return html`<${Head} title=${rotated ? `New key of ${key.name}` : `${key.name} is connected`}
    text=${rotated ? 'Give the tool its new key; the old text goes on as long as you chose.' : `It may ${scopesText(key.scopes)}${credential ? ` in ${credential.name}` : ''}. Give the tool its base URL and its key.`} />
    ${
      made.closed_routes?.length > 0 &&
      html`<${Note} tone="warn"
      title="These routes were open until now, and need a key from here on:">${made.closed_routes.join(', ')}<//>`
    }
    <section class="card stack key-once"><h2>Its key, shown this once</h2>
      <${CopyLine} text=${text} what="the key" onCopied=${copied} />
      <p class="soft small">Keep it where the tool keeps its secrets. The gateway stores a digest only: who loses the key makes a new one.</p></section>
    <section class="card stack"><div class="card-head"><h2>How to call</h2></div>
      <div class="fields two"><${Field} id="origin" label="Address of the gateway"
        hint="As the tool reaches it; change it where they differ.">
        ${(control) => html`<input ...${control} class="mono" value=${typed ?? from} onInput=${(event) => type(event.target.value)}
        spellcheck=${false} autocomplete="off" />`}<//>
        <div class="field"><span class="legend">Base URL</span><${CopyLine} text=${base} what="the base URL" /></div></div>
      <${Segments} label="Tool" options=${lines.map(([id, name]) => [id, name])} value=${tool} onPick=${pick} />
      <p class="soft small">${typeof note === 'function' ? note(html) : note}</p>
      <${Snippet} text=${shown} what=${`the lines for ${label}`} onCopied=${copied} /></section>
    ${
      // The text before goes on: a request with the key says nothing of the new one.
      !rotated && html`<${FirstRequest} name=${key.name} since=${key.last_used_at} />`
    }
    <div class="buttons"><${Button} kind=${taken ? 'primary' : ''} onClick=${ask(done)}>Done<//>
      ${onAnother && html`<${Button} kind="quiet" onClick=${ask(onAnother)}>Connect another tool<//>`}</div>`;
}

/** Looks every second and a half whether a request with the key has ended. */
function FirstRequest({ name, since }) {
  const [seen, see] = useState(null);
  const metrics = useLoaded('metrics of the first request', api.metricsText, { every: seen === null ? 1500 : 0 });
  const key = useLoaded(`key ${name}`, () => api.key(name), { every: seen === null ? 3000 : 0 });
  const [before, remember] = useState(null);
  const counted = useMemo(() => (metrics.data ? requestsOf(name, metrics.data) : null), [metrics.data]);
  useEffect(() => {
    if (!counted || seen !== null) return;
    if (!before) {
      remember(new Map(since ? counted : []));
      if (since) return;
    }
    const grown = [...counted].find(([what, amount]) => amount > (before?.get(what) ?? 0));
    if (grown) see(grown[0]);
  }, [counted]);
  useEffect(() => {
    if (!seen && key.data?.last_used_at && key.data.last_used_at !== since) see('');
  }, [key.data]);
  if (seen === null)
    return html`<p class="waiting" role="status"><span class="pulse"></span>
    <span>Waiting for its first request. Paste the curl line into a terminal to see it arrive.</span></p>`;
  const [method, status] = seen.split(' ');
  const good = !status || status.startsWith('2');
  return html`<div role="status"><${Note} tone=${good ? 'good' : 'warn'}
    title=${good ? 'The first request has arrived.' : 'A request has arrived, and was not answered with success.'}>
    ${method && html`<code>${method}</code> answered with <code>${status}</code>. `}<a href=${to('usage')}>Watch its usage</a>
    ${!good && html` or <a href=${to('activity', null, { view: 'refusals' })}>see why</a>`}<//></div>`;
}

function requestsOf(name, text) {
  const found = new Map();
  for (const { labels, value } of parse(text).get('requests_total') ?? []) {
    if (labels.key !== name) continue;
    const what = `${labels.method} ${labels.status}`;
    found.set(what, (found.get(what) ?? 0) + value);
  }
  return found;
}
