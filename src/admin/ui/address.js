// The address bar: every screen has a hash that can be kept and sent to somebody.
import { useEffect, useState } from './view.js';
import { mayLeave } from './hold.js';

function parse() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const parts = path.split('/').map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { screen: parts[0] || 'credentials', name: parts[1] ?? null, query: new URLSearchParams(query) };
}

/** Where the page is: `{ screen, name, query }`. */
export function useAddress() {
  const [address, set] = useState(parse);
  useEffect(() => {
    let shown = location.hash;
    const moved = () => {
      const wanted = location.hash;
      if (wanted !== shown && !mayLeave(() => go(wanted))) {
        history.replaceState(null, '', shown);
        return;
      }
      shown = wanted;
      set(parse());
    };
    // A link that is not followed leaves nothing in the history.
    const clicked = (event) => {
      const link = event.target.closest?.('a[href^="#/"]');
      if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const wanted = link.getAttribute('href');
      if (wanted !== shown && !mayLeave(() => go(wanted))) event.preventDefault();
    };
    addEventListener('hashchange', moved);
    document.addEventListener('click', clicked);
    return () => {
      removeEventListener('hashchange', moved);
      document.removeEventListener('click', clicked);
    };
  }, []);
  return address;
}

/** The hash of a screen. */
export function to(screen, name, query) {
  const search = query ? `?${new URLSearchParams(query)}` : '';
  return `#/${screen}${name === undefined || name === null ? '' : `/${encodeURIComponent(name)}`}${search}`;
}

/** Goes to a hash. */
export function go(hash) {
  location.hash = hash;
}

/** Shows another hash in place of this one, of which nothing stays in the history. */
export function replace(hash) {
  history.replaceState(null, '', hash);
  dispatchEvent(new HashChangeEvent('hashchange'));
}

/** Changes what stands behind the `?` without a new entry in the history. */
export function refine(values) {
  const { screen, name, query } = parse();
  for (const [key, value] of Object.entries(values)) {
    if (value) query.set(key, value);
    else query.delete(key);
  }
  replace(to(screen, name, query.size ? query : undefined));
}
