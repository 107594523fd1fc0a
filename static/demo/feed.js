// The list of what arrived: newest on top, and still while someone reads further down.
import { t, clock, clockMinutes, crierSentence, fullTime, number } from "./i18n.js";
import { EVERYONE, userAddress } from "./address.js";

const KEEP = 200;
const TEXT_SHOWN = 2000;
const $ = (id) => document.getElementById(id);

const feed = {
  user: "",
  state: "connecting",
  entries: [], // newest first, {kind: "note", n} or {kind: "gap", from, to}; each is a row on the page
  held: [], // arrived while the reader was further down; not yet on the page
  received: 0,
  since: null,
  lostAt: null,
};

export function startFeed() {
  $("pill").addEventListener("click", () => {
    release();
    scrollTo({ top: listTop() + scrollY - stickyHeight(), behavior: "instant" });
    $("list").focus({ preventScroll: true });
  });
  addEventListener("scroll", () => {
    if (feed.held.length > 0 && readerIsAtTop()) releaseWithoutJump();
  }, { passive: true });
}

export function resetFeed(user) {
  Object.assign(feed, { user, entries: [], held: [], received: 0, since: null, lostAt: null });
  renderFeed();
}

/** Takes one notification; returns what there is to say about it, or null if it was here already. */
export function addNotification(n) {
  if (feed.entries.concat(feed.held).some((entry) => entry.kind === "note" && entry.n.id === n.id)) return null;
  if (Number.isNaN(new Date(n.at).getTime())) n.at = Date.now();
  feed.received += 1;
  insert({ kind: "note", n, fresh: true });
  renderHead();
  return { from: sender(n), text: t("heard", sender(n), recipientWord(n.to), sentence(n.data)) };
}

export function setFeedState(state, detail) {
  const now = Date.now();
  if (state === "connected") {
    if (feed.lostAt !== null && !detail.recovered) insert({ kind: "gap", from: feed.lostAt, to: now });
    feed.lostAt = null;
    feed.since ??= now;
  } else if (feed.state === "connected") {
    feed.lostAt = now;
  }
  feed.state = state;
  renderHead();
}

export function renderFeed() {
  $("list").replaceChildren(...feed.entries.map(row));
  renderHead();
}

function insert(entry) {
  if (readerIsAtTop()) place([entry]);
  else feed.held = [entry, ...feed.held].slice(0, KEEP);
  renderHead();
}

function release() {
  const waiting = feed.held;
  feed.held = [];
  place(waiting);
  renderHead();
}

function releaseWithoutJump() {
  const before = $("list").offsetHeight;
  release();
  scrollBy({ top: $("list").offsetHeight - before, behavior: "instant" });
}

function place(newestFirst) {
  $("list").prepend(...newestFirst.map(row));
  feed.entries = [...newestFirst, ...feed.entries].slice(0, KEEP);
  while ($("list").childElementCount > KEEP) $("list").lastElementChild.remove();
}

function readerIsAtTop() {
  return $("list").hidden || listTop() >= stickyHeight() - 8;
}

function listTop() {
  return $("list").getBoundingClientRect().top;
}

function stickyHeight() {
  return $("feed-head").offsetHeight + parseFloat(getComputedStyle($("feed-head")).top);
}

function renderHead() {
  const some = feed.entries.length > 0;
  const live = feed.state === "connected";
  $("list").hidden = !some;
  $("feed").hidden = !some && ["refused", "ended"].includes(feed.state); // the notice says it all
  $("skeleton").hidden = some || !["connecting", "lost"].includes(feed.state);
  $("empty").hidden = some || !live;
  $("feed").classList.toggle("stale", !live && some);
  $("feed-count").textContent = headText(live);
  $("pill").hidden = feed.held.length === 0;
  $("pill").textContent = t("fresh", feed.held.length);
  $("pill").setAttribute("aria-label", t("freshLabel", feed.held.length));
}

function headText(live) {
  if (!live && feed.lostAt !== null) return t("asOf", clock(feed.lostAt));
  if (feed.since === null) return "";
  const since = clockMinutes(feed.since);
  return feed.received === 0 ? t("listeningSince", since) : t("countSince", number(feed.received), since);
}

function row(entry) {
  return entry.kind === "gap" ? gapRow(entry) : notificationRow(entry);
}

function gapRow({ from, to }) {
  const item = document.createElement("li");
  item.className = "gap";
  item.textContent = t("gap", clock(from), clock(to));
  return item;
}

function notificationRow(entry) {
  const { n } = entry;
  const item = document.createElement("li");
  item.className = "note";
  item.dataset.testid = "notification";
  item.dataset.id = n.id;
  if (entry.fresh) item.classList.add("fresh");
  entry.fresh = false; // a row drawn again, in the other language, did not arrive again

  const time = add(item, "time", "note-time", clock(n.at));
  time.dateTime = new Date(n.at).toISOString();
  time.title = fullTime(n.at);

  const from = add(item, "bdi", "note-from", sender(n));
  from.classList.toggle("person", person(n) !== null);
  from.title = t("notifier", n.from);

  const to = add(item, "span", "note-to");
  add(to, "span", "unseen", t("to") + " ");
  add(to, "bdi", "tag", recipientWord(n.to)).dataset.to = recipientKind(n.to);

  const text = add(item, "p", "note-text", sentence(n.data));
  text.classList.toggle("json", plainText(n.data) === null);
  text.dir = "auto";
  return item;
}

function add(parent, tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  parent.append(element);
  return element;
}

/** Who to name: the person, where the message says one, else the notifier. */
function sender(n) {
  return person(n) ?? String(n.from);
}

function person(n) {
  const by = n.data?.by;
  return typeof by === "string" && by !== "" ? by.slice(0, 64) : null;
}

function recipientKind(to) {
  if (to === userAddress(feed.user)) return "me";
  return to === EVERYONE ? "everyone" : "other";
}

function recipientWord(to) {
  return { me: t("toYou"), everyone: t("toEveryone"), other: to }[recipientKind(to)];
}

/** What a notification says, whatever JSON it carries. Only ever used as text. */
function sentence(data) {
  const text = plainText(data) ?? JSON.stringify(data) ?? "";
  return text.length <= TEXT_SHOWN ? text : text.slice(0, TEXT_SHOWN) + t("cut", number(text.length));
}

function plainText(data) {
  const known = crierSentence(data?.code, data?.n);
  if (known !== null) return known;
  if (typeof data?.text === "string") return data.text;
  return typeof data === "string" ? data : null;
}
