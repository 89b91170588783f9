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

const kept = new Map();

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
      kept.set(name, entry);
      redraw((count) => count + 1);
    };
    try {
      show({ data: await loading.current() });
    } catch (fault) {
      show({ data: kept.get(name)?.data, fault });
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
      kept.set(name, { data });
      redraw((count) => count + 1);
    },
    [name],
  );
  return { data: entry.data, fault: entry.fault, again, put };
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
