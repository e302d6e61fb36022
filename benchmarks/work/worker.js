/*
 * What the workers in Node share: the line protocol of worker.py, the stopwatch, users and variables.
 */
'use strict';

const fs = require('fs');
const path = require('path');
const readline = require('readline');

// From here on: what an SDK prints must not get between the answers.
console.log = console.info = console.warn = console.error = () => {};
process.on('unhandledRejection', () => {});

const USERS = Array.from({ length: 1000 }, (_, number) => `visitor-${number}`);
const VARIABLES = { plan: 'professional', age: 33, country: 'DE', browser: 'firefox', visits: 12 };
const GOAL = 'purchase';

function start() {
  return { cpu: process.cpuUsage(), wall: process.hrtime.bigint() };
}

/** Wall and CPU time per operation in microseconds since `began`. */
function stop(began, operations) {
  const wall = Number(process.hrtime.bigint() - began.wall) / 1e3 / operations;
  const cpu = process.cpuUsage(began.cpu);
  return { wall, cpu: (cpu.user + cpu.system) / operations };
}

/** The names that users were decided into must be two, and none of them null. */
function checkSplit(names) {
  if (names.size !== 2 || names.has(null)) {
    throw new Error(`decided ${[...names]}`);
  }
}

async function answer(works, line) {
  const request = JSON.parse(line);
  try {
    return await works[request.work](request);
  } catch (error) {
    return { error: String(error.stack || error) };
  }
}

/** Answer requests until standard input ends; report the version of the package in the folder `root`. */
async function serve(works, root) {
  const about = () => {
    const { name, version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
    return { node: process.versions.node, [name]: version };
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer({ about, ...works }, line))}\n`);
  }
  // The timers of an SDK would let the process live for ever.
  process.exit(0);
}

module.exports = { GOAL, USERS, VARIABLES, checkSplit, serve, start, stop };
