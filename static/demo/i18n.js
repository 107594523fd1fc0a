// Every word on the page, in English and Spanish. A text is a string, or a function of what it tells.

const en = {
  otherLanguage: "Español",
  loading: "Loading",
  reload: "Load again",
  missingTitle: "No browser client",
  missingText: (code) => ["The hub was built without the browser client. Run ", code("make"), " once, then start again."],

  pickTitle: "Who are you here?",
  pickLead: "Pick a name. What is sent to that name reaches every tab that carries it, at once.",
  pickLabel: "Your name",
  pickSubmit: "Come in",
  pickChips: "or come in as",
  pickProblem: "A name has 1 to 64 characters.",
  routeLabel: "The way of a notification",
  routeProgram: "a program",
  routeTab: "your tab",

  youAre: "You are",
  changeName: "Change name",
  connecting: "Connecting",
  connected: "Connected",
  lost: "Connection lost, trying again",
  unreachable: "No answer yet, trying again",
  refused: "Refused",
  ended: "Session over",

  sendTitle: "Send",
  sendTo: "To",
  sendChips: "Suggested recipients",
  sendText: "Text",
  sendSubmit: "Send",
  enterSends: "Enter sends",
  charactersLeft: (n) => (n === 1 ? "1 character left" : `${n} characters left`),
  everyone: "everyone",
  yourself: "yourself",
  sending: "Sending",
  sent: (who, at) => `Sent to ${who} at ${at}`,
  sendNoOne: "Say who it is for.",
  sendNoText: "Write something first.",
  sendRefused: (message) => `Not sent. ${message}`,
  sendNoAnswer: "Not sent: the hub does not answer. Your text is kept.",
  secondTab: (name) => `Open a second tab as ${name}`,

  terminalTitle: "From a terminal",
  terminalTabs: "Language of the example",
  terminalNote: "Run it on this machine: it reaches this tab.",
  terminalLoading: "Asking the hub for its endpoint",
  terminalFailed: "The hub did not tell its endpoint. Load the page again.",
  copy: "Copy",
  copied: "Copied",
  copySelected: "Selected: press Ctrl+C",
  hello: "Hello",
  helloMe: (name) => `Hello, ${name}`,

  feedTitle: "Notifications",
  countSince: (n, at) => `${n} since ${at}`,
  listeningSince: (at) => `listening since ${at}`,
  asOf: (at) => `as it was at ${at}`,
  fresh: (n) => `${n} new`,
  freshLabel: (n) => `${n} new, go to the top`,
  toYou: "you",
  toEveryone: "everyone",
  to: "to",
  notifier: (name) => `Notifier: ${name}`,
  heard: (from, to, text) => `${from} to ${to}: ${text}`,
  cut: (n) => `… (${n} characters in all)`,
  gap: (from, to) => `No connection from ${from} to ${to}. Something may be missing here.`,

  emptyTitle: "Nothing yet",
  emptyText: "What is sent to you or to everyone appears here as it happens. The demo calls out to everyone about every 20 seconds.",
  emptyHello: "Send yourself a hello",

  refusedTitle: (name) => `The hub did not let ${name} in`,
  endedTitle: "Your session is over",
  reason: (code) => ["The hub's reason: ", code, "."],
  noReason: "The hub gave no reason.",
  tryAgain: "Try again",
  comeBack: "Come back",
  otherName: "Use another name",

  crier: {
    backup: (n, num) => (n === 1 ? "The backup is done: 1 file is safe." : `The backup is done: ${num} files are safe.`),
    deploy: (n) => `Version ${n} is live.`,
    queue: (n, num) => (n === 1 ? "1 job is waiting in the queue." : `${num} jobs are waiting in the queue.`),
    coffee: (n, num) => (n === 1 ? "Coffee will be ready in 1 minute." : `Coffee will be ready in ${num} minutes.`),
    weather: (n, num) => (n === 1 ? "Rain is coming in 1 minute." : `Rain is coming in ${num} minutes.`),
    library: (n, num) => (n === 1 ? "1 book came back to the library." : `${num} books came back to the library.`),
  },
};

