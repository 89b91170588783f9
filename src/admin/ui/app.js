// The page: who is signed in, which screen is shown, and the frame around it.
import { html, render, useEffect, useRef, useState, forgetLoaded, useLoaded } from './view.js';
import * as api from './api.js';
import { go, replace, to, useAddress } from './address.js';
import { holding, mayLeave } from './hold.js';
import { Button, ButtonLink, Icon, Missing } from './parts.js';
import { Toasts, toast } from './toasts.js';
import { Session } from './session.js';
import { Leaving } from './leaving.js';
import { Trouble, Unknown } from './trouble.js';
import { count } from './words.js';
import { SignIn } from './sign_in.js';
import { Credentials } from './credentials.js';
import { Credential } from './credential.js';
import { AddCredential } from './add_credential.js';
import { Connect } from './connect.js';
import { Keys } from './keys.js';
import { Key } from './key.js';
import { Routes, Route } from './routes.js';
import { Explain } from './explain.js';
import { Usage } from './usage.js';
import { Activity } from './activity.js';
import { Settings } from './settings.js';

const SCREENS = {
  credentials: ({ name, query }) =>
    name ? html`<${Credential} key=${name} name=${name} />` : html`<${Credentials} query=${query} />`,
  'add-credential': () => html`<${AddCredential} />`,
  connect: ({ name }) => html`<${Connect} key=${name} credential=${name} />`,
  keys: ({ name, query }) => (name ? html`<${Key} key=${name} name=${name} />` : html`<${Keys} query=${query} />`),
  routes: ({ name, query }) => (name ? html`<${Route} key=${name} name=${name} />` : html`<${Routes} query=${query} />`),
  explain: ({ query }) => html`<${Explain} query=${query} />`,
  usage: () => html`<${Usage} />`,
  activity: ({ query }) => html`<${Activity} query=${query} />`,
  settings: ({ query }) => html`<${Settings} query=${query} />`,
};

const NAVIGATION = [
  ['credentials', 'Credentials', 'tiles', ['credentials', 'add-credential']],
  ['keys', 'Keys', 'key', ['keys']],
  ['routes', 'Routes', 'route', ['routes', 'explain']],
  ['usage', 'Usage', 'chart', ['usage']],
  ['activity', 'Activity', 'clock', ['activity']],
  ['settings', 'Settings', 'sliders', ['settings']],
];

function App() {
  // Who is signed in: nothing yet, nobody (and why not), or somebody.
  const [session, set] = useState({ known: false, identity: null, fault: null });
  const address = useAddress();
  // How often somebody has entered: what was asked before says nothing of who did since.
  const entries = useRef(0);
  const enter = (identity) => {
    entries.current++;
    api.keepIdentity(identity);
    set({ known: true, identity, fault: null });
  };
  const leave = (fault = null) => {
    forgetLoaded();
    api.keepIdentity(null);
    set({ known: true, identity: null, fault });
  };
  useEffect(() => {
    let timer = null;
    // Only who is told that nobody knows them has to sign in; anything else passes, and is asked again.
    const unless = (fault, again, otherwise) => {
      if (api.passes(fault)) {
        set((before) => (before.identity ? before : { known: false, identity: null, fault }));
        timer = setTimeout(again, api.PATIENCE);
      } else otherwise();
    };
    const begin = (refused, before = entries.current) =>
      api.read(api.SESSION).then(
        (identity) => {
          enter(identity);
          if (refused) toast('That link was used already, or is over. You are signed in as before.');
        },
        (fault) => unless(fault, () => begin(refused), () => before === entries.current && leave(refused)),
      );
    const follow = (token) =>
      api.create(api.SESSION, { token }).then(enter, (fault) =>
        unless(fault, () => follow(token), () => begin(fault)),
      );
    const arrive = () => {
      clearTimeout(timer);
      const [, link] = /^#\/start\/([^/?]+)/.exec(location.hash) ?? [];
      if (!link) return false;
      // It is used up now, whoever is signed in, and has no business in the address or the history.
      replace(to('credentials'));
      follow(link);
      return true;
    };
    if (!arrive()) begin();
    addEventListener('hashchange', arrive);
    // It may be that a request was on its way when another session began. What is shown this once is not taken away by one
    // that ends.
    const stop = api.onSignedOut(() => holding() === null && begin());
    return () => {
      clearTimeout(timer);
      removeEventListener('hashchange', arrive);
      stop();
    };
  }, []);
  if (!session.known)
    return session.fault ? html`<${Unknown} fault=${session.fault} />` : html`<p class="boot" role="status">closegate</p>`;
  if (!session.identity) return html`<${SignIn} refused=${session.fault} onEnter=${enter} />`;
  return html`<${Session.Provider} value=${session.identity}>
    <${Frame} address=${address} identity=${session.identity} onLeave=${() => leave()} /><//>`;
}

