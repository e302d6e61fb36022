/*
 * The official FME SDK for Node as an oracle: reads cases as JSON lines, answers each with a JSON line.
 *
 * Arguments: the folder of the SDK's package, and `stock` or `corrected`: then a copy of the SDK runs whose
 * files have passed through the edits of fme_node_edits.mjs. Each edit asks row(name) where the official
 * answer and the recommended one part, so that one row can be switched off for one call. Nothing goes over
 * a network.
 */
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';
import { EDITS } from './fme_node_edits.mjs';

const ROOT = path.resolve(process.argv[2]);
const IS_CORRECTED = process.argv[3] === 'corrected';
const KEY = 'someuniquestuff1234567';
const NUMBER = /^[ \t\n\r\f\v]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t\n\r\f\v]*$/;
const OPERAND = /^(lower|wildcard|regex|gte?|lte?)\((.*)\)/;
const BOUND = /^(gte?|lte?)\(([0-9]+(?:\.[0-9]+)*|\.[0-9]+)\)$/;
// What the SDK itself takes for a comparison.
const STOCK_BOUND = /^(gte?|lte?)\((\d+(?:\.\d+)*|\.\d+)\)/;
const WEB_ID = /^[DJ][0-9A-Fa-f]{32}$/;
const VERSION = /^[0-9]+(?:\.[0-9]+)*$/;
const COMPARISONS = {
  gt: order => order > 0,
  gte: order => order >= 0,
  lt: order => order < 0,
  lte: order => order <= 0
};
const STORED = ['rollout', 'experiment'].flatMap(kind => ['Id', 'Key', 'VariationId'].map(name => kind + name));

const GATEWAY = new Set([
  '/get-user-details',
  '/check-attribute',
  '/user-alias/getAliasUserId',
  '/user-alias/setUserAlias'
]);
const LIST_ANSWERS = [true, false, 'true', 'false', true, null, { status: 0 }, '', 1, 0];

let record = null;
let gateway = null;
let regexes = {};

const strictNumber = text => (NUMBER.test(text) && Number.isFinite(Number(text)) ? Number(text) : null);
const canonical = text => (strictNumber(text) === null ? text : String(strictNumber(text)));

function parseVersion(text) {
  if (!VERSION.test(text)) {
    return null;
  }
  const parts = text.split('.').map(part => BigInt(part));
  while (parts.length && parts[parts.length - 1] === 0n) {
    parts.pop();
  }
  return parts;
}

function order(one, other) {
  for (let index = 0; index < Math.max(one.length, other.length); index += 1) {
    const [left, right] = [one[index] ?? 0n, other[index] ?? 0n];
    if (left !== right) {
      return left < right ? -1 : 1;
    }
  }
  return 0;
}

function wildcard(content) {
  const starts = content.startsWith('*');
  const ends = content.endsWith('*') && content !== '*';
  const inner = content.slice(starts ? 1 : 0, content.length - (ends ? 1 : 0));
  if (starts && ends) {
    return [inner, (text, wanted) => text.includes(wanted)];
  }
  if (starts) {
    return [inner, (text, wanted) => text.endsWith(wanted)];
  }
  return [inner, ends ? (text, wanted) => text.startsWith(wanted) : (text, wanted) => text === wanted];
}

/** What an operand says of a value that is there: sections 6.2 to 6.4, with the causes of section 13. */
function recommendedLeaf(operand, value) {
  let text = String(value);
  const match = OPERAND.exec(operand);
  let [kind, content] = match ? [match[1], match[2]] : ['equals', operand];
  if (kind in COMPARISONS) {
    const bound = BOUND.exec(operand);
    if (bound) {
      const [wanted, found] = [parseVersion(canonical(bound[2])), parseVersion(canonical(text))];
      return wanted !== null && found !== null && COMPARISONS[kind](order(found, wanted));
    }
    [kind, content] = ['equals', operand];
  }
  let test = {
    equals: (one, other) => one === other,
    lower: (one, other) => one.toLowerCase() === other.toLowerCase(),
    regex: (one, other) => regexes[other]?.[one] ?? PARITY.unknownRegex(other, one)
  }[kind];
  if (kind === 'wildcard') {
    [content, test] = wildcard(content);
  }
  if (strictNumber(text) !== null && strictNumber(content) !== null) {
    [text, content] = [canonical(text), canonical(content)];
  }
  return test(text, content);
}

