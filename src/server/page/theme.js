"use strict";
// Runs before the page is drawn, so that it never flashes in the other colours.

const kThemeKey = "fptq.theme";

function storedTheme() {
  try {
    const theme = localStorage.getItem(kThemeKey);
    return theme === "light" || theme === "dark" ? theme : "";
  } catch {
    return "";  // Storage may be switched off.
  }
}

// "light", "dark", or "" for what the system says.
function applyTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function setTheme(theme) {
  applyTheme(theme);
  try {
    if (theme) localStorage.setItem(kThemeKey, theme);
    else localStorage.removeItem(kThemeKey);
  } catch {
    // It holds until the page is closed.
  }
}

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

applyTheme(storedTheme());
