// Asks the admin API. A refusal becomes a `Problem` (RFC 9457) that forms can show beside the field it is about.

import { parse } from './metrics.js';

/** What the API refused, and why. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The gateway answered with status ${status}`);
    this.name = 'Problem';
    this.status = status;
    this.code = body.code ?? '';
    this.hint = body.hint ?? '';
    this.fields = body.errors ?? [];
  }

  /** What is wrong with a field, if anything is. */
  of(field) {
    return this.fields.find((fault) => fault.field === field || fault.field?.startsWith(`${field}[`));
  }
}

const listeners = new Set();
let csrf = null;

/** Is told when the API no longer knows who asks. */
export function onSignedOut(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Keeps what state-changing requests of the session must repeat. */
export function keepIdentity(identity) {
  csrf = identity?.csrf ?? null;
}

async function send(method, path, { body, version } = {}) {
  const headers = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (csrf && method !== 'GET') headers['closegate-csrf'] = csrf;
  if (version !== undefined) headers['if-match'] = `"${version}"`;
  try {
    return await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      redirect: 'error',
    });
  } catch {
    throw new Problem(0, {
      code: 'gateway_unreachable',
      detail: 'The gateway does not answer.',
      hint: 'Is it running? This page tries again by itself where it shows live figures.',
    });
  }
}

async function ask(method, path, options) {
  const response = await send(method, path, options);
  const text = await response.text();
  let parsed = null;
  try {
    parsed = text === '' ? null : JSON.parse(text);
  } catch {
    // Something between the page and the gateway answered.
  }
  if (response.ok) return parsed;
  const problem = new Problem(response.status, parsed ?? {});
  if (problem.status === 401 && problem.code !== 'credential_refused') listeners.forEach((listener) => listener());
  throw problem;
}

export const read = (path) => ask('GET', path);
export const create = (path, body) => ask('POST', path, { body });
export const replace = (path, body, version) => ask('PUT', path, { body, version });
export const remove = (path, version) => ask('DELETE', path, { version });

/** A whole list, page after page. */
export async function all(path) {
  const whole = [];
  let cursor = null;
  do {
    const query = new URLSearchParams({ limit: '500' });
    if (cursor) query.set('cursor', cursor);
    const page = await read(`${path}?${query}`);
    whole.push(...page.data);
    cursor = page.next;
  } while (cursor);
  return whole;
}

/** The text of `/metrics`, which needs no session. */
export async function metricsText() {
  const response = await send('GET', '/metrics');
  if (!response.ok) throw new Problem(response.status, { detail: 'The metrics cannot be read.' });
  return response.text();
}

export const credentials = () => all('/api/v1/credentials');
export const credential = (name) => read(`/api/v1/credentials/${encodeURIComponent(name)}`);
export const keys = async () => {
  const [list, used] = await Promise.all([all('/api/v1/keys'), lastUses()]);
  return list.map((one) => seen(one, used));
};
export const key = async (name) => {
  const [one, used] = await Promise.all([read(`/api/v1/keys/${encodeURIComponent(name)}`), lastUses()]);
  return seen(one, used);
};
export const usage = (asked) => read(`/api/v1/usage?${new URLSearchParams(asked)}`);
export const suggestion = (name) => read(`/api/v1/keys/${encodeURIComponent(name)}/suggestion`);
export const routes = () => all('/api/v1/routes');
export const route = (name) => read(`/api/v1/routes/${encodeURIComponent(name)}`);
export const refusals = (asked) => read(`/api/v1/refusals?${new URLSearchParams(asked)}`);
/** What would become of a request: `{ method, path, key }`, the key by its name or empty. */
export const explain = ({ method, path, key }) =>
  read(`/api/v1/explain?${new URLSearchParams({ method, path, ...(key && { key }) })}`);
export const endpoints = () => read('/api/v1/endpoints');

/** When each key was last used since the gateway started, as its metrics tell. */
async function lastUses() {
  try {
    const samples = parse(await metricsText()).get('key_last_used_timestamp_seconds') ?? [];
    return new Map(samples.map(({ labels, value }) => [labels.key, value]));
  } catch {
    // The list is of use without it.
    return new Map();
  }
}

/** The later of what the store remembers and what this process has seen. */
function seen(key, used) {
  const seconds = used.get(key.name);
  if (!seconds || (key.last_used_at && new Date(key.last_used_at).getTime() >= seconds * 1000)) return key;
  return { ...key, last_used_at: new Date(seconds * 1000).toISOString() };
}
