// A web application with express, express-session in Redis by connect-redis, and passport; the pages are
// those of web_app.py. `express_app.mjs OPTIONS`: {"redis", "secret"} and what express-session takes. It says
// "ready", its address and its versions, and ends with its input.

import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import { readFileSync } from 'node:fs';
import passport from 'passport';
import { createClient } from 'redis';

const { redis, secret, ...options } = JSON.parse(process.argv[2]);
const client = await createClient({ url: redis }).connect();
passport.serializeUser((user, done) => done(null, user.id));
passport.deserializeUser((id, done) => done(null, { id }));

const app = express();
app.use(express.urlencoded({ extended: false }));
app.use(session({ store: new RedisStore({ client }), secret, resave: false, saveUninitialized: false, ...options }));
app.use(passport.session());
app.post('/login', (request, response, next) => {
  request.login({ id: request.body.user }, (error) => (error ? next(error) : response.send(request.user.id)));
});
app.get('/', (request, response) => {
  request.session.views = (request.session.views ?? 0) + 1;
  response.send(request.user?.id ?? '');
});
app.post('/logout', (request, response, next) => {
  request.logout((error) => (error ? next(error) : response.send('')));
});

const server = app.listen(0, '127.0.0.1', () => {
  const version = (name) => `${name} ${JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version}`;
  const versions = ['express-session', 'connect-redis', 'passport'].map(version).join(', ');
  console.log(`ready http://127.0.0.1:${server.address().port} ${versions}`);
});
process.stdin.resume().once('end', () => process.exit());
