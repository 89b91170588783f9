// Dialogs that ask before something happens that cannot be taken back.
import { html, useEffect, useRef, useState, useTask } from './view.js';
import { Button, Fault, Field } from './parts.js';

/** A modal dialog: focus stays in it, Escape and Cancel leave it. */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef(null);
  useEffect(() => {
    const shown = dialog.current;
    shown.showModal();
    // Closing, and not merely going away, gives the focus back to where it was.
    return () => shown.close();
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onCancel=${(event) => {
    event.preventDefault();
    onClose();
  }}>
    <div class="dialog-body"><h2 id="dialog-title">${title}</h2>${children}</div></dialog>`;
}

/**
 * Asks whether to do something, and names the damage. `act` does it; its refusal is shown here. With `typed`, that word
 * has to be typed first.
 */
export function Confirm({ title, action, busyText, typed, act, onDone, onClose, children }) {
  const [busy, fault, run] = useTask();
  const [word, type] = useState('');
  const [missed, miss] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    if (typed && word !== typed) {
      miss(true);
      return;
    }
    await run(async () => onDone(await act()));
  };
  return html`<${Dialog} title=${title} onClose=${onClose}><form onSubmit=${submit} class="stack tight" novalidate>
    <div class="stack tight">${children}</div>
    ${
      typed &&
      html`<${Field} id="confirm-word" label=${html`Type <code>
      ${typed}</code> to confirm`} fault=${missed && word !== typed ? 'That is not its name.' : null}>
      ${(control) => html`<input ...${control} value=${word} onInput=${(event) => type(event.target.value)} autocomplete="off"
      autocapitalize="off" spellcheck=${false} />`}<//>`
    }
    <${Fault} fault=${fault} />
    <div class="dialog-foot"><${Button} onClick=${onClose}>Cancel<//>
      <${Button} kind="danger" type="submit" busy=${busy} busyText=${busyText}>${action}<//></div>
  </form><//>`;
}