const Nowhere = ({ screen }) => html`<${Missing} kind="screen" name=${screen} list=${[to('credentials'), 'Credentials']} />`;

function Frame({ address, identity, onLeave }) {
  const shown = SCREENS[address.screen]?.(address) ?? html`<${Nowhere} screen=${address.screen} />`;
  const signOut = async () => {
    if (!mayLeave(signOut)) return;
    try {
      await api.remove(api.SESSION);
    } catch (fault) {
      if (fault.status !== 401) {
        toast(`You are still signed in: ${fault.message}`);
        return;
      }
    }
    onLeave();
  };
  return html`<a class="button skip" href="#main"
    onClick=${(event) => {
      event.preventDefault();
      document.querySelector('h1')?.focus();
    }}>Skip to content</a>
    <div class="frame">
      <header class="side">
        <a class="brand" href=${to('credentials')}><img src="ui/icon.svg" alt="" width="26" height="26" />closegate</a>
        ${identity.role === 'admin' && html`<${ButtonLink} kind="primary" icon="plug" href=${to('connect')}>Connect a tool<//>`}
        <${Navigation} screen=${address.screen} />
        <div class="side-foot"><${Theme} /><div class="who"><span title=${identity.name}>
          ${identity.name}${identity.role === 'viewer' ? ' · viewer' : ''}</span>
          <${Button} kind="quiet tiny" icon="out" onClick=${signOut}><span class="label">Sign out</span><//></div></div>
      </header>
      <main class="main" id="main"><${Trouble} /><div class="page" key=${`${address.screen}/${address.name ?? ''}`}>${shown}</div></main>
    </div><${Leaving} /><${Toasts} />`;
}

function Navigation({ screen }) {
  const { data } = useLoaded('attention', () => api.credentials({ show: 'attention', limit: 1 }), { every: 30_000 });
  const waiting = data?.total ?? 0;
  return html`<nav class="nav" aria-label="Screens"><ul>${NAVIGATION.map(
    ([key, label, icon, screens]) => html`<li key=${key}>
    <a href=${to(key)} aria-current=${screens.includes(screen) ? 'page' : null}><${Icon} name=${icon} />
      ${label}${
        key === 'credentials' &&
        waiting > 0 &&
        html`<span class="badge bad count">
      ${count(waiting)}<span class="hidden"> need attention</span></span>`
      }</a></li>`,
  )}</ul></nav>`;
}

function Theme() {
  const dark = () => document.documentElement.dataset.theme === 'dark';
  const [isDark, set] = useState(dark);
  useEffect(() => {
    const seen = () => set(dark());
    addEventListener('themechange', seen);
    return () => removeEventListener('themechange', seen);
  }, []);
  const turn = () => {
    const theme = isDark ? 'light' : 'dark';
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem('closegate-theme', theme);
    } catch {
      // It holds for this visit only.
    }
    dispatchEvent(new Event('themechange'));
  };
  return html`<${Button} kind="quiet tiny" icon=${isDark ? 'sun' : 'moon'} onClick=${turn}><span class="label">
    ${isDark ? 'Light theme' : 'Dark theme'}</span><//>`;
}

if (location.hash === '') history.replaceState(null, '', to('credentials'));
addEventListener('hashchange', () => {
  if (location.hash === '') go(to('credentials'));
});
const place = document.getElementById('app');
place.textContent = '';
render(html`<${App} />`, place);
