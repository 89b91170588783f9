// The way in: with a token, or on the first run with the link that the gateway printed.
import { html, useEffect, useState, useTask } from './view.js';
import * as api from './api.js';
import { go, to } from './address.js';
import { Button, Fault, SecretField } from './parts.js';

export function SignIn({ address, onEnter }) {
  const link = address.screen === 'start' ? address.name : null;
  const [token, type] = useState('');
  const [missing, miss] = useState(false);
  const [busy, fault, run] = useTask();
  const enter = (body) =>
    run(async () => {
      const identity = await api.create('/api/v1/session', body);
      if (link) go(to('credentials'));
      onEnter(identity);
    });
  useEffect(() => {
    document.title = 'Sign in · closegate';
    if (!link) return;
    // The link is used up now, and has no business in the history.
    history.replaceState(null, '', '#/start');
    enter({ token: link });
  }, []);
  const submit = (event) => {
    event.preventDefault();
    miss(token.trim() === '');
    if (token.trim() !== '') enter({ token: token.trim() });
  };
  const wrong = fault?.code === 'unauthenticated';
  return html`<div class="door"><main>
    <div class="brand"><img src="ui/icon.svg" alt="" width="26" height="26" />closegate</div>
    <div class="card stack">
      <div class="stack tight"><h1>Sign in</h1>
        <p class="soft">The credentials of Close behind this gateway, and the tools that use them.</p></div>
      <form class="fields" onSubmit=${submit} novalidate>
        <${SecretField} id="token" label="Admin token" value=${token} onInput=${type}
          fault=${missing && token.trim() === '' ? 'Enter the token.' : wrong && !link ? { what: 'This is no valid token.', hint: 'mind that it is the admin token, and no gateway key' } : null}
          hint=${html`Configured in <code>[admin.tokens]</code>; otherwise the gateway made one at its first start, in the file <code>admin.token</code> of its <code>data_dir</code>.`} />
        ${
          wrong && link
            ? html`<div role="alert">
          <p class="fault">This link was used already, or is too old. Sign in with the admin token, or start the gateway again for a new link.</p></div>`
            : !wrong && html`<${Fault} fault=${fault} />`
        }
        <${Button} kind="primary" type="submit" busy=${busy} busyText="Signing in…">Sign in<//>
      </form>
    </div></main></div>`;
}
