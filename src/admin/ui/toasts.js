// Short messages at the edge of the page, some with a way to take back what was just done.
import { html, useEffect, useState } from './view.js';

/** What is said before there is a place for it. */
const early = [];
let add = (one) => early.push(one);
let serial = 0;

/** Says something for a moment. With `undo`, offers to take it back for longer. */
export function toast(text, undo) {
  add({ id: ++serial, text, undo });
}

export function Toasts() {
  const [shown, set] = useState([]);
  useEffect(() => {
    add = (one) => set((before) => [...before.slice(-2), one]);
    early.splice(0).forEach(add);
    return () => {
      add = (one) => early.push(one);
    };
  }, []);
  const close = (id) => set((before) => before.filter((one) => one.id !== id));
  return html`<div class="toasts" role="status" aria-live="polite">
    ${shown.map((one) => html`<${Toast} key=${one.id} one=${one} close=${() => close(one.id)} />`)}</div>`;
}

function Toast({ one, close }) {
  useEffect(() => {
    const timer = setTimeout(close, one.undo ? 12_000 : 5000);
    return () => clearTimeout(timer);
  }, []);
  const takeBack = () => {
    close();
    one.undo();
  };
  return html`<div class="toast"><span>${one.text}</span>${
    one.undo &&
    html`<button type="button"
    onClick=${takeBack}>Undo</button>`
  }<button type="button" onClick=${close}>Close</button></div>`;
}
