// What would be lost if the screen went away: nobody leaves it without having been asked.
import { useLayoutEffect } from './view.js';

let held = null;
let asks = () => {};

/** While `what` says something, leaving the screen is asked for first, and so is leaving the page. */
export function useHold(what) {
  // At once, and not after the next frame: nobody is asked in vain, and nobody slips out.
  useLayoutEffect(() => {
    if (!what) return undefined;
    const mine = { what };
    held = mine;
    const stay = (event) => event.preventDefault();
    addEventListener('beforeunload', stay);
    return () => {
      if (held === mine) held = null;
      removeEventListener('beforeunload', stay);
    };
  }, [what]);
}

/** What would be lost, if anything would. */
export const holding = () => held?.what ?? null;

/** Lets nothing be held any more: somebody said so. */
export function release() {
  held = null;
}

/** Whether the screen may be left now; if not, it is asked for, and `go` is what was wanted. */
export function mayLeave(go) {
  if (!held) return true;
  asks({ what: held.what, go });
  return false;
}

/** Sets who asks. */
export function onAsked(ask) {
  asks = ask;
  return () => {
    asks = () => {};
  };
}
