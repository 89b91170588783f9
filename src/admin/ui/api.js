// Asks the admin API. A refusal becomes a `Problem` (RFC 9457) that forms can show beside the field it is about.

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
      hint: 'Is it running, and is the network between?',
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
  // Who asks about the session itself sees that by the answer.
  if (problem.code === 'unauthenticated' && path !== SESSION) listeners.forEach((listener) => listener());
  throw problem;
}

/** The same, and whether there is trouble is known from it. */
async function look(path) {
  try {
    const found = await ask('GET', path);
    heed(null);
    return found;
  } catch (fault) {
    heed(passes(fault) ? fault : null);
    throw fault;
  }
}

/** Whether a fault is one of the gateway or of the way to it, and not of what was asked: then it may pass by itself. */
export const passes = (fault) => [0, 502, 503, 504].includes(fault.status);

const watchers = new Set();
let troubled = null;

/** What keeps the page from knowing anything new, and since when: `{ fault, since }`; nothing in good times. */
export const trouble = () => troubled;

/** Is told when that changes. */
export function onTrouble(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

function heed(fault) {
  if (!fault && !troubled) return;
  if (fault && troubled?.fault.code === fault.code) return;
  troubled = fault && { fault, since: troubled?.since ?? new Date() };
  watchers.forEach((watcher) => watcher(troubled));
}

/** Where one signs in, and sees who is signed in. */
export const SESSION = '/api/v1/session';

/** What did not come is asked for again after so many milliseconds. */
export const PATIENCE = 3000;

export const read = (path) => look(path);
export const create = (path, body) => ask('POST', path, { body });
export const replace = (path, body, version) => ask('PUT', path, { body, version });
export const remove = (path, version) => ask('DELETE', path, { version });

/** What was asked for as a query, without what is empty. */
const query = (asked) => new URLSearchParams(Object.entries(asked).filter(([, value]) => value));

/** A page of a list: `{ data, next, total }`. */
const page = (path) => (asked = {}) => read(`${path}?${query(asked)}`);

/** The text of `/metrics`, which needs no session. */
export async function metricsText() {
  const response = await send('GET', '/metrics');
  if (!response.ok) throw new Problem(response.status, { detail: 'The metrics cannot be read.' });
  return response.text();
}

export const credentials = page('/api/v1/credentials');
export const credential = (name) => read(`/api/v1/credentials/${encodeURIComponent(name)}`);
export const keys = page('/api/v1/keys');
export const key = (name) => read(`/api/v1/keys/${encodeURIComponent(name)}`);
export const usage = (asked) => read(`/api/v1/usage?${new URLSearchParams(asked)}`);
export const suggestion = (name) => read(`/api/v1/keys/${encodeURIComponent(name)}/suggestion`);
export const routes = page('/api/v1/routes');
export const route = (name) => read(`/api/v1/routes/${encodeURIComponent(name)}`);
/** The first of some routes, each by its name; one that is gone is left out. */
export const routesNamed = async (names) => {
  const found = await Promise.allSettled(names.slice(0, NAMED).map(route));
  return found.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
};
export const refusals = (asked) => read(`/api/v1/refusals?${new URLSearchParams(asked)}`);
/** What would become of a request: `{ method, path, key }`, the key by its name or empty. */
export const explain = ({ method, path, key }) =>
  read(`/api/v1/explain?${new URLSearchParams({ method, path, ...(key && { key }) })}`);
export const endpoints = () => read('/api/v1/endpoints');

/** So many routes are asked for by their names. */
export const NAMED = 6;
