// Puts the chosen theme on the document before anything is drawn. A classic script, since a module would come too late.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem('closegate-theme');
  } catch {
    // Storage is switched off: the system's theme it is.
  }
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
