/*
 * vwo-fme-node-sdk at work, with the same line protocol as the workers in Python; its events go nowhere.
 *
 * Usage: node fme_node.js <folder that holds node_modules>
 */
'use strict';

const fs = require('fs');
const path = require('path');
const readline = require('readline');

const ROOT = path.resolve(process.argv[2], 'node_modules', 'vwo-fme-node-sdk');
const UNPACKED = path.join(ROOT, 'dist', 'server-unpacked');
const USERS = Array.from({ length: 1000 }, (_, number) => `visitor-${number}`);
const VARIABLES = { plan: 'professional', age: 33, country: 'DE', browser: 'firefox', visits: 12 };
const GOAL = 'purchase';

const { init } = require(path.join(UNPACKED, 'index.js'));
const { NetworkClient } = require(path.join(UNPACKED, 'packages/network-layer/client/NetworkClient.js'));
const { ResponseModel } = require(path.join(UNPACKED, 'packages/network-layer/models/ResponseModel.js'));

NetworkClient.prototype.POST = () => {
  const response = new ResponseModel();
  response.setStatusCode(200);
  return Promise.resolve(response);
};

async function launch(request) {
  const settings = JSON.parse(fs.readFileSync(request.settings, 'utf8'));
  return init({ sdkKey: settings.sdkKey, accountId: settings.accountId, settings, isUsageStatsDisabled: true });
}

// How many calls a sample has: `calls`, or as many as fit into `budget_s` for all samples.
async function fitCalls(request, call) {
  await call(USERS[0]);
  const began = process.hrtime.bigint();
  await call(USERS[1]);
  const tookS = Number(process.hrtime.bigint() - began) / 1e9;
  const shareS = request.budget_s / (2 + request.samples);
  return Math.max(1, Math.min(request.calls, Math.floor(shareS / tookS)));
}

async function time(request, call) {
  const calls = await fitCalls(request, call);
  const samples = { wall_us: [], cpu_us: [] };
  for (let sample = -2; sample < request.samples; sample++) {
    const began = { cpu: process.cpuUsage(), wall: process.hrtime.bigint() };
    for (let index = 0; index < calls; index++) {
      await call(USERS[index % USERS.length]);
    }
    const wall = Number(process.hrtime.bigint() - began.wall) / 1e3 / calls;
    const cpu = process.cpuUsage(began.cpu);
    if (sample >= 0) {
      samples.wall_us.push(wall);
      samples.cpu_us.push((cpu.user + cpu.system) / calls);
    }
  }
  return samples;
}

async function flag(request) {
  const client = await launch(request);
  const key = `campaign-${request.campaigns}`;
  const given = request.segment ? { customVariables: VARIABLES } : {};
  const decide = id => client.getFlag(key, { id, ...given });
  const names = new Set();
  for (const user of USERS.slice(0, 100)) {
    names.add((await decide(user)).getVariable('name', null));
    if (names.size > 1) break;
  }
  if (names.size !== 2 || names.has(null)) {
    throw new Error(`decided ${[...names]}`);
  }
  return time(request, decide);
}

async function event(request) {
  const client = await launch(request);
  return time(request, id => client.trackEvent(GOAL, { id }));
}

function about() {
  const { version } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  return { node: process.versions.node, 'vwo-fme-node-sdk': version };
}

const WORKS = { about, flag, event };

async function answer(line) {
  const request = JSON.parse(line);
  try {
    return await WORKS[request.work](request);
  } catch (error) {
    return { error: String(error.stack || error) };
  }
}

console.log = console.info = console.warn = console.error = () => {};
process.on('unhandledRejection', () => {});

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
  }
  // The SDK's timers would let the process live for ever.
  process.exit(0);
})();