const es = {
  otherLanguage: "English",
  loading: "Cargando",
  reload: "Cargar de nuevo",
  missingTitle: "Falta el cliente del navegador",
  missingText: (code) => ["El hub se compiló sin el cliente del navegador. Ejecuta ", code("make"), " una vez y arráncalo de nuevo."],

  pickTitle: "¿Quién eres aquí?",
  pickLead: "Elige un nombre. Lo que se envíe a ese nombre llega al instante a todas las pestañas que lo lleven.",
  pickLabel: "Tu nombre",
  pickSubmit: "Entrar",
  pickChips: "o entra como",
  pickProblem: "Un nombre tiene de 1 a 64 caracteres.",
  routeLabel: "El camino de una notificación",
  routeProgram: "un programa",
  routeTab: "tu pestaña",

  youAre: "Eres",
  changeName: "Cambiar de nombre",
  connecting: "Conectando",
  connected: "En línea",
  lost: "Conexión perdida, reintentando",
  unreachable: "Aún sin respuesta, reintentando",
  refused: "Rechazado",
  ended: "Sesión terminada",

  sendTitle: "Enviar",
  sendTo: "Para",
  sendChips: "Destinatarios sugeridos",
  sendText: "Texto",
  sendSubmit: "Enviar",
  enterSends: "Intro envía",
  charactersLeft: (n) => (n === 1 ? "queda 1 carácter" : `quedan ${n} caracteres`),
  everyone: "todos",
  yourself: "ti mismo",
  sending: "Enviando",
  sent: (who, at) => `Enviado a ${who} a las ${at}`,
  sendNoOne: "Di para quién es.",
  sendNoText: "Escribe algo primero.",
  sendRefused: (message) => `No enviado. ${message}`,
  sendNoAnswer: "No enviado: el hub no responde. Tu texto sigue ahí.",
  secondTab: (name) => `Abrir otra pestaña como ${name}`,

  terminalTitle: "Desde un terminal",
  terminalTabs: "Lenguaje del ejemplo",
  terminalNote: "Ejecútalo en esta máquina: llega a esta pestaña.",
  terminalLoading: "Preguntando al hub por su dirección",
  terminalFailed: "El hub no ha dicho su dirección. Carga la página de nuevo.",
  copy: "Copiar",
  copied: "Copiado",
  copySelected: "Seleccionado: pulsa Ctrl+C",
  hello: "Hola",
  helloMe: (name) => `Hola, ${name}`,

  feedTitle: "Notificaciones",
  countSince: (n, at) => `${n} desde las ${at}`,
  listeningSince: (at) => `a la escucha desde las ${at}`,
  asOf: (at) => `como estaba a las ${at}`,
  fresh: (n) => (n === 1 ? "1 nueva" : `${n} nuevas`),
  freshLabel: (n) => (n === 1 ? "1 nueva, ir arriba" : `${n} nuevas, ir arriba`),
  toYou: "ti",
  toEveryone: "todos",
  to: "para",
  notifier: (name) => `Notificador: ${name}`,
  heard: (from, to, text) => `${from} para ${to}: ${text}`,
  cut: (n) => `… (${n} caracteres en total)`,
  gap: (from, to) => `Sin conexión de ${from} a ${to}. Puede faltar algo aquí.`,

  emptyTitle: "Nada todavía",
  emptyText: "Lo que se te envíe a ti o a todos aparece aquí según ocurre. La demo pregona algo para todos cada 20 segundos, más o menos.",
  emptyHello: "Enviarte un hola",

  refusedTitle: (name) => `El hub no dejó entrar a ${name}`,
  endedTitle: "Tu sesión ha terminado",
  reason: (code) => ["El motivo que da el hub: ", code, "."],
  noReason: "El hub no dio motivo.",
  tryAgain: "Probar de nuevo",
  comeBack: "Volver",
  otherName: "Usar otro nombre",

  crier: {
    backup: (n, num) => (n === 1 ? "Copia terminada: 1 fichero a salvo." : `Copia terminada: ${num} ficheros a salvo.`),
    deploy: (n) => `La versión ${n} ya está en marcha.`,
    queue: (n, num) => (n === 1 ? "Hay 1 trabajo esperando en la cola." : `Hay ${num} trabajos esperando en la cola.`),
    coffee: (n, num) => (n === 1 ? "El café estará listo en 1 minuto." : `El café estará listo en ${num} minutos.`),
    weather: (n, num) => (n === 1 ? "Lloverá dentro de 1 minuto." : `Lloverá dentro de ${num} minutos.`),
    library: (n, num) => (n === 1 ? "Ha vuelto 1 libro a la biblioteca." : `Han vuelto ${num} libros a la biblioteca.`),
  },
};

const dictionaries = { en, es };
const STORED = "pregon.language";
let language = firstLanguage();

function firstLanguage() {
  try {
    const stored = localStorage.getItem(STORED);
    if (stored in dictionaries) return stored;
  } catch { /* storage may be forbidden; the browser's languages still say enough */ }
  const known = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in dictionaries);
  return known ?? "en";
}

export function t(key, ...about) {
  const text = dictionaries[language][key];
  return typeof text === "function" ? text(...about) : text;
}

/** The announcer's sentence for `{"code","n"}` in the reader's language, or null if it is not one. */
export function crierSentence(code, n) {
  const sentences = dictionaries[language].crier;
  if (typeof code !== "string" || !Object.hasOwn(sentences, code) || !Number.isInteger(n)) return null;
  return sentences[code](n, number(n));
}

export function switchLanguage() {
  language = language === "en" ? "es" : "en";
  try {
    localStorage.setItem(STORED, language);
  } catch { /* then it lasts as long as the page */ }
  applyLanguage();
}

/** Writes the words that stand in the HTML itself. */
export function applyLanguage() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-i18n]")) element.textContent = t(element.dataset.i18n);
  for (const element of document.querySelectorAll("[data-i18n-label]")) {
    element.setAttribute("aria-label", t(element.dataset.i18nLabel));
  }
  const other = document.getElementById("language");
  other.textContent = t("otherLanguage");
  other.lang = language === "en" ? "es" : "en";
}

export function number(n) {
  return new Intl.NumberFormat(language).format(n);
}

export function clock(ms) {
  const sameDay = new Date(ms).toDateString() === new Date().toDateString();
  const day = sameDay ? {} : { day: "numeric", month: "short" };
  return format(ms, { ...day, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

export function clockMinutes(ms) {
  return format(ms, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

export function fullTime(ms) {
  return format(ms, { dateStyle: "full", timeStyle: "long" });
}

function format(ms, options) {
  return new Intl.DateTimeFormat(language, options).format(ms);
}
