// Tells that the gateway, or its store, cannot be asked just now; the screens stay as they are until it can.
import { html, useEffect, useState } from './view.js';
import * as api from './api.js';
import { Note, Said } from './parts.js';
import { clockOf } from './words.js';

/** A line above every screen while nothing new can be known. */
export function Trouble() {
  const [trouble, set] = useState(api.trouble);
  useEffect(() => api.onTrouble(set), []);
  useEffect(() => {
    if (!trouble) return undefined;
    // Whatever comes of it, `api` hears it.
    const timer = setInterval(() => api.read(api.SESSION).catch(() => {}), api.PATIENCE);
    return () => clearInterval(timer);
  }, [trouble !== null]);
  return html`<div class="trouble" role="status">${
    trouble &&
    html`<${Note} tone="warn" title=${html`<${Said} text=${trouble.fault.message} />`}>
    What you see is as it was at ${clockOf(trouble.since)}. It is tried again every few seconds.
    ${trouble.fault.hint && html` <span class="soft"><${Said} text=${trouble.fault.hint} /></span>`}<//>`
  }</div>`;
}

/** The whole page, while it is not known who asks. */
export const Unknown = ({ fault }) => html`<div class="door"><main>
  <div class="brand"><img src="ui/icon.svg" alt="" width="26" height="26" />closegate</div>
  <div class="card stack tight" role="status"><h1>Not to be reached just now</h1>
    <p><${Said} text=${fault.message} /></p>
    ${fault.hint && html`<p class="soft"><${Said} text=${fault.hint} /></p>`}
    <p class="waiting"><span class="pulse"></span><span>It is tried again every few seconds. You stay signed in.</span></p></div>
  </main></div>`;
