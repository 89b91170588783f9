// The one door to the view library, and the hooks that are the page's own.
export {
  html,
  render,
  createContext,
  useState,
  useEffect,
  useRef,
  useMemo,
  useCallback,
  useContext,
  useLayoutEffect,
} from './vendor/htm-preact.js';
import { useState, useEffect, useRef, useCallback } from './vendor/htm-preact.js';

import { PATIENCE, passes } from './api.js';

const kept = new Map();

function keep(name, entry) {
  kept.delete(name);
  kept.set(name, entry);
  // What was seen longest ago is loaded anew.
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
}

/** Forgets everything that was loaded: another person may sign in. */
export function forgetLoaded() {
  kept.clear();
}

/**
 * Loads something and keeps it: a screen that was seen before shows at once what it knew, and then what is new.
 * With `every`, again and again in milliseconds while the page is in sight.
 */
export function useLoaded(name, load, { every = 0 } = {}) {
  const [, redraw] = useState(0);
  const loading = useRef(load);
  loading.current = load;
  const turn = useRef(0);
  const again = useCallback(async () => {
    const mine = ++turn.current;
    const show = (entry) => {
      if (mine !== turn.current) return;
      keep(name, entry);
      redraw((count) => count + 1);
    };
    try {
      show({ data: await loading.current() });
    } catch (fault) {
      show({ data: fault.status === 404 ? undefined : kept.get(name)?.data, fault });
      if (passes(fault) && mine === turn.current) setTimeout(() => mine === turn.current && again(), PATIENCE);
    }
  }, [name]);
  useEffect(() => {
    again();
    if (!every)
      return () => {
        turn.current++;
      };
    const timer = setInterval(() => {
      if (!document.hidden) again();
    }, every);
    return () => {
      clearInterval(timer);
      turn.current++;
    };
  }, [name, every]);
  const entry = kept.get(name) ?? {};
  const put = useCallback(
    (data) => {
      turn.current++;
      keep(name, { data });
      redraw((count) => count + 1);
    },
    [name],
  );
  return { data: entry.data, fault: entry.fault, again, put };
}

/**
 * Loads a list page by page: `asked` says what of it, and `load` gives `{ data, next, total }`. Until what is asked for comes,
 * what was there before stays. `page` counts from 0.
 */
export function usePages(name, load, asked, { every } = {}) {
  const what = `${name} ${new URLSearchParams(asked)}`;
  const [place, move] = useState({ what, cursors: [] });
  const cursors = place.what === what ? place.cursors : [];
  const cursor = cursors.at(-1);
  const loaded = useLoaded(`${what} ${cursor ?? ''}`, () => load({ ...asked, ...(cursor && { cursor }) }), { every });
  const before = useRef(undefined);
  if (loaded.data !== undefined) before.current = loaded.data;
  return {
    ...loaded,
    data: loaded.data ?? (loaded.fault ? undefined : before.current),
    page: cursors.length,
    next: () => loaded.data?.next && move({ what, cursors: [...cursors, loaded.data.next] }),
    back: () => move({ what, cursors: cursors.slice(0, -1) }),
  };
}

/** A value once it has stood for a moment: what is typed is not asked for letter by letter. */
export function useSettled(value) {
  const [settled, settle] = useState(value);
  useEffect(() => {
    if (value === settled) return undefined;
    const timer = setTimeout(() => settle(value), MOMENT);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

/** Runs something that takes a while, once at a time: `[busy, fault, run]`. */
export function useTask() {
  const [state, set] = useState({ busy: false, fault: null });
  const busy = useRef(false);
  const run = useCallback(async (work) => {
    if (busy.current) return undefined;
    busy.current = true;
    set({ busy: true, fault: null });
    try {
      const done = await work();
      busy.current = false;
      set({ busy: false, fault: null });
      return done;
    } catch (fault) {
      busy.current = false;
      set({ busy: false, fault });
      return undefined;
    }
  }, []);
  return [state.busy, state.fault, run];
}

/** So much of what was loaded is kept. */
const KEPT = 200;
/** Milliseconds. */
const MOMENT = 150;
