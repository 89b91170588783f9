// The effective configuration with the source of each setting; to be read here, and changed where it is written.
import { html, useMemo, useLoaded, useTask } from './view.js';
import * as api from './api.js';
import { refine } from './address.js';
import { Badge, Button, Empty, Fault, Head, Loaded, Note, Search } from './parts.js';
import { sourceText } from './words.js';
import { toast } from './toasts.js';
import { useGateway } from './gateway.js';
import { useMayChange } from './session.js';

export function Settings({ query }) {
  const loaded = useLoaded('config', () => api.read('/api/v1/config'));
  const gateway = useGateway();
  const mayChange = useMayChange();
  const [busy, fault, run] = useTask();
  const reload = () =>
    run(async () => {
      const { changed, waiting } = await api.create('/api/v1/reload');
      loaded.again();
      toast(
        waiting.length > 0
          ? `Loaded. ${waiting.join(', ')} wait for a restart.`
          : changed
            ? 'The configuration was loaded again, and is in force.'
            : 'The configuration was loaded again; nothing is different.',
      );
    });
  return html`<${Head} title="Settings"
    text=${html`The configuration in force, and where each setting comes from: built-in defaults, then the file, then the environment.${gateway.data?.version ? ` closegate ${gateway.data.version}.` : ''}`}>${mayChange && html`<${Button} busy=${busy} busyText="Loading…" onClick=${reload}>Reload now<//>`}<//>
    <${Fault} fault=${fault} />
    <${Loaded} of=${loaded} what="settings">${(settings) => html`<${List} settings=${settings}
      query=${query} />`}<//>`;
}

const section = (key) => (key.includes('.') ? key.slice(0, key.indexOf('.')) : 'general');

function List({ settings, query }) {
  const words = query.get('q') ?? '';
  const groups = useMemo(() => {
    const wanted = words.trim().toLowerCase();
    return [
      ...Map.groupBy(
        settings.filter((one) => `${one.key} ${one.value} ${sourceText(one.source)}`.toLowerCase().includes(wanted)),
        (one) => section(one.key),
      ),
    ];
  }, [settings, words]);
  return html`<div class="tools"><${Search} id="setting-search" label="Search settings" value=${words}
    onInput=${(q) => refine({ q })} /></div>
    <${Note} title="A file that changes is loaded by itself, whole or not at all.">Listeners, store and admin wait for a restart. Secrets are references: their values stand nowhere on this page.<//>
    ${
      groups.length === 0 &&
      html`<${Empty} icon="search" title="No setting like that"
      text="Search for a part of its name, its value or its file." />`
    }
    ${groups.map(
      ([name, list]) => html`<section class="stack tight" key=${name}><h2>${name}</h2>
      <div class="table-frame" tabindex="0" role="region" aria-label=${`Settings of ${name}`}><table class="rows settings">
      <thead class="hidden-head"><tr><th scope="col">Setting</th><th scope="col">Value</th><th scope="col">From</th></tr></thead>
      <tbody>${list.map(
        (one) => html`<tr key=${one.key}><th scope="row" class="mono">${one.key}</th><td class="mono" data-label="Value">
        ${one.value === 'unset' ? html`<span class="faint">unset</span>` : one.value}</td><td data-label="From">
        <${Badge} plain tone=${one.source.kind === 'default' ? '' : 'accent'}>${sourceText(one.source)}<//></td></tr>`,
      )}</tbody>
        </table></div></section>`,
    )}`;
}
