// The limits of a gateway key as fields: how often, how many at once, until when, by which rules.
import { html } from './view.js';
import { Field } from './parts.js';

/** `[id, label, words, days]` */
export const LIFETIMES = [
  ['30', '30 days', 'for 30 days', 30],
  ['90', '90 days', 'for 90 days', 90],
  ['365', '1 year', 'for a year', 365],
  ['never', 'Never', 'until it is revoked', null],
  ['date', 'On a date', 'until a date', null],
];

export const emptyLimits = () => ({
  rate: '',
  burst: '',
  concurrency: '',
  quota: '',
  lifetime: '90',
  date: '',
  allow: '',
  deny: '',
  mode: 'enforce',
});

/** The limits of a key there is. */
export const limitsOf = (key) => ({
  rate: key.rate ?? '',
  burst: key.burst?.toString() ?? '',
  concurrency: key.concurrency?.toString() ?? '',
  quota: key.daily_quota?.toString() ?? '',
  lifetime: key.expires_at ? 'date' : 'never',
  date: key.expires_at ? local(key.expires_at) : '',
  allow: key.allow.join('\n'),
  deny: key.deny.join('\n'),
  mode: key.mode,
});

/** A moment as the browser's field for date and time wants it, in the zone of who looks. */
function local(at) {
  const moment = new Date(at);
  return new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

const lines = (text) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
const amount = (text) => (/^\d+$/.test(text.trim()) ? Number(text.trim()) : text.trim() === '' ? null : text.trim());

function expiry({ lifetime, date }) {
  if (lifetime === 'date') return date ? new Date(date).toISOString() : null;
  const days = LIFETIMES.find(([key]) => key === lifetime)?.[3];
  return days ? new Date(Math.ceil(Date.now() / 60_000) * 60_000 + days * 86_400_000).toISOString() : null;
}

/** The limits as the API takes them. */
export const limitsRequest = (limits) => ({
  rate: limits.rate.trim() || null,
  burst: amount(limits.burst),
  concurrency: amount(limits.concurrency),
  daily_quota: amount(limits.quota),
  expires_at: expiry(limits),
  allow: lines(limits.allow),
  deny: lines(limits.deny),
  mode: limits.mode,
});

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function Limits({ limits, change, fault }) {
  const text = (field) => (event) => change({ [field]: event.target.value });
  const advanced = limits.allow !== '' || limits.deny !== '' || limits.mode !== 'enforce' || limits.burst !== '';
  return html`<div class="fields two">
      <${Field} id="rate" label="Requests" optional fault=${fault?.of('rate')} hint="Such as 20/s, 600/m or 1000/h">
        ${(control) => html`<input ...${control} value=${limits.rate} placeholder="no limit" onInput=${text('rate')}
        autocomplete="off" />`}<//>
      <${Field} id="concurrency" label="At the same time" optional fault=${fault?.of('concurrency')}
        hint="Requests in flight at once">${(control) => html`<input ...${control} inputmode="numeric" value=${limits.concurrency}
        placeholder="no limit" onInput=${text('concurrency')} autocomplete="off" />`}<//>
      <${Field} id="quota" label="A day" optional fault=${fault?.of('daily_quota')} hint="A day begins at 00:00 UTC">
        ${(control) => html`<input ...${control} inputmode="numeric" value=${limits.quota} placeholder="no limit"
        onInput=${text('quota')} autocomplete="off" />`}<//>
      <${Field} id="lifetime" label="Expires" fault=${limits.lifetime === 'date' ? null : fault?.of('expires_at')}>
        ${(control) => html`<select ...${control} value=${limits.lifetime} onChange=${text('lifetime')}>
        ${LIFETIMES.map(
          ([key, label]) => html`<option key=${key} value=${key} selected=${limits.lifetime === key}>
        ${label}</option>`,
        )}</select>`}<//>
      ${
        limits.lifetime === 'date' &&
        html`<${Field} id="date" label="Date and time" fault=${fault?.of('expires_at')} hint=${zone}>
        ${(control) => html`<input ...${control} type="datetime-local" value=${limits.date} onInput=${text('date')} />`}<//>`
      }
    </div>
    <details open=${advanced}><summary>Rules and mode</summary><div class="fields inner">
      <div class="fields two">
      <${Field} id="allow" label="Allow only" optional fault=${fault?.of('allow')}
        hint="One rule a line, such as GET /api/v1/lead/**">
        ${(control) => html`<textarea ...${control} class="mono" rows="2" value=${limits.allow} onInput=${text('allow')}
        spellcheck=${false}></textarea>`}<//>
      <${Field} id="deny" label="Deny" optional fault=${fault?.of('deny')} hint="Wins over what is allowed">
        ${(control) => html`<textarea ...${control} class="mono" rows="2" value=${limits.deny} onInput=${text('deny')}
        spellcheck=${false}></textarea>`}<//>
      <${Field} id="burst" label="Burst" optional fault=${fault?.of('burst')} hint="Requests at one moment before the rate holds">
        ${(control) => html`<input ...${control} inputmode="numeric" value=${limits.burst} placeholder="as the rate"
        onInput=${text('burst')} autocomplete="off" />`}<//></div>
      <label class="choice"><input type="checkbox" checked=${limits.mode === 'observe'}
        onChange=${(event) => change({ mode: event.target.checked ? 'observe' : 'enforce' })} /><strong>Only observe</strong>
        <span class="hint">Decide on scopes and rules and record it, but let the request pass. Limits and expiry hold all the same. Useful until you know what a tool needs.</span></label></div></details>`;
}
