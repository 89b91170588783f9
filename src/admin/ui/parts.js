// What screens are made of: icons, badges, fields, notes, things to copy, lists in pages.
import { html, useEffect, useRef, useState } from './view.js';
import { passes } from './api.js';
import { count, distance, nameFault, stateOf, unproven, whole } from './words.js';
import { toast } from './toasts.js';

const PATHS = {
  plus: 'M8 3v10M3 8h10',
  check: 'M3 8.5l3.2 3.2L13 5',
  copy: 'M5.5 5.5h7v8h-7zM3.5 10.5v-8h7',
  search: 'M7 12a5 5 0 1 0 0-10 5 5 0 0 0 0 10zM10.7 10.7L14 14',
  tiles: 'M2.5 2.5h4.5v4.5H2.5zM9 2.5h4.5v4.5H9zM2.5 9h4.5v4.5H2.5zM9 9h4.5v4.5H9z',
  key: 'M10.3 9.5a3.6 3.6 0 1 0-3.6-3.6c0 .4.1.8.2 1.2L2.5 11.5v2h2l.8-.8v-1.3h1.3l1.5-1.5c.6.4 1.4.6 2.2.6z',
  route: 'M4 5.3a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6zM12 14.3a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6zM4 5.3v4.2a3 3 0 0 0 3 3h3.2M5.8 3.5H9a3 3 0 0 1 3 3v4.2',
  chart: 'M2.5 13.5h11M4.5 11V8M8 11V3.5M11.5 11V6',
  clock: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.8V8l2.2 1.5',
  sliders:
    'M2.5 5h6M12 5h1.5M2.5 11H4M7.5 11h6M10.2 5m-1.7 0a1.7 1.7 0 1 0 3.4 0a1.7 1.7 0 1 0-3.4 0M5.8 11m-1.7 0a1.7 1.7 0 1 0 3.4 0a1.7 1.7 0 1 0-3.4 0',
  plug: 'M5.5 2.5v3M10.5 2.5v3M3.5 5.5h9v2.2a4.5 4.5 0 0 1-9 0zM8 12.2v2',
  sun: 'M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6zM8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9',
  moon: 'M13.5 9.6A5.8 5.8 0 0 1 6.4 2.5a5.8 5.8 0 1 0 7.1 7.1z',
  out: 'M6.5 2.5h-3v11h3M10.5 5l3 3-3 3M13.2 8H6.5',
  back: 'M9.5 3.5L5 8l4.5 4.5',
  warn: 'M8 2.2l6.3 11.3H1.7zM8 6.5v3.2M8 11.7v.1',
  info: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 7.3v3.7M8 5v.1',
  open: 'M6.5 3.5h-3v9h9v-3M9 2.5h4.5V7M13.3 2.7L7.5 8.5',
  sort: 'M5 6l3-3 3 3M5 10l3 3 3-3',
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"
    stroke-linejoin="round" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}

/** A button that says when it is at work, and keeps the focus while it is. */
export function Button({ kind = '', icon, busy, busyText, onClick, type = 'button', children, ...rest }) {
  const press = (event) => {
    if (busy) event.preventDefault();
    else onClick?.(event);
  };
  return html`<button type=${type} class=${`button ${kind}`} aria-disabled=${busy ? 'true' : null} onClick=${press} ...${rest}>
    ${busy ? html`<span class="spinner"></span>` : icon && html`<${Icon} name=${icon} />`}${busy && busyText ? busyText : children}
  </button>`;
}

export const ButtonLink = ({ kind = '', icon, children, ...rest }) =>
  html`<a class=${`button ${kind}`} ...${rest}>${icon && html`<${Icon} name=${icon} />`}${children}</a>`;

export const Badge = ({ tone = '', plain, children }) => html`<span class=${`badge ${tone} ${plain ? 'plain' : ''}`}>
  ${children}</span>`;

export function StateBadge({ credential }) {
  const state = stateOf(credential);
  return unproven(credential)
    ? html`<${Badge} tone="warn">Not verified yet<//>`
    : html`<${Badge} tone=${state.tone}>
    ${state.label}<//>`;
}

/** A time: near it reads as a distance, and always names the moment with its zone. */
export function When({ at, none = 'none seen', full }) {
  if (!at) return html`<span class="faint">${none}</span>`;
  return html`<time datetime=${at} title=${whole(at)}>${full ? whole(at) : distance(at)}</time>`;
}

