// The address bar: every screen has a hash that can be kept and sent to somebody.
import { useEffect, useState } from './view.js';

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
    const moved = () => set(parse());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
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

/** Changes what stands behind the `?` without a new entry in the history. */
export function refine(values) {
  const { screen, name, query } = parse();
  for (const [key, value] of Object.entries(values)) {
    if (value) query.set(key, value);
    else query.delete(key);
  }
  history.replaceState(null, '', to(screen, name, query.size ? query : undefined));
  dispatchEvent(new HashChangeEvent('hashchange'));
}
