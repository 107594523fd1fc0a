// "From a terminal": the same notification sent from a shell or from Python, ready to copy.
import { t } from "./i18n.js";
import { userAddress } from "./address.js";

const COPIED_MS = 2000;
const $ = (id) => document.getElementById(id);

const state = { endpoint: null, failed: false, user: "", language: "shell" };
let copiedTimer = 0;

export function startTerminal() {
  // Open where there is room beside the list; on a phone it would push the list away.
  $("terminal").open = matchMedia("(min-width: 900px)").matches;
  for (const tab of tabs()) {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", onTabKey);
  }
  $("copy").addEventListener("click", copy);
}

export function setEndpoint(endpoint) {
  state.endpoint = typeof endpoint === "string" ? endpoint : null;
  state.failed = state.endpoint === null;
  renderTerminal();
}

export function setTerminalUser(user) {
  state.user = user;
  renderTerminal();
}

export function renderTerminal() {
  const lines = state.endpoint === null ? [] : commandLines();
  $("terminal-code").replaceChildren(...lines.map((line) => {
    const span = document.createElement("span");
    span.className = "line";
    span.textContent = line + "\n";
    return span;
  }));
  $("terminal-code").dataset.language = state.language;
  $("terminal-panel").hidden = lines.length === 0;
  $("copy").hidden = lines.length === 0;
  $("copy").textContent = t("copy");
  $("terminal-note").textContent = state.endpoint !== null ? t("terminalNote")
    : t(state.failed ? "terminalFailed" : "terminalLoading");
}

function commandLines() {
  const to = userAddress(state.user);
  const hello = t("hello");
  if (state.language === "shell") {
    return [`pregon notify --push --via ${state.endpoint} --to ${to} '"${hello}"'`];
  }
  return [
    "import zmq",
    `s = zmq.Context().socket(zmq.PUSH); s.connect("${state.endpoint}")`,
    `s.send_json({"to": "${to}", "data": {"text": "${hello}"}})`,
  ];
}

function tabs() {
  return [$("tab-shell"), $("tab-python")];
}

function select(chosen) {
  state.language = chosen.id === "tab-python" ? "python" : "shell";
  for (const tab of tabs()) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
  }
  $("terminal-panel").setAttribute("aria-labelledby", chosen.id);
  renderTerminal();
}

function onTabKey(event) {
  if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
  event.preventDefault();
  const [first, last] = tabs();
  const next = event.key === "Home" ? first
    : event.key === "End" ? last
      : event.currentTarget === first ? last : first;
  next.focus();
  select(next);
}

async function copy() {
  let copied = true;
  try {
    await navigator.clipboard.writeText(commandLines().join("\n"));
  } catch {
    // No clipboard outside a secure context: leave the text selected for the person's own Ctrl+C.
    getSelection().selectAllChildren($("terminal-code"));
    copied = false;
  }
  $("copy").textContent = t(copied ? "copied" : "copySelected");
  $("announce").textContent = $("copy").textContent;
  clearTimeout(copiedTimer);
  copiedTimer = setTimeout(() => { $("copy").textContent = t("copy"); }, COPIED_MS);
}