export const Note = ({ tone = '', icon = tone === 'good' ? 'check' : tone ? 'warn' : 'info', title, children, ...rest }) => html`
  <div class=${`note ${tone}`} ...${rest}><${Icon} name=${icon} />${
    title &&
    html`<strong>
    ${title}</strong>`
  }${children && html`<div>${children}</div>`}</div>`;

/** A text of the gateway: what stands in backticks is a value. */
export function Said({ text }) {
  return (text ?? '').split('`').map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part));
}

/** What was refused and what to do about it; announced when it appears. */
export function Fault({ fault, except = [] }) {
  if (!fault) return null;
  const shown = (fault.fields ?? []).filter(
    (field) =>
      !except.some((name) => field.field === name || field.field?.startsWith(`${name}[`) || field.field?.startsWith(`${name}.`)),
  );
  if (fault.fields?.length && shown.length === 0) {
    return html`<div role="alert"><${Note} tone="bad"
      title=${fault.fields.length === 1 ? 'One field needs another value.' : 'Some fields need other values.'} /></div>`;
  }
  return html`<div role="alert"><${Note} tone="bad" title=${html`<${Said} text=${fault.message} />`}>
    ${
      shown.length > 1 &&
      html`<ul class="steps">${shown.map(
        (field) => html`<li><code>
      ${field.field}</code>: <${Said} text=${field.what} /></li>`,
      )}</ul>`
    }
    ${fault.hint || shown[0]?.hint ? html`<${Said} text=${fault.hint || shown[0].hint} />` : null}<//></div>`;
}

/** A labelled field with its hint and, beside it, what is wrong with it. `children` gets the attributes of the control. */
export function Field({ id, label, hint, fault, optional, children }) {
  const text = typeof fault === 'string' ? fault : fault?.what;
  const described = [hint && `${id}-hint`, text && `${id}-fault`].filter(Boolean).join(' ') || null;
  return html`<div class="field">
    <label for=${id}>${label}${optional && html` <span class="optional">optional</span>`}</label>
    ${children({ id, 'aria-describedby': described, 'aria-invalid': text ? 'true' : null })}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${
      text &&
      html`<p class="fault" id=${`${id}-fault`}><${Said}
      text=${fault.hint ? `${text.replace(/\.$/, '')}: ${fault.hint}` : text} /></p>`
    }
  </div>`;
}

