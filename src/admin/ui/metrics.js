// Reads the text that Prometheus scrapes, and what changed between two readings of it.

const SAMPLE = /^([a-z_]+)(?:\{(.*)\})? ([^ ]+)$/;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;

/** The samples by name, without the prefix `closegate_`: `[{ labels, value }]`. */
export function parse(text) {
  const families = new Map();
  for (const line of text.split('\n')) {
    const match = line.startsWith('#') ? null : SAMPLE.exec(line);
    if (!match) continue;
    const name = match[1].replace(/^closegate_/, '');
    const labels = {};
    for (const [, label, value] of (match[2] ?? '').matchAll(LABEL))
      labels[label] = value.replace(/\\(.)/g, (_, escaped) => (escaped === 'n' ? '\n' : escaped));
    const samples = families.get(name);
    const sample = { labels, value: Number(match[3]) };
    if (samples) samples.push(sample);
    else families.set(name, [sample]);
  }
  return families;
}

/** The sum of a family's samples by what `of` says of their labels; what it says nothing of is left out. */
export function sums(families, name, of) {
  const found = new Map();
  for (const { labels, value } of families.get(name) ?? []) {
    const key = of(labels);
    if (key !== null && key !== undefined) found.set(key, (found.get(key) ?? 0) + value);
  }
  return found;
}

/** How much each has grown; what fell was started anew. */
export function growth(now, before) {
  return new Map([...now].map(([key, value]) => [key, value >= (before.get(key) ?? 0) ? value - (before.get(key) ?? 0) : value]));
}

/** The bound below which a share of a histogram's growth lies, by its cumulative buckets: `le -> count`. In the buckets' unit. */
export function quantile(buckets, share) {
  const sorted = [...buckets]
    .map(([bound, amount]) => [bound === '+Inf' ? Infinity : Number(bound), amount])
    .sort(([a], [b]) => a - b);
  const total = sorted.at(-1)?.[1] ?? 0;
  if (total === 0) return null;
  let [low, below] = [0, 0];
  for (const [bound, amount] of sorted) {
    if (amount >= share * total) {
      if (bound === Infinity) return low;
      return amount === below ? bound : low + ((share * total - below) / (amount - below)) * (bound - low);
    }
    [low, below] = [bound, amount];
  }
  return low;
}
