// Asks before a screen goes away with something that is shown this once.
import { html, useEffect, useState } from './view.js';
import { Button } from './parts.js';
import { Dialog } from './dialogs.js';
import { onAsked, release } from './hold.js';

export function Leaving() {
  const [asked, ask] = useState(null);
  useEffect(() => onAsked(ask), []);
  if (!asked) return null;
  const stay = () => ask(null);
  const leave = () => {
    release();
    ask(null);
    asked.go();
  };
  return html`<${Dialog} title=${`Leave without ${asked.what}?`} onClose=${stay}>
    <p>It is shown this once and was not copied. Nobody can see it again: the tool would need a new key.</p>
    <div class="dialog-foot"><${Button} kind="primary" onClick=${stay}>Stay<//>
      <${Button} kind="danger" onClick=${leave}>Leave without it<//></div><//>`;
}
