// Puts the theme on the document before anything is drawn: the chosen one, else the system's, also when that changes.
// A classic script, since a module would come too late.
(() => {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const show = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem('closegate-theme');
    } catch {
      // Storage is switched off: the system's theme it is.
    }
    const known = chosen === 'light' || chosen === 'dark';
    document.documentElement.dataset.theme = known ? chosen : dark.matches ? 'dark' : 'light';
    dispatchEvent(new Event('themechange'));
  };
  dark.addEventListener('change', show);
  show();
})();
