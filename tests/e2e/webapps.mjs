// Real web applications for a test, of tests/peers, and a browser's cookies for them.

import assert from 'node:assert/strict';

import { Process, startPeer } from './support.mjs';

/** Starts an application of `web_app.py`'s kinds, or "express"; it ends with the test. */
export async function startWebApp(t, framework, options, env = {}) {
  const app =
    framework === 'express'
      ? startExpress(t, options)
      : await startPeer(t, 'web_app.py', [framework, JSON.stringify(options)], env);
  const ready = await app.line(/^ready /);
  const [, url, versions] = ready.match(/^ready (\S+) (.*)$/);
  return {
    versions,
    /** A browser that has logged in there as that user. */
    async login(user) {
      const browser = new Browser(url, app);
      browser.page = await browser.send('POST', '/login', `user=${user}`);
      return browser;
    },
  };
}

function startExpress(t, options) {
  const app = new Process(process.execPath, ['tests/peers/express_app.mjs', JSON.stringify(options)]);
  t.after(() => app.kill());
  return app;
}

/** What a browser keeps of an application: its cookies. A cookie is one by its name and its domain. */
class Browser {
  #cookies = new Map();

  constructor(url, app) {
    this.url = url;
    this.app = app;
  }

  /** The header that it sends, to the application as to the hub beside it. */
  get cookie() {
    return [...this.#cookies.values()].join('; ');
  }

  /** A page view; whom the application knows. */
  visit() {
    return this.send('GET', '/');
  }

  logout() {
    return this.send('POST', '/logout', '');
  }

  async send(method, path, body) {
    const headers = { cookie: this.cookie, 'content-type': 'application/x-www-form-urlencoded' };
    const response = await fetch(this.url + path, { method, headers, body });
    const text = await response.text();
    assert.equal(response.status, 200, this.app.lines.slice(-30).join('\n'));
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    return text;
  }

  #keep(line) {
    const [pair, ...attributes] = line.split(';').map((part) => part.trim());
    const said = new Map(attributes.map((text) => [text.split('=')[0].toLowerCase(), text.slice(text.indexOf('=') + 1)]));
    const place = `${pair.split('=')[0]} ${said.get('domain') ?? ''}`;
    const gone = said.has('max-age') ? Number(said.get('max-age')) <= 0 : Date.parse(said.get('expires')) < Date.now();
    if (gone) this.#cookies.delete(place);
    else this.#cookies.set(place, pair);
  }
}
