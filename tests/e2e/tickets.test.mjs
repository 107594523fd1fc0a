// Tickets and tokens of the libraries themselves, that nothing revokes: what a logout does to them, which is
// nothing, and how they end all the same, by their own time.

import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { enter, over, refused, says } from './members.mjs';
import { connect, hubWithPush, LISTENERS, refusal, table } from './support.mjs';
import { startWebApp } from './webapps.mjs';

const limit = { timeout: 60_000 };
const SECRET = 'the application signs with this';
// Seconds. A ticket of a page view is so much younger that nobody takes the one's end for the other's.
const TIMEOUT = 5;
const REISSUE = 2;

/** `user` as it is written in an address, and in a form. */
const TICKETS = [
  { name: 'repoze.who, md5', framework: 'repoze_who', identity: { preset: 'auth_tkt' } },
  {
    name: 'repoze.who, sha512',
    framework: 'repoze_who',
    user: 'Jos%C3%A9',
    options: { digest_algo: 'sha512' },
    identity: { preset: 'auth_tkt', digest: 'sha512' },
  },
  { name: 'Pyramid', framework: 'pyramid_tickets', user: 'Jos%C3%A9', identity: { preset: 'pyramid' } },
  {
    name: 'Pyramid, with the address',
    framework: 'pyramid_tickets',
    options: { include_ip: true, hashalg: 'sha256' },
    identity: { preset: 'pyramid', include_ip: true, digest: 'sha256' },
  },
];

// They wait for real time, so they do it together.
test('tickets: a logout leaves them good, their timeout ends them', { ...limit, concurrency: true }, (t) =>
  together(t, TICKETS, async (t, { framework, user = '77', options, identity }) => {
    const app = await startWebApp(t, framework, { secret: SECRET, timeout: TIMEOUT, reissue_time: REISSUE, ...options });
    const { hub, push } = await stage(t, { secrets: [SECRET], timeout: `${TIMEOUT}s`, ...identity });
    const browser = await app.login(user);
    const ticket = browser.cookie;
    const client = await enter(t, hub, ticket);
    await says(push, user, client, 'for them');
    assert.equal(await refused(t, hub, changed(ticket)), 'bad_signature');

    while (browser.cookie === ticket) assert.equal(await browser.visit(), decodeURIComponent(user));
    const reissued = browser.cookie;
    const younger = await enter(t, hub, reissued);

    await browser.logout();
    assert.equal(browser.cookie, '', 'the browser has none any more');
    assert.equal(await browser.visit(), '');
    // Whoever has kept it is still the user, for the application, too.
    const again = await enter(t, hub, ticket);
    await says(push, user, client, 'still here');

    for (const one of [client, again]) assert.equal(await over(one), 'expired');
    assert.deepEqual(younger.disconnects, [], 'a page view has brought a younger ticket');
    assert.equal(await refused(t, hub, ticket), 'expired');
    assert.equal(await over(younger), 'expired');
    assert.equal(await refused(t, hub, reissued), 'expired');
  }));

const TOKENS = [
  { alg: 'HS256', keys: () => ({ secrets: [SECRET] }) },
  { alg: 'RS256', keys: (folder) => ({ jwks_file: join(folder, 'jwks.json') }) },
  { alg: 'ES256', keys: (folder) => ({ jwks_file: join(folder, 'jwks.json') }) },
  { alg: 'RS256', keys: (folder) => ({ public_key_file: join(folder, 'public.pem') }) },
  { alg: 'ES256', keys: (folder) => ({ public_key_file: join(folder, 'public.pem') }) },
].map((row) => ({ name: `PyJWT, ${row.alg} by ${Object.keys(row.keys(''))}`, ...row }));

test('tokens: a logout leaves them good, exp ends them', { ...limit, concurrency: true }, (t) =>
  together(t, TOKENS, async (t, { alg, keys }) => {
    const folder = mkdtempSync(join(tmpdir(), 'pregon-keys-'));
    const app = await startWebApp(t, 'jwt_tokens', { algorithm: alg, lifetime: TIMEOUT, secret: SECRET, folder });
    const { hub, push } = await stage(t, { preset: 'jwt', cookie: 'token', token: 'token', alg, leeway: '0s', ...keys(folder) });
    const browser = await app.login('77');
    const [cookie, token] = [browser.cookie, browser.page];
    const byToken = () => connect(t, hub, undefined, { auth: { token } });
    const clients = [await enter(t, hub, cookie), await byToken()];
    for (const client of clients) await says(push, '77', client, 'for 77');

    const wrong = { auth: { token: changed(token) }, extraHeaders: { cookie } };
    assert.equal((await refusal(t, hub, wrong)).error.data.reason, 'bad_signature', 'and no cookie helps');
    assert.equal(await refused(t, hub, changed(cookie)), 'bad_signature');

    await browser.logout();
    assert.equal(browser.cookie, '');
    clients.push(await enter(t, hub, cookie), await byToken());
    for (const client of clients) await says(push, '77', client, 'still here');

    for (const client of clients) assert.equal(await over(client), 'expired');
    assert.equal(await refused(t, hub, cookie), 'expired');
    assert.equal((await refusal(t, hub, { auth: { token } })).error.data.reason, 'expired');
  }));

const stage = (t, identity) => hubWithPush(t, { base: LISTENERS + table('[[identity]]', { revalidate: '500ms', ...identity }) });

/** Runs a test of each row, all at once. */
const together = (t, rows, work) => Promise.all(rows.map((row) => t.test(row.name, limit, (t) => work(t, row))));

/** A ticket's or a token's signature, changed where it is all signature, in each copy of the cookie. */
function changed(text) {
  const jwt = text.lastIndexOf('.') + 1;
  const start = jwt > 1 ? jwt : text.indexOf('=') + 1;
  const signature = text.slice(start, start + 10);
  return text.replaceAll(signature, signature.slice(0, 9) + (signature[9] === 'a' ? 'b' : 'a'));
}
