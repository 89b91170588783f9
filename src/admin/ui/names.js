// Names to choose from while one is typed: of thousands only those that fit.
import { html, useLoaded, useSettled } from './view.js';

/** Some names that hold what is typed; `load` gives a page of what has names. */
export function useNames(kind, load, typed) {
  const q = useSettled(typed).trim();
  const loaded = useLoaded(`names ${kind} ${q}`, () => load({ q, limit: 20 }));
  return (loaded.data?.data ?? []).map((one) => one.name);
}

export const Names = ({ id, names }) => html`<datalist id=${id}>${names.map((name) => html`<option key=${name} value=${name} />`)}
  </datalist>`;
