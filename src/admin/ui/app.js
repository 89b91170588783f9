// The page: who is signed in, which screen is shown, and the frame around it.
import { html, render, useEffect, useMemo, useState, forgetLoaded, useLoaded } from './view.js';
import * as api from './api.js';
import { go, to, useAddress } from './address.js';
import { Button, ButtonLink, Icon } from './parts.js';
import { Toasts, toast } from './toasts.js';
import { Session } from './session.js';
import { usable } from './words.js';
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
  credentials: ({ name }) => (name ? html`<${Credential} key=${name} name=${name} />` : html`<${Credentials} />`),
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
  const [session, set] = useState({ known: false, identity: null });
  const address = useAddress();
  const enter = (identity) => {
    api.keepIdentity(identity);
    set({ known: true, identity });
  };
  const leave = () => {
    forgetLoaded();
    enter(null);
  };
  useEffect(() => {
    api.read('/api/v1/session').then(enter, leave);
    return api.onSignedOut(leave);
  }, []);
  if (!session.known) return html`<p class="boot" role="status">closegate</p>`;
  if (!session.identity) return html`<${SignIn} address=${address} onEnter=${enter} />`;
  return html`<${Session.Provider} value=${session.identity}>
    <${Frame} address=${address} identity=${session.identity} onLeave=${leave} /><//>`;
}

function Frame({ address, identity, onLeave }) {
  const known = SCREENS[address.screen] ? address : { ...address, screen: 'credentials', name: null };
  const signOut = async () => {
    try {
      await api.remove('/api/v1/session');
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
        <${Navigation} screen=${known.screen} />
        <div class="side-foot"><${Theme} /><div class="who"><span title=${identity.name}>
          ${identity.name}${identity.role === 'viewer' ? ' · viewer' : ''}</span>
          <${Button} kind="quiet tiny" icon="out" onClick=${signOut}><span class="label">Sign out</span><//></div></div>
      </header>
      <main class="main" id="main"><div class="page" key=${`${known.screen}/${known.name ?? ''}`}>
        ${SCREENS[known.screen](known)}</div></main>
    </div><${Toasts} />`;
}

function Navigation({ screen }) {
  const credentials = useLoaded('credentials', api.credentials, { every: 30_000 });
  const waiting = useMemo(
    () => (credentials.data ?? []).filter((one) => !usable(one) && one.state !== 'disabled').length,
    [credentials.data],
  );
  return html`<nav class="nav" aria-label="Screens"><ul>${NAVIGATION.map(
    ([key, label, icon, screens]) => html`<li key=${key}>
    <a href=${to(key)} aria-current=${screens.includes(screen) ? 'page' : null}><${Icon} name=${icon} />
      ${label}${
        key === 'credentials' &&
        waiting > 0 &&
        html`<span class="badge bad count">
      ${waiting}<span class="hidden"> need attention</span></span>`
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
