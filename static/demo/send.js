// The send form: who to, what, and what became of it.
import { t, clock } from "./i18n.js";
import { EVERYONE, SUGGESTED, addressedUser, recipientAddress, userAddress } from "./address.js";

const TEXT_MAX = 500;
const SAY_LEFT_FROM = 100;
const $ = (id) => document.getElementById(id);

let me = "";
let known = [...SUGGESTED];
let result = null; // {ok, say: () => string}, so that a change of language can say it again
let sending = false;

export function startSend() {
  $("send-form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  $("send-text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  $("send-to").addEventListener("input", () => {
    forgetProblem();
    renderRecipient();
  });
  $("send-text").addEventListener("input", () => {
    forgetProblem();
    renderLeft();
  });
}

export function setSender(user) {
  me = user;
  result = null;
  $("send-to").value = others()[0];
  renderSend();
}

/** Remembers a name seen in a notification, to offer it in the "To" field. */
export function offerName(name) {
  if (known.includes(name) || known.length >= 24) return;
  known.push(name);
  renderNames();
}

export function renderSend() {
  if (recipientAddress($("send-to").value) === EVERYONE) $("send-to").value = t("everyone");
  renderNames();
  renderChips();
  renderRecipient();
  renderLeft();
  renderResult();
}

export async function sendHelloToMyself() {
  await send(userAddress(me), t("helloMe", me));
}

async function submit() {
  if (sending) return;
  const to = recipientAddress($("send-to").value);
  const text = $("send-text").value.trim();
  if (to === null) return complain("sendNoOne", $("send-to"));
  if (text === "") return complain("sendNoText", $("send-text"));
  if (await send(to, text)) {
    $("send-text").value = "";
    renderLeft();
  }
}

function complain(key, field) {
  show(false, () => t(key));
  field.focus();
}

async function send(to, text) {
  sending = true;
  $("send-submit").setAttribute("aria-disabled", "true");
  show(true, () => t("sending"));
  try {
    const response = await fetch("/demo/notify", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ to, text, by: me }),
    });
    if (!response.ok) {
      const message = await errorMessage(response);
      show(false, () => t("sendRefused", message));
      return false;
    }
    const at = Date.now();
    show(true, () => t("sent", nameOf(to), clock(at)));
    return true;
  } catch {
    show(false, () => t("sendNoAnswer"));
    return false;
  } finally {
    sending = false;
    $("send-submit").removeAttribute("aria-disabled");
  }
}

async function errorMessage(response) {
  try {
    const body = await response.json();
    return String(body.message ?? body.error ?? response.status);
  } catch {
    return `HTTP ${response.status}`;
  }
}

function nameOf(address) {
  if (address === EVERYONE) return t("everyone");
  const id = addressedUser(address);
  return id === me ? t("yourself") : id ?? address;
}

function others() {
  return SUGGESTED.filter((name) => name !== me);
}

function show(ok, say) {
  result = { ok, say };
  renderResult();
}

function forgetProblem() {
  if (result?.ok !== false) return;
  result = null;
  renderResult();
}

function renderResult() {
  $("send-result").textContent = result ? result.say() : "";
  $("send-result").classList.toggle("problem", result !== null && !result.ok);
}

function renderNames() {
  const options = [t("everyone"), ...known.filter((name) => name !== me), me].map((name) => {
    const option = document.createElement("option");
    option.value = name;
    return option;
  });
  $("send-names").replaceChildren(...options);
}

function renderChips() {
  const chips = [t("everyone"), ...others()].map((name) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.textContent = name;
    chip.dataset.address = recipientAddress(name);
    chip.addEventListener("click", () => {
      $("send-to").value = name;
      renderRecipient();
      $("send-text").focus();
    });
    return chip;
  });
  $("send-chips").replaceChildren(...chips);
}

function renderRecipient() {
  const address = recipientAddress($("send-to").value);
  $("send-address").textContent = address ?? "";
  for (const chip of $("send-chips").children) {
    chip.setAttribute("aria-pressed", String(chip.dataset.address === address));
  }
  const named = address === null ? null : addressedUser(address);
  const other = named !== null && named !== me ? named : others()[0];
  $("second-tab").textContent = t("secondTab", other);
  $("second-tab").href = "/?user=" + encodeURIComponent(other);
}

function renderLeft() {
  const left = TEXT_MAX - $("send-text").value.length;
  $("send-left").textContent = left <= SAY_LEFT_FROM ? t("charactersLeft", left) : t("enterSends");
}
