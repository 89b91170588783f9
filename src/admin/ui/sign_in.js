// The way in: with a token.
import { html, useEffect, useState, useTask } from './view.js';
import * as api from './api.js';
import { Button, Fault, SecretField } from './parts.js';

/** `refused` is why a link of a first run did not let its follower in, if somebody followed one. */
export function SignIn({ refused, onEnter }) {
  const [token, type] = useState('');
  const [missing, miss] = useState(false);
  const [busy, fault, run] = useTask();
  useEffect(() => {
    document.title = 'Sign in · closegate';
  }, []);
  const submit = (event) => {
    event.preventDefault();
    miss(token.trim() === '');
    if (token.trim() !== '') run(async () => onEnter(await api.create(api.SESSION, { token: token.trim() })));
  };
  const wrong = fault?.code === 'unauthenticated';
  return html`<div class="door"><main>
    <div class="brand"><img src="ui/icon.svg" alt="" width="26" height="26" />closegate</div>
    <div class="card stack">
      <div class="stack tight"><h1>Sign in</h1>
        <p class="soft">The credentials of Close behind this gateway, and the tools that use them.</p></div>
      <form class="fields" onSubmit=${submit} novalidate>
        <${SecretField} id="token" label="Admin token" value=${token} onInput=${type}
          fault=${missing && token.trim() === '' ? 'Enter the token.' : wrong ? { what: 'This is no valid token.', hint: 'mind that it is the admin token, and no gateway key' } : null}
          hint=${html`Configured in <code>[admin.tokens]</code>; otherwise the gateway made one at its first start, in the file <code>admin.token</code> of its <code>data_dir</code>.`} />
        ${
          refused &&
          !fault &&
          html`<div role="alert"><p class="fault">${
            refused.code === 'unauthenticated'
              ? 'This link was used already, is too old, or there is a credential by now. Sign in with the admin token; a gateway without a credential prints another link when it starts.'
              : refused.message
          }</p></div>`
        }
        ${!wrong && html`<${Fault} fault=${fault} />`}
        <${Button} kind="primary" type="submit" busy=${busy} busyText="Signing in…">Sign in<//>
      </form>
    </div></main></div>`;
}