/** Name the row by which the stock answer to a leaf parts from the recommended one. */
function leafRow(operand, value) {
  const match = OPERAND.exec(operand);
  const text = String(value);
  const content = match ? match[2] : operand;
  if (match && match[1] in COMPARISONS) {
    if (STOCK_BOUND.test(operand) !== BOUND.test(operand)) {
      return 'compare_operand_form';
    }
    return VERSION.test(text) ? 'number_normalising' : 'compare_texts';
  }
  if (match && match[1] === 'regex') {
    const isNumber = strictNumber(text) !== null || strictNumber(content) !== null;
    return isNumber && canonical(text) !== text ? 'number_normalising' : 'regex_dialect';
  }
  if (VERSION.test(text) && VERSION.test(content) && !match && strictNumber(text) === null) {
    return 'version_equality';
  }
  if (!match && VERSION.test(text) && VERSION.test(content)) {
    return 'version_equality';
  }
  const isNumeric = [text, content].some(one => strictNumber(one) !== null || /^[0-9.]/.test(one));
  return isNumeric ? 'number_normalising' : 'leaf';
}

const PARITY = (global.PARITY = {
  off: new Set(),
  fired: new Set(),

  row(name) {
    if (this.off.has(name)) {
      return false;
    }
    this.fired.add(name);
    return true;
  },

  unknownRegex(pattern, text) {
    throw new Error(`the table of regexes lacks ${pattern} on ${text}`);
  },

  /** Return the recommended answer, unless its row is switched off. */
  async settle(wanted, stock, name) {
    let answer = null;
    let error = null;
    try {
      answer = await stock();
    } catch (raised) {
      error = raised;
    }
    if ((error === null && Boolean(answer) === wanted) || this.row(name)) {
      return wanted;
    }
    if (error !== null) {
      throw error;
    }
    return answer;
  },

  async leaf(stock, operand, value) {
    if (value === null) {
      return this.settle(false, stock, 'null_value');
    }
    if (typeof value === 'object') {
      return this.settle(false, stock, 'compound_value');
    }
    return this.settle(recommendedLeaf(operand, value), stock, leafRow(operand, value));
  },

  async customVariable(stock, node, variables) {
    if (node === null || typeof node !== 'object') {
      return stock();
    }
    const [name, operand] = Object.entries(node)[0] ?? [];
    if (!variables || !Object.prototype.hasOwnProperty.call(variables, name)) {
      return stock();
    }
    const value = variables[name];
    if (typeof operand !== 'string') {
      if (value === null || typeof value === 'object') {
        return this.settle(false, stock, value === null ? 'null_value' : 'compound_value');
      }
      return stock();
    }
    if (operand.includes('inlist')) {
      const row = value === null ? 'null_value' : 'compound_value';
      return value === null || typeof value === 'object' ? this.settle(false, stock, row) : stock();
    }
    return this.leaf(stock, operand, value);
  },

  async userAgent(stock, operand, context) {
    const text = context.getUserAgent();
    if (!text || typeof operand !== 'string') {
      return stock();
    }
    const wanted = recommendedLeaf(operand, text);
    return this.settle(wanted, stock, text.includes('%') ? 'ua_decoding' : leafRow(operand, text));
  },

  async stringOperand(stock, operand, value) {
    if (value === null) {
      return stock();
    }
    const text = String(operand).replace(/"/g, '').trim();
    const version = parseVersion(text);
    const found = parseVersion(String(value));
    const isEqual = version !== null && found !== null && order(version, found) === 0;
    const wanted = version === null ? recommendedLeaf(text, value) : isEqual;
    return this.settle(wanted, stock, 'string_operand_numbers');
  },

  /** Encode the text that is looked up in a list. */
  quoted(text) {
    const encoded = encodeURIComponent(text);
    const read = new URL(`http://gateway.test/?attribute=${text}&`).searchParams.get('attribute');
    return read === text || !this.row('list_value_encoding') ? text : encoded;
  },

  /** Refuse an alias, or the id of a user, of blanks alone. */
  trimmed(text) {
    const found = (typeof text === 'number' && this.row('numeric_id') ? String(text) : text).trim();
    if (found === '' && this.row('alias_of_blanks')) {
      throw new TypeError('blanks alone');
    }
    return found;
  },

  /** Return the id of a user as records are found by it: the SDK reads by the text, and writes the number. */
  idText(id) {
    return typeof id === 'number' && this.row('numeric_id') ? String(id) : id;
  },

  wasSet(text) {
    return JSON.parse(text).isAliasSet === true || !this.row('alias_not_set');
  },

  /** Check with `useIdForWeb` the id that is given, and not that of the alias's owner; true to refuse the call. */
  refusesWebId(call, connects) {
    const { context } = call;
    if (!gateway?.is_asked || context.useIdForWeb !== true || call.api === 'set_alias' || !connects) {
      return false;
    }
    const isWeb = WEB_ID.test(context.id);
    if (isWeb === WEB_ID.test(gateway.aliases[context.id] ?? context.id) || !this.row('web_id_of_alias')) {
      return false;
    }
    delete context.useIdForWeb;
    return !isWeb;
  },

  /**
   * Leave out what was reported before a flag failed: without a gateway the SDK reports nothing then.
   * Holdouts stay that stand on record by then: `rows` are those of the user.
   */
  whenFailed(requests, rows, features) {
    if (!gateway || !this.hasFailed) {
      return requests;
    }
    const shown = requests.filter(one => one.d.event.name === 'vwo_variationShown');
    const stands = ({ d: { event } }) => {
      const key = features.find(one => one.id === event.props.fId)?.key;
      const row = rows.find(one => one.featureKey === key);
      return [...(row?.isInHoldoutId ?? []), ...(row?.notInHoldoutId ?? [])].includes(event.props.id);
    };
    const early = shown.filter(one => !stands(one));
    const leaves = early.length && this.row('reported_before_it_failed');
    return leaves ? requests.filter(one => !early.includes(one)) : requests;
  },

  matchesDevice(regex, value) {
    const stock = regex.test(value);
    const wanted = new RegExp(`^(?:${regex.source})`, 'i').test(value);
    return stock !== wanted && this.row('wildcard_in_ua') ? wanted : stock;
  },

  knowsFeature(row, isKnown) {
    return isKnown || (row && this.row('storage_needs_feature_id'));
  },

  whenOff(variation) {
    return variation ?? (this.row('impressions_when_off') ? {} : null);
  },

  hasWebIds(client) {
    return client.originalSettings?.isWebConnectivityEnabled !== false || !this.row('web_connectivity');
  },

  /** Find the variation of a key in the Python SDK's form. */
  pythonKey(settings, key, variationId) {
    const named = settings.getCampaigns().find(one => one.getKey() === key);
    if (named && named.getVariations().some(one => one.getId() === variationId)) {
      return null;
    }
    for (const feature of settings.getFeatures()) {
      for (const rule of feature.getRulesLinkedCampaign()) {
        const found =
          `${feature.getKey()}_${rule.getRuleKey()}` === key &&
          rule.getVariations().find(one => one.getId() === variationId);
        if (found && this.row('storage_key_form')) {
          return found;
        }
      }
    }
    return null;
  },

  isStoredRule(campaign, featureKey, row) {
    if (!row?.experimentVariationId) {
      return false;
    }
    const keys = [campaign.getKey(), `${featureKey}_${campaign.getRuleKey()}`];
    const ids = campaign.getVariations().map(one => one.getId());
    return keys.includes(row.experimentKey) && ids.includes(row.experimentVariationId);
  },

  kept(row, name) {
    if (!row || !STORED.some(one => row[one]) || !this.row(name)) {
      return {};
    }
    const whole = ['rollout', 'experiment'].filter(kind => row[`${kind}VariationId`]);
    const names = STORED.filter(one => row[one] && whole.some(kind => one.startsWith(kind)));
    return Object.fromEntries(names.map(one => [one, row[one]]));
  },

  /** Return the key under which a stored rollout is written again. */
  campaignKey(settings, row) {
    const named = settings.getCampaigns().find(one => one.getId() === row.rolloutId);
    const key = named ? named.getKey() : row.rolloutKey;
    return key !== row.rolloutKey && this.row('storage_key_form') ? key : row.rolloutKey;
  },

  notIn(row) {
    const known = row?.notInHoldoutId ?? [];
    return known.length && this.row('not_in_holdout_forgotten') ? known : [];
  },

  listUser(context, userId, row) {
    const variables = context.getCustomVariables();
    const known = variables?._wingifyUserId ?? variables?._vwoUserId;
    if (known !== undefined && known !== userId && this.row(row)) {
      context.setCustomVariables({ ...variables, _wingifyUserId: userId, _vwoUserId: userId });
    }
  },

  holdoutVariables(variables) {
    return variables || !this.row('holdout_variables_missing') ? variables : {};
  },

  sameVisitor(properties, context) {
    const visitor = context.getUuid();
    if (visitor && properties.d.visId !== visitor && this.row('holdout_visitor')) {
      properties.d.msgId = properties.d.msgId.replace(properties.d.visId, visitor);
      properties.d.visId = visitor;
    }
    const session = context.getSessionId();
    if (session && properties.d.sessionId !== session && this.row('holdout_session')) {
      properties.d.sessionId = session;
    }
    return properties;
  },

  reports(variables, key) {
    const value = variables[key];
    if (value !== null && typeof value === 'object') {
      return !this.row('compound_value');
    }
    const isThere = Object.prototype.hasOwnProperty.call(variables, key);
    return Boolean(value) || (isThere && this.row('reported_falsy_values'));
  },

  properties(given) {
    const kept = Object.entries(given).filter(([key]) => !isOwnName(key));
    const isSame = kept.length === Object.keys(given).length;
    return isSame || !this.row('reserved_properties') ? given : Object.fromEntries(kept);
  },

  /** Whether a call gives only attributes that VWO's SDKs set themselves. */
  sendsNothing(call) {
    const given = 'attributes' in call ? call.attributes : { [call.key]: call.value };
    const names = given && typeof given === 'object' ? Object.keys(given) : [];
    return names.length > 0 && names.every(isOwnName) && this.row('reserved_properties');
  },

  /** Refuse an attribute without a name. */
  checkNames(given) {
    if ('' in given && this.row('empty_attribute_name')) {
      throw new TypeError('no name');
    }
    return given;
  },

  lacksGroup(settings, id) {
    return !settings.getGroups()[id] && this.row('missing_group');
  },

  /** Tell whether the user has no address; null is none. */
  lacksAddress(address) {
    return address === undefined || (address === null && this.row('null_address'));
  },

  findNew(settings, feature, row, applicable) {
    const known = [...(row?.isInHoldoutId ?? []), ...(row?.notInHoldoutId ?? [])];
    return applicable(settings, feature.getId()).filter(one => !known.includes(one.getId()));
  },

  /** Tell whether a new holdout has a segment: nothing that evaluates it is set for the call, not even operands. */
  asksContext(settings, feature, row, applicable) {
    const segments = this.findNew(settings, feature, row, applicable).map(one => one.getSegments() ?? {});
    return segments.some(one => Object.keys(one).length > 0) && this.row('stale_holdout_context');
  },

  /** Usage is only reported where nothing else is. */
  sendsUsage(settings, feature, row, applicable) {
    return !this.findNew(settings, feature, row, applicable).length || !this.row('usage_beside_holdouts');
  },

  read(row) {
    if (!row || !row.holdoutGroupId) {
      return row;
    }
    if (row.isInHoldoutId == null && this.row('old_holdout_field')) {
      return { ...row, isInHoldoutId: row.holdoutGroupId, holdoutGroupId: undefined };
    }
    return row;
  }
});

/** Return what the gateway answers, as fme_gateway.py does. */
function answerGateway(target) {
  const { pathname, searchParams: query } = new URL(`http://gateway.test${target}`);
  if (pathname === '/get-user-details') {
    const location = gateway.places[query.get('ipAddress') ?? ''];
    const userAgent = gateway.devices[query.get('userAgent') ?? ''];
    return Object.fromEntries(Object.entries({ location, userAgent }).filter(([, one]) => one != null));
  }
  if (pathname === '/check-attribute') {
    const text = query.get('listId') + query.get('attribute');
    const sum = [...text].reduce((total, one) => total + one.codePointAt(0), 0);
    return LIST_ANSWERS[sum % LIST_ANSWERS.length];
  }
  if (pathname === '/user-alias/setUserAlias') {
    record.aliased.push([query.get('userId'), query.get('aliasId')]);
    return { isAliasSet: !gateway.refused.includes(query.get('aliasId')) };
  }
  return JSON.parse(query.get('userId'))
    .filter(one => Object.hasOwn(gateway.aliases, one))
    .map(one => ({ aliasId: one, userId: gateway.aliases[one] }));
}

class Storage {
  constructor() {
    this.rows = new Map();
  }

  load(rows) {
    this.rows = new Map(structuredClone(rows).map(([user, key, row]) => [JSON.stringify([user, key]), row]));
  }

  content() {
    return [...this.rows].map(([name, row]) => [...JSON.parse(name), structuredClone(row)]);
  }

  async get(featureKey, userId) {
    record.gets.push(featureKey);
    record.asked.push(userId);
    const row = structuredClone(this.rows.get(JSON.stringify([userId, featureKey])));
    return IS_CORRECTED ? PARITY.read(row) : row;
  }

  /** Return the rows of the users that the call asked about. */
  listAsked() {
    return [...this.rows].filter(([name]) => record.asked.includes(JSON.parse(name)[0])).map(([, row]) => row);
  }

  async set(data) {
    const row = JSON.parse(JSON.stringify(data));
    record.sets.push(row);
    this.rows.set(JSON.stringify([row.userId, row.featureKey]), row);
  }
}

/** Copy the SDK with all edits and return the folder of the copy. */
function makeCorrected(source) {
  const folder = path.join(ROOT, 'dist', `corrected-${process.pid}`);
  fs.cpSync(source, folder, { recursive: true });
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  for (const [name, old, replacement] of EDITS) {
    const file = path.join(folder, name);
    const text = fs.readFileSync(file, 'utf8');
    const parts = text.split(old);
    if (parts.length !== 2) {
      throw new Error(`${name}: ${parts.length - 1} times: ${old}`);
    }
    fs.writeFileSync(file, parts.join(replacement));
  }
  return folder;
}

async function load() {
  const source = path.join(ROOT, 'dist', 'esm');
  const folder = IS_CORRECTED ? makeCorrected(source) : source;
  const from = name => import(pathToFileURL(path.join(folder, name)).href);
  const { ResponseModel } = await from('packages/network-layer/models/ResponseModel.js');
  const { NetworkServerLessClient } = await from('packages/network-layer/client/NetworkServerLessClient.js');
  // The client that the SDK takes where it is loaded as a module.
  NetworkServerLessClient.prototype.GET = async request => {
    const response = new ResponseModel();
    response.setStatusCode(200);
    response.setData(answerGateway(request.getOptions().path));
    return response;
  };
  NetworkServerLessClient.prototype.POST = async request => {
    if (gateway && GATEWAY.has(request.getPath())) {
      const response = new ResponseModel();
      response.setStatusCode(200);
      response.setData(JSON.stringify(answerGateway(request.getOptions().path)));
      return response;
    }
    record.requests.push(JSON.parse(JSON.stringify(request.getBody())));
    const response = new ResponseModel();
    response.setStatusCode(200);
    response.setData(request.getBody());
    response.setTotalAttempts(0);
    return response;
  };
  const { BatchEventsQueue } = await from('services/BatchEventsQueue.js');
  BatchEventsQueue.prototype.enqueue = payload => record.requests.push(JSON.parse(JSON.stringify(payload)));
  const builder = await from('WingifyBuilder.js');
  builder.WingifyBuilder.prototype.initPolling = function initPolling() {
    return this;
  };
  if (IS_CORRECTED) {
    await wrapOperands(from);
  }
  return (await from('index.wingify.js')).init;
}

/** Put the recommended answers of operands before the SDK's own. */
async function wrapOperands(from) {
  const file = 'packages/segmentation-evaluator/evaluators/SegmentOperandEvaluator.js';
  const operands = (await from(file)).SegmentOperandEvaluator.prototype;
  const { evaluateCustomVariableDSL, evaluateUserAgentDSL, evaluateStringOperandDSL } = operands;
  operands.evaluateCustomVariableDSL = async function wrapped(node, variables, context) {
    const stock = async () => evaluateCustomVariableDSL.call(this, node, variables, context);
    return PARITY.customVariable(stock, node, variables);
  };
  operands.evaluateUserAgentDSL = async function wrapped(operand, context) {
    return PARITY.userAgent(async () => evaluateUserAgentDSL.call(this, operand, context), operand, context);
  };
  operands.evaluateStringOperandDSL = async function wrapped(operand, context, kind) {
    const value = this.getTagValueForOperandType(context, kind);
    const stock = async () => evaluateStringOperandDSL.call(this, operand, context, kind);
    return PARITY.stringOperand(stock, operand, value);
  };
}

async function start(init, job) {
  record = { requests: [], sets: [], gets: [], asked: [], aliased: [] };
  const options = { sdkKey: KEY, accountId: job.settings.accountId, settings: structuredClone(job.settings) };
  const storage = job.stores ? new Storage() : null;
  Object.assign(options, { isBatchingDisabled: true, isUsageStatsDisabled: true }, storage ? { storage } : {});
  gateway = job.gateway ?? null;
  if (gateway) {
    options.gatewayService = { url: 'http://gateway.test' };
    options.isAliasingEnabled = gateway.is_asked;
  }
  const client = await init(options);
  if (!client?.isSettingsValid) {
    throw new Error('the Node SDK refuses the settings');
  }
  return { client, storage };
}

function isOwnName(name) {
  return name.startsWith('vwo_') || name === 'vwoMeta' || name === 'isCustomEvent';
}

function refused(call) {
  if (call.api === 'track_event') {
    return { [call.event]: false };
  }
  return call.api === 'get_flag' ? { on: false, variables: [] } : null;
}

async function make(client, call) {
  const context = call.context;
  if (IS_CORRECTED && PARITY.refusesWebId(call, client.originalSettings?.isWebConnectivityEnabled !== false)) {
    return refused(call);
  }
  if (call.api === 'get_flag') {
    const flag = await client.getFlag(call.feature, context);
    const variables = flag.getVariables().map(one => [one.key, one.value, one.type, one.id]);
    return { on: Boolean(flag.isEnabled()), variables };
  }
  if (call.api === 'set_alias') {
    return client.setAlias(context, call.alias);
  }
  if (call.api === 'track_event') {
    return client.trackEvent(call.event, context, ...('properties' in call ? [call.properties] : []));
  }
  if (PARITY.sendsNothing(call)) {
    return null;
  }
  if ('attributes' in call) {
    await client.setAttribute(call.attributes, context);
  } else {
    await client.setAttribute(call.key, call.value, context);
  }
  return null;
}

async function run({ client, storage }, call, rows) {
  if (storage && rows) {
    storage.load(rows);
  }
  const before = storage ? storage.content() : [];
  record = { requests: [], sets: [], gets: [], asked: [], aliased: [] };
  PARITY.hasFailed = false;
  const ret = await make(client, structuredClone(call));
  // What the SDK sends and stores without waiting for it.
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  const after = storage ? storage.content() : [];
  const asked = storage?.listAsked() ?? [];
  const { features } = client.originalSettings;
  const requests = IS_CORRECTED ? PARITY.whenFailed(record.requests, asked, features) : record.requests;
  return { ...record, requests, ret: ret ?? null, before, after };
}

async function work(init, job) {
  regexes = job.regexes ?? {};
  const started = await start(init, job);
  if (job.is_sequence && started.storage) {
    started.storage.load(job.rows);
  }
  const answers = [];
  for (const { call, rows } of job.calls) {
    PARITY.off = new Set(job.without ?? []);
    PARITY.fired = new Set();
    const answer = await run(started, call, job.is_sequence ? null : rows);
    answers.push({ ...answer, fired: [...PARITY.fired] });
  }
  return answers;
}

process.on('unhandledRejection', () => {});
for (const name of ['info', 'log', 'error', 'warn', 'debug', 'trace']) {
  console[name] = () => {};
}

const init = await load();
for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  let answer;
  try {
    answer = await work(init, JSON.parse(line));
  } catch (error) {
    answer = { error: String(error.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
