// Times, amounts and states, as people read them.

const zone = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const minute = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const number = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const whole = (at) => zone.format(new Date(at));
export const dayOf = (at) => day.format(new Date(at));
export const clockOf = (at) => clock.format(new Date(at));
export const minuteOf = (at) => minute.format(new Date(at));
export const count = (amount) => number.format(amount);
export const compact = (amount) => (amount < 10_000 ? number.format(Math.round(amount)) : short.format(amount));
export const plural = (amount, one, many = `${one}s`) => `${count(amount)} ${amount === 1 ? one : many}`;

/** The order of two texts, for what is otherwise alike. */
export const order = (one, other) => (one < other ? -1 : one > other ? 1 : 0);

/** How long ago or in how long: `3 minutes ago`, `in 89 days`. */
export function distance(at, now = Date.now()) {
  const seconds = (new Date(at).getTime() - now) / 1000;
  const size = Math.abs(seconds);
  if (size < 45) return seconds > 0 ? 'in a moment' : 'just now';
  for (const [unit, length, limit] of [
    ['minute', 60, 60],
    ['hour', 3600, 36],
    ['day', 86_400, 120],
    ['month', 2_629_800, 24],
    ['year', 31_557_600, Infinity],
  ]) {
    const units = Math.round(seconds / length);
    if (Math.abs(units) < limit) return relative.format(units, unit);
  }
  return dayOf(at);
}

export function bytes(amount) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const step = amount < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(amount) / 3));
  const value = amount / 1000 ** step;
  return `${step === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[step]}`;
}

export function milliseconds(amount) {
  if (amount === null || amount === undefined || Number.isNaN(amount)) return 'unknown';
  if (amount >= 1000) return `${(amount / 1000).toFixed(amount >= 10_000 ? 0 : 1)} s`;
  return `${amount >= 10 ? Math.round(amount) : amount.toFixed(1)} ms`;
}

export const METHODS = { api_key: 'API key', oauth2: 'OAuth 2.0', bearer: 'Bearer token', basic: 'User name and password' };

/** How a credential's state reads: its name, its tone, and what it means for tools. */
export const STATES = {
  ready: { label: 'Ready', tone: 'good', means: 'Requests are sent with it.' },
  suspect: {
    label: 'Being checked',
    tone: 'warn',
    means:
      'Close answered 401 to a request. The gateway is asking Close whether the credential still holds; until then it is used.',
  },
  rejected: {
    label: 'Rejected by Close',
    tone: 'bad',
    means: 'Close refuses it. Tools get 503 until it is rotated or Close accepts it again.',
  },
  unavailable: { label: 'Unavailable', tone: 'bad', means: 'Its secret cannot be read. Tools get 503 until it can.' },
  refreshing: { label: 'Refreshing', tone: 'good', means: 'A new access token is being fetched. Requests wait for it.' },
  needs_authorization: {
    label: 'Needs authorization',
    tone: 'warn',
    means: 'Somebody has to authorize the app at Close before tools can use it.',
  },
  dead: {
    label: 'Authorization ended',
    tone: 'bad',
    means: 'Close ended its authorization. Tools get 503 until it is authorized again.',
  },
  disabled: { label: 'Disabled', tone: 'off', means: 'Somebody switched it off. Tools get 503 until it is enabled.' },
};

export const stateOf = (credential) => STATES[credential.state] ?? { label: credential.state, tone: '', means: '' };

/** Whether Close never accepted what somebody added here; one of the configuration is not asked for that. */
export const unproven = (credential) =>
  credential.state === 'ready' && credential.standing === 'unverified' && credential.source.kind === 'managed';

export const usable = (credential) => ['ready', 'suspect', 'refreshing'].includes(credential.state);

/** Where something was declared: `closegate.toml:12`. */
export function sourceText(source) {
  if (source.kind === 'managed') return 'managed here';
  if (source.kind === 'file') {
    // Handed over open, as by `demo`: what it is called tells nobody where it lies.
    if (/^\/?(proc\/self|dev)\/fd\//.test(source.file)) return source.line ? `unnamed file:${source.line}` : 'unnamed file';
    return source.line ? `${source.file}:${source.line}` : source.file;
  }
  if (source.kind === 'environment') return `environment ${source.variable ?? ''}`.trim();
  return 'default';
}

export const SCOPES = {
  read: { label: 'Read', allows: 'Look up and search leads, contacts, activities, reports' },
  write: { label: 'Write', allows: 'Create and change leads, contacts, notes, tasks' },
  send: { label: 'Send', allows: 'Send email, text messages and WhatsApp, start sequences' },
  delete: { label: 'Delete', allows: 'Delete and merge records' },
  export: { label: 'Export', allows: 'Export whole lists of leads and opportunities' },
  admin: { label: 'Administer', allows: 'Members, roles, webhooks, phone numbers, undocumented calls' },
};

export const scopesText = (scopes) => {
  if (scopes === null || scopes === undefined) return 'what its routes allow';
  return scopes.includes('*') ? 'everything' : scopes.join(', ');
};

/** What stops a name from being one, or nothing. */
export function nameFault(name) {
  if (name === '') return 'Give it a name.';
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name))
    return 'Use lower-case letters, digits and hyphens, beginning with a letter or digit; at most 63.';
  return null;
}
