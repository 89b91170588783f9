// Short messages at the edge of the page, some with a way to take back what was just done.
import { html, useEffect, useState } from './view.js';

let add = () => {};
let serial = 0;

/** Says something for a moment. With `undo`, offers to take it back for longer. */
export function toast(text, undo) {
  add({ id: ++serial, text, undo });
}

export function Toasts() {
  const [shown, set] = useState([]);
  useEffect(() => {
    add = (one) => set((before) => [...before.slice(-2), one]);
    return () => {
      add = () => {};
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
