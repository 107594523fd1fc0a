// The demo page: pick a name, watch notifications arrive, send one. This file holds the page together.
import { applyLanguage, switchLanguage, t } from "./i18n.js";
import { SUGGESTED, userId } from "./address.js";
import { join } from "./connection.js";
import { addNotification, renderFeed, resetFeed, setFeedState, startFeed } from "./feed.js";
import { offerName, renderSend, sendHelloToMyself, setSender, startSend } from "./send.js";
import { renderTerminal, setEndpoint, setTerminalUser, startTerminal } from "./terminal.js";

const STORED = "pregon.user"; // in sessionStorage: each tab may be someone else
const VIEWS = ["loading", "missing", "pick", "hub"];
const $ = (id) => document.getElementById(id);

const page = { user: null, connection: null, state: "connecting", detail: {}, unseen: 0, nameProblem: false };

start();

function start() {
  applyLanguage();
  $("language").addEventListener("click", () => {
    switchLanguage();
    renderAll();
  });
  if (typeof globalThis.io !== "function") {
    $("missing-reload").addEventListener("click", () => location.reload());
    renderMissing();
    return showView("missing");
  }
  startPick();
  startFeed();
  startSend();
  startTerminal();
  startNotice();
  startTitle();
  $("change-name").addEventListener("click", leave);
  $("empty-hello").addEventListener("click", sendHelloToMyself);
  askInfo();

  const asked = new URLSearchParams(location.search).get("user") ?? storedUser();
  const user = asked === null ? null : userId(asked);
  if (user !== null) return enter(user);
  page.nameProblem = asked !== null;
  showPick();
}

function startPick() {
  $("pick-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const user = userId($("pick-name").value);
    page.nameProblem = user === null;
    if (user !== null) return enter(user);
    renderPick();
    $("pick-name").focus();
  });
  $("pick-chips").replaceChildren(...SUGGESTED.map((name) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.textContent = name;
    chip.addEventListener("click", () => enter(name));
    return chip;
  }));
}

function enter(user) {
  page.user = user;
  storeUser(user);
  showView("hub");
  $("who-name").textContent = user;
  resetFeed(user);
  setSender(user);
  setTerminalUser(user);
  page.connection = join(user, { onState, onNotification });
  focusHub();
}

function focusHub() {
  // On a phone the keyboard would come up and cover the list.
  const field = matchMedia("(pointer: fine)").matches ? $("send-text") : $("view-hub");
  field.focus({ preventScroll: true });
}

function leave() {
  page.connection?.close();
  page.connection = null;
  $("pick-name").value = page.user ?? "";
  page.user = null;
  page.nameProblem = false;
  storeUser(null);
  // Else a reload would pick the name in the URL again.
  history.replaceState(null, "", location.pathname);
  showPick();
}

function showPick() {
  showView("pick");
  renderPick();
  $("pick-name").focus();
  $("pick-name").select();
}

function showView(name) {
  for (const view of VIEWS) $("view-" + view).hidden = view !== name;
  $("status").hidden = name !== "hub";
  $("who").hidden = name !== "hub";
}

function onState(state, detail) {
  page.state = state;
  page.detail = detail;
  setFeedState(state, detail);
  renderState();
}

function onNotification(n) {
  const news = addNotification(n);
  if (news === null) return;
  $("announce").textContent = news.text;
  if (news.from !== n.from) offerName(news.from);
  ring();
  if (document.hidden) {
    page.unseen += 1;
    renderTitle();
  }
}

function ring() {
  const mark = $("mark");
  mark.classList.remove("ringing");
  mark.getBoundingClientRect(); // without a layout in between the animation would not start again
  mark.classList.add("ringing");
}

function startNotice() {
  $("notice-retry").addEventListener("click", () => {
    page.connection?.tryAgain();
    focusHub();
  });
  $("notice-name").addEventListener("click", leave);
}

function startTitle() {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    page.unseen = 0;
    renderTitle();
  });
}

function renderTitle() {
  document.title = page.unseen === 0 ? "Pregón" : `(${page.unseen}) Pregón`;
}

function renderAll() {
  if (!$("view-missing").hidden) return renderMissing();
  renderPick();
  if (page.user === null) return;
  renderState();
  renderFeed();
  renderSend();
  renderTerminal();
}

function renderPick() {
  $("pick-error").textContent = page.nameProblem ? t("pickProblem") : "";
  $("pick-name").setAttribute("aria-invalid", String(page.nameProblem));
}

function renderMissing() {
  $("missing-text").replaceChildren(...t("missingText", code));
}

function renderState() {
  const { state, detail } = page;
  $("status").dataset.state = state;
  $("status").textContent = t(state === "lost" && !detail.everConnected ? "unreachable" : state);

  const over = state === "refused" || state === "ended";
  $("notice").hidden = !over;
  if (!over) return;
  $("notice-title").textContent = t(state + "Title", page.user);
  $("notice-text").replaceChildren(...[detail.reason ? t("reason", code(detail.reason)) : t("noReason")].flat());
  $("notice-retry").textContent = t(state === "ended" ? "comeBack" : "tryAgain");
}

function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}

async function askInfo() {
  try {
    const response = await fetch("/demo/info");
    const info = response.ok ? await response.json() : {};
    $("version").textContent = info.version ?? "";
    setEndpoint(info.endpoint ?? null);
  } catch {
    setEndpoint(null);
  }
}

function storedUser() {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function storeUser(user) {
  try {
    if (user === null) sessionStorage.removeItem(STORED);
    else sessionStorage.setItem(STORED, user);
  } catch { /* then a reload asks again */ }
}
