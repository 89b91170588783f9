// The authorization of an OAuth credential: open Close, agree, come back; or paste the address the browser ended on.
import { html, useEffect, useState, useTask } from './view.js';
import * as api from './api.js';
import { Button, CopyLine, Fault, Field, SecretField } from './parts.js';
import { toast } from './toasts.js';
import { clockOf } from './words.js';

export function Authorize({ credential, changed }) {
  const [started, start] = useState(null);
  const [pasted, paste] = useState('');
  const [tried, attempt] = useState(false);
  const [busy, fault, run] = useTask();
  const [finishing, refusal, finish] = useTask();
  const path = `/api/v1/credentials/${encodeURIComponent(credential.name)}/authorize`;
  // One that works goes on meanwhile, and looks the same afterwards.
  const waits = ['needs_authorization', 'dead'].includes(credential.state);
  const begin = () => run(async () => start(await api.create(path, { start: {} })));
  useEffect(() => {
    if (credential.state !== 'dead') begin();
  }, []);
  const submit = (event) => {
    event.preventDefault();
    attempt(true);
    if (pasted.trim() === '') return;
    finish(async () => {
      changed(await api.create(path, { redirect_url: pasted.trim() }));
      toast(`${credential.name} is authorized.`);
    });
  };
  return html`<section class="card stack" aria-labelledby="authorize-title"><h2 id="authorize-title">
    ${credential.state === 'dead' ? 'Authorize again' : 'Authorize at Close'}</h2>
    <${Fault} fault=${fault} />
    ${
      !started
        ? html`<div class="stack tight"><p class="soft">Someone with access to the organization at Close has to agree.</p>
      <div><${Button} kind="primary" busy=${busy} busyText="Preparing…" onClick=${begin}>Start authorization<//></div>
      </div>`
        : html`
      <ol class="steps">
        <li><div class="stack tight"><span>The app at Close has this Redirect URL:</span>
          <${CopyLine} text=${started.redirect_uri} what="the redirect URL" /></div></li>
        <li><div class="stack tight">
          <span>Open Close, choose the organization, and agree. The link works until ${clockOf(started.expires_at)}.</span>
          <div class="buttons"><a class="button primary" href=${started.authorization_url} target="_blank"
            rel="noopener noreferrer">Open Close to authorize<span class="hidden"> (opens in a new tab)</span></a>
            <${Button} kind="quiet" busy=${busy} onClick=${begin}>Make a new link<//></div></div></li>
        <li><div class="stack tight">
          <span>${waits && 'This page sees it by itself once you have agreed. '}If the browser ends on an address that does not open, paste it here:</span>
          <form class="stack tight" onSubmit=${submit} novalidate>
            <${Field} id="pasted" label="Address the browser ended on"
              fault=${tried && pasted.trim() === '' ? 'Paste the whole address.' : (refusal?.of('redirect_url') ?? (refusal ? { what: refusal.message, hint: refusal.hint } : null))}>${(control) => html`<input ...${control} class="mono" value=${pasted} onInput=${(event) => paste(event.target.value)} placeholder=${`${started.redirect_uri}?code=…&state=…`} autocomplete="off" spellcheck=${false} />`}<//>
            <div><${Button} type="submit" busy=${finishing} busyText="Verifying…">Finish<//></div></form></div></li></ol>
      <${TakeOver} path=${path} name=${credential.name} changed=${changed} />
      ${waits && html`<p class="waiting" role="status"><span class="pulse"></span>Waiting for the authorization…</p>`}`
    }</section>`;
}

/** Takes over a grant that somebody else has used until now, by its refresh token. */
function TakeOver({ path, name, changed }) {
  const [token, type] = useState('');
  const [tried, attempt] = useState(false);
  const [busy, fault, run] = useTask();
  const missing = tried && token.trim() === '';
  const submit = (event) => {
    event.preventDefault();
    attempt(true);
    if (token.trim() === '') return;
    run(async () => {
      changed(await api.create(path, { refresh_token: token.trim() }));
      toast(`${name} is authorized. Whoever had the refresh token cannot use it any more.`);
    });
  };
  return html`<details><summary>I have a refresh token already</summary><form class="stack tight inner" onSubmit=${submit} novalidate>
    <p class="soft">The gateway uses it at once, and Close replaces it: the tool that has it now cannot use it any more.</p>
    <${SecretField} id="refresh-token" label="Refresh token" value=${token} onInput=${type}
      fault=${missing ? 'Paste the refresh token.' : (fault?.of('refresh_token') ?? (fault ? { what: fault.message, hint: fault.hint } : null))} />
    <div><${Button} type="submit" busy=${busy} busyText="Asking Close…">Take it over<//></div></form></details>`;
}
