/*
 * vwo-node-sdk at work, with the same line protocol as the workers in Python.
 *
 * The SDK knows one host and speaks TLS to it: https.get and https.request are replaced by those of http,
 * to the server of the request. The SDK asks for a connection of its own for every request, and has it.
 *
 * Usage: node vwo_node.js <folder that holds node_modules>
 */
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const path = require('path');
const { GOAL, USERS, VARIABLES, checkSplit, serve, start, stop } = require('./worker.js');

const ROOT = path.resolve(process.argv[2], 'node_modules', 'vwo-node-sdk');
// The engine compiles what is called often enough.
const WARM_UP_CALLS = 20000;

let isWarm = false;
let server = { host: '127.0.0.1', port: 9 };

function redirect(options) {
  return Object.assign({}, options, { hostname: server.host, port: server.port });
}
https.get = (options, callback) => http.get(redirect(options), callback);
https.request = (options, callback) => http.request(redirect(options), callback);

const vwo = require(ROOT);
const logging = require(path.join(ROOT, 'lib/services/logging'));

function launch(request, options = {}) {
  if (request.url) {
    const [host, port] = request.url.replace('http://', '').split(':');
    server = { host, port: Number(port) };
  }
  const settingsFile = JSON.parse(fs.readFileSync(request.settings, 'utf8'));
  return vwo.launch(Object.assign({ settingsFile }, options));
}

function ask(url, target) {
  return new Promise((resolve, reject) => {
    http
      .get(`${url}${target}`, response => {
        let text = '';
        response.on('data', data => (text += data));
        response.on('end', () => resolve(JSON.parse(text)));
      })
      .on('error', reject);
  });
}

function quantile(ordered, share) {
  return ordered[Math.min(Math.floor(ordered.length * share), ordered.length - 1)];
}

function decision(request) {
  const client = launch(request);
  const key = `campaign-${request.campaigns}`;
  const options = request.segment ? { customVariables: VARIABLES } : {};
  const names = new Set(USERS.slice(0, 100).map(user => client.getVariationName(key, user, options)));
  checkSplit(names);
  for (let index = 0; index < (isWarm ? 2 * request.calls : WARM_UP_CALLS); index++) {
    client.getVariationName(key, USERS[index % USERS.length], options);
  }
  isWarm = true;
  const samples = { wall_us: [], cpu_us: [] };
  for (let sample = 0; sample < request.samples; sample++) {
    const began = start();
    for (let index = 0; index < request.calls; index++) {
      client.getVariationName(key, USERS[index % USERS.length], options);
    }
    const { wall, cpu } = stop(began, request.calls);
    samples.wall_us.push(wall);
    samples.cpu_us.push(cpu);
  }
  return samples;
}

async function track(request) {
  const options = {};
  if (request.is_batched) {
    options.batchEvents = { eventsPerRequest: 100, requestTimeInterval: 600 };
  }
  if (request.waits) {
    options.returnPromiseFor = { track: true };
  }
  const client = launch(request, options);
  await ask(request.url, '/bench/reset');
  const held = [];
  const call = async number => {
    for (let index = 0; index < request.calls; index++) {
      const began = process.hrtime.bigint();
      const result = client.track('campaign-1', USERS[(number + index) % USERS.length], GOAL);
      if (request.waits) {
        await result;
      }
      held.push(Number(process.hrtime.bigint() - began) / 1e3);
      if (request.callers > 1) {
        await new Promise(setImmediate);
      }
    }
  };
  const began = start();
  await Promise.all(Array.from({ length: request.callers }, (_, number) => call(number)));
  if (request.is_batched) {
    client.flushEvents();
  }
  await ask(request.url, `/bench/wait?count=${held.length}`);
  const { wall, cpu } = stop(began, held.length);
  held.sort((one, other) => one - other);
  return {
    p50_us: [quantile(held, 0.5)],
    p99_us: [quantile(held, 0.99)],
    max_us: [held[held.length - 1]],
    events_per_s: [1e6 / wall],
    cpu_us: [cpu]
  };
}

logging.getLogger();
serve({ decision, track }, ROOT);
