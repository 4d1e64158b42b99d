// Runs before the first paint, so that a chosen theme does not flash.
(function () {
  var theme = new URLSearchParams(location.search).get('theme');
  try {
    theme = theme || localStorage.getItem('midspan.theme');
  } catch {
    theme = theme || '';
  }
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
})();
