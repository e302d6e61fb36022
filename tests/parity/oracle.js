/*
 * The Node SDK as an oracle: reads cases as JSON lines, answers each with a JSON line.
 *
 * Two copies of the SDK run side by side: the stock one, whose files are loaded as they are, and the
 * corrected one, whose files pass through the edits of node_edits.js while they are loaded. Each edit
 * asks row(name) where the official answer and the recommended one part, so that one row of
 * docs/deviations.md can be switched off for one call. Sections are those of docs/reference.md. Nothing is written to disk and nothing goes over a
 * network: https.get and https.request are replaced.
 *
 * Usage: node oracle.js <folder that holds node_modules>
 */
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const path = require('path');
const readline = require('readline');

const ROOT = path.resolve(process.argv[2], 'node_modules', 'vwo-node-sdk');
const HOST = 'dev.visualwebsiteoptimizer.com';
const INVALID_PATH = /[^\u0021-\u00ff]/;

// What the call that runs now does to the world outside.
let record = null;
// Python's answers to regex(pattern, text), and those not known yet.
const regexes = new Map();

const PARITY = (global.PARITY = {
  off: new Set(),
  fired: new Set(),
  asked: [],
  // False while the stock copy runs, whose storage asks too.
  isCorrected: false,

  row(name) {
    if (!PARITY.isCorrected || PARITY.off.has(name)) {
      return false;
    }
    PARITY.fired.add(name);
    return true;
  },

  // Row 2: the text whose low bytes are the UTF-8 form of `text`.
  bytes(text) {
    if (/[^\u0000-\u007f]/.test(text) && PARITY.row('hash_encoding')) {
      return Buffer.from(text, 'utf8').toString('latin1');
    }
    return text;
  },

  // Row 36.
  unique(keys) {
    const once = [...new Set(keys)];
    return once.length < keys.length && PARITY.row('track_dup_keys_repeat') ? once : keys;
  },

  // Row 18: only properties of revenue goals that were tracked.
  tracked(props, metrics) {
    const goals = Object.values(metrics).map(one => one.goal);
    const wanted = new Set(
      goals.filter(goal => goal.type === 'REVENUE_TRACKING' && goal.revenueProp).map(goal => goal.revenueProp)
    );
    const same = wanted.size === props.size && [...wanted].every(one => props.has(one));
    return !same && PARITY.row('revprop_any_goal') ? wanted : props;
  },

  // Rows 39 and 48: the row as it is to be read.
  stored(data, campaignKey) {
    if (data && data.campaignKey && data.variationName && data.campaignKey !== campaignKey) {
      if (PARITY.row('storage_match')) {
        return { variationName: null };
      }
    }
    if (data && data.goalIdentifiers && PARITY.row('storage_field')) {
      const parts = [data.goalIdentifier, data.goalIdentifiers].filter(Boolean);
      return Object.assign({}, data, { goalIdentifier: parts.join('_vwo_') });
    }
    return data;
  },

  // Row 53.
  hook(campaign, variation, payload) {
    if (campaign.type === 'FEATURE_TEST' && variation && PARITY.row('hook_feature_test')) {
      payload.isFeatureEnabled = !!variation.isFeatureEnabled;
    }
    return payload;
  },

  // Section 13: not called for a goal that was already tracked.
  retract() {
    if (record.hooks.length && PARITY.row('hook_already_tracked')) {
      record.hooks.pop();
    }
  },

  // What track writes at its end (rows 4, 13, 27): true where the stock SDK's write is to be left out.
  skipsWrite(config, result, hadGoals) {
    if (!config.userStorageService) {
      return false;
    }
    if (result.isWhitelisted) {
      return PARITY.row('track_stores_whitelisted');
    }
    return (hadGoals || !result.isStoredVariation) && PARITY.row('track_overwrites_goals');
  },

  // Row 43: the list of a member is looked up with the id that its own flag asks for.
  member(variables, id, campaign) {
    if (campaign.isForcedVariationEnabled && variables._vwoUserId !== id && PARITY.row('meg_single_foreign_wins')) {
      return Object.assign({}, variables, { _vwoUserId: id });
    }
    return variables;
  },

  lacksGroup(settings, campaign) {
    const groupId = (settings.campaignGroups || {})[campaign.id];
    const isThere = groupId === undefined || (settings.groups || {})[groupId];
    return !isThere && PARITY.row('meg_group_missing');
  },

  strictNumber(text) {
    if (typeof text !== 'string' || !/^[ \t\n\r\f\v]*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?[ \t\n\r\f\v]*$/i.test(text)) {
      return NaN;
    }
    const number = Number(text.trim());
    return Number.isFinite(number) ? number : NaN;
  },

  // Rows 22 and 29: the pair as both being numbers, or as it is.
  numbers(operandValue, tagValue, stock) {
    const operand = PARITY.strictNumber(operandValue);
    const tag = PARITY.strictNumber(tagValue);
    const strict =
      Number.isNaN(operand) || Number.isNaN(tag)
        ? { operandValue, tagValue }
        : { operandValue: String(operand), tagValue: String(tag) };
    if (strict.operandValue === stock.operandValue && strict.tagValue === stock.tagValue) {
      return stock;
    }
    return PARITY.row(operand === 0 || tag === 0 ? 'zero_is_number' : 'number_parse') ? strict : stock;
  },

  // Row 22 in comparisons.
  float(text) {
    const stock = parseFloat(text);
    const strict = PARITY.strictNumber(text);
    return Object.is(stock, strict) || !PARITY.row('number_parse') ? stock : strict;
  },

  // Row 24: gt(-5), gt(1e3).
  comparison(operand) {
    const match = /^(gte?|lte?)\((.*)\)/.exec(operand);
    if (match && !Number.isNaN(PARITY.strictNumber(match[2])) && PARITY.row('gt_operand')) {
      return { operandType: match[1], operandValue: match[2] };
    }
    return null;
  },

  // Row 34: what Python's `re` says, which the other end knows.
  search(pattern, text, stock) {
    const known = regexes.get(JSON.stringify([pattern, String(text)]));
    if (known === undefined) {
      PARITY.asked.push([pattern, String(text)]);
      return stock;
    }
    return known === stock || !PARITY.row('regex_engine') ? stock : known;
  },

  // Row 42: what the children before a failing one have already decided stands.
  children(list, isDecisive, evaluate) {
    const values = [];
    let failure = null;
    for (let i = 0; i < list.length; i++) {
      try {
        values.push(evaluate(list[i]));
      } catch (error) {
        failure = error;
        break;
      }
    }
    if (failure && !(values.some(isDecisive) && PARITY.row('children'))) {
      throw failure;
    }
    return values;
  },

  // Section 15.6: standard percent-encoding, and no parameter without a value.
  pair(name, value) {
    if (value === undefined && PARITY.row('sdk_key_missing')) {
      return '';
    }
    const text = String(value);
    const isEncoded = name === 'visitor_ua' || name === 'visitor_ip' || name === 'tags';
    if (!isEncoded && /[^!"$'()*,\-./0-9:;<>?@A-Z[\]^_`a-z{|}~]/.test(text) && PARITY.row('query_encoding')) {
      return `${name}=${encodeURIComponent(text)}&`;
    }
    return `${name}=${text}&`;
  },

  // Row 52.
  tags(key, value, stock) {
    const text = JSON.stringify({ u: { [key]: value } });
    return decodeURIComponent(stock) !== text && PARITY.row('push_quote') ? encodeURIComponent(text) : stock;
  }
});

function check(options) {
  if (INVALID_PATH.test(options.path)) {
    throw new TypeError('Request path contains unescaped characters');
  }
  for (const [name, value] of Object.entries(options.headers || {})) {
    http.validateHeaderValue(name, value);
  }
}

function note(method, options, body) {
  const { headers = {} } = options;
  const prefix = options.hostname === HOST ? '' : `//${options.hostname}`;
  record.requests.push({ method, target: prefix + options.path, headers, body });
}

const silent = { on: () => silent };

https.get = options => {
  check(options);
  note('GET', options, '');
  return silent;
};

https.request = options => {
  check(options);
  const request = { on: () => request, write: body => (request.body = body), end: () => note(options.method, options, request.body) };
  return request;
};

function edited(file, source, edits) {
  for (const [name, from, to, times] of edits) {
    if (name !== file) {
      continue;
    }
    const parts = source.split(from);
    if (parts.length - 1 !== (times || 1)) {
      throw new Error(`${file}: ${parts.length - 1} places for an edit that starts ${String(from).slice(0, 60)}`);
    }
    source = parts.join(to);
  }
  return source;
}

/** Load a copy of the SDK of its own; with edits, from edited sources. */
function load(edits) {
  for (const file of Object.keys(require.cache)) {
    if (file.startsWith(path.dirname(ROOT))) {
      delete require.cache[file];
    }
  }
  const stock = require.extensions['.js'];
  require.extensions['.js'] = (module, file) => {
    const name = path.relative(path.join(ROOT, 'lib'), file);
    if (!edits || name.startsWith('..')) {
      return stock(module, file);
    }
    return module._compile(edited(name, fs.readFileSync(file, 'utf8'), edits), file);
  };
  try {
    const sdk = {
      vwo: require(ROOT),
      urls: require(path.join(ROOT, 'lib/services/UrlService')),
      messages: require(path.join(ROOT, 'lib/utils/LogMessageUtil')),
      logging: require(path.join(ROOT, 'lib/services/logging'))
    };
    sdk.messages.build = () => '';
    return sdk;
  } finally {
    require.extensions['.js'] = stock;
  }
}

function makeStorage(mode) {
  const key = (user, campaign) => JSON.stringify([user, campaign]);
  let rows = new Map();
  // What the caller says is stored.
  let given = null;
  return {
    reset({ rows: list, options }) {
      const { userStorageData } = options || {};
      given = userStorageData && Object.keys(userStorageData).length ? userStorageData : null;
      rows = new Map(list.map(([user, campaign, row]) => [key(user, campaign), JSON.stringify(row)]));
    },
    service: {
      get(user, campaign) {
        record.gets.push([user, campaign]);
        if (mode === 'get_raises') {
          throw new Error('storage');
        }
        const row = rows.get(key(user, campaign));
        return row === undefined ? undefined : JSON.parse(row);
      },
      set(row) {
        // Row 61. Where the caller said what is stored, nothing had to be read.
        if (mode === 'get_raises' && !given && PARITY.row('storage_write_unread')) {
          return;
        }
        // What was stored with the activation stays, unless the call gives new data.
        const before = given || JSON.parse(rows.get(key(row.userId, row.campaignKey)) || 'null');
        const isRecord = before && before.campaignKey === row.campaignKey && before.variationName;
        if (isRecord && before.metaData && !row.metaData && PARITY.row('meta_data')) {
          row = { ...row, metaData: before.metaData };
        }
        record.sets.push(JSON.parse(JSON.stringify(row)));
        if (mode === 'set_raises') {
          throw new Error('storage');
        }
        rows.set(key(row.userId, row.campaignKey), JSON.stringify(row));
      }
    }
  };
}

function launch(sdk, job) {
  sdk.urls.collectionPrefix = undefined;
  const { storage: storageMode, integrations, ...options } = job.launch;
  const config = Object.assign({ settingsFile: JSON.parse(JSON.stringify(job.settings)) }, options);
  const storage = storageMode ? makeStorage(storageMode) : null;
  if (storage) {
    config.userStorageService = storage.service;
  }
  if (integrations) {
    config.integrations = {
      callback(payload) {
        record.hooks.push(JSON.parse(JSON.stringify(payload)));
        if (integrations === 'raise') {
          throw new Error('hook');
        }
      }
    };
  }
  const client = sdk.vwo.launch(config);
  sdk.logging.setLogLevel(99);
  return { client, storage };
}

function invoke(client, call) {
  const args = JSON.parse(JSON.stringify(call.args));
  const options = JSON.parse(JSON.stringify(call.options || {}));
  switch (call.api) {
    case 'activate':
    case 'getVariationName':
    case 'isFeatureEnabled':
      return client[call.api](args.campaignKey, args.userId, options);
    case 'getFeatureVariableValue':
      return client.getFeatureVariableValue(args.campaignKey, args.variableKey, args.userId, options);
    case 'track':
      return client.track(args.campaignKey, args.userId, args.goalIdentifier, options);
    case 'push':
      return 'tags' in args ? client.push(args.tags, args.userId) : client.push(args.tagKey, args.tagValue, args.userId);
    default:
      throw new Error(`no such API: ${call.api}`);
  }
}

/** Run one call; the answer is what it returned and what it did. */
function run({ client, storage }, call) {
  record = { ret: null, requests: [], sets: [], gets: [], hooks: [] };
  if (storage) {
    storage.reset(call);
  }
  const ret = invoke(client, call);
  record.ret = ret === undefined ? null : ret;
  return record;
}

function runCorrected(instance, call, without) {
  PARITY.off = new Set(without);
  PARITY.fired = new Set();
  PARITY.asked = [];
  PARITY.isCorrected = true;
  const answer = run(instance, call);
  PARITY.isCorrected = false;
  return { answer, fired: [...PARITY.fired], asked: PARITY.asked };
}

function work(job, stock, corrected) {
  for (const [pattern, text, found] of job.regexes || []) {
    regexes.set(JSON.stringify([pattern, text]), found);
  }
  const fixed = launch(corrected, job);
  if (job.without) {
    return job.without.map(([index, rows]) => runCorrected(fixed, job.calls[index], rows));
  }
  const plain = launch(stock, job);
  if (!plain.client.SettingsFileManager) {
    return { error: 'the Node SDK refuses the settings' };
  }
  return job.calls.map(call => {
    const answer = run(plain, call);
    const other = runCorrected(fixed, call, []);
    const isSame = !other.fired.length && !other.asked.length && JSON.stringify(other.answer) === JSON.stringify(answer);
    return isSame ? { stock: answer, fired: [] } : Object.assign(other, { stock: answer });
  });
}

// Both copies live at one moment with one random number, so that equal answers are equal texts.
const NOW = Date.now();
Math.random = () => 0.5;
global.Date = class extends Date {
  constructor(...parts) {
    super(...(parts.length ? parts : [NOW]));
  }
};

// The SDK posts within a promise that nobody looks at: a request that cannot be written is lost there.
process.on('unhandledRejection', () => {});

console.info = () => {};
console.log = () => {};
console.error = () => {};
console.warn = () => {};

const stock = load(null);
const corrected = load(require('./node_edits.js'));

readline.createInterface({ input: process.stdin, crlfDelay: Infinity }).on('line', line => {
  let answer;
  try {
    answer = work(JSON.parse(line), stock, corrected);
  } catch (error) {
    answer = { error: String(error.stack || error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
