/*
 * vwo-fme-node-sdk at work, with the same line protocol as the workers in Python; its events go nowhere.
 *
 * Usage: node fme_node.js <folder that holds node_modules>
 */
'use strict';

const fs = require('fs');
const path = require('path');
const { GOAL, USERS, VARIABLES, checkSplit, serve, start, stop } = require('./worker.js');

const ROOT = path.resolve(process.argv[2], 'node_modules', 'vwo-fme-node-sdk');
const UNPACKED = path.join(ROOT, 'dist', 'server-unpacked');

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
    const began = start();
    for (let index = 0; index < calls; index++) {
      await call(USERS[index % USERS.length]);
    }
    const { wall, cpu } = stop(began, calls);
    if (sample >= 0) {
      samples.wall_us.push(wall);
      samples.cpu_us.push(cpu);
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
  checkSplit(names);
  return time(request, decide);
}

async function event(request) {
  const client = await launch(request);
  return time(request, id => client.trackEvent(GOAL, { id }));
}

serve({ flag, event }, ROOT);
