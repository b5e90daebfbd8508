// Runs before the first paint, so that nothing fades in from the other theme or language.
(function () {
  var root = document.documentElement;
  var theme, language;
  try {
    theme = localStorage.getItem('kith.theme');
    language = localStorage.getItem('kith.language');
    document.title = localStorage.getItem('kith.site') || document.title;
  } catch {
    // Storage may be closed to us; the system's choice then stands.
  }
  if (theme !== 'light' && theme !== 'dark') theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  root.dataset.theme = theme;
  root.lang = language || (/^zh/i.test(navigator.language) ? 'zh-CN' : 'en');
  document.querySelector('meta[name="theme-color"]').content = theme === 'dark' ? '#161311' : '#eee9e1';
})();