/** A field for a secret: hidden as it is typed, never filled in by the browser, and looked at on request. */
export function SecretField({ id, label, hint, fault, value, onInput, placeholder }) {
  const [seen, see] = useState(false);
  return html`<${Field} id=${id} label=${label} hint=${hint} fault=${fault}>${(control) => html`<div class="secret">
    <input ...${control} type=${seen ? 'text' : 'password'} class="mono" value=${value} placeholder=${placeholder}
      onInput=${(event) => onInput(event.target.value)} autocomplete="off" autocapitalize="off"
      spellcheck=${false} data-1p-ignore data-lpignore="true" />
    <${Button} aria-pressed=${seen ? 'true' : 'false'} aria-label=${`Show ${label.toLowerCase()}`} onClick=${() => see(!seen)}>
      ${seen ? 'Hide' : 'Show'}<//>
  </div>`}<//>`;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No permission, or a plain http address beyond loopback: the way that needs neither.
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'hidden';
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

export function CopyButton({ text, what, kind = 'tiny', onCopied }) {
  const [copied, set] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => set(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async () => {
    if (await copyText(text)) {
      set(true);
      onCopied?.();
    } else {
      toast('The browser did not let the page copy. Select the text and copy it yourself.');
    }
  };
  return html`<${Button} kind=${kind} icon=${copied ? 'check' : 'copy'} aria-label=${`Copy ${what}`} onClick=${copy}>
    <span aria-live="polite">${copied ? 'Copied' : 'Copy'}</span><//>`;
}

export const CopyLine = ({ text, what, onCopied }) => html`<div class="copyline"><code>${text}</code>
  <${CopyButton} text=${text} what=${what} onCopied=${onCopied} /></div>`;

export const Snippet = ({ text, what, onCopied }) => html`<div class="snippet"><pre tabindex="0" aria-label=${what}>${text}</pre>
  <${CopyButton} text=${text} what=${what} onCopied=${onCopied} /></div>`;

export const Empty = ({ icon, title, text, children }) => html`<div class="card empty"><${Icon} name=${icon} /><h2>${title}</h2><p>
  ${text}</p>${children && html`<div class="buttons">${children}</div>`}</div>`;

export const Loading = ({ what }) => html`<div class="card empty" role="status"><span class="spinner"></span><p>Loading ${what}…</p>
  </div>`;

/**
 * What was loaded, or that it is on its way, or why it did not come. What may pass by itself is told above the screen (`Trouble`)
 * and asked for again. `missing` is shown where there is no such thing.
 */
export function Loaded(props) {
  // One element round whatever it is: siblings keep their places when it turns into something else.
  return html`<div class="whole">${inside(props)}</div>`;
}

function inside({ of, what, missing, children }) {
  const passing = of.fault && passes(of.fault);
  if (of.data !== undefined) return html`${of.fault && !passing && html`<${Fault} fault=${of.fault} />`}${children(of.data)}`;
  if (of.fault?.status === 404 && missing) return missing;
  if (of.fault && !passing)
    return html`<div class="stack tight"><${Fault} fault=${of.fault} /><div><${Button} onClick=${of.again}>Try again<//>
    </div></div>`;
  return html`<${Loading} what=${what} />`;
}

/** What an address leads to that is not there, and the way on: `list` is the hash and the name of all there are. */
export function Missing({ kind, name, list: [hash, all] }) {
  // What is no name is not repeated as one.
  const called = nameFault(name) ? html`${kind} of this name` : html`${kind} <code>${name}</code>`;
  return html`<${Head} title=${`No such ${kind}`} back=${[hash, all]} />
    <${Empty} icon="search" title=${html`There is no ${called}`}
      text="It may have been removed, or the address is mistyped."><a class="button primary" href=${hash}>All ${all.toLowerCase()}</a><//>`;
}

/** A search box that `/` reaches. */
export function Search({ id, label, value, onInput }) {
  const box = useRef(null);
  useEffect(() => {
    const reach = (event) => {
      if (
        event.key !== '/' ||
        event.ctrlKey ||
        event.metaKey ||
        event.altKey ||
        /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) ||
        document.querySelector('dialog[open]')
      )
        return;
      event.preventDefault();
      box.current?.focus();
    };
    addEventListener('keydown', reach);
    return () => removeEventListener('keydown', reach);
  }, []);
  return html`<div class="search"><label class="hidden" for=${id}>${label}</label><${Icon} name="search" />
    <input ref=${box} id=${id} type="search" value=${value} placeholder=${`${label} ( / )`}
      onInput=${(event) => onInput(event.target.value)} autocomplete="off" spellcheck=${false} /></div>`;
}

export const Segments = ({ label, options, value, onPick }) => html`<div class="segments" role="group" aria-label=${label}>
  ${options.map(
    ([key, text]) => html`<button type="button" key=${key} aria-pressed=${value === key ? 'true' : 'false'}
    onClick=${() => onPick(key)}>${text}</button>`,
  )}</div>`;

/** The pages of a list (`usePages`), of `size` each: which one is shown, and the way to the others. */
export function Pager({ pages: { data, page, next, back }, size, noun }) {
  if (!data || (data.total <= size && page === 0)) return null;
  const first = page * size;
  return html`<nav class="pager" aria-label=${`Pages of ${noun}`}>
    <span aria-live="polite">${count(first + 1)}–${count(first + data.data.length)} of ${count(data.total)} ${noun}</span>
    <span class="buttons"><${Button} kind="tiny" disabled=${page === 0} onClick=${back}>Previous<//>
      <${Button} kind="tiny" disabled=${!data.next} onClick=${next}>Next<//></span></nav>`;
}

/** The head of a screen; takes the focus when the screen opens, so that screen readers begin there. */
export function Head({ title, text, back, badge, children }) {
  const heading = useRef(null);
  useEffect(() => {
    document.title = `${title} · closegate`;
    heading.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [title]);
  return html`<div class="page-head"><div>
    ${back && html`<a class="back" href=${back[0]}><${Icon} name="back" />${back[1]}</a>`}
    <div class="title"><h1 tabindex="-1" ref=${heading}>${title}</h1>${badge}</div>
    ${text && html`<p>${text}</p>`}</div>${children && html`<div class="buttons">${children}</div>`}</div>`;
}
