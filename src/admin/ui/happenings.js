// Administrative events as a short list, and as sentences.
import { html, useLoaded } from './view.js';
import * as api from './api.js';
import { to } from './address.js';
import { Fault, When } from './parts.js';

const WORDS = {
  'credential.add': 'added credential',
  'credential.update': 'described credential',
  'credential.remove': 'removed credential',
  'credential.verify': 'verified credential',
  'credential.rotate': 'rotated credential',
  'credential.disable': 'disabled credential',
  'credential.enable': 'enabled credential',
  'credential.authorize': 'authorized credential',
  'credential.declined': 'declined the authorization of credential',
  'credential.revoke': 'revoked the grant of credential',
  'route.add': 'added route',
  'route.update': 'changed route',
  'route.remove': 'removed route',
  'key.create': 'made key',
  'key.update': 'changed key',
  'key.revoke': 'revoked key',
  'key.rotate': 'rotated key',
  'key.remove': 'removed key',
  'session.open': 'signed in',
  'session.close': 'signed out',
  'session.refused': 'was refused a sign-in',
  'config.reload': 'reloaded the configuration',
};

/** What an action reads as: `made key`. */
export const actionText = (action) => WORDS[action] ?? action;

/** A link to what an event is about, if it is there to be opened. */
export function Subject({ event }) {
  if (!event.subject) return null;
  const screen = { key: 'keys', credential: 'credentials', route: 'routes' }[event.action.split('.')[0]] ?? null;
  return screen && !event.action.endsWith('.remove')
    ? html`<a href=${to(screen, event.subject)}>
    ${event.subject}</a>`
    : html`<strong>${event.subject}</strong>`;
}

export function Happenings({ about, limit }) {
  const query = new URLSearchParams({ ...about, limit });
  const loaded = useLoaded(`events ${query}`, () => api.read(`/api/v1/events?${query}`), { every: 15_000 });
  if (loaded.data === undefined)
    return loaded.fault
      ? html`<${Fault}
    fault=${loaded.fault} />`
      : html`<p class="faint">Loading…</p>`;
  if (loaded.data.data.length === 0) return html`<p class="soft">Nothing yet.</p>`;
  return html`<ul class="bars">${loaded.data.data.map(
    (event) => html`<li class="bar" key=${event.id}><span>
    ${event.actor} ${actionText(event.action)}</span><span class="amount"><${When} at=${event.at} /></span></li>`,
  )}</ul>`;
}
